#!/usr/bin/env python3
"""slow_link.py PROGRAM [--megabits 100] [--milliseconds 20] [--runs 1 2:every 2:restart ...] [-- OPTION...]

The pretraining program with its processes behind slow links, on one machine, as root: docs/many.md has the results. Each
process is in a network namespace of its own, whose only way out is a tun device. A thread here carries the packets: each
namespace sends and receives at so many megabits per second, and what it sends takes so many milliseconds to arrive. (The
kernels of small virtual machines often lack netem.) Open MPI starts the processes as it does on several machines, but for
a script in place of ssh. Options after -- are the program's. --out keeps what the runs write, for another look.

Not a part of make check: it needs root, /dev/net/tun, iproute2 and Open MPI, and takes as long as the runs do."""

import argparse
import csv
import ctypes
import fcntl
import heapq
import os
import re
import select
import struct
import subprocess
import sys
import tempfile
import threading
import time

TUNSETIFF, IFF_TUN, IFF_NO_PI, CLONE_NEWNET = 0x400454ca, 1, 0x1000, 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)
MTU = 9000


def ip(*words):
    subprocess.run(('ip',) + words, check=True)


def enter(path):
    """The network namespace of the calling thread."""
    with open(path, encoding='ascii') as f:
        if LIBC.setns(f.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), 'setns')


class Links:
    """Namespaces with one address each, and the thread that carries what they send."""

    def __init__(self, count, megabits, milliseconds):
        self.names = ['relora-%d-%d' % (os.getpid(), i) for i in range(count)]
        self.seconds_per_byte, self.delay = 8e-6 / megabits, milliseconds * 1e-3
        self.tuns, self.sent = [], [0] * count
        self.ending = False
        for i, name in enumerate(self.names):
            ip('netns', 'add', name)
            self.tuns.append(self.open_tun(name))
            for words in (('link', 'set', 'lo', 'up'), ('addr', 'add', self.address(i) + '/24', 'dev', 'slow0'),
                          ('link', 'set', 'slow0', 'mtu', str(MTU), 'up')):
                ip('-n', name, *words)
        self.thread = threading.Thread(target=self.carry)
        self.thread.start()

    @staticmethod
    def address(i):
        return '10.9.0.%d' % (i + 1)

    @staticmethod
    def open_tun(name):
        enter('/var/run/netns/' + name)
        try:
            tun = os.open('/dev/net/tun', os.O_RDWR | os.O_NONBLOCK)
            fcntl.ioctl(tun, TUNSETIFF, struct.pack('16sH', b'slow0', IFF_TUN | IFF_NO_PI))
            return tun
        finally:
            enter('/proc/%d/ns/net' % os.getpid())

    def carry(self):
        """A line is free again when its packet has gone; one that is far behind takes no more from its namespace."""
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(40))  # of this thread: a network does not wait for processors
        count = len(self.tuns)
        out, into, waiting, number = [0.0] * count, [0.0] * count, [], 0
        while not self.ending:
            now = time.monotonic()
            ready = [t for i, t in enumerate(self.tuns) if out[i] < now + 0.01]
            soonest = min([waiting[0][0]] if waiting else [] + [o - 0.01 for o in out if o >= now + 0.01], default=now + 0.1)
            for tun in select.select(ready, [], [], min(0.1, max(0.0, soonest - now)))[0]:
                i = self.tuns.index(tun)
                packet = os.read(tun, MTU + 100)
                to = packet[19] - 1 if packet[0] >> 4 == 4 and packet[16:19] == bytes((10, 9, 0)) else -1
                if not 0 <= to < count:
                    continue  # IPv6 looks for neighbours
                now = time.monotonic()
                self.sent[i] += len(packet)
                out[i] = max(now, out[i]) + len(packet) * self.seconds_per_byte
                into[to] = max(out[i] + self.delay, into[to] + len(packet) * self.seconds_per_byte)
                number += 1
                heapq.heappush(waiting, (into[to], number, to, packet))
            now = time.monotonic()
            while waiting and waiting[0][0] <= now:
                _, _, to, packet = heapq.heappop(waiting)
                os.write(self.tuns[to], packet)

    def close(self):
        self.ending = True
        self.thread.join()
        for tun, name in zip(self.tuns, self.names):
            os.close(tun)
            ip('netns', 'del', name)

    def launch(self, folder, command):
        """`command` in each namespace; mpirun is in the first one."""
        agent = os.path.join(folder, 'agent')
        hosts = ' '.join('%s) name=%s ;;' % (self.address(i), name) for i, name in enumerate(self.names))
        with open(agent, 'w', encoding='ascii') as f:
            f.write('#!/bin/sh\ncase $1 in %s esac\nshift\nexec ip netns exec $name unshare -u sh -c "hostname $name; $*"\n'
                    % hosts)
        os.chmod(agent, 0o755)
        mca = {'plm_rsh_agent': agent, 'plm_rsh_no_tree_spawn': '1', 'btl': 'tcp,self', 'btl_tcp_if_include': 'slow0',
               'oob_tcp_if_include': 'slow0', 'pml': 'ob1', 'mpi_yield_when_idle': '1'}
        words = [w for k, v in mca.items() for w in ('--mca', k, v)]
        mpirun = ['mpirun', '--allow-run-as-root', '--bind-to', 'none', '--map-by', 'node', '-n', str(len(self.names)),
                  '--host', ','.join(self.address(i) for i in range(len(self.names)))]
        return subprocess.run(['ip', 'netns', 'exec', self.names[0], 'unshare', '-u', 'sh', '-c',
                               'hostname %s; exec "$@"' % self.names[0], 'sh'] + mpirun + words + command,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)


def rows_of(out, name):
    with open(os.path.join(out, name), encoding='utf-8') as f:
        return list(csv.DictReader(f))


def steps_to(rows, loss):
    """Updates until the validation loss is that low, between two evaluations; None if it never is."""
    before = None
    for row in rows:
        now = float(row['step']), float(row['val_loss'])
        if now[1] <= loss:
            return now[0] if before is None else before[0] + (now[0] - before[0]) * (before[1] - loss) / (before[1] - now[1])
        before = now
    return None


def run(o, what, folder):
    """One run, and its row of the table."""
    count, _, sync = what.partition(':')
    out = os.path.join(o.out or folder, what.replace(':', '-'))
    command = [os.path.abspath(o.program), '--out', out, '--threads', '1', '--sample', '0'] + o.options
    if sync:
        command += ['--sync', sync]
    links = Links(int(count), o.megabits, o.milliseconds)
    begin = time.monotonic()
    try:
        done = links.launch(folder, command)
    finally:
        links.close()
    seconds = time.monotonic() - begin
    if done.returncode:
        sys.exit('%s:\n%s' % (what, done.stdout))
    steps, evaluations = rows_of(out, 'train.csv'), rows_of(out, 'eval.csv')
    tokens = int(re.search(r'updates of (\d+) tokens', done.stdout).group(1))
    spent = sum(tokens / float(row['tokens_per_s']) for row in steps) / len(steps)
    needed = steps_to(evaluations, o.loss) if o.loss else None
    print('| %s | %s | %d | %.0f | %.3f | %.3f | %.4f | %s |' % (
        count, {'every': 'each update', 'restart': 'merges alone'}.get(sync, '-'), len(steps), seconds, spent,
        sum(links.sent) / len(links.sent) / len(steps) / 1e6, float(evaluations[-1]['val_loss']),
        '%.0f' % (needed * tokens / 1000) if needed else '-'), flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('program')
    parser.add_argument('--megabits', type=float, default=100)
    parser.add_argument('--milliseconds', type=float, default=20)
    parser.add_argument('--runs', nargs='+', default=['1', '2:every', '2:restart', '4:every', '4:restart'])
    parser.add_argument('--loss', type=float)
    parser.add_argument('--out')
    own, _, theirs = ' '.join(sys.argv[1:]).partition(' -- ')
    o = parser.parse_args(own.split())
    o.options = theirs.split()
    with tempfile.TemporaryDirectory(prefix='slow-link-') as folder:
        print('| workers | exchange | updates | seconds | of an update | MB sent by each in an update | loss | 1000 tokens to %s |' % o.loss)
        print('|---|---|---|---|---|---|---|---|')
        for what in o.runs:
            run(o, what, folder)


main()
