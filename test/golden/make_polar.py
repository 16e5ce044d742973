"""Prints the polynomials of src/polar.c, and writes polar.safetensors: matrices, and U V^T by NumPy's singular value
decomposition in double. Needs NumPy: python3 test/golden/make_polar.py"""
import json
import os

import numpy as np

STEPS, SMALLEST, ROOM = 8, 5e-5, 1.01  # ROOM: how far above their interval values may be by rounding


def closest_to_one(low, high):
    """a, b, c with a s + b s^3 + c s^5 as close to 1 as can be on [low, high], by Remez's exchange."""
    inner = [(3 * low + high) / 4, (low + 3 * high) / 4]
    for _ in range(200):
        points = np.array([low, *inner, high])
        columns = [points, points**3, points**5, np.array([1, -1, 1, -1])]
        a, b, c, _ = np.linalg.solve(np.stack(columns, 1), np.ones(4))
        inner = np.sqrt(np.sort(np.roots([5 * c, 3 * b, a]).real))
    return a, b, c


def polynomials():
    low, high = SMALLEST, 1.0
    for _ in range(STEPS):
        a, b, c = closest_to_one(low, high * ROOM)
        s = np.geomspace(low, high * ROOM, 400001)
        values = a * s + b * s**3 + c * s**5
        low, high = values.min(), values.max()
        yield a, b, c, low, high


def with_values(random, rows, cols, values):
    """A matrix in F32 with these singular values, and U V^T of it."""
    count = len(values)
    u = np.linalg.qr(random.standard_normal((rows, count)))[0]
    v = np.linalg.qr(random.standard_normal((cols, count)))[0]
    matrix = (u * values @ v.T).astype(np.float32)
    u, s, vt = np.linalg.svd(matrix.astype(np.float64), full_matrices=False)
    return matrix, (u[:, :count] @ vt[:count]).astype(np.float32)


def cases():
    random = np.random.default_rng(16)
    for name, rows, cols, values in [
            ('equal', 16, 16, np.ones(16)),
            ('hundred', 24, 24, np.geomspace(1, 1e-2, 24)),
            ('wide', 24, 40, np.geomspace(3, 3e-4, 24)),
            ('tall', 40, 24, np.geomspace(1e-9, 1e-13, 24)),
            ('lonely', 20, 30, np.array([1e3] + [1.0] * 19)),
            ('deficient', 20, 30, np.geomspace(1, 0.1, 7)),
            ('row', 1, 9, np.array([0.5])),
            ('column', 300, 1, np.array([7.0]))]:
        matrix, uv = with_values(random, rows, cols, values)
        yield name, matrix
        yield name + '_uv', uv


def write(path, arrays):
    header, bytes_ = {}, b''
    for name, array in arrays:
        data = array.tobytes()
        header[name] = {'dtype': 'F32', 'shape': list(array.shape), 'data_offsets': [len(bytes_), len(bytes_) + len(data)]}
        bytes_ += data
    text = json.dumps(header).encode()
    text += b' ' * (-len(text) % 8)
    with open(path, 'wb') as file:
        file.write(len(text).to_bytes(8, 'little') + text + bytes_)


for a, b, c, low, high in polynomials():
    print('{%.6f, %.6f, %.6f}, /* between %.6f and %.6f */' % (a, b, c, low, high))
write(os.path.join(os.path.dirname(__file__), 'polar.safetensors'), list(cases()))
