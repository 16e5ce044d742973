"""What the recorded runs say: cells with their runs, and paired differences with standard errors."""

import math
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
        self.done, self.task = done, stages[0].cells[0].task
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
        lines = {run.seed: self.done.get(run.options) for run in runs}
        return {seed: line for seed, line in lines.items() if line and line['val_loss'] is not None}

    def get(self, arm, rank=0, task=None):
        return self.cells.get(arms.Cell(task or self.task, arm, rank), {})

    def swept(self, cell):
        """{rate: loss} of seed 1, whatever has been tried so far."""
        if isinstance(arms.ARMS[cell.arm].rates, str):
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
