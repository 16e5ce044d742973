#!/usr/bin/env python3
"""read_with_python.py FILE: open FILE with the Python package safetensors, and compare with FILE.txt, a
line "dtype <tab> shape <tab> bytes in hexadecimal <tab> name" for each tensor and "key <tab> value" for
each pair of metadata. Exit status 0: the same, 1: not, 77: the package is not here."""
import sys

try:
    import safetensors
except ImportError:
    sys.exit(77)

path = sys.argv[1]
with open(path, "rb") as f:
    got = dict(safetensors.deserialize(f.read()))
with safetensors.safe_open(path, framework="np") as f:
    metadata = f.metadata() or {}
    names = set(f.keys())

wrong = 0
with open(path + ".txt", encoding="utf-8") as f:
    for line in f.read().split("\n"):
        fields = line.split("\t")
        if len(fields) == 4:
            dtype, shape, data, name = fields
            shape = [int(n) for n in shape.split()]
            t = got.pop(name, None)
            if name not in names or not t or t["dtype"] != dtype or t["shape"] != shape \
                    or bytes(t["data"]) != bytes.fromhex(data):
                print("tensor", name, "is not", dtype, shape, "of the bytes expected")
                wrong = 1
        elif len(fields) == 2 and metadata.pop(fields[0], None) != fields[1]:
            print("metadata", fields[0], "differs")
            wrong = 1
metadata.pop("relora.xxh3", None)
if got or metadata:
    print("there are", len(got), "tensors and", len(metadata), "pairs more")
    wrong = 1
sys.exit(wrong)
