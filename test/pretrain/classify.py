"""Shapes of one's own, and --classify: what it learns, and lines that are none."""

import random

from harness import DONE, STOPPED, USAGE, Case
import signal

WORDS = ('xxx', 'yyy', 'zzz')
NET = ['--hidden', '32', '--ffn', '64', '--heads', '2', '--layers', '2']
TASK = ['--data', 'train.tsv', '--val-data', 'test.tsv', '--classify', '3', '--out', 'o', '--batch', '8', '--steps', '150']


def lines(count, seed):
    """The label is told by one word of three among others, anywhere in the text."""
    r, text = random.Random(seed), ''
    for _ in range(count):
        label = r.randrange(3)
        words = [''.join(r.choice('abcdefgh') for _ in range(4)) for _ in range(3)]
        words.insert(r.randrange(4), WORDS[label])
        text += '%d\t%s\n' % (label, ' '.join(words))
    return text.encode()


class Shape(Case):
    def test_it_is_taken(self):
        out, _ = self.good(*NET, '--steps', '2', '--warmup', '1', '--out', 'o', '--export', 'x')
        self.assertIn('2 layers of 32 (ffn 64, 2 heads)', out)
        self.refused('--hidden', '30', '--heads', '4', '--out', 'o', status=USAGE, says=['--hidden 30', '4 heads'])
        self.refused('--init', 'x', '--layers', '3', '--out', 'o', status=USAGE, says=['--layers', '--init x'])
        self.good('--init', 'x', '--steps', '2', '--warmup', '1', '--out', 'o')

    def test_it_is_in_the_checkpoint(self):
        self.good(*NET, '--steps', '4', '--warmup', '1', '--out', 'o', '--save', 's')
        self.good('--steps', '6', '--out', 'o', '--resume', 's')
        self.refused('--steps', '6', '--ffn', '65', '--out', 'o', '--resume', 's', says=['--ffn is 65', '64'])


class Classify(Case):
    def setUp(self):
        super().setUp()
        self.write('train.tsv', lines(400, 1))
        self.write('test.tsv', lines(40, 2)[:-1])  # the last line has no newline

    def accuracy(self):
        return float(dict(word.split('=') for word in self.read('o', 'summary.txt').decode().split())['accuracy'])

    def test_it_learns(self):
        for method in (['--method', 'full'], ['--method', 'lora', '--warm-start', '0']):
            out, _ = self.good(*NET, *TASK, *method)
            self.assertIn('40 of 40 lines', out)
            self.assertEqual(self.accuracy(), 1)
        self.write('test.tsv', lines(40, 2).replace(b'xxx', b'aaaa'))
        self.good(*NET, *TASK)
        self.assertLess(self.accuracy(), 1)

    def test_it_goes_on_from_a_model_of_language(self):
        self.good(*NET, '--steps', '4', '--warmup', '1', '--out', 'o', '--export', 'x', '--save', 's')
        for init in ('x', 's/step-00000004.safetensors'):
            shape = NET if init != 'x' else []
            out, _ = self.good(*shape, *TASK, '--init', init)
            self.assertIn('first weights from', out)
            self.assertEqual(self.accuracy(), 1)
        self.refused(*NET, *TASK, '--export', 'y', status=USAGE, says=['--export', '--classify'])

    def test_stopped_and_resumed(self):
        self.good(*NET, *TASK)
        rows = self.rows()
        child = self.start(*NET, *TASK, '--out', 'p', '--save', 's')
        self.wait_rows(20, child, 'p')
        child.send_signal(signal.SIGINT)
        self.assertIn(self.finish(child)[0], (STOPPED, DONE))
        self.good(*TASK, '--out', 'p', '--resume', 's')
        self.assertEqual(self.rows('p'), rows)

    def test_lines_that_are_none(self):
        for text, number in ((b'0\tone\nno label\n', 2), (b'0\tone\n3\ttwo\n', 2), (b'0 one\n', 1), (b'1\t\n', 1), (b'\tone\n', 1),
                             (b'0\tone\n\n', 2), (b'-1\tone\n', 1), (b'99999999999\tone\n', 1)):
            self.write('train.tsv', text + b'0\t' + 40 * b'long ' + b'\n')
            self.refused(*NET, *TASK, says=['line %d ' % number, 'a tab'])

    def test_files_shorter_than_a_sequence(self):
        self.write('test.tsv', b'0\txxx\n1\tyyy\n')
        out, _ = self.good(*NET, *TASK, '--steps', '2', '--warmup', '1')
        self.assertIn(' of 2 lines', out)

    def test_line_of_which_file(self):
        self.write('test.tsv', b'0\txxx\nno label\n')
        self.refused(*NET, *TASK, says=['line 2 of test.tsv', 'a tab'])

    def test_what_it_needs(self):
        self.refused(*NET, *TASK[:2], '--classify', '3', '--out', 'o', says=['--val-data'])
        self.refused(*NET, *TASK, '--classify', '1', status=USAGE, says=['--classify 1', 'two'])
        self.refused(*NET, '--classify', '3', '--out', 'o', data=None, status=USAGE, says=['--data'])
