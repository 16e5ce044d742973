"""Writes restart.safetensors: A from a gradient (QR by NumPy, in double), and moments of B that go with A (a solver of
NumPy's, with the ridge of restart.h; LDAdam's second moment). Needs NumPy: python3 test/golden/make_restart.py"""
import json
import os

import numpy as np


def rows_of(candidates, rank):
    """Orthonormal rows in the order of the candidates, each in the direction of what it adds, times sqrt(in / rank)."""
    q, r = np.linalg.qr(candidates[:rank].astype(np.float64).T)
    return (q * np.sign(np.diag(r))).T * np.sqrt(candidates.shape[1] / rank)


def moments(first, second, old, new, beta1, beta2, steps):
    first, second, old, new = (x.astype(np.float64) for x in (first, second, old, new))
    square = old @ old.T
    ridge = 1e-6 * np.trace(square) / len(square)
    x = np.linalg.solve(square + ridge * np.eye(len(square)), old @ new.T)
    c1, c2 = (1 - beta1**steps, 1 - beta2**steps) if steps else (1, 1)
    mean = first @ x
    return mean, c2 * np.abs((second / c2 - (first / c1)**2) @ (x * x) + (mean / c1)**2)


def cases():
    random = np.random.default_rng(16)

    def normal(rows, cols, scale=1):
        return (scale * random.standard_normal((rows, cols))).astype(np.float32)

    for name, rank, width, out, steps in [('small', 3, 8, 5, 1), ('square', 12, 12, 7, 40), ('wide', 16, 100, 20, 0)]:
        gradient, old = normal(rank, width, 1e-3), normal(rank, width)
        gradient[1:, :2] += 3 * gradient[:1, :2]  # rows that are not independent draws
        new = rows_of(gradient, rank)
        first, second = normal(out, rank, 0.1), normal(out, rank)**2
        mean, variance = moments(first, second, old, new.astype(np.float32), 0.9, 0.99, steps)
        yield name + '_steps', np.array([steps])
        for what, array in [('gradient', gradient), ('old', old), ('new', new), ('first', first), ('second', second),
                            ('first_new', mean), ('second_new', variance)]:
            yield name + '_' + what, array


def write(path, arrays):
    header, bytes_ = {}, b''
    for name, array in arrays:
        data = array.astype(np.float32).tobytes()
        header[name] = {'dtype': 'F32', 'shape': list(array.shape), 'data_offsets': [len(bytes_), len(bytes_) + len(data)]}
        bytes_ += data
    text = json.dumps(header).encode()
    text += b' ' * (-len(text) % 8)
    with open(path, 'wb') as file:
        file.write(len(text).to_bytes(8, 'little') + text + bytes_)


write(os.path.join(os.path.dirname(__file__), 'restart.safetensors'), list(cases()))
