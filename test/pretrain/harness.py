"""What the tests of the pretraining program share: a folder of their own, a text, the program run to its end or watched."""

import csv
import hashlib
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import tempfile
import time
import unittest

PROGRAM = None  # set by check.py
PATIENCE = 120  # seconds after which a run hangs
QUICK = ['--threads', '1', '--eval-every', '0', '--eval-batches', '1', '--sample', '0']
SMALL = QUICK + ['--method', 'full', '--seq', '32', '--batch', '2', '--rank', '8']
DONE, FAILED, USAGE, STOPPED = range(4)  # exit status


def words(size, seed=7):
    """A text of `size` bytes, the same each time."""
    r = random.Random(seed)
    vocabulary = [''.join(r.choice('etaoinshrdlu') for _ in range(r.randint(2, 8))) for _ in range(400)]
    text = ''
    while len(text) < size:
        text += ' '.join(r.choice(vocabulary) for _ in range(12)) + '.\n'
    return text[:size].encode()


def tokens16(values):
    return struct.pack('<%dH' % len(values), *values)


def tokens32(values):
    return struct.pack('<%dI' % len(values), *values)


def shard(values, wide=False):
    """The same in a file of llm.c."""
    head = struct.pack('<3i', 20240801 if wide else 20240520, 7 if wide else 1, len(values)) + bytes(253 * 4)
    return head + (tokens32 if wide else tokens16)(values)


def small_for(options):
    """A resumed run has the options of its checkpoint, and a recipe brings its method."""
    if '--resume' in options:
        return QUICK
    return [word for word in SMALL if word not in ('--method', 'full')] if '--recipe' in options else SMALL


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix='pretrain-')
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.started = []
        self.addCleanup(self.end_all)
        self.write('t.txt', words(30000))

    def end_all(self):
        for child in self.started:
            if child.poll() is None:
                child.kill()
            child.wait()
            for stream in (child.stdout, child.stderr):
                if stream:
                    stream.close()

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def write(self, name, data):
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        with open(self.path(name), 'wb') as f:
            f.write(data)

    def read(self, *names):
        with open(self.path(*names), 'rb') as f:
            return f.read()

    def start(self, *options, stdout=subprocess.PIPE, stderr=subprocess.PIPE, program=None, env=None, data='t.txt',
              **more):
        """The program with the small options, then those given, in the folder. A resumed run has those of the file."""
        named = ['--data', data] if data and '--data' not in options else []
        command = list(program or [PROGRAM]) + small_for(options) + named + list(options)
        environment = dict(os.environ, **(env or {}))
        child = subprocess.Popen(command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr,
                                 env={k: v for k, v in environment.items() if v is not None}, **more)
        self.started.append(child)
        return child

    def finish(self, child, patience=PATIENCE):
        """(exit status, stdout, stderr); a signal is a negative status."""
        out, err = child.communicate(timeout=patience)
        return child.returncode, (out or b'').decode(errors='replace'), (err or b'').decode(errors='replace')

    def run_it(self, *options, **more):
        return self.finish(self.start(*options, **more))

    def good(self, *options, **more):
        status, out, err = self.run_it(*options, **more)
        self.assertEqual(status, DONE, err)
        return out, err

    def refused(self, *options, says=(), status=FAILED, **more):
        """It ends with that status and one sentence that has each of the words."""
        got, _, err = self.run_it(*options, **more)
        sentences = [line for line in err.splitlines() if line.startswith('pretrain: ')]
        self.assertEqual(got, status, err)
        self.assertEqual(len(sentences), 1, err)
        for word in says:
            self.assertIn(word.lower(), sentences[0].lower())
        return sentences[0]

    def rows(self, out='o'):
        """train.csv without the speed."""
        try:
            with open(self.path(out, 'train.csv'), newline='') as f:
                return [[v for k, v in row.items() if k != 'tokens_per_s'] for row in csv.DictReader(f)]
        except FileNotFoundError:
            return []

    def column(self, name, out='o'):
        with open(self.path(out, 'train.csv'), newline='') as f:
            return [row[name] for row in csv.DictReader(f)]

    def wait_rows(self, count, child, out='o'):
        end = time.monotonic() + PATIENCE
        while len(self.rows(out)) < count:
            self.assertIsNone(child.poll(), 'it ended too early')
            self.assertLess(time.monotonic(), end, 'no row for too long')
            time.sleep(0.01)

    def wait_for(self, true, child):
        end = time.monotonic() + PATIENCE
        while not true():
            self.assertIsNone(child.poll(), 'it ended too early')
            self.assertLess(time.monotonic(), end, 'waited for too long')
            time.sleep(0.005)

    def checkpoints(self, folder='s'):
        if not os.path.isdir(self.path(folder)):
            return []
        return sorted(name for name in os.listdir(self.path(folder)) if name.endswith('.safetensors'))

    def metadata(self, *names):
        data = self.read(*names)
        size = struct.unpack('<Q', data[:8])[0]
        return json.loads(data[8:8 + size])['__metadata__']

    def sum_of(self, *names):
        return hashlib.sha256(self.read(*names)).hexdigest()

    def stop(self, child, number=signal.SIGTERM, patience=30):
        """Ask for an end; it must come soon, with the status of a run that is not complete."""
        child.send_signal(number)
        status, out, err = self.finish(child, patience)
        self.assertEqual(status, STOPPED, err)
        return out, err
