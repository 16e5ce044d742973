#!/usr/bin/env python3
"""Read the public headers as the author of a binding would: once, with a small grammar, in any language.

headers.py check INCLUDE MAP   refuse what a binding cannot use, functions without their three tags, and a release
                               that is not the one under which MAP exports the function
headers.py pins INCLUDE PINS   print the assertions that PINS still lacks; exit status 1 if there are any
headers.py stubs INCLUDE       print C in which every function is empty and every constant is used
headers.py calls INCLUDE       print C in which every function is called with plain variables, as programs have them

The grammar is the part of C that the headers use. Whatever else stands in them is a finding: nothing is skipped,
so nothing passes unread. docs/abi.md lists the rules."""
import os
import re
import sys

SIZES = {'int32_t': 4, 'uint32_t': 4, 'int64_t': 8, 'uint64_t': 8, 'size_t': 8, 'double': 8}
POINTER = 8  # offsets are those of a machine with 64-bit pointers

TOKEN = re.compile(r'(?P<doc>/\*\*(?!<).*?\*/)|(?P<comment>/\*.*?\*/|//[^\n]*)|'
                   r'(?P<directive>^[ \t]*#(?:\\\n|[^\n])*)|(?P<code>\w+|\.\.\.|[^\s\w])', re.S | re.M)
VALUE = re.compile(r'(?:const )?(?:struct )?(\w+)((?: \*(?: const(?= \*))?)*) (\w+)$')  # const type * const * name, one blank between tokens

# What may stand on a line that begins with #.
INCLUDE = re.compile(r'#include ("relora/\w+\.h"|<std(def|int)\.h>)$')
DEFINES = {'export.h': re.compile(r'#define RELORA_(API|DEPRECATED|BEGIN|END)\b'),
           'version.h': re.compile(r'#define RELORA_(ABI|VERSION_(MAJOR|MINOR|PATCH)) \d+$')}
CONDITION = re.compile(r'#(if|ifdef|elif|else|endif)\b')

TAGS = {'@since': r'\d+\.\d+', '@threads': 'any|one', '@stream': 'none|queues|synchronises'}

# Code for hosts that have the library in question, in terms of the interface and no part of it.
ADAPTERS = ('comm_mpi.h', 'comm_nccl.h')

# Words that say at once why a declaration cannot be read.
FORBIDDEN = {'...': 'variable arguments', 'inline': 'an inline function', 'union': 'a union', '[': 'an array',
             ':': 'a bit-field', 'extern': 'a variable, or an export without RELORA_API',
             'static': 'a definition in a header'}


class Headers:
    """Everything that the headers of a folder declare, and what is wrong with them, in `bad`."""

    def __init__(self, folder):
        self.folder, self.bad = folder, []
        self.handles, self.numbers = set(), set()  # opaque structs; other names of int32_t
        self.strangers = set()                     # structs of other libraries, "struct NAME", always by pointer
        self.structs, self.callbacks = {}, {}      # name -> fields; name -> (result, parameters)
        self.constants, self.functions = {}, {}    # name -> value; name -> (result, parameters, comment, place)
        self.kinds, self.latest = {}, None         # constant -> the name of int32_t that stands right before it
        self.files = sorted(f for f in os.listdir(folder) if f.endswith('.h') and f not in ADAPTERS)
        for file in self.files:
            with open(os.path.join(folder, file), encoding='utf-8') as f:
                self.read(file, f.read())

    def finding(self, place, text):
        self.bad.append('%s: %s' % (place, text))

    def read(self, file, text):
        """Cut a file into directives and declarations."""
        code, doc, depth = [], '', 0
        place = file
        for token in TOKEN.finditer(text):
            kind, word = token.lastgroup, token.group()
            here = '%s:%d' % (file, text.count('\n', 0, token.start()) + 1)
            if kind == 'directive':
                doc = ''
                self.directive(here, file, re.sub(r'\s+', ' ', word).replace('# ', '#').strip())
            elif kind == 'doc' and not code:
                doc = word
            elif kind == 'code' and (code or word not in ('RELORA_BEGIN', 'RELORA_END')):
                if not code:
                    place = here
                depth += (word in '({') - (word in ')}')
                if word == ';' and depth == 0:
                    self.declaration(place, ' '.join(code), doc)
                    code, doc = [], ''
                else:
                    code.append(word)
        if code:
            self.finding(place, 'not ended by a semicolon: ' + ' '.join(code)[:60])

    def directive(self, place, file, line):
        guard = 'RELORA_%s_H' % file[:-2].upper()
        if line in ('#ifndef ' + guard, '#define ' + guard, '#endif') or INCLUDE.match(line):
            return
        if file in DEFINES and DEFINES[file].match(line) or file == 'export.h' and CONDITION.match(line):
            return
        if line.startswith('#define'):
            self.finding(place, line.split()[1] + ': a macro; a binding needs an enumerator or a function')
        else:
            self.finding(place, line + ': what is declared must not depend on this')

    def declaration(self, place, code, doc):
        for shape, method in SHAPES:
            match = re.match(shape + '$', code)
            if match:
                before, self.latest = self.latest, None
                method(self, place, *match.groups(), *([doc] if method is Headers.function else []))
                if method is Headers.enum and before:
                    self.kinds.update((name, before) for name in re.findall(r'(RELORA_\w+) =', code))
                return None
        words = code.split()
        reasons = [why for word, why in FORBIDDEN.items() if word in words] or ['not one of the known forms']
        return self.finding(place, '%s: %s' % (reasons[0], code[:60]))

    def handle(self, place, tag, name):
        if tag != name:
            self.finding(place, '%s: its struct is called %s' % (name, tag))
        self.handles.add(name)

    def stranger(self, place, name):
        self.strangers.add('struct ' + name)

    def number(self, place, width, name):
        if width != 'int32_t':
            self.finding(place, '%s: a named number is an int32_t, not %s' % (name, width))
        self.numbers.add(name)
        self.latest = name

    def callback(self, place, result, name, parameters):
        self.callbacks[name] = result, self.values(place, name, parameters, ',')
        if not parameters.startswith('void * user'):
            self.finding(place, name + ': the first parameter of a callback is void *user')

    def struct(self, place, tag, fields, name):
        fields = self.values(place, name, fields.rstrip('; '), ';')
        if tag != name:
            self.finding(place, '%s: its struct is called %s' % (name, tag))
        if not fields or fields[0] != ('uint32_t', 'struct_size'):
            self.finding(place, name + ': a public struct begins with uint32_t struct_size')
        self.structs[name] = fields

    def enum(self, place, tag, body):
        if tag:
            self.finding(place, 'enum %s: an enumeration has no name; its type is an int32_t' % tag.strip())
        for item in filter(None, (i.strip() for i in body.split(','))):
            match = re.match(r'(RELORA_\w+) = (- )?(\d+|0x[0-9a-fA-F]+)$', item)
            if match:
                self.constants[match.group(1)] = int((match.group(2) or '').strip() + match.group(3), 0)
            else:
                self.finding(place, item + ': a constant is RELORA_NAME = number')

    def function(self, place, result, name, parameters, doc):
        if not name.startswith('relora_'):
            self.finding(place, name + ': the name does not begin with relora_')
        self.functions[name] = result, self.values(place, name, parameters, ','), doc, place

    def values(self, place, owner, text, separator):
        """The parameters of a function or the fields of a struct, as pairs of type and name."""
        result = []
        for item in text.split(' %s ' % separator) if text not in ('', 'void') else []:
            match = VALUE.match(item)
            if match:
                result.append((item[:match.start(3)].strip(), match.group(3)))
            else:
                words = item.split()
                why = [why for word, why in FORBIDDEN.items() if word in words]
                self.finding(place, '%s: %s: %s' % (owner, (why or ['not one type and one name'])[0], item))
        return result

    def check_types(self):
        """Every value has a width that all languages know; whatever else there is goes by pointer."""
        scalars = set(SIZES) | self.numbers
        pointed = scalars | self.handles | self.strangers | set(self.structs) | {'void', 'char'}
        everything = [(name, 'result', f[0]) for name, f in {**self.functions, **self.callbacks}.items()]
        for name, (_, parameters, *_) in {**self.functions, **self.callbacks}.items():
            everything += [(name, p, t) for t, p in parameters]
        for name, fields in self.structs.items():
            everything += [(name, f, t) for t, f in fields]
        for owner, name, kind in everything:
            base = kind.replace('const ', '').replace(' *', '')
            if kind == 'void' and name == 'result':
                continue
            if '*' in kind and base not in pointed:
                self.finding(owner, '%s points to %s, which is no type of the library' % (name, base))
            elif '*' not in kind and base in set(self.structs) | self.handles | self.strangers:
                self.finding(owner, '%s is a struct by value, %s' % (name, base))
            elif '*' not in kind and base not in scalars | set(self.callbacks):
                self.finding(owner, '%s is %s; use int32_t, uint32_t, int64_t, uint64_t, size_t or double'
                             % (name, kind))

    def check_comments(self, exports):
        for name, (_, _, doc, place) in self.functions.items():
            since = None
            for tag, values in TAGS.items():
                found = re.findall(r'%s\s+(\S+)' % tag, doc)
                if len(found) != 1 or not re.match('(%s)$' % values, found[0]):
                    self.finding(place, '%s: the comment needs %s, one of %s; it has %s'
                                 % (name, tag, values, ' '.join(found) or 'none'))
                elif tag == '@since':
                    since = found[0]
            if name not in exports:
                self.finding(place, name + ': not in the map of exports')
            elif since and exports[name] != 'RELORA_' + since:
                self.finding(place, '%s: @since %s, but exported under %s' % (name, since, exports[name]))
        for name in sorted(set(exports) - set(self.functions)):
            self.finding(exports[name], name + ': exported, but in no header')

    def check_umbrella(self):
        with open(os.path.join(self.folder, 'relora.h'), encoding='utf-8') as f:
            text = f.read()
        for file in self.files:
            if file != 'relora.h' and '#include "relora/%s"\n' % file not in text:
                self.finding('relora.h', 'does not include relora/' + file)

    def layout(self, name):
        """(offset, type, field) of each field, and the size."""
        lines, at, widest = [], 0, 1
        for kind, field in self.structs[name]:
            size = POINTER if '*' in kind or kind in self.callbacks else SIZES.get(kind, 4)
            at += -at % size
            lines.append((at, kind, field))
            at, widest = at + size, max(widest, size)
        return lines, at + -at % widest

    def pins(self):
        for name, value in self.constants.items():
            yield 'CONSTANT(%s, %d);' % (name, value)
        for name in self.structs:
            fields, size = self.layout(name)
            for offset, kind, field in fields:
                yield 'FIELD(%s, %d, %s, %s);' % (name, offset, kind, field)
            yield 'SIZE(%s, %d);' % (name, size)

    def calls(self):
        """A caller's own variables are seldom const. A pointer to fill keeps what it will point to."""
        yield '#include "relora/relora.h"'
        for name, (_, parameters, _, _) in self.functions.items():
            yield 'void call_%s(%s);' % (name, self.plain(parameters))
            yield 'void call_%s(%s) { (void)%s(%s); }' % (name, self.plain(parameters), name,
                                                          ', '.join(p for _, p in parameters))

    @staticmethod
    def plain(parameters):
        kinds = [t if re.match(r'const \w+ \* \*$', t) else t.replace('const ', '').replace(' const', '')
                 for t, _ in parameters]
        return ', '.join('%s %s' % (t, p) for t, (_, p) in zip(kinds, parameters)) or 'void'

    def stubs(self):
        yield '#include "relora/relora.h"'
        for name, (result, parameters, _, _) in self.functions.items():
            text = ', '.join('%s %s' % p for p in parameters) or 'void'
            yield '%s %s(%s) { %s}' % (result, name, text, '' if result == 'void' else 'return 0; ')
        # Compilers leave an enumeration that nothing uses out of the debugging information.
        yield '__attribute__((used)) static const int64_t constants[] = { %s };' % ', '.join(self.constants)


SHAPES = [(r'typedef struct (\w+) (\w+)', Headers.handle),
          (r'struct (\w+)', Headers.stranger),
          (r'typedef (\w+) (\w+)', Headers.number),
          (r'typedef struct (\w+) \{ (.*) \} (\w+)', Headers.struct),
          (r'typedef ([^()]+) \( \* (\w+) \) \( ([^()]*) \)', Headers.callback),
          (r'enum (\w+ )?\{ ([^{}]*) \}', Headers.enum),
          (r'RELORA_API ([^()]+) (\w+) \( ([^()]*) \)', Headers.function)]


def read_exports(path):
    """Name -> version node, from the linker's version script."""
    exports = {}
    with open(path, encoding='utf-8') as f:
        for node, names in re.findall(r'(RELORA_[\d.]+) \{\s*global:(.*?)(?:local:.*?)?\}', f.read(), re.S):
            exports.update((name, node) for name in re.findall(r'\w+', names))
    return exports


def check(folder, exports):
    headers = Headers(os.path.join(folder, 'relora'))
    headers.check_types()
    headers.check_comments(read_exports(exports))
    headers.check_umbrella()
    return headers


def main(command, folder, file=None):
    if command == 'check':
        headers = check(folder, file)
        print('%d functions, %d structs, %d constants, %d findings' % (
            len(headers.functions), len(headers.structs), len(headers.constants), len(headers.bad)))
        missing = headers.bad
    elif command == 'pins':
        with open(file, encoding='utf-8') as f:
            pinned = f.read().split('\n')
        missing = [line for line in Headers(os.path.join(folder, 'relora')).pins() if line not in pinned]
    else:
        headers = Headers(os.path.join(folder, 'relora'))
        print('\n'.join(getattr(headers, command)()))
        missing = headers.bad
    print('\n'.join(missing), file=sys.stderr if command in ('stubs', 'calls') else sys.stdout, end='\n' if missing else '')
    return 1 if missing else 0


if __name__ == '__main__':
    if len(sys.argv) < 3 or sys.argv[1] not in ('check', 'pins', 'stubs', 'calls'):
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
