"""study.py PROGRAM FOLDER RUNS RESULTS [--quick] [--jobs N]: do what runs are missing, one line of RUNS for each.

Stop it at any time: a run that was under way goes on from its last checkpoint. A line of RUNS is a JSON object; lines of
several machines may be put together. In the end RESULTS is written from them.
"""

import argparse
import csv
import fcntl
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback

import arms
import downstream
import fetch
import plan
import report
import spectrum

HERE = os.path.dirname(os.path.abspath(__file__))
SPECTRUM_SEED = 2
FOREIGN = OSError, subprocess.SubprocessError  # failures whose own sentence says enough: a full disk, a program that is not there
KEYS = ('tokens_per_s', 'trained', 'parameters', 'moments_bytes', 'peak_mb', 'accuracy')


def append(path, run):
    """In place of a last line that a kill or a full disk has cut short. Studies of other folders may write to the same file."""
    with open(path, 'ab+') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        short = len(file.read().rpartition(b'\n')[2])
        file.truncate(file.tell() - short)
        file.write(json.dumps(run, separators=(',', ':')).encode() + b'\n')


# ---- one run ----

def processor():
    with open('/proc/cpuinfo') as file:
        for line in file:
            if line.startswith('model name'):
                return line.split(':', 1)[1].strip()
    return platform.machine()


def curves(out, bin_size):
    """Validation losses, and means of `bin_size` training losses."""
    with open(os.path.join(out, 'eval.csv')) as file:
        evaluations = [[int(row['step']), float(row['val_loss'])] for row in csv.DictReader(file)]
    with open(os.path.join(out, 'train.csv')) as file:
        losses = [float(row['loss']) for row in csv.DictReader(file)]
    bins = [losses[i:i + bin_size] for i in range(0, len(losses), bin_size)]
    return evaluations, [round(sum(part) / len(part), 4) for part in bins]


def record(run, out, version, seconds, usage, status):
    """The line of a run that has ended. One that died has no loss. One that was resumed has no times."""
    line = dict(run.line, tokens=run.tokens, val_loss=None)
    if status == 0:
        with open(os.path.join(out, 'summary.txt')) as file:
            summary = dict(word.split('=') for word in file.read().split())
        line['val_loss'] = float(summary['val_loss'])
        if os.path.exists(os.path.join(out, 'eval.csv')):
            evaluations, losses = curves(out, run.bin)
            line.update(val_loss=evaluations[-1][1], updates=evaluations[-1][0], eval=evaluations, train=losses, bin=run.bin)
        line.update((key, float(summary[key]) if '.' in summary[key] else int(summary[key])) for key in KEYS if key in summary)
    if seconds:
        line.update(seconds=round(seconds, 1), cpu_seconds=round(usage.ru_utime + usage.ru_stime, 2))
    line.update(load=round(os.getloadavg()[0], 1), processor=processor(), version=version, options=run.options)
    return line


def add_spectrum(run, folder, line):
    first = os.path.join(folder, 'save', 'step-%08d.safetensors' % run.save_every)
    last = os.path.join(folder, 'model', 'model.safetensors')
    if line['seed'] == SPECTRUM_SEED and line['part'] != 'downstream' and line['arm'] in arms.SPECTRUM and os.path.exists(last):
        line['spectrum'] = spectrum.of_update(first, last)


def need(program):
    if not shutil.which(program):
        sys.exit('study: there is no %s; `make deps` installs it' % program)


def make_bible(path):
    if not os.path.exists(path):
        need('bible')
        with open(path + '.new', 'wb') as file:
            subprocess.run(['bible', '-f', 'gen1:1-rev22:21'], stdout=file, check=True)
        os.rename(path + '.new', path)


class Study:
    def __init__(self, program, folder, path, stages, jobs):
        self.program, self.folder, self.path, self.stages, self.jobs = program, folder, path, stages, jobs
        self.version = subprocess.run([program, '--version'], capture_output=True, text=True, check=True).stdout.split('\n')[0]
        self.running, self.failed, self.children = set(), set(), set()
        self.lock, self.stopping = threading.Lock(), False

    def next(self):
        with self.lock:
            done = plan.read(self.path)
            runs, tokens = plan.missing(self.stages, done, {'downstream': downstream.runs(done, self.folder)})
            runs = [run for run in runs if run.options not in self.running | self.failed and self.has_text(run)]
            if self.stopping or not runs:
                return None, bool(self.running) and not self.stopping
            self.say(runs[0], done, tokens)
            self.running.add(runs[0].options)
            return runs[0], True

    def has_text(self, run):
        return os.path.exists(os.path.join(self.folder, run.options.split()[1]))

    def say(self, run, done, tokens):
        """With an estimate from the runs of this processor."""
        known = [line for line in done.values() if line['processor'] == processor() and line.get('seconds')]  # a run may be over before the clock says so
        left = 'nothing is known yet of the time it takes'
        if known:
            speed = self.jobs * sum(line['tokens'] for line in known) / sum(line['seconds'] for line in known)
            left = ', '.join('%s %.1f h' % (part, count / speed / 3600) for part, count in tokens.items() if count)
        print('%s %d runs recorded; left at the speed so far: %s; now %s' % (time.strftime('%H:%M'), len(done), left, run.name), flush=True)

    def command(self, run):
        words = run.options.split()
        if words[0] == 'bag':
            return [sys.executable, os.path.join(HERE, 'bag.py'), *words[1:], run.name + '/out']
        return [self.program, *words, '--threads', '1', '--sample', '0', '--out', run.name + '/out', '--save', run.name + '/save',
                '--save-every', str(run.save_every), '--keep', '0', '--resume', 'auto',
                *(() if '--classify' in words else ('--export', run.name + '/model'))]

    def held_out(self, run):
        """The loss of the trained model on the same 2 MB for nets of all sizes. Batches grow with the size, so 40 of them do not
        see the same text. The program cannot but train: an update of no size."""
        out = os.path.join(run.name, 'held-out')
        words = ['--data', run.options.split()[1], '--init', run.name + '/model', '--method', 'full', '--steps', '1', '--lr', '1e-30',
                 '--batch', '16', '--seq', '256', '--eval-every', '0', '--eval-batches', '500', '--threads', '1', '--sample', '0', '--out', out]
        subprocess.run([self.program, *words], cwd=self.folder, check=True, capture_output=True)
        with open(os.path.join(self.folder, out, 'summary.txt')) as file:
            return float(dict(word.split('=') for word in file.read().split())['val_loss'])

    def train(self, run):
        folder = os.path.join(self.folder, run.name)
        os.makedirs(folder, exist_ok=True)
        resumed = os.path.isdir(os.path.join(folder, 'save')) and os.listdir(os.path.join(folder, 'save'))
        guard = ['setpriv', '--pdeathsig', 'TERM'] if shutil.which('setpriv') else []  # ended with the study, even if that is killed
        begin = time.time()
        with open(os.path.join(folder, 'log'), 'a') as log:
            child = subprocess.Popen([*guard, *self.command(run)], cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            self.children.add(child)
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
            self.children.discard(child)
        self.finish(run, folder, None if resumed else time.time() - begin, usage, child.returncode)

    def finish(self, run, folder, seconds, usage, status):
        with open(os.path.join(folder, 'log')) as log:
            died = status == 1 and 'died' in log.read()
        if status == 0 or died:
            line = record(run, os.path.join(folder, 'out'), self.version, seconds, usage, status)
            add_spectrum(run, folder, line)
            if line['part'] == 'scaling' and not died:
                line['held_out'] = self.held_out(run)
            with self.lock:
                append(self.path, line)
            shutil.rmtree(os.path.join(folder, 'save'), ignore_errors=True)  # the trained model stays
        elif not self.stopping and status != 3:
            print('%s ended with status %d: %s/log says why' % (run.name, status, folder), file=sys.stderr, flush=True)
            self.failed.add(run.options)

    def work(self):
        while True:
            run, go_on = self.next()
            if not go_on:
                return
            if not run:
                time.sleep(2)  # what comes next depends on a run of another process
                continue
            try:
                self.train(run)
            except Exception as error:  # one run is no reason to lose the others
                reason = error if isinstance(error, FOREIGN) else traceback.format_exc()
                print('%s is not recorded: %s' % (run.name, reason), file=sys.stderr, flush=True)
                self.failed.add(run.options)
            self.running.discard(run.options)

    def stop(self):
        self.stopping = True
        for child in list(self.children):
            child.terminate()

    def everything(self):
        make_bible(os.path.join(self.folder, 'kjv.txt'))
        workers = [threading.Thread(target=self.work) for _ in range(self.jobs)]
        for worker in workers:
            worker.start()
        try:
            for worker in workers:
                worker.join()
        except KeyboardInterrupt:
            self.stop()
            for worker in workers:
                worker.join()
            print('stopped; the same command goes on', file=sys.stderr)
            return 3
        return 1 if self.failed else 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('program')
    parser.add_argument('folder')
    parser.add_argument('runs')
    parser.add_argument('results')
    parser.add_argument('--quick', action='store_true')
    parser.add_argument('--jobs', type=int, default=len(os.sched_getaffinity(0)))
    given = parser.parse_args()
    if given.jobs < 1:
        parser.error('--jobs %d: at least one process trains' % given.jobs)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    need('gnuplot')
    for folder in (given.folder, os.path.dirname(given.results) or '.'):
        os.makedirs(folder, exist_ok=True)
    open(given.runs, 'a').close()  # what cannot be written is said before anything is trained
    plan.read(given.runs)
    lock = open(os.path.join(given.folder, 'lock'), 'w')
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        sys.exit('study: another one is at work in ' + given.folder)
    stages = arms.QUICK if given.quick else arms.STAGES
    status = Study(os.path.abspath(given.program), given.folder, given.runs, stages, given.jobs).everything()
    report.main(given.runs, given.results, given.quick)
    return status


if __name__ == '__main__':
    try:
        sys.exit(main())
    except FOREIGN as error:
        sys.exit('study: %s' % error)
