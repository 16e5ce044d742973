#!/usr/bin/env python3
"""pretrain.py PROGRAM MPIRUN...: the program of examples/pretrain in several processes."""

import csv
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

PROGRAM, MPIRUN = None, None
SHARES = ['--shard-state', 'moments']
OPTIONS = ['--size', 'demo', '--steps', '14', '--warm-start', '4', '--restarts', '2', '--seq', '32', '--batch', '4',
           '--accumulate', '3', '--rank', '8', '--dropout', '0', '--eval-every', '7', '--eval-batches', '2', '--sample', '0',
           '--threads', '1', '--save-every', '3', '--keep', '0']
RESUME = ['--resume', 'auto'] + OPTIONS[OPTIONS.index('--eval-every'):]


class Ranks(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix='pretrain-mpi-')
        self.addCleanup(shutil.rmtree, self.folder, True)
        with open(self.path('t.txt'), 'w', encoding='utf-8') as f:
            f.write('\n'.join(str(i * i) for i in range(6000)))

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def command(self, out, *options):
        new = [] if '--resume' in options else OPTIONS
        return [PROGRAM, '--data', self.path('t.txt'), '--out', self.path(out), '--save',
                self.path(out, 'saved')] + new + list(options)

    def start(self, ranks, command):
        launch = MPIRUN + ['-n', str(ranks)] if ranks > 1 else []
        return subprocess.Popen(launch + command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def run_in(self, ranks, out, *options, status=0):
        child = self.start(ranks, self.command(out, *options))
        text = child.communicate(timeout=300)[0]
        self.assertEqual(child.returncode, status, text)
        return text

    def rows(self, out, name='train.csv'):
        with open(self.path(out, name), encoding='utf-8') as f:
            return [{k: v for k, v in row.items() if k != 'tokens_per_s'} for row in csv.DictReader(f)]

    def assert_close(self, out, other):
        for name in ('train.csv', 'eval.csv'):
            ours, theirs = self.rows(out, name), self.rows(other, name)
            self.assertEqual(len(ours), len(theirs))
            for a, b in zip(ours, theirs):
                self.assertEqual(a.get('event'), b.get('event'))
                for key in ('loss', 'val_loss'):
                    if key in a:
                        self.assertAlmostEqual(float(a[key]), float(b[key]), delta=2e-4 * float(b[key]))

    def checkpoints(self, out):
        return sorted(f for f in os.listdir(self.path(out, 'saved')) if f.startswith('step-') and 'rank' not in f)

    def drop_after(self, out, step):
        for name in os.listdir(self.path(out, 'saved')):
            if int(name[5:13]) > step:
                os.unlink(self.path(out, 'saved', name))

    def tensors(self, out, name):
        """What is in a checkpoint, but for its texts, in which the time is."""
        with open(self.path(out, 'saved', name), 'rb') as f:
            length = int.from_bytes(f.read(8), 'little')
            f.seek(length, 1)
            return f.read()

    def test_same_losses(self):
        """One global batch, whatever the number of processes; and shares of moments change no bit."""
        self.run_in(1, 'one')
        for ranks, options in ((2, []), (3, SHARES), (4, SHARES)):
            text = self.run_in(ranks, 'n%d' % ranks, *options)
            self.assertIn('%d processes of 1 thread' % ranks, text)
            self.assertEqual(text.count('restart 2:'), 1, text)  # one of them speaks
            self.assert_close('n%d' % ranks, 'one')
        self.run_in(2, 'shares', *SHARES)
        self.assertEqual(self.rows('shares'), self.rows('n2'))

    def test_full_rank_steps(self):
        """W moves by the gradient of all processes, also of those that have none of the last sequences."""
        options = ['--method', 'lora', '--warm-start', '2', '--full-rank-every', '2']
        self.run_in(1, 'one', *options)
        for ranks in (2, 3, 4):
            text = self.run_in(ranks, 'n%d' % ranks, *(options + (SHARES if ranks == 3 else [])))
            self.assertEqual(text.count('full-rank step of 28 layers'), 1, text)
            self.assert_close('n%d' % ranks, 'one')
        self.assertEqual([row['event'] for row in self.rows('one')].count('full_rank'), 5)  # the last row says finish
        for ranks in (1, 2):
            self.run_in(ranks, 'best%d' % ranks, '--recipe', 'best', '--warm-start', '0', '--accumulate', '1')
        self.assert_close('best2', 'best1')

    def test_resumed_by_another_number(self):
        self.run_in(4, 'run', *SHARES)
        shutil.copytree(self.path('run'), self.path('again'))
        self.drop_after('again', 3)
        self.run_in(3, 'again', *RESUME)
        self.assert_close('again', 'run')

    def test_idle_process(self):
        """Fewer sequences than processes: one of them has nothing to do, and takes part."""
        self.run_in(1, 'one', '--batch', '1', '--accumulate', '1')
        self.run_in(2, 'two', '--batch', '1', '--accumulate', '1')
        self.assert_close('two', 'one')

    def test_apart(self):
        """Exchanges at restarts alone: other losses, which are the same the next time, and one model at the end."""
        self.run_in(1, 'one')
        for out in ('a', 'b'):
            text = self.run_in(3, out, '--sync', 'restart')
            self.assertIn('apart between restarts', text)
            self.assertEqual(text.count('restart 2:'), 1, text)
        self.assertEqual(self.rows('a'), self.rows('b'))
        self.assertNotEqual(self.rows('a')[6:], self.rows('one')[6:])
        ours, theirs = (float(self.rows(out, 'eval.csv')[-1]['val_loss']) for out in ('a', 'one'))
        self.assertLess(ours, float(self.rows('a')[0]['loss']) - 1)
        self.assertAlmostEqual(ours, theirs, delta=0.3)

    def test_apart_resumed(self):
        """Each process has a file of its own: the same number goes on to the same bits, from within a cycle too."""
        apart = ['--sync', 'restart']
        self.run_in(3, 'a', *apart)
        names = ['step-00000014%s.safetensors' % rank for rank in ('', '.rank-1', '.rank-2')]
        for step in (3, 6, 9):  # in the warm start, after the first update apart, and before a merge
            shutil.copytree(self.path('a'), self.path('b'))
            self.drop_after('b', step)
            self.run_in(3, 'b', *RESUME)
            self.assertEqual(self.rows('a'), self.rows('b'))
            self.assertEqual(self.rows('a', 'eval.csv'), self.rows('b', 'eval.csv'))
            for name in names:
                self.assertEqual(self.tensors('a', name), self.tensors('b', name))
            shutil.rmtree(self.path('b'))
        self.assertNotEqual(self.tensors('a', names[0]), self.tensors('a', names[1]))

        for ranks in (1, 2):
            text = self.run_in(ranks, 'a', *RESUME, status=1)
            self.assertIn('is one of 3 processes that train apart', text)
        self.drop_after('a', 9)
        os.unlink(self.path('a', 'saved', 'step-00000009.rank-2.safetensors'))
        text = self.run_in(3, 'a', *RESUME)
        self.assertIn('the file of another process is missing or damaged', text)
        self.assertIn('after step 6', text)
        self.drop_after('a', 3)
        self.assertIn('after step 3', self.run_in(2, 'a', *RESUME))  # they were together

    def test_apart_kept(self):
        """Old checkpoints go with the files of all processes."""
        self.run_in(2, 'run', '--sync', 'restart', '--keep', '2')
        self.assertEqual(sorted(os.listdir(self.path('run', 'saved'))),
                         ['step-%08d%s.safetensors' % (step, rank) for step in (12, 14) for rank in ('.rank-1', '')])

    def test_apart_without_the_first(self):
        """If the first process cannot save, the files of the others are of no use, and nobody would remove them."""
        os.makedirs(self.path('run', 'saved', 'step-00000009.safetensors.tmp'))
        text = self.run_in(2, 'run', '--sync', 'restart', '--keep', '2')
        self.assertIn('cannot save a checkpoint', text)
        self.assertEqual(sorted(os.listdir(self.path('run', 'saved'))),
                         ['step-00000009.safetensors.tmp'] + ['step-%08d%s.safetensors' % (step, rank) for step in (12, 14)
                                                              for rank in ('.rank-1', '')])

    def test_apart_killed_and_stopped(self):
        """The last checkpoint of processes that are apart is good, whenever one of them is killed or all are stopped."""
        run = ['--sync', 'restart', '--steps', '150', '--restarts', '20', '--save-every', '5', '--eval-every', '50']
        self.run_in(3, 'undisturbed', *run)
        for number in (signal.SIGKILL, signal.SIGTERM):
            child = self.start(3, self.command('run', *run))
            self.wait_for('run', 6)
            os.kill(self.of(child)[-1], number)
            text = child.communicate(timeout=60)[0]
            if number == signal.SIGTERM:
                self.assertEqual(child.returncode, 3, text)
                self.assertIn('--resume auto continues', text)
                self.assertEqual(len(self.rows('run')), int(self.checkpoints('run')[-1][5:13]))
            text = self.run_in(3, 'run', *RESUME, '--eval-every', '50')
            self.assertIn('resumed from', text)
            self.assertEqual(self.rows('run'), self.rows('undisturbed'))
            for name in ('step-00000150.safetensors', 'step-00000150.rank-2.safetensors'):
                self.assertEqual(self.tensors('run', name), self.tensors('undisturbed', name))
            shutil.rmtree(self.path('run'))

    def of(self, child):
        """Process ids of the program below the launcher."""
        deadline = time.time() + 60
        while time.time() < deadline:
            table = subprocess.run(['ps', '-eo', 'pid,ppid,args'], stdout=subprocess.PIPE, text=True, check=True).stdout
            rows = [line.split(None, 2) for line in table.split('\n')[1:] if line]
            below, grown = {child.pid}, True
            while grown:
                more = {int(r[0]) for r in rows if int(r[1]) in below} - below
                grown, below = bool(more), below | more
            found = [int(r[0]) for r in rows if int(r[0]) in below and r[2].startswith(PROGRAM)]
            if found:
                return sorted(found)
            time.sleep(0.05)
        self.fail('no process of the program')

    def wait_for(self, out, count):
        deadline = time.time() + 60
        while time.time() < deadline:
            if os.path.isdir(self.path(out, 'saved')) and len(self.checkpoints(out)) >= count:
                return
            time.sleep(0.05)
        self.fail('no checkpoint')

    def test_stopped(self):
        """An end that one process is asked for is the end of all, with a checkpoint."""
        child = self.start(3, self.command('run', '--steps', '5000', *SHARES))
        self.wait_for('run', 1)
        os.kill(self.of(child)[-1], signal.SIGTERM)
        text = child.communicate(timeout=60)[0]
        self.assertEqual(child.returncode, 3, text)
        self.assertIn('--resume auto continues', text)
        step = int(self.checkpoints('run')[-1][5:13])
        self.assertEqual(len(self.rows('run')), step)

    def test_killed(self):
        """The last checkpoint is good; the launcher, or the others, end the run."""
        child = self.start(3, self.command('run', '--steps', '5000', *SHARES))
        self.wait_for('run', 2)
        os.kill(self.of(child)[-1], signal.SIGKILL)
        child.communicate(timeout=60)
        self.assertNotEqual(child.returncode, 0)
        newest = self.checkpoints('run')[-1]
        os.rename(self.path('run', 'saved', newest), self.path('step'))
        command = self.command('other', '--resume', self.path('step'))
        child = self.start(1, command)
        text = ''
        while 'resumed from' not in text:
            line = child.stdout.readline()
            self.assertTrue(line, text)
            text += line
        child.send_signal(signal.SIGTERM)
        text += child.communicate(timeout=60)[0]
        self.assertEqual(child.returncode, 3, text)

    def test_one_fails(self):
        """One process has no data: the other is told why, at once."""
        good = self.command('run')
        bad = [w.replace('t.txt', 'missing.txt') for w in good]
        child = subprocess.Popen(MPIRUN + ['-n', '1'] + good + [':', '-n', '1'] + bad, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, text=True)
        text = child.communicate(timeout=60)[0]
        self.assertEqual(child.returncode, 1, text)
        self.assertRegex(text, 'rank 1 has left: cannot open .*missing.txt')

    def test_refused(self):
        text = self.run_in(3, 'run', '--bogus', '1', status=2)
        self.assertEqual(text.count('unknown option'), 1, text)
        text = self.run_in(2, 'run', '--full-rank-every', '2', '--sync', 'restart', status=1)
        self.assertIn('--full-rank-every moves W in every update', text)
        text = self.run_in(4, 'run', '--batch', '1', '--sync', 'restart', status=1)
        self.assertIn('4 processes have 3 micro-batches', text)
        with open(self.path('file'), 'w', encoding='utf-8'):
            pass
        text = self.run_in(2, 'file', status=1)
        self.assertIn('--out', text)


if __name__ == '__main__':
    PROGRAM, MPIRUN = os.path.abspath(sys.argv[1]), sys.argv[2].split()
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
