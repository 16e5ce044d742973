"""A run that goes on beyond its planned end, with --steps larger than the checkpoint's; and options of a resumed run."""

import signal

from harness import FAILED, QUICK, SMALL, STOPPED, Case

RELORA = ['--method', 'relora', '--dropout', '0.1', '--accumulate', '2', '--eval-every', '5', '--save-every', '6',
          '--keep', '0']
SHORT = RELORA + ['--steps', '24', '--warm-start', '6', '--restarts', '2', '--warmup', '2', '--restart-warmup', '2']


class Prolonging(Case):
    def test_more_cycles(self):
        """The longer run has the learning rates of one that was planned so, and cycles of the same length; stopping it on
        the way changes no bit; the rows of the shorter run stay."""
        self.good(*SHORT, '--out', 'o', '--save', 's', '--export', 'm')
        first = self.rows()
        self.good('--out', 'whole', '--save', 's/whole', '--resume', 's', '--steps', '36', '--export', 'whole/m')
        # the command of the first run with a larger number, stopped and repeated as a batch system does
        longer = SMALL[len(QUICK):] + [o if o != '24' else '36' for o in SHORT] + ['--out', 'o', '--save', 's', '--resume', 'auto']
        child = self.start(*longer)
        self.wait_rows(28, child)
        child.send_signal(signal.SIGTERM)
        self.finish(child)
        self.good(*longer, '--export', 'n')
        self.assertEqual(self.rows()[:23], first[:23])
        self.assertEqual(self.rows()[23][:-1], first[23][:-1])
        self.assertEqual(self.rows()[24:], self.rows('whole'))
        self.assertEqual(self.sum_of('n', 'model.safetensors'), self.sum_of('whole', 'm', 'model.safetensors'))
        self.good(*RELORA, '--steps', '36', '--warm-start', '6', '--restarts', '4', '--warmup', '2', '--restart-warmup', '2',
                  '--out', 'planned')
        self.assertEqual(self.column('lr')[24:], self.column('lr', 'planned')[24:])
        self.assertEqual([i for i, e in enumerate(self.column('event')) if e == 'restart'],
                         [i for i, e in enumerate(self.column('event', 'planned')) if e == 'restart'])

    def test_every_method_and_phase(self):
        """From the warm start, from a cycle, from the end; by lengths that are no whole cycles; twice."""
        for method, start in (('full', 12), ('lora', 24), ('lowrank', 24), ('relora', 6), ('relora', 18), ('relora', 24)):
            with self.subTest(method=method, start=start):
                a, b = '%s-%d' % (method, start), '%s-%d-parts' % (method, start)
                options = [method if o == 'relora' else o for o in SHORT]
                self.good(*options, '--out', a, '--save', a + '/s')
                checkpoint = a + '/s/step-%08d.safetensors' % start
                self.good('--out', b, '--save', b + '/s', '--resume', checkpoint, '--steps', '31', '--save-every', '1',
                          '--keep', '0')
                self.assertEqual(self.column('step', b), [str(i) for i in range(start + 1, 32)])
                self.good('--out', b + '2', '--resume', b + '/s/step-00000027.safetensors')
                self.assertEqual(self.rows(b + '2'), self.rows(b)[-4:])
                self.good('--out', b + '3', '--resume', b + '/s', '--steps', '45')
                self.assertEqual(self.column('step', b + '3')[-1], '45')

    def test_not_shorter(self):
        self.good(*SHORT, '--out', 'o', '--save', 's')
        self.refused('--out', 'o', '--save', 's', '--resume', 'auto', '--steps', '20', says=['--steps is 20', '24', 'longer'])
        self.good('--out', 'o', '--save', 's', '--resume', 'auto', '--steps', '30')
        self.refused('--out', 'o', '--save', 's', '--resume', 'auto', '--steps', '24', says=['--steps is 24', '30'])

    def test_rows_of_the_longer_run_are_kept(self):
        """Going back to a checkpoint of the plan, or prolonging from the middle, drops no row for good."""
        self.good(*SHORT, '--out', 'o', '--save', 's')
        rows = self.read('o', 'train.csv').splitlines()
        self.good('--out', 'o', '--resume', 's/step-00000012.safetensors', '--steps', '30')
        self.assertEqual(self.column('step'), [str(i) for i in range(1, 31)])
        self.assertEqual(self.read('o', 'earlier-1', 'train.csv').splitlines(), rows)
        longer = self.read('o', 'train.csv')
        self.good('--out', 'o', '--resume', 's/step-00000012.safetensors')
        self.assertEqual(self.read('o', 'earlier-2', 'train.csv'), longer)
        self.assertEqual(self.read('o', 'train.csv').splitlines()[:13], rows[:13])

    def test_options_of_the_checkpoint(self):
        """What is not given comes from the checkpoint; what is given and differs is named, and nothing else is."""
        self.good(*SHORT, '--out', 'a', '--save', 's', '--lr', '0.002', '--seed', '5')
        self.good('--out', 'b', '--resume', 's/step-00000012.safetensors', '--seed', '5')
        self.assertEqual(self.rows('b'), self.rows('a')[12:])
        checkpoint = ['--out', 'b', '--resume', 's/step-00000012.safetensors']
        self.refused(*checkpoint, '--lr', '0.003', says=['--lr is 0.003', '0.002'])
        for option, value in (('--batch', '3'), ('--seq', '16'), ('--rank', '4'), ('--method', 'lora'), ('--dtype', 'bf16'),
                              ('--size', '9m'), ('--seed', '6'), ('--restarts', '1'), ('--warm-start', '8'),
                              ('--min-lr-ratio', '0'), ('--reset', 'zero')):
            self.refused(*checkpoint, option, value, says=[option + ' is', 'checkpoint was made with'])

    def test_failure_is_no_stop(self):
        self.assertEqual(len({FAILED, STOPPED, 0}), 3)
        self.refused('--out', 'o', '--resume', 'nothing', says=['nothing'])
