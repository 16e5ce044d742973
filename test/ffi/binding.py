"""The library through ctypes, with nothing but the headers to go by: every function, struct and constant is found
by reading them. That this works is what the rules of test/headers.py are for."""
import ctypes
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir))
sys.dont_write_bytecode = True
import headers  # noqa: E402


class Binding:
    """A method for each function, and structs and constants by name."""

    def __init__(self, root, library):
        self.context = None  # whose sentence says why a call failed
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
        base = text.replace('const ', '')
        if base == 'char *':
            return ctypes.c_char_p
        if base == 'void':
            return None
        return ctypes.c_void_p if '*' in base else self.types[base]

    def __getattr__(self, name):  # MODE_LORA is RELORA_MODE_LORA
        return self.api.constants['RELORA_' + name]

    def error(self):
        text = ctypes.create_string_buffer(300)
        self.context_error(self.context, text, len(text), None)
        return text.value.decode()

    def ok(self, status):
        assert status == self.OK, '%s: %s' % (self.status_name(status).decode(), self.error())

    def options(self, kind, **fields):
        struct = self.types['relora_%s_options' % kind]()
        self.ok(getattr(self, kind + '_options_init')(ctypes.byref(struct), ctypes.sizeof(struct)))
        assert struct.struct_size == ctypes.sizeof(struct)
        for name, value in fields.items():
            assert hasattr(struct, name), name
            setattr(struct, name, value)
        return ctypes.byref(struct)

    def create(self, kind, *arguments):
        out = ctypes.c_void_p()
        self.ok(getattr(self, kind)(ctypes.byref(out), *arguments))
        return out
