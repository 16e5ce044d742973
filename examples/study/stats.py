"""What the recorded runs say: cells with their runs, and paired differences with standard errors."""

import math
import random
from collections import namedtuple

import arms
import plan

Mean = namedtuple('Mean', 'value error count')  # error: of the mean, None for less than two


def mean(values):
    values = list(values)
    n = len(values)
    if not n:
        return None
    value = sum(values) / n
    return Mean(value, math.sqrt(sum((x - value) ** 2 for x in values) / (n - 1) / n) if n > 1 else None, n)


class Record:
    """All recorded runs, looked at by cell."""

    def __init__(self, done, stages):
        self.done, self.stages, self.task = done, stages, stages[0].cells[0].task
        self.cells = {}  # cell: {seed: line}, at the best learning rate
        self.parts, self.seeds = {}, {}
        for stage in stages:
            for cell in stage.cells:
                self.parts.setdefault(cell, stage.part)
                self.seeds[cell] = max(stage.seeds, self.seeds.get(cell, 0))
        for cell, seeds in self.seeds.items():
            self.cells[cell] = self.find(cell, seeds)

    def find(self, cell, seeds):
        if not plan.rates(cell, self.done)[1]:
            return {}
        runs, _ = plan.runs_of('', cell, seeds, self.done)
        lines = {run.line['seed']: self.done.get(run.options) for run in runs}
        return {seed: line for seed, line in lines.items() if line and line['val_loss'] is not None}

    def get(self, arm, rank=0, task=None):
        return self.cells.get(arms.Cell(task or self.task, arm, rank), {})

    def swept(self, cell):
        """{rate: loss} of seed 1, whatever has been tried so far."""
        if isinstance(arms.ARMS[cell.arm].rates[0], str):
            return {}
        warm, found = plan.full_rate(cell, self.done), {}
        first = min(arms.ARMS[cell.arm].rates)
        for power in range(-arms.EXTENT, arms.EXTENT + 1):
            rate = first * 2.0 ** power
            line = warm is None and not arms.is_full(arms.ARMS[cell.arm]) or self.done.get(arms.options(cell, rate, 1, warm))
            if isinstance(line, dict):
                found[rate] = line['val_loss']
        return found

    def missing(self):
        """(part, arm, rank, task, runs recorded, seeds wanted) of what is not complete."""
        for cell, seeds in self.seeds.items():
            if len(self.cells[cell]) < seeds:
                yield self.parts[cell], cell, len(self.cells[cell]), seeds


def difference(runs, others, key='val_loss'):
    """Of the runs with the same seeds."""
    return mean(runs[seed][key] - others[seed][key] for seed in runs if seed in others)


def fit_power_law(points):
    """E, a, b of L = E + a N^-b: for each b the rest is a line, so b is searched. None if nothing fits."""
    best = None
    for step in range(1, 120):
        b = step / 100
        xs, ys = [n ** -b for n, _ in points], [loss for _, loss in points]
        x, y = sum(xs) / len(xs), sum(ys) / len(ys)
        spread = sum((value - x) ** 2 for value in xs)
        if not spread:
            return None
        a = sum((p - x) * (q - y) for p, q in zip(xs, ys)) / spread
        e = y - a * x
        error = sum((e + a * p - q) ** 2 for p, q in zip(xs, ys))
        if a > 0 and e > 0 and (best is None or error < best[0]):
            best = error, (e, a, b)
    return best and best[1]


def power_law(points, times=300):
    """(value, 5 %, 95 %) of E, a and b; the bands are of fits to points drawn again with replacement. Needs five sizes."""
    law, drawn = fit_power_law(points) if len(points) >= 5 else None, random.Random(1)
    if not law:
        return None
    fits = []
    while len(fits) < times:
        again = [drawn.choice(points) for _ in points]
        fit = len(set(again)) > 3 and fit_power_law(again)
        if fit:
            fits.append(fit)
    columns = [sorted(column) for column in zip(*fits)]
    return [(value, column[times // 20], column[-1 - times // 20]) for value, column in zip(law, columns)]
