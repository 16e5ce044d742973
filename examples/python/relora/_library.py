"""The shared library, its functions with their types, and its failures as exceptions."""
import ctypes
import os
import weakref

from . import _api

HERE = os.path.dirname(os.path.abspath(__file__))


def find():
    """RELORA_LIBRARY, or the library of the wheel, or the one that is installed."""
    path = os.environ.get('RELORA_LIBRARY')
    if path:
        return path
    bundled = os.path.join(HERE, 'librelora.so.%d' % _api.ABI)
    return bundled if os.path.exists(bundled) else 'librelora.so.%d' % _api.ABI


class Error(Exception):
    """A status below 0, with the sentence that says why."""

    def __init__(self, status, text):
        super().__init__(text or status_text(status))
        self.status = status
        self.name = status_name(status)


def load():
    try:
        so = ctypes.CDLL(find())
    except OSError as e:
        raise ImportError('librelora is not here: install it, or let RELORA_LIBRARY name it (%s)' % e) from e
    for name, (result, parameters) in _api.FUNCTIONS.items():
        function = getattr(so, name)
        function.restype, function.argtypes = result, parameters
    for struct, (size, fields) in _api.LAYOUT.items():
        assert ctypes.sizeof(struct) == size, struct
        assert all(getattr(struct, f).offset == at for f, at in fields.items()), struct
    return so


lib = load()


def library_path():
    return lib._name


def version():
    return lib.relora_version()


def version_string():
    return lib.relora_version_string().decode()


def build_info():
    return lib.relora_build_info().decode()


def status_name(status):
    return lib.relora_status_name(status).decode()


def status_text(status):
    return lib.relora_status_text(status).decode()


def _text(ask, handle):
    length = ctypes.c_size_t()
    ask(handle, None, 0, ctypes.byref(length))
    buffer = ctypes.create_string_buffer(length.value + 1)
    ask(handle, buffer, len(buffer), None)
    return buffer.value.decode(errors='replace')


def check(status, context):
    if status < 0:
        raise Error(status, _text(lib.relora_context_error, context))


def check_stream(status, stream):
    """The text of a stream is that of the caller's own call, whatever fails in other threads."""
    if status < 0 and (stream is None or stream._handle is None):
        raise Error(status, 'relora: the stream is None or closed')
    if status < 0:
        raise Error(status, _text(lib.relora_stream_error, stream._handle))


def decode(text):
    return None if text is None else text.decode()


def options(name, fields):
    """A struct with its defaults, and `fields` over them."""
    struct = getattr(_api, 'relora_%s_options' % name)()
    check(getattr(lib, 'relora_%s_options_init' % name)(ctypes.byref(struct), ctypes.sizeof(struct)), None)
    known = {f for f, _ in struct._fields_ if not f.startswith('reserved')} - {'struct_size'}
    for field, value in fields.items():
        if field not in known:
            raise TypeError('%s is no option: %s' % (field, ', '.join(sorted(known))))
        setattr(struct, field, value)
    return struct


def report(name):
    kind = getattr(_api, 'relora_%s_report' % name)
    return kind(struct_size=ctypes.sizeof(kind))


class Kept:
    """Python objects that the library has a number of: what a callback gets as its user."""

    def __init__(self):
        self.objects, self.last = {}, 0

    def put(self, value):
        self.last += 1
        self.objects[self.last] = value
        return self.last

    def pop(self, number):
        return self.objects.pop(number, None)


class Object:
    """A handle that is released when nobody has it any more."""

    _release = None  # name of the function

    def _own(self, handle, context):
        self._handle, self._context = handle, context
        self._finalizer = weakref.finalize(self, getattr(lib, self._release), handle)

    def _make(self, create, context, *arguments):
        out = ctypes.c_void_p()
        check(create(ctypes.byref(out), *arguments), context)
        self._own(out.value, context)

    def close(self):
        """Release it now. It must not be used any more."""
        self._finalizer()
        self._handle = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _ok(self, status):
        check(status, self._context)


def handle(thing):
    return None if thing is None else thing._handle
