#!/usr/bin/env python3
"""The trainer of examples/train.md in Python, with nothing but the standard library."""
import os
import sys
import tempfile
from array import array

import relora

ROWS, IN, HIDDEN, OUT, STEPS, SAVED = 32, 12, 16, 4, 24, 12


class Numbers:
    """SplitMix64, as values of [-1, 1) that a float holds exactly."""

    def __init__(self):
        self.state = 1

    def next(self):
        mask = (1 << 64) - 1
        self.state = z = (self.state + 0x9E3779B97F4A7C15) & mask
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & mask
        z = (z ^ z >> 27) * 0x94D049BB133111EB & mask
        return ((z ^ z >> 31) >> 40) / 8388608 - 1

    def matrix(self, count, scale):
        return array('f', [scale * self.next() for _ in range(count)])


class Trainer:
    """Everything of one run. W is ours, and the layers write into it."""

    def __init__(self, log=None):
        self.context = context = relora.Context(log=log, log_level=relora.LOG_ERROR)
        cpu = context.cpu
        self.stream = relora.Stream(cpu)
        draw = Numbers()
        self.w = draw.matrix(HIDDEN * IN, 0.5), draw.matrix(OUT * HIDDEN, 0.5)
        given, teacher = draw.matrix(ROWS * IN, 1), draw.matrix(OUT * IN, 1)
        self.wanted = array('f')
        for r in range(ROWS):
            for o in range(OUT):
                total = 0.0
                for i in range(IN):
                    total += given[r * IN + i] * teacher[o * IN + i]
                self.wanted.append(total)
        self.x = relora.Tensor.borrow(cpu, given, (ROWS, IN))
        self.h, self.dh = relora.Tensor(cpu, (ROWS, HIDDEN)), relora.Tensor(cpu, (ROWS, HIDDEN))
        self.y, self.dy = relora.Tensor(cpu, (ROWS, OUT)), relora.Tensor(cpu, (ROWS, OUT))
        self.layers = [
            relora.Linear(cpu, in_features=i, out_features=o, flags=relora.LINEAR_BIAS, rank=2, alpha=4, seed=7,
                          layer=number, dropout=0.1 if number == 1 else 0)
            for i, o, number in ((IN, HIDDEN, 1), (HIDDEN, OUT, 2))]
        self.adam = relora.Adam(cpu, beta2=0.99, max_norm=1)
        self.rate = relora.Schedule(context, lr=0.05, total_steps=STEPS, warmup_steps=2, restart_warmup_steps=2,
                                    restart_every=8)
        self.cycle = relora.Cycle(context, self.adam, {'ratio': 0.9}, merge_every=8)
        self.state = relora.State(context)
        for layer, w, shape, name in zip(self.layers, self.w, ((HIDDEN, IN), (OUT, HIDDEN)), ('first', 'second')):
            layer.set_weight(relora.Tensor.borrow(cpu, w, shape))
            self.adam.add_linear(name, layer)
            self.cycle.add(layer)
            self.state.add(name, layer)
        for name, part in (('adam', self.adam), ('rate', self.rate), ('cycle', self.cycle)):
            self.state.add(name, part)

    def forward(self, call, flags):
        """Both layers with max(0, h) between them; dy gets the gradient of the loss."""
        first, second = self.layers
        first.forward(self.stream, self.x, self.h, call, flags)
        h = self.h.view()
        for i, v in enumerate(h):
            h[i] = max(v, 0.0)
        second.forward(self.stream, self.h, self.y, call, flags)
        loss, dy = 0.0, self.dy.view()
        for i, (out, wanted) in enumerate(zip(self.y.view(), self.wanted)):
            e = out - wanted
            loss += e * e / (2 * ROWS)
            dy[i] = e / ROWS
        return loss

    def backward(self, call):
        first, second = self.layers
        second.backward(self.stream, self.h, self.dy, self.dh, call, relora.TRAIN | relora.OVERWRITE)
        dh = self.dh.view()
        for i, v in enumerate(self.h.view()):
            if v <= 0:
                dh[i] = 0.0
        first.backward(self.stream, self.x, self.dh, None, call, relora.TRAIN | relora.OVERWRITE)

    def train(self, start, path, say=None):
        for step in range(start, STEPS):
            if step == SAVED and say:
                self.state.set('step', str(step))
                self.state.save(self.stream, path)
            loss, lr = self.forward(step, relora.TRAIN), self.rate.lr(step)
            self.backward(step)
            self.adam.step(self.stream, lr)
            r = self.cycle.advance(self.stream, step + 1)
            if say and step % 4 == 0:
                say.write('step %2d  loss %.5f  rate %.5f\n' % (step, loss, lr))
            if say and r.events:
                say.write('restart after %d: %d layers, |dW| %.4f, %d moments kept\n' % (
                    step + 1, r.merge.layers, r.merge.delta_norm, r.reset.elements - r.reset.zeroed_first))
        self.cycle.finish(self.stream, STEPS)


def run(say):
    path = os.path.join(tempfile.gettempdir(), 'relora-train-python-%d.safetensors' % os.getpid())
    lines = []
    whole = Trainer(lambda level, line: lines.append(line))
    whole.train(0, path, say)
    say.write('trained: loss %.5f\n' % whole.forward(STEPS, 0))

    resumed = Trainer()
    with relora.Reader(resumed.context, path) as file:
        resumed.state.load(resumed.stream, file)
        resumed.train(int(file.metadata['step']), path)
    os.remove(path)
    say.write('resumed: loss %.5f, %s weights\n' % (
        resumed.forward(STEPS, 0), 'the same' if whole.w == resumed.w else 'other'))

    try:
        whole.layers[1].forward(whole.stream, whole.x, whole.y, 0)
    except relora.Error as e:
        say.write('%s: %s\n' % (e.name, e))
    say.write('%d line in the log\n' % len(lines))


if __name__ == '__main__':
    run(sys.stdout)
