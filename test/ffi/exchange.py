#!/usr/bin/env python3
"""exchange.py ROOT LIBRARY: tensors to and from numpy and, where it is installed, PyTorch, by DLPack."""
import ctypes
import importlib
import sys

sys.dont_write_bytecode = True
from binding import Binding  # noqa: E402

relora = Binding(*sys.argv[1:3])
NAME, USED = b'dltensor_versioned', b'used_dltensor_versioned'
api = ctypes.pythonapi
api.PyCapsule_GetPointer.restype = ctypes.c_void_p
api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
api.PyCapsule_SetName.argtypes = [ctypes.py_object, ctypes.c_char_p]
api.PyCapsule_New.restype = ctypes.py_object
api.PyCapsule_New.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]


class Shared:
    """A tensor of ours as the protocol of Python wants it."""

    def __init__(self, tensor, stream):
        self.tensor, self.stream = tensor, stream

    def __dlpack_device__(self):
        return 1, 0

    def __dlpack__(self, **_):
        managed = relora.create('tensor_to_dlpack', self.tensor, self.stream, None)
        return api.PyCapsule_New(managed, NAME, None)


def take(context, array):
    """Their array as a tensor of ours."""
    capsule = array.__dlpack__(max_version=(1, 0))
    tensor = relora.create('tensor_from_dlpack', context, api.PyCapsule_GetPointer(capsule, NAME))
    api.PyCapsule_SetName(capsule, USED)  # whose deleter is ours to call now
    return tensor


def exchange(context, stream, array, from_dlpack):
    """`array` is F32 [3, 4] of theirs: each side sees what the other writes."""
    tensor = take(context, array)
    assert [relora.tensor_dim(tensor, i) for i in (0, 1)] == [3, 4]
    relora.ok(relora.tensor_fill(tensor, stream, 2.5))
    assert array.min() == 2.5 and array.max() == 2.5
    relora.tensor_release(tensor)

    rows = take(context, array[::2, :3])
    assert relora.tensor_stride(rows, 0) == 8
    relora.ok(relora.tensor_fill(rows, stream, 1.0))
    relora.tensor_release(rows)
    assert [float(v) for v in array[:, 0]] == [1.0, 2.5, 1.0] and float(array[0, 3]) == 2.5

    shape = (ctypes.c_int64 * 2)(5, 2)
    ours = relora.create('tensor_create', relora.device_get(context, relora.DEVICE_CPU, 0), relora.F32, 2, shape)
    relora.ok(relora.tensor_fill(ours, stream, 7.0))
    theirs = from_dlpack(Shared(ours, stream))
    relora.tensor_release(ours)  # theirs holds it
    assert tuple(theirs.shape) == (5, 2) and theirs.min() == 7 and theirs.max() == 7


def main():
    context = relora.context = relora.create('context_create', None)
    stream = relora.create('stream_create', relora.device_get(context, relora.DEVICE_CPU, 0))
    met = []
    for name in ('numpy', 'torch'):
        try:
            module = importlib.import_module(name)
            array = module.ones((3, 4), dtype=module.float32)
            array.__dlpack__(max_version=(1, 0))
        except (ImportError, AttributeError, TypeError):
            continue  # not installed, or older than DLPack 1
        exchange(context, stream, array, module.from_dlpack)
        if name == 'numpy':
            array.flags.writeable = False
            out = ctypes.c_void_p()
            capsule = array.__dlpack__(max_version=(1, 0))
            managed = api.PyCapsule_GetPointer(capsule, NAME)
            assert relora.tensor_from_dlpack(ctypes.byref(out), context, managed) == relora.E_READ_ONLY
        met.append('%s %s' % (name, module.__version__))
    relora.stream_release(stream)
    relora.context_release(context)
    print('exchanged with ' + ', '.join(met) if met else 'skipped: neither numpy 2.1 nor PyTorch is installed')


main()
