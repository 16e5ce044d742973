"""A run that is asked to end: soon, with a checkpoint, a status that tells, and no trace in the numbers."""

import os
import random
import signal
import subprocess
import time

from harness import DONE, PATIENCE, SMALL, STOPPED, Case, words

ENDLESS = ['--accumulate', '1000000', '--steps', '20']  # an update that lasts for hours
MANY = ['--steps', '100000', '--save-every', '0']


class Stopping(Case):
    def start_endless(self, save='s', **how):
        """In its first update."""
        child = self.start(*ENDLESS, '--save', save, '--out', save + '/o', **how)
        self.wait_for(lambda: os.path.exists(self.path(save, 'o', 'train.csv')), child)
        time.sleep(0.05)
        return child

    def test_each_signal_in_an_update(self):
        for number in ('SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR1', 'SIGUSR2', 'SIGXCPU', 'SIGPWR'):
            with self.subTest(number):
                child = self.start_endless('s' + number)
                _, err = self.stop(child, getattr(signal, number))
                self.assertIn(number, err)
                self.assertEqual(self.checkpoints('s' + number), ['step-00000000.safetensors'])
                self.assertEqual(self.rows('s%s/o' % number), [])

    def test_first_update_dropped(self):
        """Saved before the first update, and gone on from there: as if it had never begun."""
        small = ['--accumulate', '20', '--steps', '3']
        self.good(*small, '--out', 'whole', '--export', 'm')
        child = self.start(*small, '--out', 'o', '--save', 's', preexec_fn=lambda: signal.signal(signal.SIGUSR1, signal.SIG_DFL))
        self.wait_for(lambda: os.path.exists(self.path('o', 'train.csv')), child)
        child.send_signal(signal.SIGUSR1)
        self.assertIn(self.finish(child)[0], (DONE, STOPPED))
        self.good(*SMALL, *small, '--out', 'o', '--save', 's', '--resume', 'auto', '--export', 'n')
        self.assertEqual(self.rows('o'), self.rows('whole'))
        self.assertEqual(self.sum_of('m', 'model.safetensors'), self.sum_of('n', 'model.safetensors'))

    def test_stopped_many_times(self):
        """At any moment, in any phase: the same bits in the end."""
        r = random.Random(1)
        for method, dtype in (('relora', 'f32'), ('lora', 'bf16'), ('lowrank', 'f32'), ('full', 'f32')):
            options = SMALL + ['--method', method, '--dtype', dtype, '--steps', '12', '--accumulate', '12', '--dropout', '0.1',
                       '--eval-every', '3', '--eval-batches', '20', '--save-every', '4', '--keep', '2']
            options += ['--warm-start', '3', '--restarts', '2'] if method == 'relora' else []
            with self.subTest(method):
                whole, part, stops = 'whole-' + method, 'part-' + method, 0
                begin = time.monotonic()
                self.good(*options, '--out', whole, '--export', whole + '/m')
                length = time.monotonic() - begin
                for _ in range(200):
                    child = self.start(*options, '--out', part, '--save', part + '/s', '--export', part + '/m',
                                       '--resume', 'auto')
                    time.sleep(r.random() * length if stops < 6 else 0)
                    if stops < 6:
                        child.send_signal(r.choice([signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2]))
                    status, _, err = self.finish(child)
                    stops += status != DONE
                    if status == DONE:
                        break
                    self.assertIn(status, (STOPPED, -signal.SIGTERM, -signal.SIGHUP, -signal.SIGUSR2), err)
                self.assertEqual(status, DONE)
                self.assertEqual(self.rows(part), self.rows(whole))
                self.assertEqual(self.read(part, 'eval.csv'), self.read(whole, 'eval.csv'))
                self.assertEqual(self.sum_of(part, 'm', 'model.safetensors'), self.sum_of(whole, 'm', 'model.safetensors'))

    def test_in_an_evaluation(self):
        self.write('t.txt', words(400000))
        options = ['--seq', '2', '--batch', '1', '--steps', '4', '--eval-batches', '1000000', '--out', 'o', '--save', 's']
        child = self.start(*options, '--eval-every', '2')
        self.wait_rows(2, child)
        time.sleep(0.1)
        self.stop(child)
        self.assertEqual(self.checkpoints(), ['step-00000001.safetensors', 'step-00000002.safetensors'])
        self.assertEqual(self.read('o', 'eval.csv').count(b'\n'), 1)

    def test_in_the_last_evaluation(self):
        """All updates are made, but the run is not complete; it goes on with what is missing."""
        self.write('t.txt', words(400000))
        options = SMALL + ['--seq', '2', '--batch', '1', '--steps', '4', '--out', 'o', '--save', 's', '--export', 'm']
        child = self.start(*options, '--eval-batches', '1000000')
        self.wait_rows(4, child)
        time.sleep(0.1)
        self.stop(child)
        out, _ = self.good(*options, '--resume', 'auto')
        self.assertIn('validation loss', out)
        self.assertEqual(len(self.rows()), 4)

    def test_in_a_sample(self):
        child = self.start('--steps', '2', '--sample', '1000000', '--out', 'o')
        self.wait_rows(2, child)
        time.sleep(0.3)
        child.send_signal(signal.SIGTERM)
        status, out, err = self.finish(child, 30)
        self.assertEqual(status, DONE, err)  # the run is complete
        self.assertIn('In the beginning', out)

    def test_while_it_starts(self):
        with open(self.path('huge.txt'), 'wb') as f:
            f.truncate(1 << 38)
        child = self.start('--data', 'huge.txt', '--steps', '2', '--out', 'o', '--save', 's')
        self.wait_for(lambda: os.path.exists(self.path('o', 'pretrain.lock')), child)
        time.sleep(0.2)
        self.stop(child)

    def test_while_the_text_is_made(self):
        self.write('bin/bible', b'#!/bin/sh\nexec sleep 1000\n')
        os.chmod(self.path('bin/bible'), 0o755)
        child = self.start('--out', 'o', data=None, env={'PATH': self.path('bin') + ':' + os.environ['PATH']})
        self.wait_for(lambda: os.path.exists(self.path('o', 'kjv.txt.partial')), child)
        self.stop(child)
        self.assertFalse(os.path.exists(self.path('o', 'kjv.txt.partial')))

    def test_without_checkpoints(self):
        child = self.start(*MANY, '--out', 'o')
        self.wait_rows(3, child)
        _, err = self.stop(child)
        self.assertIn('--save was not given', err)

    def test_export_is_written(self):
        child = self.start(*MANY, '--out', 'o', '--export', 'm')
        self.wait_rows(3, child)
        self.stop(child)
        self.assertTrue(os.path.exists(self.path('m', 'model.safetensors')))

    def test_checkpoint_that_fails(self):
        """Nothing was saved: that is a failure, not a stop."""
        child = self.start_endless()
        os.rename(self.path('s'), self.path('moved'))
        self.write('s', b'a file')
        child.send_signal(signal.SIGTERM)
        status, _, err = self.finish(child, 30)
        self.assertEqual(status, 1, err)

    # ---- signals that are meant otherwise ----

    def test_nohup(self):
        child = self.start_endless(preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
        child.send_signal(signal.SIGHUP)
        time.sleep(0.5)
        self.assertIsNone(child.poll())
        self.stop(child)

    def test_ignored_or_blocked_by_the_parent(self):
        """As a shell ignores INT for what runs behind it, and as some launchers block what they handle."""
        for number in (signal.SIGINT, signal.SIGTERM):
            def prepare(n=number):
                signal.signal(n, signal.SIG_IGN)
                signal.pthread_sigmask(signal.SIG_BLOCK, {n, signal.SIGUSR1})
            self.stop(self.start_endless('s%d' % number, preexec_fn=prepare), number)
        self.stop(self.start_endless(preexec_fn=prepare), signal.SIGUSR1)

    def test_twice_at_once(self):
        """`timeout` signals the program and then its group: the second one is the same."""
        child = self.start_endless()
        child.send_signal(signal.SIGTERM)
        child.send_signal(signal.SIGTERM)
        self.assertEqual(self.finish(child, 30)[0], STOPPED)
        self.assertEqual(len(self.checkpoints()), 1)
        status, _, err = self.finish(self.start(*ENDLESS, '--save', 'z', '--out', 'o',
                                                program=['timeout', '2', self.started[0].args[0]]), 60)
        self.assertEqual(status, 124, err)
        self.assertEqual(len(self.checkpoints('z')), 1)

    def test_hangup_repeats(self):
        """A shell passes on the hang-up that the system has sent already; XCPU comes each second."""
        child = self.start_endless()
        for _ in range(4):
            child.send_signal(signal.SIGHUP)
            child.send_signal(signal.SIGXCPU)
        self.assertEqual(self.finish(child, 30)[0], STOPPED)
        self.assertEqual(len(self.checkpoints()), 1)

    def test_second_signal(self):
        """It does not wait for the micro-batch."""
        self.write('t.txt', words(1000000))
        with open(self.path('log'), 'wb') as log:
            child = self.start('--seq', '24000', '--batch', '1', '--steps', '5', '--out', 'o', stderr=log)
        self.wait_for(lambda: b'memory' in self.read('log'), child)
        time.sleep(0.3)
        child.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        self.assertIsNone(child.poll(), 'a micro-batch is over too soon for this test')
        child.send_signal(signal.SIGTERM)
        self.assertEqual(self.finish(child, 10)[0], -signal.SIGTERM)

    # ---- nobody reads ----

    def test_closed_pipe(self):
        for ignored in (False, True):  # systemd starts services with SIGPIPE ignored
            with self.subTest(ignored=ignored):
                save = 's%d' % ignored
                child = self.start_endless(save, restore_signals=not ignored)
                child.stdout.close() if ignored else child.stderr.close()
                self.assertEqual(child.wait(30), STOPPED)
                self.assertEqual(len(self.checkpoints(save)), 1)

    def test_pipe_of_a_sample(self):
        child = self.start('--steps', '2', '--sample', '1000000', '--out', 'o')
        self.wait_rows(2, child)
        child.stdout.close()
        self.assertNotEqual(child.wait(30), DONE)  # what it printed was lost

    def test_terminal_goes_away(self):
        import pty
        master, slave = pty.openpty()

        def prepare():
            import fcntl
            import termios
            os.setsid()
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        child = self.start(*MANY, '--out', 'o', '--save', 's', stdout=slave, stderr=slave, preexec_fn=prepare)
        os.close(slave)
        self.wait_rows(3, child)
        os.close(master)
        self.assertEqual(child.wait(PATIENCE), STOPPED)
        self.assertEqual(len(self.checkpoints()), 1)
