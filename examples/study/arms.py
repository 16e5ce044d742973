"""What the study compares: one row for each arm, and the order in which the runs are done.

A cell is an arm at one rank, on one task. Its learning rate is swept with seed 1, from two neighbours outwards until
the best lies between two worse ones; then the other seeds are run at that rate. Every seed has the same batches and the
same first weights in all arms of a task, so arms are compared pair by pair.
"""

from collections import namedtuple

Task = namedtuple('Task', 'name shape steps warm_start batch seq evaluate bin')
Arm = namedtuple('Arm', 'name title ranks rates options')
Cell = namedtuple('Cell', 'task arm rank')
Stage = namedtuple('Stage', 'part cells seeds')

# 0.23 M parameters, 1,024 bytes of the King James Bible an update. Losses of single updates are kept as means over
# `bin` updates, which divides the warm start and each cycle.
BASE = Task('base', '--hidden 64 --ffn 176 --heads 4 --layers 4', 2000, 500, 8, 128, 200, 25)
SETTINGS = '--beta2 0.99 --init-std 0.05 --dropout 0 --eval-batches 40'

RANKS = (8, 4, 16)  # of a hidden size of 64: an eighth, a sixteenth, a quarter
SEEDS = 4
EXTENT = 6  # learning rates tried at most

# A control is a full-rank net with as many trained parameters as the low-rank arms have at that rank.
CONTROL = {4: '--hidden 32 --ffn 52', 8: '--hidden 32 --ffn 104', 16: '--hidden 40 --ffn 138'}

ARMS = {arm.name: arm for arm in (
    #   name       title                                      ranks  first rates     options; {rank}, {warm} are filled in
    Arm('full',    'full rank',                               (0,),  (3e-3, 6e-3),   '--method full'),
    Arm('lora',    'LoRA after a warm start',                 RANKS, (6e-3, 1.2e-2), '--method lora --rank {rank} {warm}'),
    Arm('relora',  "ReLoRA, the authors' recipe",             RANKS, (6e-3, 1.2e-2),
        '--method relora --reset-masks independent --restarts 3 --rank {rank} {warm}'),
    Arm('joint',   "ReLoRA, the authors' recipe, one mask",   RANKS, (6e-3, 1.2e-2),
        '--method relora --restarts 3 --rank {rank} {warm}'),
    Arm('control', 'a smaller full-rank net',                 RANKS, (6e-3, 1.2e-2), '--method full {control}'),
    Arm('lowrank', 'low rank from the start, no W',           RANKS, (6e-3, 1.2e-2), '--method lowrank --rank {rank}'),
)}


def cells(names, ranks=RANKS, task=BASE):
    return [Cell(task, name, rank) for name in names for rank in (ARMS[name].ranks if ARMS[name].ranks == (0,) else ranks)]


RESTARTS = ('lora', 'relora', 'joint')
STAGES = [
    Stage('upstream', cells(['full']), 2),
    Stage('upstream', cells(RESTARTS, (8,)), 2),
    Stage('upstream', cells(RESTARTS, (4,)), 2),
    Stage('upstream', cells(['full', *RESTARTS], (8, 4)), SEEDS),
    Stage('upstream', cells(RESTARTS, (16,)), SEEDS),
    Stage('upstream', cells(('control', 'lowrank'), (8,)), SEEDS),
    Stage('upstream', cells(('control', 'lowrank'), (4, 16)), SEEDS),
]

# About ten minutes on two cores: no sweep, two seeds, a tenth of the tokens.
QUICK_TASK = BASE._replace(name='quick', steps=400, warm_start=100, evaluate=50)
QUICK = [Stage('upstream', cells(['full', *RESTARTS], (8,), QUICK_TASK), 2)]


def options(cell, rate, seed, full_rate):
    """The words that make a run what it is; what is not said here has no effect on its numbers."""
    task, arm = cell.task, ARMS[cell.arm]
    full = cell.arm in ('full', 'control')
    own = arm.options.format(rank=cell.rank, warm='--warm-start %d' % task.warm_start, control=CONTROL.get(cell.rank))
    rates = '--lr %g' % rate if full else '--lr %g --lora-lr %g' % (full_rate, rate)
    return ('%s %s --steps %d --batch %d --accumulate 1 --seq %d --eval-every %d %s %s --seed %d' %
            (task.shape, own, task.steps, task.batch, task.seq, task.evaluate, SETTINGS, rates, seed))
