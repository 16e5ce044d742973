"""The command line: its forms, its sentences, and where its output goes."""

import os
import re
import resource
import signal
import subprocess

from harness import DONE, FAILED, USAGE, Case
import harness

SHORT = ['--steps', '3', '--warmup', '1', '--out', 'o']


class Command(Case):
    def bare(self, *options, **more):
        done = subprocess.run([harness.PROGRAM, *options], cwd=self.folder, stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=60, **more)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def wrong(self, *options, says):
        return self.refused(*SHORT, *options, status=USAGE, says=says)

    def test_help_and_version(self):
        for option in ('--help', '-h'):
            status, out, err = self.bare(option)
            self.assertEqual((status, err), (DONE, ''))
            for word in ('--data FILE', '--min-lr-ratio', 'Exit status', 'Ctrl-C', '--version', '1b'):
                self.assertIn(word, out)
        status, out, err = self.bare('--version')
        self.assertEqual((status, err), (DONE, ''))
        self.assertRegex(out, r'^pretrain of librelora \d+\.\d+\.\d+ ')
        self.assertEqual(os.listdir(self.folder), ['t.txt'])

    def test_both_forms(self):
        self.good(*SHORT)
        rows = self.rows()
        self.good('--data=t.txt', '--steps=3', '--warmup=1', '--out=o', '--lr=3e-3', data=None)
        self.assertEqual(self.rows(), rows)
        self.good(*SHORT, '--lr', '7', '--lr', '3e-3', '--see', '1')  # the last one counts; a name may be cut short
        self.assertEqual(self.rows(), rows)

    def test_unknown_options(self):
        for word, meant in (('--btach', '--batch'), ('--batch-size', '--batch'), ('--learning_rate', None), ('--save_every', '--save-every'),
                            ('--stepz=3', '--steps'), ('-data', '--data'), ('--datta', '--data'), ('--sed', '--seed'),
                            ('--Rank', '--rank'), ('-x', None), ('--xyzzy', None), ('--', None), ('--=3', None)):
            sentence = self.wrong(word, '3', says=['unknown option ' + word, '--help'])
            if meant:
                self.assertIn('did you mean %s?' % meant, sentence)
            else:
                self.assertNotIn('did you mean', sentence)
        self.wrong('--eval', '3', says=['--eval is short for several'])
        self.wrong('text.txt', says=['text.txt is not an option', '--data text.txt'])

    def test_values_that_are_missing(self):
        self.wrong('--seed', says=['--seed needs a value'])
        self.wrong('--seed', '--batch', '3', says=['--seed needs a value'])
        self.wrong('--save', '--resume=auto', says=['--save needs a value'])
        self.wrong('--save=', says=['--save', 'not empty'])

    def test_numbers(self):
        for option, values, word in (('--batch', ('0', '-1', '3x', '1e1', '2.5', '', ' 3', '0x4', '99999999999999999999'), 'whole number'),
                                     ('--lr', ('0', '-1', '1e-3x', '0,001', '', ' 1', 'nan', 'inf', '1e999', '1e39'), 'a number above 0'),
                                     ('--min-lr-ratio', ('-0.1', '1.1', 'nan'), 'of at least 0 and at most 1'),
                                     ('--dropout', ('1', '-0.5'), 'below 1')):
            for value in values:
                self.wrong('%s=%s' % (option, value), says=[option, word])
        self.wrong('--method', 'reLoRA', says=['full, lora, lowrank, relora'])

    def test_steps_in_full_rank(self):
        """In the low-rank part, each N-th of its updates moves W; a step of its own, as the learning rate says."""
        for method in ('full', 'lowrank'):
            self.wrong('--method', method, '--full-rank-every', '3', says=['--full-rank-every 3', '--method ' + method])
        self.wrong('--full-rank-every', '-1', says=['--full-rank-every', 'whole number'])
        self.wrong('--full-rank-strength', '0', says=['--full-rank-strength', 'above 0'])
        run = ['--steps', '24', '--warm-start', '6', '--restarts', '2', '--restart-warmup', '0', '--accumulate', '2']
        for method in ('lora', 'relora'):
            for dtype in ('f32', 'bf16'):
                shared = [*run, '--method', method, '--dtype', dtype]
                self.good(*shared, '--out', 'without')
                out, err = self.good(*shared, '--full-rank-every', '4', '--out', 'with')
                self.assertIn('a full-rank step of strength 1 every 4 updates', out)
                self.assertIn('step 10: full-rank step of 28 layers', err)
                steps = [i + 1 for i, e in enumerate(self.column('event', 'with')) if e == 'full_rank']
                self.assertEqual(steps, [10, 14, 18, 22])
                self.assertEqual(self.column('loss', 'with')[:10], self.column('loss', 'without')[:10])
                self.assertNotEqual(self.column('loss', 'with')[10:], self.column('loss', 'without')[10:])
                self.good(*shared, '--full-rank-every', '4', '--full-rank-strength', '3', '--out', 'far')
                self.assertNotEqual(self.column('loss', 'with')[10:], self.column('loss', 'far')[10:])

    def test_low_rank_without_w_learns(self):
        """Layers that begin with B = 0 and have no W would never leave it, and the loss would not depend on them."""
        for rank in ('4', '8'):
            self.good('--method', 'lowrank', '--rank', rank, '--steps', '6', '--warmup', '1', '--out', rank)
        self.assertNotEqual(self.column('loss', '4')[-1], self.column('loss', '8')[-1])
        for option, value in (('--init-a', 'matched'), ('--factors', 'a')):
            self.wrong('--method', 'lowrank', option, value, says=['--method lowrank', option])

    def test_recipes(self):
        """A recipe is what its options are; what is given besides counts, but for another method."""
        run = ['--steps', '8', '--warmup', '1', '--restarts', '1']
        for recipe, options in (('best', ['--method', 'lora', '--warm-start', '0', '--full-rank-every', '1']),
                                ('paper', ['--method', 'relora'])):
            self.good(*run, '--recipe', recipe, '--out', 'short')
            self.good(*run, *options, '--out', 'long')
            self.assertEqual(self.column('loss', 'short'), self.column('loss', 'long'))
            self.wrong('--recipe', recipe, '--method', 'full', says=['--recipe ' + recipe, '--method full'])
        self.good(*run, '--recipe', 'best', '--full-rank-every', '2', '--out', 'second')
        self.assertNotEqual(self.column('event', 'second')[0], 'full_rank')
        self.wrong('--recipe', 'bets', says=['--recipe bets', 'none, paper, best'])
        self.good(*run, '--recipe', 'best', '--save', 'kept')
        self.refused('--resume', 'kept', '--recipe', 'paper', says=['--recipe is paper', 'made with best'])

    def test_lora_never_restarts(self):
        """Not even if the run is prolonged."""
        self.good('--method', 'lora', '--steps', '6', '--warm-start', '2', '--save', 'kept')
        self.good('--resume', 'kept', '--steps', '16', '--out', 'o')
        self.assertNotIn('restart', self.column('event', 'o'))

    def test_what_no_f32_can_hold(self):
        for option in ('--lr', '--lora-lr', '--alpha', '--full-rank-strength'):
            self.wrong(option, '4e38', says=[option, 'at most 3e+38'])

    def test_model_beyond_the_machine(self):
        self.refused('--hidden', '65536', '--ffn', '1048576', '--layers', '60000', '--out', 'o', says=['GB', 'this machine has', '--hidden'])

    def test_prompt_beyond_the_vocabulary(self):
        """Found before the run, not after it."""
        run = [*SHORT, '--vocab', '123', '--prompt', 'z{']
        self.refused(*run, '--sample', '5', says=['--prompt', '123'])
        self.assertEqual(self.rows(), [])
        self.good(*run, '--sample', '0')
        self.good(*run, '--sample', '5', '--prompt', '{' + 40 * 'z')  # of which the model sees the end

    def test_vocabulary_is_in_the_checkpoint(self):
        run = ['--steps', '6', '--out', 'o', '--save', 's']
        self.good(*run, '--vocab', '300', '--save-every', '2', '--keep', '0')
        rows = self.rows()
        for vocab in ([], ['--vocab', '300']):
            self.good('--resume', 's/step-00000002.safetensors', *vocab, '--out', 'o')
            self.assertEqual(self.rows(), rows)
        self.refused('--resume', 's', '--vocab', '301', '--out', 'o', says=['--vocab is 301', 'made with 300'])

    def test_rank_beyond_the_matrix(self):
        self.wrong('--method', 'lowrank', '--rank', '129', says=['--rank 129', '128'])
        self.good(*SHORT, '--method', 'lowrank', '--rank', '128')

    def test_rates_down_to_nothing(self):
        for method in ('full', 'lora', 'lowrank', 'relora'):
            self.good('--method', method, '--steps', '24', '--warm-start', '6', '--restarts', '2', '--min-lr-ratio', '0', '--out', 'o')
            rates = [float(lr) for lr in self.column('lr')]
            self.assertTrue(all(rate >= 0 for rate in rates))
            self.assertLess(rates[-1], 0.03 * max(rates))

    def test_masks_of_a_reset(self):
        """Both are the same up to the first restart, of 8 warm steps and cycles of 8, and its own row."""
        runs = []
        for masks in ('joint', 'independent'):
            self.good('--method', 'relora', '--steps', '24', '--warm-start', '8', '--restarts', '1', '--reset-ratio', '0.5',
                      '--reset-masks', masks, '--out', masks)
            runs.append(self.rows(masks))
        self.assertEqual(runs[0][:17], runs[1][:17])
        self.assertNotEqual(runs[0][17:], runs[1][17:])

    def test_other_restarts(self):
        """Each init with what it can train: they are different runs, and the library warns of none."""
        run = ['--method', 'relora', '--steps', '24', '--warm-start', '6', '--restarts', '2', '--restart-warmup', '0', '--accumulate', '2',
               '--rank', '8']
        losses, trained = {}, {}
        for init in ('uniform', 'matched', 'gradient'):
            for factors in ('both', 'b') if init != 'uniform' else ('both', 'a', 'b'):
                out, err = self.good(*run, '--init-a', init, '--factors', factors, '--reset', 'project' if factors == 'b' else 'keep',
                                     '--out', 'o')
                self.assertNotIn('RELORA_SKETCH', err)
                losses[init, factors] = self.column('loss')
                trained[factors] = int(re.search(r'trainable parameters (\d+) of', out).group(1))
                self.assertEqual(self.column('event').count('restart'), 2)
                self.assertEqual((out + err).count('of the new A '), 0 if init == 'uniform' else 2)
                self.assertEqual((out + err).count('the new one keeps 100 %'), 2 if init == 'gradient' else 0)
        self.assertEqual(len({tuple(loss) for loss in losses.values()}), len(losses))
        self.assertLess(trained['a'], trained['both'])
        self.assertLess(trained['b'], trained['both'])
        self.good(*run, '--init-a', 'matched', '--factors', 'b', '--reset', 'project', '--alpha', '8', '--out', 'o')
        self.assertEqual(self.column('loss'), losses['matched', 'b'])  # alpha is the rank
        self.wrong('--init-a', 'gradient', '--factors', 'a', says=['--init-a gradient', '--factors a'])
        self.wrong('--init-a', 'given', says=['--init-a', 'uniform, matched, gradient'])
        self.wrong('--factors', 'c', says=['--factors', 'both, a, b'])

    def test_output_that_is_full(self):
        with open('/dev/full', 'w') as full:
            for options in (['--help'], ['--version'], SHORT):
                status, _, err = self.run_it(*options, stdout=full)
                self.assertEqual(status, FAILED)
                self.assertIn('standard output', err)
                self.assertIn('No space left', err)
            self.assertEqual(len(self.rows()), 3)
            status, out, _ = self.run_it(*SHORT, stderr=full)  # a log that is full is no reason to lose a run
            self.assertEqual(status, DONE)

    def test_streams_that_are_closed(self):
        for closed in ((0,), (1,), (2,), (0, 1, 2)):
            def close(files=closed):
                for file in files:
                    os.close(file)
            status = self.run_it(*SHORT, preexec_fn=close)[0]
            self.assertEqual(status, DONE)
            self.assertEqual(len(self.rows()), 3)
            self.assertEqual(len(self.read('o', 'train.csv').splitlines()), 4)
            self.assertEqual(len(self.read('t.txt')), 30000)

    def test_the_default_text(self):
        """Made by a child, whose end the parent of the program may have asked not to hear of."""
        self.write('bin/bible', b'#!/bin/sh\nexec cat "%s"\n' % self.path('t.txt').encode())
        os.chmod(self.path('bin/bible'), 0o755)
        path = {'PATH': self.path('bin') + ':' + os.environ['PATH']}
        self.good(*SHORT)
        for i, prepare in enumerate((None, lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN),
                                     lambda: signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD}))):
            out = 'p%d' % i
            self.good(*SHORT, '--out', out, data=None, env=path, preexec_fn=prepare)
            self.assertEqual(self.read(out, 'kjv.txt'), self.read('t.txt'))
            self.assertEqual(self.rows(out), self.rows())

        def little_room():
            resource.setrlimit(resource.RLIMIT_FSIZE, (10000, 10000))
        self.write('bin/bible', b'#!/bin/sh\ncat "%s"\nexit 0\n' % self.path('t.txt').encode())  # it does not see that its text is cut
        self.refused(*SHORT, '--out', 'r', data=None, env=path, preexec_fn=little_room, says=['r/kjv.txt', 'File too large'])
        self.assertEqual(os.listdir(self.path('r')), [])
        for script, word in ((b'#!/bin/sh\nexit 3\n', 'status 3'), (b'#!/bin/sh\nkill -9 $$\n', 'ended by a signal')):
            self.write('bin/bible', script)
            self.refused(*SHORT, '--out', 'q', data=None, env=path, says=[word])
