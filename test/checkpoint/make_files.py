#!/usr/bin/env python3
"""Write the files of test/checkpoint/files with the Python package safetensors (made with 0.8.0).

    python3 test/checkpoint/make_files.py        # pip install safetensors numpy

recorded_files.c knows what is in them: element j of each array is the value made here."""
import os
import numpy as np
import safetensors
from safetensors.numpy import save_file

here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "files")


def signed(kind, *shape):
    return (3 * np.arange(int(np.prod(shape))) - 4).astype(kind).reshape(shape)


def unsigned(kind, *shape):
    return (3 * np.arange(int(np.prod(shape)))).astype(kind).reshape(shape)


def real(kind, *shape):
    return (0.375 * np.arange(int(np.prod(shape))) - 1).astype(kind).reshape(shape)


numpy_types = {
    "f64": real(np.float64, 2, 3), "f32": real(np.float32, 3, 5), "f16": real(np.float16, 7),
    "i64": signed(np.int64, 5), "i32": signed(np.int32, 2, 2, 2), "i16": signed(np.int16, 3),
    "i8": signed(np.int8, 9), "u64": unsigned(np.uint64, 4), "u32": unsigned(np.uint32, 4, 1),
    "u16": unsigned(np.uint16, 3), "u8": unsigned(np.uint8, 11),
    "bool": (np.arange(5) % 3 == 0),
    "c64": (real(np.float32, 3) + 1j * signed(np.float32, 3)).astype(np.complex64),
}
save_file(numpy_types, os.path.join(here, "types.safetensors"))

shapes = {
    "scalar": np.array(2.5, np.float32), "empty": np.zeros((0,), np.float32),
    "empty.matrix": np.zeros((3, 0), np.int64), "deep": unsigned(np.uint8, 1, 2, 1, 3, 1, 2),
    "größe/日本": real(np.float32, 2),
}
save_file(shapes, os.path.join(here, "shapes.safetensors"),
          metadata={"format": "np", "größe": "日本 \"quoted\" \n", "empty": ""})


# Types that numpy does not have, from their bytes: byte k of tensor i is (31 i + 7 k) mod 256.
held = []


def raw(i, dtype, shape, size):
    held.append(np.array([(31 * i + 7 * k) % 256 for k in range(size)], np.uint8))
    return safetensors.TensorSpec(dtype=dtype, shape=shape, data_ptr=held[-1].ctypes.data, data_len=size)


raws = {
    "bf16": raw(0, "bfloat16", [2, 3], 12), "f8_e4m3": raw(1, "float8_e4m3fn", [5], 5),
    "f8_e5m2": raw(2, "float8_e5m2", [5], 5), "f8_e8m0": raw(3, "float8_e8m0fnu", [3], 3),
    "f8_e4m3fnuz": raw(4, "float8_e4m3fnuz", [2], 2), "f8_e5m2fnuz": raw(5, "float8_e5m2fnuz", [2], 2),
    "f4": raw(6, "float4_e2m1fn_x2", [2, 3], 6),
}
safetensors.serialize_file(raws, os.path.join(here, "raw.safetensors"), {"made": "by bytes"})
for name in os.listdir(here):
    os.chmod(os.path.join(here, name), 0o644)
