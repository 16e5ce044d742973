#!/usr/bin/env python3
"""fork.py ROOT LIBRARY: a process that has computed with two threads forks, as multiprocessing does, and its
children compute with two threads as well, in a context of the parent and in one of their own."""
import ctypes
import multiprocessing
import sys

sys.dont_write_bytecode = True
from binding import Binding  # noqa: E402

relora = Binding(*sys.argv[1:3])
ok = relora.ok
SIZE, PATIENCE = 256, 60


def context():
    return relora.create('context_create', relora.options('context', threads=2))


def compute(ctx):
    """y of a layer, as bytes."""
    relora.context = ctx
    device = relora.device_get(ctx, relora.DEVICE_CPU, 0)
    stream = relora.create('stream_create', device)
    shape = (ctypes.c_int64 * 2)(SIZE, SIZE)
    w, x, y = [relora.create('tensor_create', device, relora.F32, 2, shape) for _ in range(3)]
    layer = relora.create('linear_create', device, relora.options('linear', in_features=SIZE, out_features=SIZE, rank=8))
    ok(relora.tensor_fill(w, stream, 0.5))
    ok(relora.tensor_fill(x, stream, 0.25))
    ok(relora.linear_set_weight(layer, w, None))
    ok(relora.linear_forward(layer, stream, x, y, 0, relora.TRAIN))
    result = (ctypes.c_float * (SIZE * SIZE))()
    ok(relora.tensor_read(y, stream, result, ctypes.sizeof(result)))
    return bytes(result)


def child(ctx, wanted, answers):
    answers.put(compute(ctx or context()) == wanted)


def main():
    ctx = context()
    wanted = compute(ctx)
    fork = multiprocessing.get_context('fork')
    for given in (ctx, None):
        answers = fork.Queue()
        process = fork.Process(target=child, args=(given, wanted, answers))
        process.start()
        process.join(PATIENCE)
        if process.exitcode != 0:
            process.kill()
            sys.exit('a child %s' % ('hangs' if process.exitcode is None else 'ended with %d' % process.exitcode))
        assert answers.get(timeout=PATIENCE), 'a child computed something else'
    print('two children of a process with threads computed with threads')


main()
