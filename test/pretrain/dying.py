"""Runs that have died, which say so and fail, and runs that look like it and are well. The rules are tested with numbers
in test/program."""

import random
import shutil

from harness import FAILED, Case, words

RUN = ['--out', 'o']


class Dying(Case):
    def setUp(self):
        super().setUp()
        self.write('t.txt', words(100000))

    def test_died(self):
        for options in ('--method full --lr 30 --clip 0 --steps 100', '--method full --lr 300 --clip 0 --steps 100',
                        '--method relora --warm-start 20 --restarts 1 --lora-lr 30 --steps 80',
                        '--method lora --warm-start 20 --lora-lr 30 --steps 80',
                        '--method lowrank --lora-lr 30 --steps 100', '--method full --dtype bf16 --lr 30 --steps 100'):
            with self.subTest(options):
                self.refused(*RUN, *options.split(), '--save', 's', says=['the run has died', 'learning rate'])
                losses = [float(loss) for loss in self.column('loss')]
                for name in self.checkpoints():  # of the time before
                    self.assertLess(losses[int(name[5:13]) - 1], 7)
                shutil.rmtree(self.path('s'))

    def test_not_finite(self):
        self.refused(*RUN, '--lr', '1e38', '--clip', '0', '--steps', '60', says=['not finite'])
        self.refused(*RUN, '--init-std', '0', '--steps', '60', says=['first weights'])

    def test_weights_that_are_not_finite(self):
        """They, and not the learning rate, are named."""
        self.good(*RUN, '--steps', '2', '--warmup', '1', '--export', 'base')
        model = bytearray(self.read('base', 'model.safetensors'))
        model[-4:] = b'\xff\xff\xff\x7f'  # a NaN
        self.write('base/model.safetensors', bytes(model))
        status, _, err = self.run_it(*RUN, '--steps', '40', '--init', 'base')
        self.assertEqual(status, FAILED, err)
        self.assertNotIn('learning rate', err)
        self.assertRegex(err, 'weight|--init')

    def test_well(self):
        for options in ('--lr 1e-7 --steps 100', '--lr 3e-3 --warmup 90 --steps 100', '--init-std 0.9 --steps 100',
                        '--method relora --steps 100 --restarts 6', '--init-std 0.001 --steps 60', '--steps 1',
                        '--lr 0.3 --steps 60'):
            with self.subTest(options):
                self.good(*RUN, *options.split())

    def test_nothing_to_learn(self):
        """Noise has the loss of a guess for ever; and one byte again and again has none, and no gradient."""
        self.write('t.txt', random.Random(1).randbytes(30000))
        self.good(*RUN, '--steps', '120')
        self.write('t.txt', b'a' * 30000)
        self.good(*RUN, '--steps', '120')
