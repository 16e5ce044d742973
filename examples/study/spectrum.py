"""Singular values of what training added to each projection, from two files of weights."""

import array
import json
import math
import struct

KINDS = ('q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj')


def read(path):
    """F32 matrices of a safetensors file, as lists of rows. A and B of a checkpoint are added to the W that they belong to."""
    with open(path, 'rb') as file:
        size, = struct.unpack('<Q', file.read(8))
        header = json.loads(file.read(size))
        matrices = {}
        for name, entry in header.items():
            if entry.get('dtype') == 'F32' and len(entry['shape']) == 2:
                file.seek(8 + size + entry['data_offsets'][0])
                values = array.array('f')
                values.frombytes(file.read(4 * entry['shape'][0] * entry['shape'][1]))
                columns = entry['shape'][1]
                matrices[name] = [list(values[i:i + columns]) for i in range(0, len(values), columns)]
    for name in [name for name in matrices if name.endswith('.lora_A.weight')]:
        layer = name[:-len('.lora_A.weight')]
        notes = dict(line.split('=') for line in header['__metadata__']['relora.linear.' + layer].split())
        merge(matrices[layer + '.weight'], matrices[layer + '.lora_B.weight'], matrices[name], float(notes['alpha']) / float(notes['rank']))
    return matrices


def merge(w, b, a, scale):
    columns = list(zip(*a))
    for row, left in zip(w, b):
        for j, column in enumerate(columns):
            row[j] += scale * sum(x * y for x, y in zip(left, column))


def eigenvalues(a):
    """Of a symmetric matrix, by cyclic Jacobi rotations; the rows and columns below 1e-14 of the whole are done."""
    n, limit = len(a), 1e-14 * math.sqrt(sum(x * x for row in a for x in row))
    for _ in range(30):
        quiet = True
        for p in range(n - 1):
            for q in range(p + 1, n):
                if abs(a[p][q]) <= limit:
                    continue
                quiet = False
                theta = (a[q][q] - a[p][p]) / (2 * a[p][q])
                t = math.copysign(1 / (abs(theta) + math.sqrt(theta * theta + 1)), theta)
                c = 1 / math.sqrt(t * t + 1)
                s = t * c
                a[p], a[q] = ([c * x - s * y for x, y in zip(a[p], a[q])], [s * x + c * y for x, y in zip(a[p], a[q])])
                for row in a:
                    x, y = row[p], row[q]
                    row[p], row[q] = c * x - s * y, s * x + c * y
        if quiet:
            break
    return [a[i][i] for i in range(n)]


def singular_values(d):
    if len(d) > len(d[0]):
        d = [list(column) for column in zip(*d)]
    gram = [[sum(x * y for x, y in zip(p, q)) for q in d] for p in d]
    return sorted((math.sqrt(max(0.0, x)) for x in eigenvalues(gram)), reverse=True)


def measures(values):
    """Stable rank, and the effective rank exp(entropy) of the singular values."""
    total = sum(values)
    shares = [x / total for x in values if x > 0]
    return sum(x * x for x in values) / values[0] ** 2, math.exp(-sum(x * math.log(x) for x in shares))


def of_update(first, last):
    """For each kind of projection: means over the blocks of the singular values, and of both ranks."""
    before, after, result = read(first), read(last), {}
    for kind in KINDS:
        lists = [singular_values([[y - x for x, y in zip(p, q)] for p, q in zip(before[name], after[name])])
                 for name in sorted(after) if name.endswith(kind + '.weight') and name in before]
        ranks = [measures(values) for values in lists]
        count = len(lists)
        result[kind] = {'values': [float('%.4g' % (sum(column) / count)) for column in zip(*lists)],
                        'stable': round(sum(stable for stable, _ in ranks) / count, 3),
                        'effective': round(sum(effective for _, effective in ranks) / count, 3)}
    return result
