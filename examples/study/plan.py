"""Which runs are missing, and which learning rate is a cell's."""

import json
import os

import arms


class Run:
    def __init__(self, part, cell, rate, seed, full_rate):
        self.part, self.cell, self.rate, self.seed = part, cell, rate, seed
        self.options = arms.options(cell, rate, seed, full_rate)
        self.tokens = cell.task.steps * cell.task.batch * cell.task.seq

    def name(self):
        return '%s-%s-r%d-lr%g-s%d' % (self.cell.task.name, self.cell.arm, self.cell.rank, self.rate, self.seed)


def read(path):
    """Finished runs by their options."""
    if not os.path.exists(path):
        return {}
    with open(path) as file:
        return {run['options']: run for run in map(json.loads, file)}


def loss(run):
    """One that died has none."""
    return run['val_loss'] if run['val_loss'] is not None else float('inf')


def full_rate(cell, done):
    """The rate of the warm start: that of the full-rank arm. None while it is not known, or if there is no warm start."""
    if arms.is_full(arms.ARMS[cell.arm]):
        return None
    return rates(arms.Cell(cell.task, 'full', 0), done)[1]


def sweep(cell, done):
    warm = full_rate(cell, done)
    tried = sorted(arms.ARMS[cell.arm].rates)
    while True:
        runs = {rate: done.get(arms.options(cell, rate, 1, warm)) for rate in tried}
        missing = [rate for rate in tried if not runs[rate]]
        if missing:
            return missing, None
        best = min(tried, key=lambda rate: loss(runs[rate]))
        if len(tried) >= arms.EXTENT or tried[0] < best < tried[-1]:
            return [], best
        tried = sorted(tried + [best / 2 if best == tried[0] else best * 2])


def rates(cell, done):
    """(rates that the sweep has still to try, the best one or None while that is not known)"""
    given, task = arms.ARMS[cell.arm].rates, cell.task
    if isinstance(given, str):
        return [], rates(cell._replace(arm=given), done)[1]
    if task.scale == 0:
        return [], min(given)
    if task.scale:
        rank = cell.rank if task.shape == arms.BASE.shape else (8 if cell.rank else 0)
        best = rates(arms.Cell(arms.BASE, cell.arm, rank), done)[1]
        return [], best and best * task.scale
    if not arms.is_full(arms.ARMS[cell.arm]) and full_rate(cell, done) is None:
        return [], None
    return sweep(cell, done)


def runs_of(part, cell, seeds, done):
    """Runs of a cell that can be done now, done ones among them, and how many more will follow."""
    untried, best = rates(cell, done)
    warm = full_rate(cell, done)
    if best and (warm or arms.is_full(arms.ARMS[cell.arm])):
        return [Run(part, cell, best, seed, warm) for seed in range(1, seeds + 1)], 0
    return [Run(part, cell, rate, 1, warm) for rate in untried], seeds - 1 + (0 if untried else 3)


def missing(stages, done):
    """Runs to do now, the most decisive first, and how many tokens all that is missing has, as far as is known."""
    found, waiting = {}, {}
    for stage in stages:
        for cell in stage.cells:
            now, later = runs_of(stage.part, cell, stage.seeds, done)
            for run in now:
                if run.options not in done:
                    found.setdefault(run.options, run)
            waiting[cell] = later * cell.task.steps * cell.task.batch * cell.task.seq
    return list(found.values()), sum(run.tokens for run in found.values()) + sum(waiting.values())
