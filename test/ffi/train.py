#!/usr/bin/env python3
"""train.py ROOT LIBRARY: train a layer from Python, through the binding of binding.py, which reads the headers."""
import ctypes
import random
import sys

sys.dont_write_bytecode = True
from binding import Binding  # noqa: E402

relora = Binding(*sys.argv[1:3])
error, ok = relora.error, relora.ok


def array(rows, columns, value=lambda: 0.0):
    return (ctypes.c_float * (rows * columns))(*[value() for _ in range(rows * columns)])


def borrow(device, memory, rows, columns):
    shape = (ctypes.c_int64 * 2)(rows, columns)
    return relora.create('tensor_borrow', device, relora.F32, 2, shape, None, memory,
                         relora.types['relora_deleter_fn'](), None)


def main():
    IN, OUT, ROWS, STEPS = 6, 5, 16, 60
    lines = []
    log = relora.types['relora_log_fn'](lambda user, level, message: lines.append((level, message.decode())))
    context = relora.context = relora.create('context_create', relora.options('context', log=log, log_level=relora.LOG_ERROR))
    device = relora.device_get(context, relora.DEVICE_CPU, 0)
    stream = relora.create('stream_create', device)

    random.seed(1)
    draw = lambda: random.uniform(-1, 1)  # noqa: E731
    w, x, y, dy = array(OUT, IN, draw), array(ROWS, IN, draw), array(ROWS, OUT), array(ROWS, OUT)
    wanted = array(ROWS, OUT, draw)
    weight, given, output, grad = [borrow(device, *a) for a in
                                   ((w, OUT, IN), (x, ROWS, IN), (y, ROWS, OUT), (dy, ROWS, OUT))]
    layer = relora.create('linear_create', device, relora.options(
        'linear', in_features=IN, out_features=OUT, rank=2, alpha=2.0, dropout=0.0))
    ok(relora.linear_set_weight(layer, weight, None))
    adam = relora.create('adam_create', device, relora.options('adam', beta2=0.99))
    ok(relora.adam_add_linear(adam, b'layer', layer))
    assert [relora.adam_name(adam, i) for i in range(relora.adam_count(adam))] == \
        [b'layer.lora_A.weight', b'layer.lora_B.weight']

    losses = []
    for step in range(STEPS):
        ok(relora.linear_forward(layer, stream, given, output, step, relora.TRAIN))
        errors = [a - b for a, b in zip(y, wanted)]
        losses.append(sum(e * e for e in errors) / 2)
        dy[:] = errors
        ok(relora.linear_backward(layer, stream, given, grad, None, step, relora.TRAIN | relora.OVERWRITE))
        ok(relora.adam_step(adam, stream, 0.05, 1.0, None))
    assert abs(losses[0] - sum((sum(x[r * IN + i] * w[o * IN + i] for i in range(IN)) - wanted[r * OUT + o]) ** 2
               for r in range(ROWS) for o in range(OUT)) / 2) < 1e-4, 'B is 0 at first, so y is x W^T'
    assert losses[-1] < 0.6 * losses[0], losses

    report = relora.types['relora_merge_report'](struct_size=ctypes.sizeof(relora.types['relora_merge_report']))
    ok(relora.linear_forward(layer, stream, given, output, STEPS, 0))
    before = list(y)
    ok(relora.linear_merge(layer, stream, 1, ctypes.byref(report)))
    ok(relora.linear_reset(layer, stream, 1))
    ok(relora.linear_forward(layer, stream, given, output, STEPS, 0))
    assert report.layers == 1 and 0 < report.delta_norm
    assert abs(report.weight_norm ** 2 - sum(v * v for v in w)) < 1e-3, 'the merge is in our own memory'
    assert max(abs(a - b) for a, b in zip(before, y)) < 1e-4, 'a merge changes nothing in y'

    # A failure is a status, a sentence on the context, and the same sentence in the log.
    assert lines == []
    status = relora.linear_forward(layer, stream, given, grad, 0, 1 << 30)
    assert status == relora.E_ARGUMENT and relora.status_name(status) == b'RELORA_E_ARGUMENT'
    assert error().startswith('relora_linear_forward') and 'flags' in error(), error()
    assert lines == [(relora.LOG_ERROR, error())]

    for release, handle in (('context', context), ('stream', stream), ('tensor', weight), ('tensor', given),
                            ('tensor', output), ('tensor', grad), ('adam', adam), ('linear', layer)):
        getattr(relora, release + '_release')(handle)
    print('%d functions bound; loss %.3f to %.3f in %d steps' % (
        len(relora.api.functions), losses[0], losses[-1], STEPS))


main()
