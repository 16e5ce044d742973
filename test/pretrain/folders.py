"""Folders that runs share: at once, one after the other, one inside the other, and gone."""

import json
import os
import resource
import shutil
import subprocess
import time

from harness import FAILED, Case

LONG = ['--steps', '100000', '--save-every', '0']
SHORT = ['--steps', '3', '--warmup', '1']
NO_LOCK = r'''
#include <errno.h>
#include <stdlib.h>
int flock(int file, int how) { (void)file; (void)how; errno = atoi(getenv("FLOCK_ERROR")); return -1; }
'''

NOT_OURS = r'''
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
int open(const char *path, int flags, ...)
{
    int (*real)(const char *, int, ...) = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open");
    va_list more;
    va_start(more, flags);
    int mode = flags & O_CREAT ? va_arg(more, int) : 0;
    va_end(more);
    if (strstr(path, "pretrain.lock") && (flags & O_ACCMODE) != O_RDONLY) { errno = EACCES; return -1; }
    return real(path, flags, mode);
}
'''
NO_FLUSH = r'''
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <sys/stat.h>
int fsync(int file)
{
    struct stat status;
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    if (fstat(file, &status) == 0 && S_ISDIR(status.st_mode)) { errno = EIO; return -1; }
    return real(file);
}
'''
NOT_REMOVED = r'''
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <string.h>
int unlink(const char *path)
{
    int (*real)(const char *) = (int (*)(const char *))dlsym(RTLD_NEXT, "unlink");
    if (strstr(path, "step-")) { errno = EPERM; return -1; }
    return real(path);
}
'''


class AtOnce(Case):
    def test_second_is_refused(self):
        """By the folder of metrics, of checkpoints, of the export; whatever the second one calls it."""
        first = self.start(*LONG, '--out', 'a', '--save', 'b', '--export', 'c')
        self.wait_rows(1, first, 'a')
        os.symlink('b', self.path('link'))
        before = self.read('a', 'train.csv')
        for options in (['--out', 'a'], ['--out', 'b'], ['--out', 'c'], ['--out', 'x', '--save', 'a'],
                        ['--out', 'x', '--save', 'b'], ['--out', 'x', '--export', 'c'], ['--out', './a/../link'],
                        ['--out', self.path('a')], ['--out', 'a', '--save', 'x', '--resume', 'auto']):
            self.refused(*SHORT, *options, says=['another run', 'process %d' % first.pid])
        self.assertTrue(self.read('a', 'train.csv').startswith(before))
        self.stop(first)
        self.good(*SHORT, '--out', 'a', '--save', 'x', '--export', 'c')

    def test_started_together(self):
        """Of many that start at the same moment exactly one runs."""
        children = [self.start(*LONG, '--seed', str(i), '--out', 'o', '--save', 's') for i in range(8)]
        end = time.monotonic() + 60
        while sum(c.poll() is None for c in children) > 1 and time.monotonic() < end:
            time.sleep(0.05)
        running = [c for c in children if c.poll() is None]
        self.assertEqual(len(running), 1)
        self.assertEqual({c.returncode for c in children} - {None}, {FAILED})
        self.wait_rows(5, running[0])
        self.stop(running[0])
        self.assertTrue(all(len(line.split(b',')) == 8 for line in self.read('o', 'train.csv').splitlines()))
        self.assertEqual(len(self.checkpoints()), 1)

    def test_killed_run_holds_nothing(self):
        first = self.start(*LONG, '--out', 'o', '--save', 's')
        self.wait_rows(1, first)
        first.kill()
        first.wait()
        self.good(*SHORT, '--out', 'o', '--save', 's')
        self.assertFalse(os.path.exists(self.path('o', 'pretrain.lock')))
        self.assertFalse(os.path.exists(self.path('s', 'pretrain.lock')))

    def test_file_system_without_locks(self):
        self.write('lock.c', NO_LOCK.encode())
        subprocess.run(['cc', '-shared', '-fPIC', 'lock.c', '-o', 'lock.so'], cwd=self.folder, check=True)
        import errno
        for error in ('ENOLCK', 'EBADF', 'EINVAL', 'ENOSYS', 'EOPNOTSUPP', 'EIO'):
            _, err = self.good(*SHORT, '--out', 'o' + error, '--save', 'o%s/s' % error, env={'LD_PRELOAD': self.path('lock.so'), 'ASAN_OPTIONS': 'verify_asan_link_order=0',
                                                                       'FLOCK_ERROR': str(getattr(errno, error))})
            self.assertIn('cannot be locked', err)
            self.assertEqual(len(self.rows('o' + error)), 3)
            self.assertEqual(len(self.checkpoints('o%s/s' % error)), 3)


    def test_in_place_but_not_flushed(self):
        """That is said, and is no failure."""
        self.write('flush.c', NO_FLUSH.encode())
        subprocess.run(['cc', '-shared', '-fPIC', 'flush.c', '-o', 'flush.so', '-ldl'], cwd=self.folder, check=True)
        _, err = self.good(*SHORT, '--save-every', '1', '--out', 'o', '--save', 's',
                           env={'LD_PRELOAD': self.path('flush.so'), 'ASAN_OPTIONS': 'verify_asan_link_order=0'})
        notes = [line for line in err.splitlines() if line.startswith('note: ') and 'fsync' in line]
        self.assertEqual(len(notes), 1, err)
        self.assertIn('in place', notes[0])
        self.assertEqual(len(self.checkpoints()), 3)

    def test_old_checkpoints_that_stay(self):
        """They fill the disk, which is said once."""
        self.write('unlink.c', NOT_REMOVED.encode())
        subprocess.run(['cc', '-shared', '-fPIC', 'unlink.c', '-o', 'unlink.so', '-ldl'], cwd=self.folder, check=True)
        _, err = self.good('--steps', '6', '--save-every', '1', '--keep', '2', '--out', 'o', '--save', 's',
                           env={'LD_PRELOAD': self.path('unlink.so'), 'ASAN_OPTIONS': 'verify_asan_link_order=0'})
        notes = [line for line in err.splitlines() if line.startswith('note: ')]
        self.assertEqual(len(notes), 1, err)
        for word in ('s/step-00000001.safetensors', 'Operation not permitted', '--keep'):
            self.assertIn(word, notes[0])
        self.assertEqual(len(self.checkpoints()), 6)
        _, err = self.good('--steps', '7', '--resume', 's', '--keep', '2', '--out', 'o', '--save', 's')
        self.assertNotIn('note: ', err)
        self.assertEqual(len(self.checkpoints()), 2)

    def test_what_a_killed_save_leaves(self):
        """It may be all the room there is: no later save would fit."""
        run = ['--steps', '6', '--save-every', '1', '--out', 'o', '--save', 's']
        self.good(*run, '--keep', '0')
        for name in ('step-00000004.safetensors.tmp', 'step-00000005.rank-1.safetensors.tmp', 'notes.tmp'):
            self.write('s/' + name, b'half of it')
        for step in (5, 6):
            os.remove(self.path('s', 'step-%08d.safetensors' % step))
        self.refused('--resume', 's', '--keep', '2', '--save', 's', '--out', 'o', '--steps', '5', says=['not shorter'])
        self.assertEqual(len(os.listdir(self.path('s'))), 7)
        self.good('--resume', 's', '--keep', '2', '--save', 's', '--out', 'o', '--save-every', '0')
        self.assertEqual(sorted(os.listdir(self.path('s'))), ['notes.tmp', 'step-00000004.safetensors', 'step-00000006.safetensors'])
        self.write('r/step-00000009.safetensors.tmp', b'half of it')
        self.good('--steps', '2', '--save', 'r', '--out', 'p', '--save-every', '0')
        self.assertEqual(os.listdir(self.path('r')), ['step-00000002.safetensors'])

    def test_config_that_no_longer_fits(self):
        """The one that is there is that of --init, and stays as it was."""
        self.good(*SHORT, '--hidden', '16', '--ffn', '16', '--heads', '2', '--layers', '1', '--rank', '4', '--out', 'o', '--export', 'x')
        config = json.loads(self.read('x', 'config.json'))
        config['_comment'] = 200000 * 'x'
        self.write('x/config.json', json.dumps(config).encode())
        before = self.read('x', 'config.json')

        def little_room():
            resource.setrlimit(resource.RLIMIT_FSIZE, (100000, 100000))
        self.refused(*SHORT, '--rank', '4', '--init', 'x', '--export', 'x', '--out', 'p', preexec_fn=little_room,
                     says=['x/config.json', 'File too large'])
        self.assertEqual(self.read('x', 'config.json'), before)
        self.assertEqual([name for name in os.listdir(self.path('x')) if name.endswith('.tmp')], [])
        self.good(*SHORT, '--rank', '4', '--init', 'x', '--export', 'x', '--out', 'p')

    def test_lock_file_of_another_user(self):
        """A killed run left it: it cannot be written, but locked."""
        self.write('not_ours.c', NOT_OURS.encode())
        subprocess.run(['cc', '-shared', '-fPIC', 'not_ours.c', '-o', 'not_ours.so', '-ldl'], cwd=self.folder, check=True)
        env = {'LD_PRELOAD': self.path('not_ours.so'), 'ASAN_OPTIONS': 'verify_asan_link_order=0'}
        self.write('o/pretrain.lock', b'process 1 of nowhere\n')
        first = self.start(*LONG, '--out', 'o', env=env)
        self.wait_rows(1, first)
        self.refused(*SHORT, '--out', 'o', says=['another run'])
        self.stop(first)
        self.good(*SHORT, '--out', 'o')

    def test_disk_that_is_full(self):
        """Said when it happens, with the reason of that moment; and the run has failed in the end."""
        def little_room():
            resource.setrlimit(resource.RLIMIT_FSIZE, (1200, 1200))  # LLVM's OpenMP needs 1,024 before anything begins
        status, _, err = self.run_it('--steps', '40', '--out', 'o', preexec_fn=little_room)
        self.assertEqual(status, FAILED, err)
        self.assertIn('note: cannot write to o/train.csv: File too large', err)
        self.assertIn('pretrain: the metrics files in o are not complete: File too large', err)
        self.assertIn('step 40/40', err)


class OneAfterTheOther(Case):
    def test_earlier_metrics_stay(self):
        kept = []
        for seed in range(3):
            self.good(*SHORT, '--seed', str(seed), '--out', 'o')
            kept.append([self.read('o', name) for name in ('train.csv', 'eval.csv', 'summary.txt')])
        for i, files in enumerate(kept[:-1], 1):
            self.assertEqual([self.read('o', 'earlier-%d' % i, n) for n in ('train.csv', 'eval.csv', 'summary.txt')], files)
        self.assertEqual([self.read('o', n) for n in ('train.csv', 'eval.csv', 'summary.txt')], kept[-1])

    def test_default_folder(self):
        self.good(*SHORT)
        rows = self.read('out', 'train.csv')
        _, err = self.good(*SHORT)
        self.assertIn('out/earlier-1', err)
        self.assertEqual(self.read('out', 'earlier-1', 'train.csv'), rows)

    def test_files_of_others(self):
        self.write('o/train.csv', b'epoch,loss\n1,2\n')
        self.good(*SHORT, '--out', 'o')
        self.assertEqual(self.read('o', 'earlier-1', 'train.csv'), b'epoch,loss\n1,2\n')

    def test_failed_start_moves_nothing(self):
        self.good(*SHORT, '--out', 'o', '--save', 's')
        before = self.read('o', 'train.csv')
        self.refused(*SHORT, '--out', 'o', '--save', 's', says=['--resume auto'])
        self.refused(*SHORT, '--out', 'o', '--data', 'nothing.txt', says=['nothing.txt'])
        self.assertEqual(self.read('o', 'train.csv'), before)

    def test_resumed_where_another_run_was(self):
        """The rows in the folder are not those of the checkpoint's run: they are kept, and not continued."""
        options = ['--steps', '8', '--save-every', '4', '--keep', '0']
        self.good(*options, '--out', 'a', '--save', 'a/s', '--seed', '1')
        self.good(*options, '--out', 'b', '--save', 'b/s', '--seed', '2')
        other = self.read('b', 'train.csv')
        self.good('--out', 'b', '--resume', 'a/s/step-00000004.safetensors')
        self.assertEqual(self.read('b', 'earlier-1', 'train.csv'), other)
        self.assertEqual(self.rows('b'), self.rows('a')[4:])

    def test_resumed_in_its_own_folder(self):
        self.good('--steps', '8', '--save-every', '4', '--keep', '0', '--out', 'o', '--save', 's', '--eval-every', '2')
        rows, evaluations = self.rows(), self.read('o', 'eval.csv')
        self.good('--out', 'o', '--resume', 's/step-00000004.safetensors', '--eval-every', '2')
        self.assertEqual(self.rows(), rows)
        self.assertEqual(self.read('o', 'eval.csv'), evaluations)
        self.assertFalse(os.path.exists(self.path('o', 'earlier-1')))

    def with_texts(self, name, **texts):
        """A copy of step 4 with other texts; None takes one out."""
        data = self.read('s', 'step-00000004.safetensors')
        size = int.from_bytes(data[:8], 'little')
        header = json.loads(data[8:8 + size])
        header['__metadata__'].update(texts)
        header['__metadata__'] = {k: v for k, v in header['__metadata__'].items() if v is not None}
        text = json.dumps(header).encode()
        text += b' ' * (-len(text) % 8)
        self.write(name, len(text).to_bytes(8, 'little') + text + data[8 + size:])

    def test_damaged_texts(self):
        """A digit that has changed is as bad as a weight that has; of files without a sum, no number leads astray."""
        self.good('--steps', '8', '--save-every', '2', '--keep', '0', '--out', 'o', '--save', 's')
        for texts in ({'step': '5'}, {'attempts': '5'}, {'seconds': '1.0'}, {'row': None}, {'data_sum': '0'}, {'another': ''}):
            self.with_texts('x', **texts)
            self.refused('--resume', 'x', '--out', 'p', says=['x is damaged', 'texts'])
        for texts in ({'attempts': '-5'}, {'attempts': None}, {'attempts': '3'}, {'skipped': '-1'}, {'restarts': None}, {'step': '-1'}):
            self.with_texts('x', texts_sum=None, **texts)
            self.refused('--resume', 'x', '--out', 'p', says=['not a checkpoint of this program'])
        self.with_texts('x', texts_sum=None, step='9', attempts='9')
        self.refused('--resume', 'x', '--out', 'p', says=['step 9', 'a run of 8'])
        options = self.metadata('s', 'step-00000004.safetensors')['options']
        self.with_texts('x', texts_sum=None, options=options + 'of-tomorrow=1\n')
        self.refused('--resume', 'x', '--out', 'p', says=['made with --of-tomorrow'])
        self.with_texts('x', texts_sum=None)
        self.good('--resume', 'x', '--out', 'p')
        self.assertEqual(self.rows('p'), self.rows()[4:])
        self.with_texts('s/step-00000008.safetensors', step='8', attempts='8', row='8')
        _, err = self.good('--resume', 's', '--out', 'o')
        self.assertIn('s/step-00000008.safetensors is skipped', err)


class InEachOther(Case):
    def test_nested(self):
        for i, options in enumerate((['--out', '%s/run', '--save', '%s/run/ckpt', '--export', '%s/run/hf'],
                                     ['--save', '%s/run', '--out', '%s/run/logs', '--export', '%s/a/b/c'],
                                     ['--out', '%s', '--save', '%s', '--export', '%s'],
                                     ['--out', '%s/x/', '--save', './%s/x', '--export', '%s//x//y/'])):
            name = 'n%d' % i
            self.good(*SHORT, *[o % name if '%' in o else o for o in options])
            left = [f for _, _, files in os.walk(self.path(name)) for f in files]
            for file in ('train.csv', 'summary.txt', 'step-00000003.safetensors', 'config.json'):
                self.assertIn(file, left)
            self.assertNotIn('pretrain.lock', left)

    def test_link_to_nothing(self):
        os.symlink('nowhere', self.path('link'))
        self.refused(*SHORT, '--out', 'link', says=['link', 'No such file'])

    def test_what_is_no_folder(self):
        self.write('file', b'x')
        for option in ('--out', '--save', '--export'):
            self.refused(*SHORT, '--out', 'o', option, 'file', says=[option, 'file'])
            self.refused(*SHORT, '--out', 'o', option, 'file/sub', says=[option, 'file/sub'])

    def test_metrics_removed_under_the_run(self):
        options = ['--steps', '60', '--eval-every', '20']
        self.good(*options, '--out', 'whole')
        child = self.start(*options, '--accumulate', '1', '--out', 'x/o')
        self.wait_rows(5, child, 'x/o')
        shutil.rmtree(self.path('x'), ignore_errors=True)
        status, _, err = self.finish(child)
        self.assertEqual(status, 0, err)
        self.assertEqual(self.rows('x/o'), self.rows('whole'))
        self.assertEqual(self.read('x', 'o', 'eval.csv'), self.read('whole', 'eval.csv'))

    def test_removed_under_the_run(self):
        child = self.start('--steps', '100000', '--save-every', '5', '--keep', '2', '--out', 'o', '--save', 'x/s')
        self.wait_for(lambda: len(self.checkpoints('x/s')) > 0, child)
        shutil.rmtree(self.path('x'), ignore_errors=True)
        self.wait_for(lambda: len(self.checkpoints('x/s')) > 0, child)
        self.refused(*SHORT, '--out', 'p', '--save', 'x/s', says=['another run'])
        self.stop(child)
        self.assertFalse(os.path.exists(self.path('x', 's', 'pretrain.lock')))
