#!/usr/bin/env python3
"""Write the first seeds: for corpus/safetensors good files, and one of each kind of bad ones; for corpus/api
programs of random bytes, most of them small."""
import os
import random

folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus", "safetensors")
os.makedirs(folder, exist_ok=True)


def tensor(dtype="F32", shape="[2]", offsets="[0,8]"):
    return '{"dtype":"%s","shape":%s,"data_offsets":%s}' % (dtype, shape, offsets)


def put(name, header, data=0, length=None):
    header = header if isinstance(header, bytes) else header.encode()
    length = len(header) if length is None else length
    with open(os.path.join(folder, "seed_" + name), "wb") as f:
        if isinstance(data, int):
            data = bytes((7 * i + 1) % 256 for i in range(data))
        f.write(length.to_bytes(8, "little") + header + data)


A = tensor()
put("good_nothing", "{}")
put("good_one", '{"a":%s}' % A, 8)
put("good_spaces", '{"a":%s}    ' % A, 8)
put("good_two", '{"__metadata__":{"k":"v","größe":"\\u65e5"},"a":%s,"b":%s}'
    % (tensor("BF16", "[2,2]"), tensor("I64", "[1]", "[8,16]")), 16)
put("good_empty", '{"s":%s,"e":%s,"n":%s}'
    % (tensor("F32", "[]", "[0,4]"), tensor("F64", "[0]", "[4,4]"), tensor("U8", "[3,0,5]", "[4,4]")), 4)
put("good_bits", '{"f4":%s,"f6":%s}' % (tensor("F4", "[4]", "[0,2]"), tensor("F6_E2M3", "[4]", "[2,5]")), 5)
put("good_sums", '{"__metadata__":{"relora.xxh3":"0123456789abcdef"},"a":%s}' % A, 8)
put("good_no_name", '{"":%s}' % A, 8)
put("good_deep", '{"a":%s}' % tensor("U8", "[1,1,1,1,1,1,1,1,1,1,2]", "[0,2]"), 2)
for i, dtype in enumerate("C64 F64 I64 U64 F32 I32 U32 BF16 F16 I16 U16 F8_E4M3 F8_E5M2 F8_E8M0 "
                          "F8_E4M3FNUZ F8_E5M2FNUZ I8 U8 BOOL F6_E2M3 F6_E3M2 F4".split()):
    bits = {"C64": 64, "BOOL": 8, "F4": 4, "BF16": 16}.get(dtype) or int(dtype[1:].split("_")[0])
    put("type_" + dtype, '{"%s":%s}' % (dtype, tensor(dtype, "[8]", "[0,%d]" % bits)), bits)

NAN = b"\x00\x3c\x01\x7e\xff\x7b\x00\xfc" + b"\x00\x00\x00\x00\x00\x00\xf8\x7f"
put("good_not_finite", '{"h":%s,"d":%s}' % (tensor("F16", "[4]"), tensor("F64", "[1]", "[8,16]")), NAN)

put("bad_length_past", "{}", 0, 3)
put("bad_length_max", "{}", 0, 100000001)
put("bad_length_sign", "{}", 0, 2**63)
put("bad_length_all", "{}", 0, 2**64 - 1)
put("bad_length_short", '{"a":%s}' % A, 8, 10)
put("bad_space", ' {"a":%s}' % A, 8)
put("bad_utf8", b'{"\xff":' + A.encode() + b"}", 8)
put("bad_json", '{"a":%s' % A, 8)
put("bad_array", "[]")
put("bad_twice", '{"a":%s,"a":%s}' % (A, A), 8)
put("bad_escaped_twice", '{"a":%s,"\\u0061":%s}' % (A, A), 8)
put("bad_nul", '{"a\\u0000":%s}' % A, 8)
put("bad_overlap", '{"a":%s,"b":%s}' % (A, tensor(offsets="[4,12]")), 12)
put("bad_hole", '{"a":%s,"b":%s}' % (A, tensor(offsets="[12,20]")), 20)
put("bad_size", '{"a":%s}' % tensor(offsets="[0,12]"), 12)
put("bad_overflow", '{"a":%s}' % tensor(shape="[4611686018427387906]"), 8)
put("bad_wrap", '{"a":%s}' % tensor("U8", "[4294967296,4294967296]", "[0,0]"))
put("bad_dtype", '{"a":%s}' % tensor("F31"), 8)
put("bad_negative", '{"a":%s}' % tensor(shape="[-2]"), 8)
put("bad_float", '{"a":%s}' % tensor(shape="[2.0]"), 8)
put("bad_huge", '{"a":%s}' % tensor(shape="[18446744073709551616]"), 8)
put("bad_missing", '{"a":{"dtype":"F32","shape":[2]}}', 8)
put("bad_extra", '{"a":%s}' % A.replace("}", ',"x":1}'), 8)
put("bad_metadata", '{"__metadata__":{"k":1},"a":%s}' % A, 8)
put("bad_sums", '{"__metadata__":{"relora.xxh3":"xyz"},"a":%s}' % A, 8)
put("bad_trailing", '{"a":%s}' % A, 9)
put("bad_short", '{"a":%s}' % A, 7)
put("bad_line", '{"a\\nb":1}', 0)
put("bad_deep", '{"a":' + "[" * 3000, 0)
for name, text in {"empty": b"", "seven": b"\2\0\0\0\0\0\0", "lfs": b"version https://git-lfs.github.com/spec/v1\n",
                   "html": b"\n<!doctype html>", "xml": b"\xef\xbb\xbf<?xml?>", "index": b'{"weight_map": {}}',
                   "pickle": b"\x80\2\x8a\x0al\xfc\x9cF", "zip": b"PK\3\4\x14\0\0\0archive/data.pkl",
                   "text": "Größe und Länge und noch ein paar Wörtér".encode(), "blank": b" \n" * 8,
                   "tar": bytes(257) + b"ustar\0"}.items():
    with open(os.path.join(folder, "seed_bad_" + name), "wb") as f:
        f.write(text)

random.seed(1)
folder = os.path.join(os.path.dirname(folder), "api")
os.makedirs(folder, exist_ok=True)
for i in range(64):
    odd, length = random.random() ** 2, random.choice([40, 120, 300, 700])
    program = [random.randrange(256 if random.random() < odd else 58) for _ in range(length)]
    with open(os.path.join(folder, "seed_%d" % i), "wb") as f:
        f.write(bytes([random.randrange(11)] + program))  # the first byte: how much there is at the beginning
