#!/usr/bin/env python3
"""check.py ROOT: what can be said of the Julia files without a julia.

api.jl is read by a parser of its own, and every constant, field, signature and layout in it is compared with the
headers; in the other files every name of the interface must exist and every call of it have the right number of
arguments; brackets and blocks must end. Then each kind of mistake is made in a copy, and has to be found."""
import os
import re
import sys

root = sys.argv[1]
sys.path.insert(0, os.path.join(root, 'test'))
sys.dont_write_bytecode = True
import headers  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
WIDTH = {'Int32': 4, 'UInt32': 4, 'Int64': 8, 'UInt64': 8, 'Csize_t': 8, 'Float64': 8}
OPENS = {'function', 'for', 'while', 'if', 'try', 'begin', 'do', 'struct', 'module', 'let', 'quote', 'macro'}


def code_of(text):
    """Without strings and comments."""
    text = re.sub(r'"""(?:\\.|[^\\])*?"""', '""', text, flags=re.S)
    text = re.sub(r'"(?:\\.|[^"\\\n])*"', '""', text)
    return re.sub(r'#[^\n]*', '', text)


def groups(text):
    """Split at commas outside brackets."""
    parts, depth, start = [], 0, 0
    for i, c in enumerate(text):
        depth += (c in '([{') - (c in ')]}')
        if depth == 0 and c in ',;':
            parts.append(text[start:i].strip())
            start = i + 1
            if c == ';':
                return [p for p in parts if p]
    return [p for p in parts + [text[start:].strip()] if p]


def inside(text, at):
    """What stands between the bracket at `at` and its partner."""
    depth = 0
    for i in range(at, len(text)):
        depth += (text[i] in '([{') - (text[i] in ')]}')
        if depth == 0:
            return text[at + 1:i]
    raise ValueError('a bracket is never closed: ' + text[at:at + 60])


def same_type(api, c, julia):
    """A type of C and one of Julia that are the same to a ccall."""
    base = re.sub(r'\bconst\b|\bstruct\b', '', c).replace(' ', '')
    stars = base.count('*')
    base = base.strip('*')
    if base == 'char' and stars and julia in ('Ptr{' * (stars - 1) + 'Cstring' + '}' * (stars - 1), 'Ptr{UInt8}'):
        return True
    scalars = {'int32_t': 'Int32', 'uint32_t': 'UInt32', 'int64_t': 'Int64', 'uint64_t': 'UInt64', 'size_t': 'Csize_t',
               'double': 'Float64', 'void': 'Cvoid'}
    name = 'Ptr{Cvoid}' if base in api.callbacks else scalars.get(base, base)
    return julia == 'Ptr{' * stars + name + '}' * stars


def check_api(api, text):
    found = dict(re.findall(r'^const (RELORA_\w+) = \w+\((-?\d+)\)$', text, re.M))
    for name, value in api.constants.items():
        if found.get(name) != str(value):
            yield '%s is %s, not %d' % (name, found.get(name), value)
    aliases = dict(re.findall(r'^const (\w+) = (Int32)$', text, re.M))
    structs = {n: re.findall(r'^    (\w+)::(\S+)$', body, re.M)
               for n, body in re.findall(r'^mutable struct (\w+)\n(.*?)^end$', text, re.M | re.S)}
    for name, fields in api.structs.items():
        mine = structs.get(name, [])
        if [f for f, _ in mine] != [f for _, f in fields]:
            yield '%s has other fields: %s' % (name, mine)
            continue
        at = 0
        layout, size = api.layout(name)
        for (field, kind), (place, c, _) in zip(mine, layout):
            width = WIDTH.get(aliases.get(kind, kind), 8)
            at += -at % width
            if at != place or not same_type(api, c, kind):
                yield '%s.%s is %s at %d, not %s at %d' % (name, field, kind, at, c, place)
            at += width
        if at + -at % 8 != size:
            yield '%s has %d bytes, not %d' % (name, at, size)
    calls = {}
    for m in re.finditer(r'^(\w+)\(([^)]*)\) =\n    ccall\(\(:(\w+), librelora\), ', text, re.M):
        parts = groups(inside(text, m.end() - 1 - len('ccall((:%s, librelora), ' % m.group(3)) + len('ccall') + 1))
        calls[m.group(1)] = m.group(3), parts[1], groups(parts[2].strip('()')), parts[3:], groups(m.group(2))
    for name, (result, parameters, _, _) in api.functions.items():
        if name not in calls:
            yield name + ' is missing'
            continue
        symbol, back, types, passed, taken = calls[name]
        if symbol != name or passed != taken or len(types) != len(parameters) or len(taken) != len(parameters):
            yield '%s calls %s with %d types and %d values' % (name, symbol, len(types), len(passed))
        elif not same_type(api, result, back) or not all(same_type(api, c, j) for (c, _), j in zip(parameters, types)):
            yield '%s: %s(%s) is not what the header says' % (name, back, ', '.join(types))


def check_use(api, file, text):
    known = set(api.constants) | set(api.functions) | set(api.structs) | set(api.handles) | set(api.numbers)
    code = code_of(text)
    for m in re.finditer(r'\b(relora_\w+|RELORA_\w+)\b(\()?', code):
        name = m.group(1)
        if name == 'RELORA_LIBRARY':
            continue
        if name not in known:
            yield '%s: there is no %s' % (file, name)
        elif m.group(2) and name in api.functions:
            count, wanted = len(groups(inside(code, m.end() - 1))), len(api.functions[name][1])
            if count != wanted:
                yield '%s: %s is given %d arguments and takes %d' % (file, name, count, wanted)


def check_blocks(file, text):
    code, depth, blocks = code_of(text), 0, 0
    code = re.sub(r'abstract type \w+ end', '', code)
    code = re.sub(r':(if|for|end|begin|function|struct|module|quote)\b', '', code)
    for token in re.findall(r'\w+|[^\w\s]', code):
        depth += (token in '([{') - (token in ')]}')
        if depth == 0 or token == 'do':  # a comprehension has a `for` that nothing ends
            blocks += (token in OPENS) - (token == 'end')
        elif token == 'end' and depth == 0:
            blocks -= 1
    if depth:
        yield '%s: brackets do not match' % file
    if blocks:
        yield '%s: %d blocks are not ended' % (file, blocks)


def check(api, files):
    yield from check_api(api, files['src/api.jl'])
    for file, text in files.items():
        if file != 'src/api.jl':
            yield from check_use(api, file, text)
        yield from check_blocks(file, text)


MISTAKES = [
    ('src/api.jl', 'const RELORA_BF16 = relora_dtype(2)', 'const RELORA_BF16 = relora_dtype(3)', 'RELORA_BF16'),
    ('src/api.jl', '    rank::Int64\n', '    rank::Int32\n', 'relora_linear_options.rank'),
    ('src/api.jl', '    alpha::Float64\n    dropout::Float64\n', '    dropout::Float64\n    alpha::Float64\n', 'other fields'),
    ('src/api.jl', 'ccall((:relora_stream_wait,', 'ccall((:relora_stream_waits,', 'relora_stream_waits'),
    ('src/api.jl', 'ccall((:relora_version, librelora), UInt32', 'ccall((:relora_version, librelora), UInt64', 'relora_version'),
    ('src/api.jl', 'Ptr{relora_tensor}, Ptr{relora_stream}, Float64)', 'Ptr{relora_tensor}, Ptr{relora_stream}, Float32)', 'relora_tensor_fill'),
    ('src/Relora.jl', 'relora_linear_zero_grad(l, s)', 'relora_linear_zero_grad(l)', 'takes 2'),
    ('src/Relora.jl', 'relora_linear_zero_grad(l, s)', 'relora_linear_zero_grads(l, s)', 'there is no'),
    ('train.jl', 'Relora.RELORA_TRAIN | ', 'Relora.RELORA_TRAINS | ', 'there is no'),
    ('src/Relora.jl', '    return r\nend\n', '    return r\n', 'not ended'),
    ('train.jl', 'Numbers(1)\n', 'Numbers(1\n', 'brackets'),
]


def main():
    files = {}
    for file in ('src/api.jl', 'src/Relora.jl', 'train.jl', 'test/runtests.jl'):
        with open(os.path.join(HERE, file), encoding='utf-8') as f:
            files[file] = f.read()
    api = headers.Headers(os.path.join(root, 'include', 'relora'))
    found = list(check(api, files))
    if found:
        sys.exit('\n'.join(found))
    for file, old, new, words in MISTAKES:
        if old not in files[file]:
            sys.exit('check.py is out of date: %s has no %s' % (file, old))
        found = list(check(api, {**files, file: files[file].replace(old, new, 1)}))
        if not any(words in line for line in found):
            sys.exit('check.py: not found: %s (%s)' % (new, found))
    print('%d functions, %d structs and %d constants of the Julia files are those of the headers; %d mistakes found' % (
        len(api.functions), len(api.structs), len(api.constants), len(MISTAKES)))


main()
