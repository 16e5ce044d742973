"""Which runs are missing, and which learning rate is a cell's."""

import hashlib
import json
import os
import sys

import arms

NEEDED = {'part', 'task', 'arm', 'rank', 'lr', 'seed', 'tokens', 'val_loss', 'processor', 'options'}  # of each line of the record


class Run:
    """`line`: what its line of the record says of which run it is. `save_every`: a checkpoint is made then."""

    def __init__(self, line, options, tokens, save_every, bin_size, name):
        self.line, self.options, self.tokens = line, options, tokens
        self.save_every, self.bin = save_every, bin_size
        self.name = '%s-%s' % (name, hashlib.sha256(options.encode()).hexdigest()[:6])  # of its folder, where it may be gone on with


def make(part, cell, rate, seed, warm):
    task = cell.task
    line = {'part': part, 'task': task.name, 'arm': cell.arm, 'rank': cell.rank, 'lr': rate, 'seed': seed}
    return Run(line, arms.options(cell, rate, seed, warm), task.steps * task.batch * task.seq, task.warm_start, task.bin,
               '%s-%s-r%d-lr%g-s%d' % (task.name, cell.arm, cell.rank, rate, seed))


def read(path):
    """Finished runs by their options. A last line without its end was cut short, and does not count."""
    if not os.path.exists(path):
        return {}
    with open(path) as file:
        lines = file.read().split('\n')[:-1]
    done = {}
    for number, text in enumerate(lines, 1):
        try:
            run = json.loads(text)
            if not NEEDED <= set(run):
                raise ValueError('no "%s"' % min(NEEDED - set(run)))
        except ValueError as error:
            sys.exit('study: line %d of %s is no run of this study (%s); mend or remove it' % (number, path, error))
        done[run['options']] = run
    return done


def loss(run):
    """Of the same text for every size where that is known. One that died has none."""
    return run.get('held_out', run['val_loss']) if run['val_loss'] is not None else float('inf')


def full_rate(cell, done):
    """The rate of the warm start: that of the full-rank arm. None while it is not known, or if there is no warm start."""
    if arms.is_full(arms.ARMS[cell.arm]):
        return None
    return rates(arms.Cell(cell.task, 'full', 0), done)[1]


def sweep(tried, line_of, loss):
    """From neighbouring rates outwards. `line_of`: the recorded run of a rate, or None. (rates to try next, the best or None)"""
    tried = sorted(tried)
    while True:
        lines = {rate: line_of(rate) for rate in tried}
        missing = [rate for rate in tried if not lines[rate]]
        if missing:
            return missing, None
        best = min(tried, key=lambda rate: loss(lines[rate]))
        if len(tried) >= arms.EXTENT or tried[0] < best < tried[-1]:
            return [], best
        tried = sorted(tried + [best / 2 if best == tried[0] else best * 2])


def rates(cell, done):
    """(rates that the sweep has still to try, the best one or None while that is not known)"""
    given, task = arms.ARMS[cell.arm].rates, cell.task
    if isinstance(given, str):
        return [], rates(cell._replace(arm=given), done)[1]
    if isinstance(given[0], str):
        return [], rates(cell._replace(arm=given[0], rank=given[1]), done)[1]
    if cell.rank in arms.UNSWEPT and task == arms.BASE:
        return [], rates(cell._replace(rank=8), done)[1]
    if len(given) == 1:
        return [], given[0]
    if task.rates == arms.FIRST:
        return [], min(given)
    if task.rates:
        rank = cell.rank * arms.hidden(task.rates) // arms.hidden(task)
        return [], rates(cell._replace(task=task.rates, rank=rank), done)[1]
    warm = full_rate(cell, done)
    if warm is None and not arms.is_full(arms.ARMS[cell.arm]):
        return [], None
    return sweep(given, lambda rate: done.get(arms.options(cell, rate, 1, warm)), loss)


def runs_of(part, cell, seeds, done):
    """Runs of a cell that can be done now, done ones among them, and how many more will follow."""
    untried, best = rates(cell, done)
    warm = full_rate(cell, done)
    if best and (warm or arms.is_full(arms.ARMS[cell.arm])):
        return [make(part, cell, best, seed, warm) for seed in range(1, seeds + 1)], 0
    return [make(part, cell, rate, 1, warm) for rate in untried], seeds - 1 + (0 if untried else 3)


def missing(stages, done, others):
    """Runs to do now, the most decisive first, and how many tokens all that is missing in each part has, as far as is known.
    `others` are runs of parts whose stages have no cells."""
    found, waiting, tokens = {}, {}, {}
    for stage in stages:
        ready = [runs_of(stage.part, cell, stage.seeds, done) for cell in stage.cells]
        if not stage.cells:
            ready = [([run for run in others.get(stage.part, []) if run.line['seed'] <= stage.seeds], 0)]
        for cell, (now, later) in zip(stage.cells or (None,), ready):
            for run in now:
                if run.options not in done:
                    found.setdefault(run.options, run)
            if cell:
                waiting[cell] = stage.part, later * cell.task.steps * cell.task.batch * cell.task.seq
    for part, count in [*waiting.values(), *((run.line['part'], run.tokens) for run in found.values())]:
        tokens[part] = tokens.get(part, 0) + count
    return list(found.values()), tokens
