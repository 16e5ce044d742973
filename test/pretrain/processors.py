"""How many threads there are by default, and how they wait."""

import os
import shutil
import subprocess

import harness
from harness import Case

SHORT = ['--steps', '2', '--warmup', '1', '--out', 'o', '--save', 's']
LONG = ['--steps', '100000', '--out', 'o']


class Processors(Case):
    def threads(self, **more):
        shutil.rmtree(self.path('s'), ignore_errors=True)
        status, _, err = self.run_it(*SHORT, **more)
        self.assertEqual(status, 0, err)
        return int(self.metadata('s', self.checkpoints()[-1])['threads'])

    def setUp(self):
        """Without a --threads of their own."""
        super().setUp()
        self.quick, self.small = harness.QUICK, harness.SMALL
        harness.QUICK, harness.SMALL = self.quick[2:], self.small[2:]
        self.addCleanup(self.restore)
        self.processors = len(os.sched_getaffinity(0))

    def restore(self):
        harness.QUICK, harness.SMALL = self.quick, self.small

    def test_default(self):
        one = {min(os.sched_getaffinity(0))}
        self.assertLessEqual(self.threads(), self.processors)
        self.assertEqual(self.threads(preexec_fn=lambda: os.sched_setaffinity(0, one)), 1)
        for variable in ('OMP_NUM_THREADS', 'OMP_THREAD_LIMIT'):
            self.assertEqual(self.threads(env={variable: '1'}), 1)
            self.assertEqual(self.threads(env={variable: '1000'}), self.threads())
        self.assertEqual(self.threads(env={'OMP_NUM_THREADS': '1,4'}), 1)
        self.assertEqual(self.threads(env={'OMP_NUM_THREADS': 'many'}), self.threads())

    def test_too_many(self):
        one = {min(os.sched_getaffinity(0))}
        _, err = self.good(*SHORT, '--threads', '8', preexec_fn=lambda: os.sched_setaffinity(0, one))
        self.assertEqual(err.count('note: --threads is 8, but this process may use 1 processor:'), 1)
        _, err = self.good('--steps', '2', '--out', 'o', '--threads', '1')
        self.assertNotIn('processor', err)

    def environment(self, *options, **more):
        """Of the process that trains, and the process."""
        shutil.rmtree(self.path('o'), ignore_errors=True)
        child = self.start(*LONG, *options, **more)
        self.wait_rows(1, child)
        with open('/proc/%d/environ' % child.pid, 'rb') as f:
            text = f.read().decode()
        return dict(v.split('=', 1) for v in text.split('\0') if '=' in v), child

    def test_waiting_threads_sleep(self):
        env, child = self.environment('--threads', '2')
        self.assertEqual((env.get('GOMP_SPINCOUNT'), env.get('KMP_BLOCKTIME')), ('2000', '1'))
        with open('/proc/%d/cmdline' % child.pid, 'rb') as f:
            self.assertEqual(f.read().decode().split('\0')[:-1], child.args)
        with open('/proc/%d/comm' % child.pid) as f:
            self.assertEqual(f.read().strip(), 'pretrain')
        self.stop(child)

    def test_settings_of_the_user_stay(self):
        for variable, value in (('OMP_WAIT_POLICY', 'active'), ('GOMP_SPINCOUNT', '77'), ('KMP_BLOCKTIME', '33')):
            env, child = self.environment('--threads', '2', env={variable: value})
            self.assertEqual(env[variable], value)
            if variable == 'OMP_WAIT_POLICY':
                self.assertNotIn('GOMP_SPINCOUNT', env)
            self.stop(child)

    def test_started_in_odd_ways(self):
        """By the loader, under a name that says nothing, from a file that is gone, from a relative path."""
        program, folder = harness.PROGRAM, self.path('bin')
        os.mkdir(folder)
        loader = subprocess.run("ldd '%s' | grep -o '/[^ ]*ld-linux[^ ]*'" % program, shell=True, capture_output=True)
        loader = loader.stdout.decode().strip()
        if loader:
            self.good(*SHORT, '--threads', '2', program=[loader, program])
        self.good(*SHORT, '--save', 'a', '--threads', '2', program=['bash', '-c', 'exec -a "" "$0" "$@"', program])
        shutil.copy(program, folder + '/gone')
        shutil.rmtree(self.path('o'))
        child = self.start(*LONG, '--threads', '2', program=[folder + '/gone'])
        os.remove(folder + '/gone')  # before or after it starts itself again
        self.wait_rows(1, child)
        self.stop(child)
        shutil.copy(program, folder + '/near')
        self.good(*SHORT, '--save', 'b', '--threads', '2', program=['bin/near'])
