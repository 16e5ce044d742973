"""Tensors, and their exchange with whatever has a buffer or speaks DLPack."""
import ctypes

from . import _api
from ._library import Kept, Object, check, check_stream, handle, lib

_owners = Kept()


@_api.relora_deleter_fn
def _drop_owner(user, data):
    _owners.pop(user)


def _shape(shape):
    shape = tuple(shape)
    return len(shape), (ctypes.c_int64 * len(shape))(*shape)


def _memory(buffer, dtype):
    """Bytes are taken as they are, numbers only in the type of the tensor."""
    memory = memoryview(buffer)
    if dtype == _api.F32 and memory.format.lstrip('@=<') not in ('f', 'B', 'b', 'c'):
        raise ValueError('the tensor is F32, and the elements of the buffer are "%s"' % memory.format)
    return memory


class Tensor(Object):
    """A dense array on one device, in memory of the library's own, whose contents are undefined at first."""

    _release = 'relora_tensor_release'
    producer = None  # the stream that last wrote it, for whom a consumer of DLPack shall wait on CUDA

    def __init__(self, device, shape, dtype=_api.F32):
        self._make(lib.relora_tensor_create, device._context, device._handle, dtype, *_shape(shape))

    @classmethod
    def borrow(cls, device, buffer, shape, dtype=_api.F32):
        """Over the memory of anything with a writable buffer: an array.array, a numpy array, a bytearray. It is
        kept, and cannot be resized, as long as the tensor or something that holds it lives."""
        memory = _memory(buffer, dtype)
        ndim, dims = _shape(shape)
        size = {_api.F32: 4, _api.BF16: 2}.get(dtype, 0)
        for n in dims:
            size *= n
        if size != memory.nbytes or not memory.c_contiguous:
            raise ValueError('the shape %s needs %d bytes in one piece, and there are %d' % (tuple(shape), size, memory.nbytes))
        pinned = (ctypes.c_char * size).from_buffer(memory) if size else None
        self, owner = cls.__new__(cls), _owners.put(pinned)
        try:
            self._make(lib.relora_tensor_borrow, device._context, device._handle, dtype, ndim, dims, None,
                       ctypes.addressof(pinned) if size else None, _drop_owner, owner)
        except BaseException:
            _owners.pop(owner)
            raise
        return self

    def set_buffer(self, buffer):
        """Other memory of the same size for a tensor made by borrow()."""
        memory = _memory(buffer, self.dtype)
        if memory.nbytes != self.nbytes or not memory.c_contiguous:
            raise ValueError('a buffer of %d bytes in one piece is needed' % self.nbytes)
        pinned = (ctypes.c_char * memory.nbytes).from_buffer(memory)
        owner = _owners.put(pinned)
        status = lib.relora_tensor_set_data_owned(self._handle, ctypes.addressof(pinned), _drop_owner, owner)
        if status < 0:
            _owners.pop(owner)
        self._ok(status)

    def set_data(self, address):
        """An address, of memory that the caller keeps, for a tensor that was made over such."""
        self._ok(lib.relora_tensor_set_data(self._handle, address))

    @classmethod
    def _retained(cls, tensor, context):
        if tensor is None:
            return None
        lib.relora_tensor_retain(tensor)
        self = cls.__new__(cls)
        self._own(tensor, context)
        return self

    @property
    def dtype(self):
        return lib.relora_tensor_dtype(self._handle)

    @property
    def shape(self):
        return tuple(lib.relora_tensor_dim(self._handle, i) for i in range(lib.relora_tensor_ndim(self._handle)))

    @property
    def strides(self):
        """In elements."""
        return tuple(lib.relora_tensor_stride(self._handle, i) for i in range(lib.relora_tensor_ndim(self._handle)))

    @property
    def count(self):
        return lib.relora_tensor_count(self._handle)

    @property
    def nbytes(self):
        return self.count * (4 if self.dtype == _api.F32 else 2)

    @property
    def data(self):
        """The address on the device."""
        return lib.relora_tensor_data(self._handle)

    @property
    def device_kind(self):
        return lib.relora_device_get_kind(lib.relora_tensor_device(self._handle))

    def view(self):
        """The elements in place, flat, as a writable memoryview of floats (of 16-bit integers in BF16). It keeps the
        tensor; Adam.flatten_grads() moves the memory of gradients away from under it."""
        strides, rows = self.strides, self.shape[:1]
        if self.device_kind != _api.DEVICE_CPU or (rows and rows[0] > 1 and strides[0] * rows[0] != self.count):
            raise ValueError('a view needs memory of the CPU without gaps')
        kind = ctypes.c_float if self.dtype == _api.F32 else ctypes.c_uint16
        if not self.count:
            return memoryview(b'')
        memory = (kind * self.count).from_address(self.data)
        memory.tensor = self
        return memoryview(memory).cast('B').cast('f' if kind is ctypes.c_float else 'H')

    def numpy(self):
        """The same as a numpy array of this shape, without a copy."""
        import numpy
        return numpy.from_dlpack(self)

    def write(self, stream, buffer):
        """From the host, in the dtype of the tensor."""
        memory = _memory(buffer, self.dtype).cast('B')
        copy = (ctypes.c_char * memory.nbytes).from_buffer_copy(memory) if memory.readonly else \
            (ctypes.c_char * memory.nbytes).from_buffer(memory)
        check_stream(lib.relora_tensor_write(self._handle, handle(stream), copy, memory.nbytes), stream)

    def read(self, stream, buffer):
        """To the host."""
        memory = _memory(buffer, self.dtype).cast('B')
        target = (ctypes.c_char * memory.nbytes).from_buffer(memory)
        check_stream(lib.relora_tensor_read(self._handle, handle(stream), target, memory.nbytes), stream)

    def copy(self, stream, source):
        check_stream(lib.relora_tensor_copy(self._handle, handle(source), handle(stream)), stream)

    def fill(self, stream, value):
        check_stream(lib.relora_tensor_fill(self._handle, handle(stream), value), stream)

    # ---- DLPack: https://dmlc.github.io/dlpack/latest/python_spec.html ----

    def __dlpack_device__(self):
        return (1, 0) if self.device_kind == _api.DEVICE_CPU else (2, 0)

    def __dlpack__(self, *, stream=None, max_version=None, dl_device=None, copy=None):
        if not max_version or max_version[0] < 1:
            raise BufferError('only DLPack 1 is spoken, as numpy does since 2.1; numpy.asarray(tensor.view()) needs none')
        if copy or dl_device not in (None, self.__dlpack_device__()):
            raise BufferError('neither a copy nor another device is offered')
        out = ctypes.c_void_p()
        # 1 and 2 are the streams that CUDA names so, and -1 asks for no order
        consumer = stream if isinstance(stream, int) and stream > 2 else None
        check(lib.relora_tensor_to_dlpack(ctypes.byref(out), self._handle, handle(self.producer), consumer), self._context)
        return _new_capsule(out, _VERSIONED, _end_capsule)


class _Managed(ctypes.Structure):
    """The beginning of DLPack's struct, which every version of it shares."""
    _fields_ = [('major', ctypes.c_uint32), ('minor', ctypes.c_uint32), ('context', ctypes.c_void_p),
                ('deleter', ctypes.CFUNCTYPE(None, ctypes.c_void_p))]


_VERSIONED, _USED = b'dltensor_versioned', b'used_dltensor_versioned'
_api_of_python = ctypes.pythonapi
_new_capsule = _api_of_python.PyCapsule_New
_new_capsule.restype, _new_capsule.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
_is_capsule = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)(('PyCapsule_IsValid', _api_of_python))
_capsule_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(
    ('PyCapsule_GetPointer', _api_of_python))
_name_capsule = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_char_p)(('PyCapsule_SetName', _api_of_python))


@ctypes.PYFUNCTYPE(None, ctypes.c_void_p)
def _end_capsule(capsule):
    """Nobody took what is inside, so it is ours to delete."""
    if _is_capsule(capsule, _VERSIONED):
        managed = _capsule_pointer(capsule, _VERSIONED)
        _Managed.from_address(managed).deleter(managed)


def _no_dlpack(array):
    return BufferError('%s does not speak DLPack 1, as numpy does since 2.1; Tensor.borrow() takes what has a buffer' %
                       type(array).__name__)


def from_dlpack(context, array, stream=None):
    """A tensor over the memory of any array that speaks DLPack 1: torch, numpy 2.1, jax, cupy. Nothing is copied,
    and each side sees what the other writes. `stream` is the one that will use it on CUDA."""
    arguments = {'max_version': (1, 0)}
    if stream is not None and stream.native:
        arguments['stream'] = stream.native
    try:
        capsule = array.__dlpack__(**arguments)
    except TypeError as e:
        raise _no_dlpack(array) from e
    if not _is_capsule(id(capsule), _VERSIONED):
        raise _no_dlpack(array)
    self = Tensor.__new__(Tensor)
    self._make(lib.relora_tensor_from_dlpack, context._context, context._handle, _capsule_pointer(id(capsule), _VERSIONED))
    _name_capsule(capsule, _USED)  # whose deleter is the library's to call now
    return self
