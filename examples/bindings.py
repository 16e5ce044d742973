#!/usr/bin/env python3
"""Write what the bindings know of the interface: constants, structs and signatures, all from the public headers.

bindings.py write ROOT    write every file of FILES below ROOT
bindings.py check ROOT    refuse a file that is not what would be written, a binding that leaves a function out, and a
                          package with another version

The headers are read by test/headers.py, which takes no declaration that it does not know. So no binding has a
number, a field or a signature by hand; what is written by hand is how each language likes to have it."""
import os
import re
import sys
import textwrap

ROOT = sys.argv[2] if len(sys.argv) == 3 else '.'
sys.path.insert(0, os.path.join(ROOT, 'test'))
sys.dont_write_bytecode = True
import headers  # noqa: E402

NOTE = 'Written by examples/bindings.py from include/relora: change the headers, then run `make bindings`.'
SCALARS = ('int32_t', 'uint32_t', 'int64_t', 'uint64_t', 'size_t', 'double')


def short(name):
    return re.sub(r'^(relora|RELORA)_', '', name)


def camel(name):
    """linear_options is LinearOptions; MODE_LORA is ModeLora; F32 and BF16 stay."""
    return ''.join(w if re.search(r'[A-Z]\d', w) else w.capitalize() for w in short(name).split('_'))


def named(api, name):
    """The type that a constant belongs to: a name of int32_t, or plain int32_t or uint32_t (flags)."""
    if re.match(r'RELORA_(OK|E_\w+)$', name):
        return 'relora_status'
    if re.match(r'RELORA_(LOG_\w+|MAX_DIMS)$', name):
        return 'int32_t'
    return api.kinds.get(name, 'uint32_t')


def abi():
    with open(os.path.join(ROOT, 'include', 'relora', 'version.h'), encoding='utf-8') as f:
        return int(re.search(r'#define RELORA_ABI (\d+)', f.read()).group(1))


# ---- Rust ----

def rust_type(api, kind):
    scalars = dict(zip(SCALARS, ('i32', 'u32', 'i64', 'u64', 'usize', 'f64')))
    words = kind.replace('*', ' * ').replace('struct ', '').split()
    constant = words[0] == 'const'
    base = words[1] if constant else words[0]
    text = {'void': 'c_void', 'char': 'c_char'}.get(base, scalars.get(base, base))
    for i, word in enumerate(words):  # `T * const *`: what is const stands before the next star
        if word == '*':
            text = ('*const ' if constant else '*mut ') + text
            constant = words[i + 1:i + 2] == ['const']
    return text


def rust_signature(api, result, parameters):
    text = ', '.join('%s: %s' % (p if p != 'type' else 'r#type', rust_type(api, t)) for t, p in parameters)
    return '(%s)%s' % (text, '' if result == 'void' else ' -> ' + rust_type(api, result))


def rust(api):
    yield '// ' + NOTE
    yield '#![allow(non_camel_case_types)]'
    yield '\nuse std::os::raw::{c_char, c_void};\n'
    for name in sorted(api.numbers):
        yield 'pub type %s = i32;' % name
    yield ''
    for name in sorted(api.handles) + sorted(short.replace('struct ', '') for short in api.strangers):
        yield '#[repr(C)]\npub struct %s {\n    _private: [*mut u8; 0],\n}' % name
    yield ''
    for name, (result, parameters) in api.callbacks.items():
        yield 'pub type %s =\n    Option<unsafe extern "C" fn%s>;' % (name, rust_signature(api, result, parameters))
    yield ''
    for name, value in api.constants.items():
        yield 'pub const %s: %s = %d;' % (name, rust_type(api, named(api, name)), value)
    for name, fields in api.structs.items():
        yield '\n#[repr(C)]\n#[derive(Clone, Copy, Debug)]\npub struct %s {' % name
        for kind, field in fields:
            yield '    pub %s: %s,' % (field, rust_type(api, kind))
        yield '}\n\nimpl Default for %s {\n    fn default() -> Self {' % name
        yield '        let mut s = std::mem::MaybeUninit::<Self>::zeroed();'
        if name + '_init' in api.functions:
            yield '        // SAFETY: the library writes exactly these bytes, and zeros are a value of every field.'
            yield '        unsafe {\n            %s_init(s.as_mut_ptr(), std::mem::size_of::<Self>());' % name
            yield '            s.assume_init()\n        }\n    }\n}'
        else:
            yield '        // SAFETY: zeros are a value of every field.'
            yield '        unsafe {\n            (*s.as_mut_ptr()).struct_size = std::mem::size_of::<Self>() as u32;'
            yield '            s.assume_init()\n        }\n    }\n}'
    yield '\nextern "C" {'
    for name, (result, parameters, _, _) in api.functions.items():
        yield '    pub fn %s%s;' % (name, rust_signature(api, result, parameters))
    yield '}'
    yield '\n#[cfg(all(test, target_pointer_width = "64"))]\nmod layout {'
    yield '    use super::*;\n    use std::mem::{size_of, MaybeUninit};\n    use std::ptr::addr_of;\n'
    yield '    macro_rules! field {\n        ($of:ident, $name:ident, $at:expr) => {{'
    yield '            let s = MaybeUninit::<$of>::uninit();\n            let p = s.as_ptr();'
    yield '            // SAFETY: only addresses are taken; nothing is read.'
    yield '            let at = unsafe { addr_of!((*p).$name) as usize } - p as usize;'
    yield '            assert_eq!(at, $at, "{}.{}", stringify!($of), stringify!($name));\n        }};\n    }'
    for name in api.structs:
        fields, size = api.layout(name)
        yield '\n    #[test]\n    fn %s() {\n        assert_eq!(size_of::<super::%s>(), %d);' % (short(name), name, size)
        for at, _, field in fields:
            yield '        field!(%s, %s, %d);' % (name, field, at)
        yield '    }'
    yield '}'


# ---- Go: cgo reads the header itself; this is what its users see ----

GO = dict(zip(SCALARS, ('int32', 'uint32', 'int64', 'uint64', 'uint64', 'float64')))


def go_type(kind):
    return GO.get(kind, camel(kind))


def columns(rows):
    """As gofmt sets them."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        yield '\t' + ' '.join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()


def go(api):
    yield '// Code generated by examples/bindings.py from include/relora; DO NOT EDIT.\n'
    yield 'package relora\n\n// #include <relora/relora.h>\nimport "C"\n\nimport "unsafe"\n'
    for name in sorted(api.numbers):
        yield '// %s is %s of the headers.\ntype %s int32\n' % (camel(name), name, camel(name))
    yield '// Constants of the headers, where each is explained.\nconst ('
    yield from columns([(camel(name), go_type(named(api, name)), '= %d' % value) for name, value in api.constants.items()])
    yield ')'
    for name, fields in api.structs.items():
        plain = [(t, f) for t, f in fields if f not in ('struct_size', 'reserved') and '*' not in t and t not in api.callbacks]
        yield '\n// %s is %s of the headers, where each field is explained.\ntype %s struct {' % (camel(name), name, camel(name))
        yield from columns([(camel(field), go_type(kind)) for kind, field in plain])
        yield '}\n\nfunc (o *%s) fromC(c *C.%s) {' % (camel(name), name)
        for kind, field in plain:
            yield '\to.%s = %s(c.%s)' % (camel(field), go_type(kind), field)
        yield '}'
        if name.endswith('_report'):
            yield '\nfunc new%sC() C.%s {\n\tvar c C.%s\n\tc.struct_size = C.uint32_t(unsafe.Sizeof(c))\n\treturn c\n}' % (
                camel(name), name, name)
            continue
        yield '\nfunc (o *%s) toC() C.%s {\n\tvar c C.%s\n\tC.%s_init(&c, C.size_t(unsafe.Sizeof(c)))' % (
            camel(name), name, name, name)
        for kind, field in plain:
            yield '\tc.%s = C.%s(o.%s)' % (field, kind, camel(field))
        yield '\treturn c\n}'
        yield '\n// Default%s is what the library takes where nothing is said.\nfunc Default%s() %s {' % (
            camel(name), camel(name), camel(name))
        yield '\tvar c C.%s\n\tvar o %s\n\tC.%s_init(&c, C.size_t(unsafe.Sizeof(c)))\n\to.fromC(&c)\n\treturn o\n}' % (
            name, camel(name), name)


# ---- Julia ----

def julia_type(api, kind, pointer='Ptr'):
    scalars = dict(zip(SCALARS, ('Int32', 'UInt32', 'Int64', 'UInt64', 'Csize_t', 'Float64')))
    stars = kind.count('*')
    base = re.sub(r'\b(const|struct)\b|\*', '', kind).strip()
    if base == 'char' and stars:
        text, stars = 'Cstring', stars - 1
    elif base in api.callbacks:
        text = 'Ptr{Cvoid}'
    else:
        text = {'void': 'Cvoid'}.get(base, scalars.get(base, base))
    return 'Ptr{' * stars + text + '}' * stars


def julia(api):
    yield '# ' + NOTE + '\n'
    for name in sorted(api.numbers):
        yield 'const %s = Int32' % name
    yield ''
    for name in sorted(api.handles) + sorted(s.replace('struct ', '') for s in api.strangers):
        yield 'mutable struct %s end' % name
    yield ''
    for name, value in api.constants.items():
        kind = julia_type(api, named(api, name))
        yield 'const %s = %s(%d)' % (name, kind, value)
    for name, fields in api.structs.items():
        yield '\nmutable struct %s' % name
        for kind, field in fields:
            # a string in a struct is a pointer: Cstring would be converted behind our back
            yield '    %s::%s' % (field, 'Ptr{UInt8}' if 'char' in kind else julia_type(api, kind))
        yield '    %s() = new()\nend' % name
    for name, (result, parameters, _, _) in api.functions.items():
        types = ', '.join(julia_type(api, t) for t, _ in parameters) + (',' if len(parameters) == 1 else '')
        names = ', '.join(p for _, p in parameters)
        yield '\n%s(%s) =\n    ccall((:%s, librelora), %s, (%s)%s)' % (
            name, names, name, julia_type(api, result), types, ', ' + names if names else '')
    yield '\n# Places of fields and sizes, as the C compiler has them.\nconst LAYOUT = ['
    for name in api.structs:
        fields, size = api.layout(name)
        yield '    (%s, %d, [%s]),' % (name, size, ', '.join(':%s => %d' % (f, at) for at, _, f in fields))
    yield ']'


# ---- Python ----

def python_type(api, kind):
    base = kind.replace('const ', '')
    if base == 'void':
        return 'None'
    if base == 'char *':
        return 'c_char_p'
    if '*' in base:
        return 'c_void_p'
    scalars = dict(zip(SCALARS, ('c_int32', 'c_uint32', 'c_int64', 'c_uint64', 'c_size_t', 'c_double')))
    return scalars.get(base, 'c_int32' if base in api.numbers else base)


def python(api):
    yield '# ' + NOTE
    yield 'from ctypes import (CFUNCTYPE, Structure, c_char_p, c_double, c_int32, c_int64, c_size_t, c_uint32,\n' \
          '                    c_uint64, c_void_p)\n'
    names = ', '.join(repr(short(name)) for name in api.constants)
    yield '__all__ = [%s]\n' % '\n           '.join(textwrap.wrap(names, 105))
    yield 'ABI = %d' % abi()
    for name, value in api.constants.items():
        yield '%s = %d' % (short(name), value)
    yield ''
    for name, (result, parameters) in api.callbacks.items():
        yield '%s = CFUNCTYPE(%s)' % (name, ', '.join(python_type(api, t) for t in [result] + [t for t, _ in parameters]))
    for name, fields in api.structs.items():
        yield '\n\nclass %s(Structure):\n    _fields_ = [' % name
        for kind, field in fields:
            yield '        (%r, %s),' % (field, python_type(api, kind))
        yield '    ]'
    yield '\n\n# name: result, parameters\nFUNCTIONS = {'
    for name, (result, parameters, _, _) in api.functions.items():
        types = ', '.join(python_type(api, t) for t, _ in parameters)
        yield '    %r: (%s, [%s]),' % (name, python_type(api, result), types)
    yield '}\n\n# struct: size, places of its fields, as the C compiler has them\nLAYOUT = {'
    for name in api.structs:
        fields, size = api.layout(name)
        yield '    %s: (%d, {%s}),' % (name, size, ', '.join('%r: %d' % (f, at) for at, _, f in fields))
    yield '}'


FILES = {'examples/rust/relora-sys/src/bindings.rs': rust, 'examples/go/api.go': go,
         'examples/julia/src/api.jl': julia, 'examples/python/relora/_api.py': python}

# Where each language has what is written by hand.
BY_HAND = {'C++': 'include/relora/relora.hpp', 'Rust': 'examples/rust/relora/src', 'Go': 'examples/go',
           'Julia': 'examples/julia/src/Relora.jl', 'Python': 'examples/python/relora'}

# What a program in C writes shorter, and another language says anyway. Plain pointers, where other languages have
# tensors with owners; reports set their size themselves.
FOR_C = r'relora_tensor_borrow_matrix|relora_group_(wrap|add_param|linear)_at|\w+_report_init|relora_comm_init|relora_adam_sum'

# What is called by what is written for them, or by a name that is put together.
ELSEWHERE = {'Rust': r'\w+_options_init', 'Go': r'\w+_options_init|relora_tensor_set_data', # SetData takes an owner
             'Python': r'\w+_options_init'}


def text_below(path):
    if os.path.isfile(path):
        with open(path, encoding='utf-8') as f:
            return f.read()
    files = [os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names]
    return '\n'.join(text_below(f) for f in sorted(files)
                     if f.endswith(('.rs', '.go', '.c', '.py')) and os.path.relpath(f, ROOT) not in FILES)


def left_out(api):
    """Functions that no code of a binding calls: they are there, but out of its users' reach."""
    for language, path in BY_HAND.items():
        words = set(re.findall(r'\w+', text_below(os.path.join(ROOT, path))))
        for name in api.functions:
            if name not in words and not re.fullmatch(FOR_C + '|' + ELSEWHERE.get(language, '$'), name):
                yield '%s: %s is not called in %s' % (language, name, path)


VERSIONS = {  # what names the release of a binding
    'examples/rust/relora-sys/Cargo.toml': r'(?m)^version = "(.*)"', 'examples/rust/relora/Cargo.toml': r'(?m)^version = "(.*)"',
    'examples/julia/Project.toml': r'(?m)^version = "(.*)"', 'examples/python/pyproject.toml': r'(?m)^version = "(.*)"',
    'examples/python/relora/__init__.py': r"(?m)^__version__ = '(.*)'"}


def other_versions():
    """Packages that do not have the version of the library."""
    defined = re.findall(r'#define RELORA_VERSION_\w+ (\d+)', text_below(os.path.join(ROOT, 'include/relora/version.h')))
    for path, pattern in VERSIONS.items():
        if re.findall(pattern, text_below(os.path.join(ROOT, path))) != ['.'.join(defined)]:
            yield '%s: the version is not %s' % (path, '.'.join(defined))


def main(command):
    api = headers.Headers(os.path.join(ROOT, 'include', 'relora'))
    bad = list(api.bad)
    for path, lines in FILES.items():
        text, full = '\n'.join(lines(api)) + '\n', os.path.join(ROOT, path)
        if command == 'write':
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, 'w', encoding='utf-8') as f:
                f.write(text)
        elif not os.path.exists(full) or text_below(full) != text:
            bad.append("%s is not what the headers say: run 'make bindings'" % path)
    if command == 'check':
        bad += [*left_out(api), *other_versions()]
    print('\n'.join(bad) or '%d functions, %d structs, %d constants in %d languages' % (
        len(api.functions), len(api.structs), len(api.constants), len(BY_HAND)))
    return 1 if bad else 0


if __name__ == '__main__':
    if len(sys.argv) != 3 or sys.argv[1] not in ('write', 'check'):
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
