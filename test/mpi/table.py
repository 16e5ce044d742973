#!/usr/bin/env python3
"""table.py [DOCUMENT]: what a process sends in an update and what it keeps, computed for the model sizes of
examples/pretrain, as docs/many.md has it. With a document: is the table in it?"""

import sys

RANKS, VOCABULARY, RANK, CYCLE = 8, 32000, 128, 1000
SIZES = {'60m': (512, 1376, 8), '350m': (1024, 2736, 24), '1b': (2048, 5461, 24)}  # hidden, ffn, layers
WIRE = 2 * 4 * 2 ** 22  # the library's, and what the adapter for MPI needs to add it up


def counts(hidden, ffn, layers):
    """Parameters: of the projections, of A and B, of all else, which is trained in full."""
    shapes = 4 * [(hidden, hidden)] + 2 * [(ffn, hidden)] + [(hidden, ffn)]
    projections = layers * sum(m * n for m, n in shapes)
    factors = layers * sum(RANK * (m + n) for m, n in shapes)
    rest = 2 * VOCABULARY * hidden + (2 * layers + 1) * hidden
    return projections, factors, rest


def rows(size):
    hidden, ffn, _ = SIZES[size]
    projections, factors, rest = counts(*SIZES[size])
    trained, others = factors + rest, (RANKS - 1) / RANKS
    weights = 4 * (projections + rest)
    full, low = 4 * (projections + rest), 4 * trained
    apart = ((RANKS - 1) * 4 * factors + 2 * others * 4 * rest) / CYCLE
    # sent by each process in an update; kept by each: weights, gradients, moments
    yield 'full rank, data parallel', 2 * others * full, weights + 3 * full + WIRE
    yield 'low rank, data parallel', 2 * others * low, weights + 4 * factors + 3 * low + WIRE
    yield 'low rank and full-rank steps', 2 * others * (low + 4 * projections), weights + 4 * factors + 3 * low + WIRE + 4 * ffn * hidden
    yield 'low rank, moments in shares', 2 * others * low, weights + 4 * factors + low + 2 * low / RANKS + WIRE
    yield 'low rank, merges alone', apart, weights + 4 * factors + 3 * low + WIRE


def megabytes(x):
    return '%.1f' % (x / 1e6) if x < 1e8 else '{:,.0f}'.format(x / 1e6)


def table():
    yield '| | ' + ' | '.join('%s: sent | kept' % s for s in SIZES) + ' |'
    yield '|---' * (1 + 2 * len(SIZES)) + '|'
    for row in zip(*(rows(s) for s in SIZES)):
        yield '| %s | ' % row[0][0] + ' | '.join('%s | %s' % (megabytes(sent), megabytes(kept)) for _, sent, kept in row) + ' |'


def main():
    text = '\n'.join(table())
    if len(sys.argv) == 1:
        print(text)
        return 0
    with open(sys.argv[1], encoding='utf-8') as f:
        if text in f.read():
            return 0
    print('%s lacks this table:\n%s' % (sys.argv[1], text))
    return 1


sys.exit(main())
