"""study.py PROGRAM: the study of examples/study in small: its plan, its statistics, its spectrum, and a few tiny runs."""

import contextlib
import io
import json
import math
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest
from unittest import mock

STUDY = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'examples', 'study')
sys.path.insert(0, STUDY)
sys.dont_write_bytecode = True
import arms
import downstream
import fetch
import plan
import report
import spectrum
import stats
import study

PROGRAM = None
TINY = arms.BASE._replace(name='tiny', shape='--hidden 16 --ffn 32 --heads 2 --layers 1', steps=40, warm_start=8, batch=2, seq=16, evaluate=8, bin=2)
arms.UNSWEPT = ()
STAGES = [arms.Stage('upstream', arms.cells(['full'], task=TINY), 2), arms.Stage('upstream', arms.cells(['lora', 'relora'], (4,), TINY), 2)]
# The study with these stages, in a process of its own.
CHILD = '''
import sys
sys.path[:0] = [%r, %r]
import test_of_study
import study
study.arms.STAGES, study.SPECTRUM_SEED = test_of_study.STAGES, 2
study.arms.EXTENT = 3
sys.exit(study.main())
'''


def pretend(losses, stages):
    """Do all runs at once, with losses that are a function of the run."""
    done = {}
    while True:
        runs, _ = plan.missing(stages, done, {})
        if not runs:
            return done
        for run in runs:
            done[run.options] = dict(run.line, val_loss=losses(run.line), options=run.options, tokens=run.tokens)


class Plan(unittest.TestCase):
    def best(self, wanted, seeds=False):
        done = pretend(lambda line: abs(math.log(line['lr'] / wanted)), STAGES)
        cell = STAGES[0].cells[0]
        return plan.rates(cell, done)[1], [line['lr'] for line in done.values() if line['arm'] == 'full']

    def test_a_sweep_ends_between_two_worse_rates(self):
        for wanted in (3e-3, 6e-3, 1.2e-2, 7.5e-4):
            best, tried = self.best(wanted)
            self.assertAlmostEqual(best, wanted)
            self.assertLess(min(tried), wanted)
            self.assertGreater(max(tried), wanted)

    def test_a_sweep_that_finds_no_end_stops(self):
        best, tried = self.best(1e3)
        self.assertEqual((best, len(set(tried))), (max(tried), arms.EXTENT))

    def test_one_that_died_is_the_worst(self):
        done = pretend(lambda line: None if line['lr'] > 4e-3 else -line['lr'], STAGES)
        self.assertAlmostEqual(plan.rates(STAGES[0].cells[0], done)[1], 3e-3)

    def test_low_rank_waits_for_the_rate_of_its_warm_start(self):
        runs, tokens = plan.missing(STAGES, {}, {})
        self.assertEqual({run.line['arm'] for run in runs}, {'full'})
        length = TINY.steps * TINY.batch * TINY.seq
        self.assertEqual(tokens, {'upstream': length * (2 + 1 + 2 * (3 + 1))})

    def test_each_net_is_fine_tuned_at_its_own_rate(self):
        wanted, done, best = {'full': 5e-4, 'cold-1': 4e-3}, {}, {}
        with mock.patch.object(downstream, 'net', lambda init, *_: init):
            for init, peak in wanted.items():
                while init not in best:
                    runs, rate = downstream.swept('trec', 'full', init, done, '')
                    done.update((run.options, dict(run.line, accuracy=1 - abs(math.log(run.line['lr'] / peak)))) for run in runs)
                    best.update({init: rate} if rate else {})
        self.assertEqual(best, wanted)

    def test_every_cell_has_its_seeds(self):
        record = stats.Record(pretend(lambda line: line['seed'], STAGES), STAGES)
        self.assertEqual([sorted(runs) for runs in record.cells.values()], [[1, 2]] * 3)
        self.assertEqual(list(record.missing()), [])


class Numbers(unittest.TestCase):
    def test_mean_and_paired_difference(self):
        m = stats.mean([1.0, 2.0, 4.0])
        self.assertAlmostEqual(m.value, 7 / 3)
        self.assertAlmostEqual(m.error, math.sqrt(((4 / 3) ** 2 + (1 / 3) ** 2 + (5 / 3) ** 2) / 2 / 3))
        self.assertIsNone(stats.mean([1.0]).error)
        runs = {seed: {'val_loss': seed + 0.25} for seed in (1, 2, 3)}
        others = {seed: {'val_loss': float(seed)} for seed in (2, 3, 4)}
        self.assertEqual(stats.difference(runs, others), (0.25, 0.0, 2))

    def test_power_law(self):
        points = [(n * 1e6, 1.2 + 40 * (n * 1e6) ** -0.3) for n in (0.2, 0.5, 1.3, 3.3, 11)]
        (e, *_), (a, *_), (b, low, high) = stats.power_law(points)
        self.assertAlmostEqual(e, 1.2, 3)
        self.assertAlmostEqual(a, 40, 1)
        self.assertAlmostEqual(b, 0.3, 3)
        self.assertTrue(low <= b <= high)
        self.assertIsNone(stats.power_law(points[:4]))

    def test_singular_values(self):
        """Of sums of outer products of orthonormal vectors they are the factors."""
        r, n, m, wanted = random.Random(1), 9, 14, [3.0, 1.0, 0.5, 0.01]
        left, right = self.orthonormal(r, n, len(wanted)), self.orthonormal(r, m, len(wanted))
        matrix = [[sum(s * u[i] * v[j] for s, u, v in zip(wanted, left, right)) for j in range(m)] for i in range(n)]
        for d in (matrix, [list(column) for column in zip(*matrix)]):
            found = spectrum.singular_values(d)
            for value, expected in zip(found, wanted + [0.0] * (n - len(wanted))):
                self.assertAlmostEqual(value, expected, 6)
        stable, effective = spectrum.measures([2.0, 2.0, 2.0])
        self.assertAlmostEqual(stable, 3)
        self.assertAlmostEqual(effective, 3)

    def test_a_checkpoint_in_low_rank_is_merged(self):
        header = {'__metadata__': {'relora.linear.q': 'rank=1\nalpha=3\n'}}
        data, tensors = b'', {'q.weight': [[1, 2], [3, 4]], 'q.lora_A.weight': [[1, 10]], 'q.lora_B.weight': [[1], [2]]}
        for name, rows in tensors.items():
            values = struct.pack('<%df' % (len(rows) * len(rows[0])), *(x for row in rows for x in row))
            header[name] = {'dtype': 'F32', 'shape': [len(rows), len(rows[0])], 'data_offsets': [len(data), len(data) + len(values)]}
            data += values
        text = json.dumps(header).encode()
        with tempfile.NamedTemporaryFile() as file:
            file.write(struct.pack('<Q', len(text)) + text + data)
            file.flush()
            self.assertEqual(spectrum.read(file.name)['q.weight'], [[4, 32], [9, 64]])

    @staticmethod
    def orthonormal(r, n, count):
        vectors = []
        while len(vectors) < count:
            v = [r.gauss(0, 1) for _ in range(n)]
            for u in vectors:
                dot = sum(x * y for x, y in zip(u, v))
                v = [y - dot * x for x, y in zip(u, v)]
            norm = math.sqrt(sum(x * x for x in v))
            vectors.append([x / norm for x in v])
        return vectors


class Page(unittest.TestCase):
    def lines(self, arm, rank, seeds, change):
        """Of a task in 80 bins: the losses fall evenly; what `change` says of a bin is added."""
        options = arms.options(arms.Cell(arms.BASE, arm, rank), 1e-3, 1, 1e-3)
        return {seed: {'options': options, 'bin': 25, 'train': [2 - i / 100 + 0.01 * seed + change(i) for i in range(80)], 'val_loss': 1.2 + 0.1 * seed,
                       'lr': 1e-3, 'moments_bytes': 8, 'parameters': 1} for seed in seeds}

    def page(self, **runs):
        page = report.Page(mock.Mock(task=arms.BASE), '')
        page.best = lambda arm, rank=0, task=None: runs.get(arm.replace('-', '_'), {}) if rank in (0, 8) else {}
        return page

    def test_an_arm_restarts_where_its_options_say(self):
        options = {arm: arms.options(arms.Cell(arms.BASE, arm, 8), 1e-3, 1, 1e-3) for arm in arms.ARMS}
        self.assertEqual(report.restarts(options['relora']), [875, 1250, 1625])
        self.assertEqual(report.restarts(options['matched-b']), list(range(600, 2000, 100)))
        self.assertEqual(report.restarts(options['cold-restarts']), [500, 1000, 1500])
        self.assertEqual(report.restarts(options['cold-1']), [])
        self.assertEqual(report.restarts('--steps 105 --restarts 3 --warm-start 20'), [42, 63, 84])

    def test_a_rise_is_found_at_the_restarts_of_the_arm_and_behind_the_climb(self):
        page = self.page(lora=self.lines('lora', 8, (1, 2), lambda i: 0.0), relora=self.lines('relora', 8, (1, 2), lambda i: 0.03 * (i in (36, 51, 66))),
                         matched_b=self.lines('matched-b', 8, (1, 2), lambda i: 0.02 * (i >= 24 and i % 4 == 0)))
        for arm, rise, later in (('relora', 0.03, 1), ('matched-b', 0.02, 0)):
            found = page.rise(arm, 8)
            self.assertAlmostEqual(found[0].value, rise)
            self.assertEqual(found[1], later)
        self.assertIsNone(page.rise('lora', 8))

    def test_a_share_is_that_of_the_same_seeds(self):
        """The published recipe is 0.1 above full rank with seeds 1 and 2, and 0.4 with seed 3; the other arm is 0.05 above it with the first two."""
        def above(arm, losses):
            return {seed: dict(line, val_loss=losses[seed]) for seed, line in self.lines(arm, 8, losses, lambda i: 0.0).items()}
        page = self.page(full=above('full', {1: 1.0, 2: 1.1, 3: 1.2}), lora=above('lora', {1: 1.1, 2: 1.2, 3: 1.3}),
                         relora=above('relora', {1: 1.1, 2: 1.2, 3: 1.6}), two_masks=above('two-masks', {1: 1.15, 2: 1.25}))
        row, = (line for line in page.verdict() if 'two masks' in line)
        self.assertIn('| +0.0500 ± 0.0000 |', row)
        self.assertIn('| 1.50 |', row)


class Texts(unittest.TestCase):
    def test_one_that_cannot_be_fetched_leaves_no_file(self):
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            with mock.patch.object(fetch, 'download', side_effect=OSError('no network')), self.assertRaises(OSError):
                fetch.main(folder)
            self.assertEqual(os.listdir(folder), [])
            fetch.write(folder, 'trec', [(i % 6, 'text %d' % i) for i in range(10)])
            self.assertEqual(sorted(os.listdir(folder)), ['trec-test.tsv', 'trec-train.tsv'])
            with open(os.path.join(folder, 'trec-test.tsv')) as test, open(os.path.join(folder, 'trec-train.tsv')) as train:
                self.assertEqual((len(test.readlines()), len(train.readlines())), (2, 8))


class Readme(unittest.TestCase):
    def test_its_table_is_that_of_the_results(self):
        root = os.path.join(STUDY, '..', '..')
        with open(os.path.join(root, 'README.md')) as readme, open(os.path.join(root, 'docs', 'results.md')) as results:
            page, text = results.read().split('## Upstream')[0], readme.read()
        rows = [line for line in page.splitlines() if line.startswith('| ')]
        self.assertEqual(len(rows), 5)
        for row in rows:
            self.assertIn(row + '\n', text)


class Runs(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix='study-')
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        os.mkdir(os.path.join(self.folder, 'work'))
        r = random.Random(1)
        with open(os.path.join(self.folder, 'work', 'kjv.txt'), 'w') as file:
            file.write(' '.join(r.choice(('in', 'the', 'beginning', 'was', 'word')) for _ in range(4000)))
        shutil.copy(__file__, os.path.join(self.folder, 'test_of_study.py'))

    def study(self, *words, program=None):
        words = [program or PROGRAM, 'work', 'runs.jsonl', 'results.md', *words]
        done = subprocess.run([sys.executable, os.path.join(STUDY, 'study.py'), *words], cwd=self.folder, capture_output=True, text=True, timeout=60)
        self.assertNotIn('Traceback', done.stderr)
        return done.returncode, done.stderr

    def test_what_cannot_be_done_is_said_at_once(self):
        path = os.path.join(self.folder, 'runs.jsonl')
        for words, program, sentence in (((), '/nowhere/pretrain', "study: [Errno 2] No such file or directory: '/nowhere/pretrain'"),
                                         ((), shutil.which('false'), 'returned non-zero exit status 1'), (('--jobs', '0'), None, '--jobs 0: at least one')):
            status, text = self.study(*words, program=program)
            self.assertNotEqual(status, 0)
            self.assertIn(sentence, text)
        for line, sentence in (('{"options": "--lr 1"}', 'line 2 of runs.jsonl is no run of this study (no "arm")'), ('<<<<<<<', 'line 2 of runs.jsonl')):
            with open(path, 'w') as file:
                file.write('%s\n%s\n' % (json.dumps(self.line(1)), line))
            status, text = self.study()
            self.assertEqual(status, 1)
            self.assertIn(sentence, text)
        os.remove(path)
        os.mkdir(path)
        self.assertIn("Is a directory: 'runs.jsonl'", self.study()[1])

    @staticmethod
    def line(seed):
        return dict(dict.fromkeys(plan.NEEDED, 1), options='--seed %d' % seed)

    def test_half_a_line_is_dropped_and_nothing_else(self):
        path = os.path.join(self.folder, 'runs.jsonl')
        study.append(path, self.line(1))
        study.append(path, self.line(2))
        with open(path, 'rb+') as file:
            file.truncate(os.path.getsize(path) - 9)
        self.assertEqual(self.runs(), [self.line(1)])
        study.append(path, self.line(3))
        self.assertEqual(self.runs(), [self.line(1), self.line(3)])

    def test_a_run_that_could_not_be_recorded_is_not_trained_again(self):
        at_work = study.Study(PROGRAM, os.path.join(self.folder, 'work'), os.path.join(self.folder, 'runs.jsonl'), STAGES, 1)
        run = plan.missing(STAGES, {}, {})[0][0]
        with mock.patch.object(study, 'append', side_effect=OSError('the disk is full')), self.assertRaises(OSError):
            at_work.train(run)
        at_work.train(run)
        with open(os.path.join(self.folder, 'work', run.name, 'log')) as file:
            self.assertIn('resumed', file.read())
        self.assertEqual([line['updates'] for line in self.runs()], [TINY.steps])
        self.assertFalse(os.path.exists(os.path.join(self.folder, 'work', run.name, 'save')))

    def start(self):
        return subprocess.Popen([sys.executable, '-c', CHILD % (self.folder, STUDY), PROGRAM, 'work', 'runs.jsonl', 'results.md', '--jobs', '2'],
                                cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def runs(self):
        return list(plan.read(os.path.join(self.folder, 'runs.jsonl')).values())

    def interrupt(self, count, sign):
        """The study is ended when so many runs are recorded."""
        child = self.start()
        end = time.monotonic() + 100
        while len(self.runs()) < count and time.monotonic() < end:
            time.sleep(0.05)
        child.send_signal(sign)
        status = child.wait(60)
        child.stdout.close()
        return status

    def test_killed_and_gone_on_with(self):
        self.assertEqual(self.interrupt(2, signal.SIGTERM), 3)
        self.assertEqual(self.interrupt(5, signal.SIGKILL), -signal.SIGKILL)
        before = self.runs()
        self.assertGreaterEqual(len(before), 5)
        again = self.start()
        out = again.communicate(timeout=100)[0]
        self.assertEqual(again.returncode, 0, out)
        after = self.runs()
        self.assertEqual(after[:len(before)], before)
        self.assertEqual(len(after), 3 + 1 + 2 * (3 + 1))
        self.look_at(after)
        at_work = study.Study(PROGRAM, os.path.join(self.folder, 'work'), 'runs.jsonl', STAGES, 1)
        line = next(line for line in after if line['arm'] == 'full')
        run = plan.make(line['part'], STAGES[0].cells[0], line['lr'], line['seed'], None)
        self.assertAlmostEqual(at_work.held_out(run), line['val_loss'], delta=0.1)

    def test_runs_that_took_no_time(self):
        run = next(iter(pretend(lambda line: 1, STAGES).values()))
        made = plan.missing(STAGES, {}, {})[0][0]
        done = {'x': dict(run, seconds=0.0, processor=study.processor())}
        at_work = study.Study(PROGRAM, self.folder, 'runs.jsonl', STAGES, 1)
        with contextlib.redirect_stdout(io.StringIO()) as out:
            at_work.say(made, done, {'upstream': 1})
        self.assertIn('nothing is known yet', out.getvalue())

    def look_at(self, lines):
        for line in lines:
            self.assertEqual((len(line['eval']), len(line['train']), line['updates']), (5, 20, 40))
            self.assertEqual(line['eval'][-1][1], line['val_loss'])
            self.assertEqual('spectrum' in line, line['seed'] == 2)
        lora = next(line['spectrum'] for line in lines if line['arm'] == 'lora' and line['seed'] == 2)
        self.assertGreater(lora['q_proj']['values'][3], 1e-4 * lora['q_proj']['values'][0])
        self.assertLess(lora['q_proj']['values'][4], 1e-4 * lora['q_proj']['values'][0])  # what LoRA of rank 4 adds has rank 4
        with open(os.path.join(self.folder, 'results.md')) as file:
            page = file.read()
        self.assertIn('| ReLoRA as published, one mask | 4 |', page)
        self.assertIn('results-upstream.png', os.listdir(self.folder))


if __name__ == '__main__':
    PROGRAM = os.path.abspath(sys.argv.pop(1))
    result = unittest.main(exit=False).result
    print('100%%: Checks: %d, Failures: %d, Errors: %d' % (result.testsRun, len(result.failures), len(result.errors)))
    sys.exit(not result.wasSuccessful())
