#!/usr/bin/env python3
"""rules.py ROOT: break each rule of test/headers.py on a copy of the headers, and see it reported."""
import os
import shutil
import sys
import tempfile

root = sys.argv[1]
sys.path.insert(0, os.path.join(root, 'test'))
sys.dont_write_bytecode = True
import headers  # noqa: E402

FN = 'RELORA_API relora_status relora_stream_wait(relora_stream *stream, relora_stream *other);'
DOC = ' *  @since 0.1 @threads one @stream queues */\n' + FN
FLAGS = '    uint32_t flags;             /**< 0 */'  # of relora_context_options


def parameters(text):
    return FN.replace('relora_stream *other', text)


def result(text):
    return FN.replace('relora_status', text)


BREAKS = [  # file, what stands there, what is put there, words of the finding
    # values that some language cannot pass
    ('stream.h', FN, parameters('relora_step_report report'), 'struct by value'),
    ('stream.h', FN, parameters('relora_stream other'), 'struct by value'),
    ('stream.h', FN, result('relora_step_report'), 'struct by value'),
    ('stream.h', FN, parameters('relora_stream *other, ...'), 'variable arguments'),
    ('stream.h', FN, parameters('int other'), 'other is int'),
    ('stream.h', FN, parameters('long other'), 'other is long'),
    ('stream.h', FN, parameters('unsigned long other'), 'not one type'),
    ('stream.h', FN, parameters('long double other'), 'not one type'),
    ('stream.h', FN, parameters('enum relora_kind other'), 'not one type'),
    ('stream.h', FN, parameters('bool other'), 'other is bool'),
    ('stream.h', FN, parameters('_Bool other'), 'other is _Bool'),
    ('stream.h', FN, parameters('float other'), 'other is float'),
    ('stream.h', FN, parameters('float *other'), 'points to float'),
    ('stream.h', FN, parameters('char other'), 'other is char'),
    ('stream.h', FN, parameters('int16_t other'), 'other is int16_t'),
    ('stream.h', FN, parameters('FILE *other'), 'points to FILE'),
    ('stream.h', FN, parameters('int32_t other[4]'), 'an array'),
    ('stream.h', FN, parameters('struct other *other'), 'points to struct other'),
    ('stream.h', FN, 'struct other;\n' + parameters('struct other other'), 'struct by value'),
    ('stream.h', FN, parameters('relora_stream *'), 'not one type'),
    ('stream.h', FN, parameters('void (*other)(void *user)'), 'not one of the known forms'),
    ('stream.h', FN, result('int'), 'result is int'),
    ('stream.h', FN, result('bool'), 'result is bool'),
    ('context.h', 'int32_t level, const', 'int level, const', 'level is int'),
    ('context.h', '(void *user, int32_t level', '(int32_t level, void *user', 'first parameter of a callback'),
    # structs
    ('context.h', FLAGS, 'uint32_t flags : 3;', 'a bit-field'),
    ('context.h', FLAGS, 'uint32_t flags[1];', 'an array'),
    ('context.h', FLAGS, 'uint32_t flags[];', 'an array'),
    ('context.h', FLAGS, 'union { uint32_t flags; } u;', 'a union'),
    ('context.h', FLAGS, 'unsigned flags;', 'flags is unsigned'),
    ('context.h', FLAGS, 'relora_context flags;', 'struct by value'),
    ('context.h', FLAGS, 'uint32_t flags, more;', 'not one type'),
    ('context.h', 'uint32_t struct_size; ', 'int32_t struct_size; ', 'begins with uint32_t struct_size'),
    ('context.h', 'uint32_t struct_size; ', 'uint32_t size; ', 'begins with uint32_t struct_size'),
    ('context.h', 'typedef struct relora_context_options {', 'typedef struct options {', 'struct is called'),
    ('context.h', 'typedef struct relora_context_options {', 'typedef union relora_context_options {', 'a union'),
    ('types.h', 'typedef struct relora_stream relora_stream', 'typedef struct stream relora_stream', 'struct is called'),
    # constants and the types that go with them
    ('types.h', 'RELORA_BF16 = 2', 'RELORA_BF16', 'a constant is'),
    ('types.h', 'RELORA_BF16 = 2', 'RELORA_BF16 = 1 << 1', 'a constant is'),
    ('types.h', 'RELORA_BF16 = 2', 'BF16 = 2', 'a constant is'),
    ('types.h', 'enum {\n    RELORA_F32', 'enum relora_dtypes {\n    RELORA_F32', 'an enumeration has no name'),
    ('types.h', 'enum {\n    RELORA_F32', 'typedef enum {\n    RELORA_F32', 'known forms'),
    ('types.h', 'typedef int32_t relora_dtype', 'typedef int64_t relora_dtype', 'is an int32_t'),
    ('types.h', 'typedef int32_t relora_dtype', 'typedef int relora_dtype', 'is an int32_t'),
    ('stream.h', FN, FN + '\n#define RELORA_WAIT 1', 'a macro'),
    ('stream.h', FN, FN + '\n#define RELORA_WAIT(x) (x)', 'a macro'),
    ('export.h', '#ifdef __cplusplus', '#define RELORA_WAIT 1\n#ifdef __cplusplus', 'a macro'),
    # other ways to declare
    ('stream.h', FN, '#ifdef __linux__\n' + FN + '\n#endif', 'must not depend'),
    ('stream.h', FN, '#include <stdbool.h>\n' + FN, 'must not depend'),
    ('stream.h', FN, FN + '\nstatic inline int32_t relora_two(void) { return 2; }', 'an inline function'),
    ('stream.h', FN, FN + '\nstatic int32_t relora_two(void) { return 2; }', 'a definition'),
    ('stream.h', FN, FN + '\nextern int32_t relora_two;', 'a variable'),
    ('stream.h', FN, FN + '\nRELORA_API int32_t relora_two;', 'known forms'),
    ('stream.h', FN, FN.replace('RELORA_API ', ''), 'known forms'),
    ('stream.h', FN, FN.replace('relora_stream_wait', 'stream_wait'), 'does not begin'),
    ('stream.h', FN, FN[:-1], 'known forms'),
    ('relora.h', '#include "relora/stream.h"\n', '', 'does not include'),
    # comments, and the map of exports
    ('stream.h', DOC, ' */\n' + FN, '@since'),
    ('stream.h', DOC, DOC.replace('@since 0.1 ', ''), 'needs @since'),
    ('stream.h', DOC, DOC.replace('0.1', 'soon'), 'needs @since'),
    ('stream.h', DOC, DOC.replace('@threads one ', ''), 'needs @threads'),
    ('stream.h', DOC, DOC.replace('one', 'some'), 'needs @threads'),
    ('stream.h', DOC, DOC.replace('@stream queues', ''), 'needs @stream'),
    ('stream.h', DOC, DOC.replace('queues', 'waits'), 'needs @stream'),
    ('stream.h', DOC, DOC.replace('queues', 'queues @stream none'), 'needs @stream'),
    ('stream.h', DOC, DOC.replace(' */\n', ' */\ntypedef int32_t relora_kind;\n'), 'needs @since'),
    ('stream.h', DOC, DOC.replace('0.1', '0.2'), 'exported under RELORA_0.1'),
    ('map', '    relora_stream_wait;\n', '', 'not in the map'),
    ('map', '    relora_stream_wait;\n', '    relora_stream_wait;\n    relora_stream_weight;\n', 'in no header'),
]

UNPINNED = [  # what test/abi/pins.c has to be asked for
    ('types.h', 'RELORA_BF16 = 2', 'RELORA_BF16 = 2, RELORA_NEW = 3', 'CONSTANT(RELORA_NEW, 3);'),
    ('context.h', '} relora_context_options;', 'int64_t more; } relora_context_options;', 'int64_t, more);'),
    ('context.h', '} relora_context_options;', 'int64_t more; } relora_context_options;', 'SIZE(relora_context_'),
    ('context.h', 'int32_t threads;', 'double threads;', 'double, threads);'),
]


def broken(folder, file, old, new):
    """A copy with one change; answers what is found in it."""
    shutil.copytree(os.path.join(root, 'include'), os.path.join(folder, 'include'))
    shutil.copy(os.path.join(root, 'lib', 'librelora.map'), os.path.join(folder, 'map'))
    path = os.path.join(folder, 'map' if file == 'map' else 'include/relora/' + file)
    with open(path, encoding='utf-8') as f:
        text = f.read()
    if text.count(old) != 1:
        sys.exit('rules.py is out of date: %s has %d times: %s' % (file, text.count(old), old))
    with open(path, 'w', encoding='utf-8') as f:
        f.write(text.replace(old, new))
    return headers.check(os.path.join(folder, 'include'), os.path.join(folder, 'map'))


def main():
    for file, old, new, words in BREAKS:
        with tempfile.TemporaryDirectory() as folder:
            found = broken(folder, file, old, new).bad
        if not any(words in line for line in found):
            sys.exit('rules.py: not reported as "%s": %s\n%s' % (words, new, '\n'.join(found)))
    with open(os.path.join(root, 'test', 'abi', 'pins.c'), encoding='utf-8') as f:
        pins = f.read().split('\n')
    for file, old, new, words in UNPINNED:
        with tempfile.TemporaryDirectory() as folder:
            missing = [line for line in broken(folder, file, old, new).pins() if line not in pins]
        if not any(words in line for line in missing):
            sys.exit('rules.py: not asked of pins.c: %s' % words)
    print('%d broken rules reported' % len(BREAKS + UNPINNED))


main()
