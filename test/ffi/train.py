#!/usr/bin/env python3
"""train.py ROOT LIBRARY: train a layer from Python, through ctypes, with nothing but the headers to go by.

The binding is made by reading them: every function, struct and constant. That it works is what the rules of
test/headers.py are for."""
import ctypes
import os
import random
import sys

root, library = sys.argv[1:3]
sys.path.insert(0, os.path.join(root, 'test'))
sys.dont_write_bytecode = True
import headers  # noqa: E402


class Binding:
    """The library, with a method for each function, and its structs and constants by name."""

    def __init__(self):
        self.api = headers.Headers(os.path.join(root, 'include', 'relora'))
        self.so = ctypes.CDLL(library)
        self.types = {name: getattr(ctypes, 'c_' + name.replace('int32_t', 'int32').replace('int64_t', 'int64')) for name in headers.SIZES}
        self.types.update((name, ctypes.c_int32) for name in self.api.numbers)
        for name, (result, parameters) in self.api.callbacks.items():
            self.types[name] = ctypes.CFUNCTYPE(self.type(result), *[self.type(t) for t, _ in parameters])
        for name, fields in self.api.structs.items():
            body = {'_fields_': [(field, self.type(t)) for t, field in fields]}
            self.types[name] = type(name, (ctypes.Structure,), body)
        for name, (result, parameters, _, _) in self.api.functions.items():
            function = getattr(self.so, name)
            function.restype, function.argtypes = self.type(result), [self.type(t) for t, _ in parameters]
            setattr(self, name[len('relora_'):], function)

    def type(self, text):
        base = text.replace('const ', '').replace(' const', '')
        if base == 'char *':
            return ctypes.c_char_p
        if base == 'void':
            return None
        return ctypes.c_void_p if '*' in base else self.types[base]

    def __getattr__(self, name):  # MODE_LORA is RELORA_MODE_LORA
        return self.api.constants['RELORA_' + name]

    def options(self, kind, **fields):
        struct = self.types['relora_%s_options' % kind]()
        ok(getattr(self, kind + '_options_init')(ctypes.byref(struct), ctypes.sizeof(struct)))
        assert struct.struct_size == ctypes.sizeof(struct)
        for name, value in fields.items():
            assert hasattr(struct, name), name
            setattr(struct, name, value)
        return ctypes.byref(struct)

    def create(self, kind, *arguments):
        out = ctypes.c_void_p()
        ok(getattr(self, kind)(ctypes.byref(out), *arguments))
        return out


relora = Binding()
context = None


def error():
    text = ctypes.create_string_buffer(300)
    relora.context_error(context, text, len(text), None)
    return text.value.decode()


def ok(status):
    assert status == relora.OK, '%s: %s' % (relora.status_name(status).decode(), error())


def array(rows, columns, value=lambda: 0.0):
    return (ctypes.c_float * (rows * columns))(*[value() for _ in range(rows * columns)])


def borrow(device, memory, rows, columns):
    shape = (ctypes.c_int64 * 2)(rows, columns)
    return relora.create('tensor_borrow', device, relora.F32, 2, shape, None, memory,
                         relora.types['relora_deleter_fn'](), None)


def main():
    global context
    IN, OUT, ROWS, STEPS = 6, 5, 16, 60
    lines = []
    log = relora.types['relora_log_fn'](lambda user, level, message: lines.append((level, message.decode())))
    context = relora.create('context_create', relora.options('context', log=log, log_level=relora.LOG_ERROR))
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
