"""What the study compares: one row for each task, one for each arm, and the order in which the runs are done.

A cell is an arm at one rank on one task. Its learning rate is swept with seed 1, from two neighbours outwards until the
best lies between two worse ones; then the other seeds are run at that rate. With one seed every arm of a task has the
same batches and the same first weights, so arms are compared pair by pair.
"""

from collections import namedtuple

# `rates`: None sweeps learning rates; another task lends its best ones; FIRST is the lowest of the arm's.
Task = namedtuple('Task', 'name shape steps warm_start batch seq evaluate bin rates data')
Arm = namedtuple('Arm', 'name title ranks rates options')
Cell = namedtuple('Cell', 'task arm rank')
Stage = namedtuple('Stage', 'part cells seeds')

# 0.23 M parameters, 1,024 bytes of the King James Bible an update. Losses of single updates are kept as means over
# `bin` updates, which divides the warm start and each cycle.
BASE = Task('base', '--hidden 64 --ffn 176 --heads 4 --layers 4', 2000, 500, 8, 128, 200, 25, None, 'kjv.txt')
SETTINGS = '--beta2 0.99 --init-std 0.05 --dropout 0 --eval-batches 40'

FIRST = 'first'

RANKS = (8, 4, 16)  # of a hidden size of 64: an eighth, a sixteenth, a quarter
SEEDS = 5
EXTENT = 6  # learning rates tried at most
UNSWEPT = (4, 16)  # ranks that take the learning rates of rank 8; with more time, ()

# A control is a full-rank net with as many trained parameters as the low-rank arms have at that rank.
CONTROL = {4: '--hidden 32 --ffn 52', 8: '--hidden 32 --ffn 104', 16: '--hidden 40 --ffn 138'}

# One mask for both moments. With a mask for each, as in the authors' code, a first moment that is kept over a second that
# is cleared makes steps of any size.
PUBLISHED = '--method relora --rank {rank}'
STEPS = '--method lora --full-rank-every {} --full-rank-strength {} --rank {{rank}} '
ARMS = {arm.name: arm for arm in (
    #   name        title                                     ranks  rates to begin with (one is no sweep), or whose they are; options
    Arm('full',     'full rank',                              (0,),  (1.5e-3, 3e-3), '--method full'),
    Arm('full-2x',  'full rank, at twice the rate',           (0,),  (3e-3,), '--method full'),  # is one seed enough for a sweep?
    Arm('full-4x',  'full rank, at four times the rate',      (0,),  (6e-3,), '--method full'),
    Arm('lora',     'LoRA after a warm start',                RANKS, (3e-3, 6e-3), '--method lora --rank {rank} {warm}'),
    Arm('relora',   'ReLoRA as published, one mask',          RANKS, (3e-3, 6e-3), PUBLISHED + ' --restarts 3 {warm}'),
    Arm('two-masks', "ReLoRA, two masks as in the authors' code", RANKS, (1.5e-3, 3e-3),
        '--method relora --reset-masks independent --rank {rank} --restarts 3 {warm}'),
    Arm('matched-b', 'ReLoRA, B alone, orthonormal A', RANKS, (1.5e-3, 3e-3),
        PUBLISHED + ' --init-a matched --factors b --reset project --restarts 14 --restart-warmup 0 {warm}'),
    # does a longer run want another rate?
    Arm('lora-quarter', 'LoRA, at a quarter of the rate',     RANKS, (1.5e-3,), '--method lora --rank {rank} {warm}'),
    Arm('lora-half', 'LoRA, at half the rate',                RANKS, (3e-3,), '--method lora --rank {rank} {warm}'),
    Arm('lora-2x',  'LoRA, at twice the rate',                RANKS, (1.2e-2,), '--method lora --rank {rank} {warm}'),
    Arm('relora-half', 'ReLoRA, at half the rate',            RANKS, (1.5e-3,), PUBLISHED + ' --restarts 3 {warm}'),
    Arm('relora-2x', 'ReLoRA, at twice the rate',             RANKS, (6e-3,), PUBLISHED + ' --restarts 3 {warm}'),
    # candidates for the best recipe: besides A and B, W takes a step along its orthogonalised gradient now and then
    Arm('dense-1',  'LoRA + full-rank steps, warm start',     RANKS, (1.5e-3, 3e-3), STEPS.format(1, 1) + '{warm}'),
    Arm('cold-1',   'LoRA + full-rank steps',                 RANKS, (6e-3, 1.2e-2), STEPS.format(1, 1) + '--warm-start 0'),
    Arm('cold-half', 'LoRA + full-rank steps, at half the rate', RANKS, (3e-3,), STEPS.format(1, 1) + '--warm-start 0'),
    Arm('cold-1x2', 'LoRA + full-rank steps, twice as strong', RANKS, (3e-3, 6e-3),  STEPS.format(1, 2) + '--warm-start 0'),
    Arm('cold-2',   'LoRA + full-rank steps, every 2',        RANKS, 'cold-1',       STEPS.format(2, 1.5) + '--warm-start 0'),
    Arm('cold-4',   'LoRA + full-rank steps, every 4',        RANKS, 'cold-1',       STEPS.format(4, 2) + '--warm-start 0'),
    Arm('cold-restarts', 'ReLoRA + full-rank steps',          RANKS, 'cold-1',
        '--method relora --restarts 3 --full-rank-every 1 --full-rank-strength 1 --rank {rank} --warm-start 0'),
    Arm('step-only', 'full-rank steps, LoRA of rank 1 only',  (1,),  ('cold-1', 8), STEPS.format(1, 1) + '--alpha 4 --warm-start 0'),
    Arm('control',  'a smaller full-rank net',                RANKS, (6e-3, 1.2e-2), '--method full {control}'),
    Arm('lowrank',  'low rank from the start, no W',          RANKS, (6e-3, 1.2e-2), '--method lowrank --rank {rank}'),
    # one thing changed in the published recipe
    Arm('warm-0',   'no warm start',                          (8,),  'relora', PUBLISHED + ' --restarts 3 --warm-start 0'),
    Arm('warm-10',  'a warm start of a tenth',                (8,),  'relora', PUBLISHED + ' --restarts 3 --warm-start 200'),
    Arm('restart-1', 'one restart',                           (8,),  'relora', PUBLISHED + ' --restarts 1 {warm}'),
    Arm('restart-9', 'nine restarts',                         (8,),  'relora', PUBLISHED + ' --restarts 9 {warm}'),
    Arm('no-ramp',  'no climb of the rate after a restart',   (8,),  'relora',
        PUBLISHED + ' --restarts 3 {warm} --restart-warmup 0'),
    # their products are scaled by 1, so they have rates of their own
    Arm('gradient', 'A from the gradient',                    (8,),  (3e-3, 6e-3), PUBLISHED + ' --init-a gradient --restarts 3 {warm}'),
    Arm('matched',  'A with orthonormal rows',                (8,),  (3e-3, 6e-3), PUBLISHED + ' --init-a matched --restarts 3 {warm}'),
    Arm('gradient-b', 'B alone, A from the gradient, more restarts', (8,), (1.5e-3, 3e-3),
        PUBLISHED + ' --init-a gradient --factors b --reset project --restarts 14 --restart-warmup 0 {warm}'),
    Arm('zero',     'all moments cleared',                    (8,),  'relora', PUBLISHED + ' --restarts 3 {warm} --reset zero'),
    Arm('keep',     'no moment cleared',                      (8,),  'relora',
        PUBLISHED + ' --restarts 3 {warm} --reset-ratio 0'),
)}
BEST = ('dense-1', 'cold-1', 'cold-1x2', 'cold-2', 'cold-4', 'cold-restarts')
FULL = ('full', 'full-2x', 'full-4x')
LORA = ('lora', 'lora-quarter', 'lora-half', 'lora-2x')
RELORA = ('relora', 'relora-half', 'relora-2x')
COLD = ('cold-1', 'cold-half')
AT_RATES = {'full': FULL, 'lora': LORA, 'relora': RELORA, 'cold-1': COLD}  # one arm at other rates
RESTARTS = ('lora', 'relora', 'two-masks', 'matched-b')
SPECTRUM = ('full', *RESTARTS, *BEST)
STEP_ABLATION = ('dense-1', 'cold-1x2', 'cold-2', 'cold-4', 'cold-restarts', 'step-only')
ABLATION = ('two-masks', 'warm-0', 'warm-10', 'restart-1', 'restart-9', 'no-ramp', 'zero', 'keep', 'gradient', 'matched', 'gradient-b')


def cells(names, ranks=RANKS, task=BASE):
    return [Cell(task, name, rank) for name in names for rank in (ARMS[name].ranks if ARMS[name].ranks == (0,) else ranks)]


# The same nets for longer, at the rates of the base task.
LONG = [BASE._replace(name='long-%d' % steps, steps=steps, warm_start=steps // 4, evaluate=steps // 10, bin=steps // 80, rates=BASE)
        for steps in (4000, 8000, 16000)]


def larger(name, hidden, ffn, heads, layers, steps, batch, rates=None, seq=256):
    """20 tokens for each parameter, in BF16. Such a text needs more bytes than the Bible has: text.txt, which fetch.py makes."""
    shape = '--hidden %d --ffn %d --heads %d --layers %d --dtype bf16' % (hidden, ffn, heads, layers)
    return Task(name, shape, steps, steps // 4, batch, seq, steps // 10, steps // 80, rates, 'text.txt')


# Rates are swept at 0.4 M parameters, and the other sizes take them.
SWEPT = larger('0.4m', 80, 224, 4, 4, 2400, 12)
SCALING = [larger('0.2m', 64, 176, 4, 4, 2400, 8, SWEPT), SWEPT, larger('0.5m', 96, 264, 4, 4, 2400, 16, SWEPT),
           larger('0.9m', 128, 352, 4, 4, 2800, 24, SWEPT), larger('1.3m', 160, 440, 4, 4, 3200, 32, SWEPT),
           larger('1.9m', 192, 528, 4, 4, 3120, 48, SWEPT), larger('3.3m', 256, 688, 4, 4, 4000, 64, SWEPT),
           larger('11m', 384, 1024, 8, 6, 6400, 128, SWEPT)]
SCALED = ('full', 'lora', 'relora', 'cold-1')


def hidden(task):
    return int(task.shape.split()[1])


def eighth(task):
    return hidden(task) // 8


def scaled(task, names=SCALED):
    return cells(names, (eighth(task),), task)


STAGES = [
    Stage('upstream', cells(['full']), 1),
    Stage('upstream', cells(('dense-1', 'lora', 'relora', 'cold-1'), (8,)), 1),
    Stage('upstream', cells(('full', 'cold-1', 'lora', 'relora', 'dense-1'), (8,)), 2),
    Stage('upstream', cells(('full', 'cold-1', 'lora', 'relora', 'dense-1'), (8,)), SEEDS),
    Stage('upstream', cells(['full-2x']), SEEDS),
    Stage('upstream', cells(('cold-1', 'lora', 'relora'), (4, 16)), 2),
    Stage('ablation', cells(('step-only',), (1,)), 2),
    Stage('upstream', cells(['full-4x']), SEEDS),
    Stage('length', cells(('full-2x', 'lora', 'relora', 'cold-1'), (4,), LONG[0]), 1),
    Stage('ablation', cells(('cold-2', 'cold-restarts'), (8,)), 2),
    Stage('downstream', (), 1),
    Stage('upstream', cells(('cold-1', 'lora', 'relora'), (4, 16)), SEEDS),
    Stage('upstream', cells(('two-masks',), (8,)), 2),
    Stage('upstream', cells(('control', 'lowrank'), (8,)), SEEDS),
    Stage('downstream', (), SEEDS),
    Stage('ablation', cells(('cold-4', 'cold-1x2', *ABLATION[1:8]), (8,)), 2),
    Stage('upstream', cells(('matched-b',), (8,)), 2),
    Stage('upstream', cells(('matched-b',), (4, 16)), 2),
    Stage('length', cells(('full-2x', 'lora', 'relora', 'cold-1'), (8, 4), LONG[0]), 2),
    Stage('upstream', cells(('matched-b',)), SEEDS),
    Stage('length', cells(('relora', 'lora', 'cold-1', 'full-2x'), (8, 4), LONG[1]), 1),
    Stage('length', cells(('lora-half', 'lora-2x', 'cold-restarts', 'relora-half', 'relora-2x', 'lora-quarter'), (8,), LONG[1]), 1),
    Stage('length', cells(('lora-half',), (4,)), SEEDS),
    *[Stage('length', cells(('relora', 'lora-half'), (8, 4), task), 2) for task in LONG[:2]],
    Stage('length', cells(('relora', 'lora-half'), (8,), LONG[2]), 1),
    Stage('length', cells(('cold-1', 'full-2x'), (8, 4), LONG[1]), 2),
    Stage('upstream', cells(('two-masks', 'control', 'lowrank'), (4, 16)), SEEDS),
    Stage('upstream', cells(('two-masks',), (8,)), SEEDS),
    Stage('upstream', cells(('lora-half', 'relora-2x'), (16,)), SEEDS),
    Stage('ablation', cells(('gradient', 'matched', 'gradient-b'), (8,)), 2),
    Stage('length', cells(('full', 'cold-half'), (8,), LONG[1]), 2),
    Stage('length', cells(('relora', 'lora-half'), (8,), LONG[1]), 4),
    *[Stage('scaling', scaled(task), 1) for task in (SWEPT, SCALING[0], SCALING[2])],
    Stage('length', cells(('cold-1', 'full-2x'), (8,), LONG[2]), 1),
    Stage('scaling', scaled(SCALING[3], ('full', 'cold-1', 'lora', 'relora')), 1),
    Stage('length', cells(('relora-half', 'lora-quarter'), (8,), LONG[2]), 1),
    Stage('length', cells(('cold-1', 'full'), (8,), LONG[1]), 4),
    *[Stage('scaling', scaled(task), 1) for task in SCALING[4:]],
]

# Five to ten minutes on two cores: no sweep, one rank, somewhat shorter.
QUICK_TASK = BASE._replace(name='quick', steps=1600, warm_start=400, evaluate=160, bin=20, rates=FIRST)
QUICK = [Stage('upstream', cells(['full', 'lora', 'relora', 'cold-1'], (8,), QUICK_TASK), 4)]


def options(cell, rate, seed, full_rate):
    """The words that make a run what it is; what is not said here has no effect on its numbers."""
    task, arm = cell.task, ARMS[cell.arm]
    own = arm.options.format(rank=cell.rank, warm='--warm-start %d' % task.warm_start, control=CONTROL.get(cell.rank))
    rates = '--lr %g' % rate if is_full(arm) else '--lr %g --lora-lr %g' % (full_rate, rate)
    return ('--data %s %s %s --steps %d --batch %d --accumulate 1 --seq %d --eval-every %d %s %s --seed %d' %
            (task.data, task.shape, own, task.steps, task.batch, task.seq, task.evaluate, SETTINGS, rates, seed))


def is_full(arm):
    return '--method full' in arm.options
