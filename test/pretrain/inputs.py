"""The data: what is refused before the first update, what is taken, and what happens when a file changes under a run."""

import array
import bz2
import gzip
import lzma
import os
import pickle
import random
import resource
import subprocess
import tarfile
import zipfile

from harness import FAILED, Case, shard, tokens16, tokens32, words

SHORT = ['--steps', '3', '--warmup', '1', '--out', 'o']
LONG = ['--steps', '100000', '--save-every', '0', '--out', 'o', '--save', 's']
TOKENS = [(i * 7 + i // 13) % 200 for i in range(4000)]


BAD_DISK = r'''
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
ssize_t pread(int file, void *bytes, size_t count, off_t offset)
{
    ssize_t (*real)(int, void *, size_t, off_t) = (ssize_t (*)(int, void *, size_t, off_t))dlsym(RTLD_NEXT, "pread");
    if (access(getenv("BAD_DISK"), F_OK) == 0) { errno = EIO; return -1; }
    return real(file, bytes, count < 100 ? count : count / 2 + 1, offset); /* less than was asked for, as on some disks */
}
'''


def npy(dtype, data):
    head = ("{'descr': '%s', 'fortran_order': False, 'shape': (%d,), }" % (dtype, len(data) // 2)).encode()
    head += b' ' * (117 - len(head)) + b'\n'
    return b'\x93NUMPY\x01\x00' + len(head).to_bytes(2, 'little') + head + data


class Refused(Case):
    def test_other_kinds_of_files(self):
        text = words(20000)
        tensors = b'{"a":{"dtype":"F32","shape":[2000],"data_offsets":[0,8000]}}'
        files = {
            'gzip': gzip.compress(text), 'bzip2': bz2.compress(text), 'xz': lzma.compress(text),
            'zstd': b'\x28\xb5\x2f\xfd' + text, 'lz4': b'\x04\x22\x4d\x18' + text, 'NumPy': npy('<u2', tokens16(TOKENS)),
            'pickle': pickle.dumps(list(range(3000))), 'Parquet': b'PAR1' + text, 'Arrow': b'ARROW1\0\0' + text,
            'HDF5': b'\x89HDF\r\n\x1a\n' + text, 'GGUF': b'GGUF' + text, 'SQLite': b'SQLite format 3\0' + text,
            'PDF': b'%PDF-1.4\n' + text, 'PNG': b'\x89PNG\r\n\x1a\n' + text, 'JPEG': b'\xff\xd8\xff\xe0' + text,
            'program': open('/bin/sh', 'rb').read()[:20000], '7z': b'7z\xbc\xaf\x27\x1c' + text,
            'safetensors': len(tensors).to_bytes(8, 'little') + tensors + bytes(8000),
            'UTF-16': text.decode().encode('utf-16'), 'UTF-32': text.decode().encode('utf-32'),
            'UTF-16 ': b'\xfe\xff' + text.decode().encode('utf-16-be'),
            'UTF-32 ': b'\0\0\xfe\xff' + text.decode().encode('utf-32-be'),
            'LFS': b'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 123\n' + b' ' * 3000,
        }
        for name, first in (('byte order', b'\x01\x34\xd8\x88\0\0\0\x01'), ('questions', (20240522).to_bytes(4, 'little')),
                            ('weights', (20240326).to_bytes(4, 'little')),
                            ('old PyTorch', b'\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02')):
            files[name] = first + tokens16(TOKENS)
        with zipfile.ZipFile(self.path('z'), 'w') as z:
            z.writestr('t.txt', text)
        with tarfile.open(self.path('tar'), 'w') as t:
            t.add(self.path('t.txt'), 't.txt')
        files['zip'], files['tar'] = self.read('z'), self.read('tar')
        as_text = {'pickle', 'JPEG', 'UTF-16', 'UTF-32', 'UTF-16 ', 'UTF-32 '}  # may be the beginning of tokens
        for kind, data in files.items():
            for name in ['data', 'data.txt'] + ([] if kind in as_text else ['data.bin']):
                self.write(name, data + bytes(len(data) % 2))
                with self.subTest(kind=kind, name=name):
                    self.refused(*SHORT, '--data', name, says=[name, kind.strip()])
        self.assertEqual(self.rows(), [])

    def test_a_word_about_doubtful_text(self):
        for name, data, word in (('page', b'<!DOCTYPE html>\n<html><body>404' + words(20000), 'HTML'),
                                 ('lines.jsonl', b'{"text": "' + words(20000) + b'"}\n', 'JSON'),
                                 ('tokens', tokens16(TOKENS), '.bin'), ('text.bin', words(20000), 'another name'),
                                 ('lines.json', b'[{"text": "' + words(20000) + b'"}]\n', 'JSON'),
                                 ('page.xml', b'<?xml version="1.0"?>\n<a>' + words(20000), 'XML'),
                                 ('western', 'à la carte, été '.encode('latin-1') * 2000, 'UTF-8'),
                                 ('japanese', '日本語テキスト'.encode('shift-jis') * 2000, 'UTF-8'),
                                 ('chinese', '日本語テキスト'.encode('utf-16-le') * 2000, 'UTF-8'),
                                 ('lzma', lzma.compress(words(20000), format=lzma.FORMAT_ALONE) * 9, 'UTF-8'),
                                 ('avro', b'Obj\x01' + random.Random(1).randbytes(20000), 'UTF-8'),
                                 ('bytes', bytes(range(256)) * 80, 'UTF-8'),
                                 ('wide', words(20000).decode().encode('utf-16-le'), 'UTF-16')):
            self.write(name, data)
            _, err = self.good(*SHORT, '--data', name)
            self.assertTrue(any(line.startswith('note:') and word in line for line in err.splitlines()), err)

    def test_nothing_to_say_about_text(self):
        for i, data in enumerate((words(20000), b'\xef\xbb\xbf' + words(20000), words(20000).replace(b'\n', b'\r\n'),
                                  'ä€😀 '.encode() * 2000, bytes(range(128)) * 160, b'{ a }' * 3000, b'PK is no zip ' * 999)):
            self.write('text', data)
            _, err = self.good(*SHORT, '--data', 'text', '--out', 'o%d' % i)
            self.assertNotIn('note', err)

    def test_a_token_beyond_the_vocabulary(self):
        """Wherever it stands, in whichever form, and before anything else."""
        for place in (0, 1234, 3599, 3999):  # the last ones are for validation
            values = list(TOKENS)
            values[place] = 300
            self.write('a.bin', tokens16(values))
            self.write('b.bin', shard(values))
            self.write('c.bin', shard(values, wide=True))
            self.write('d.bin', tokens32(values))
            for name in 'abcd':
                self.refused(*SHORT, '--data', name + '.bin', '--vocab', '256', says=[name + '.bin', 'token %d is 300' % place])
                self.refused(*SHORT, '--data', name + '.bin', '--vocab', '300', says=['is 300'])
                self.good(*SHORT, '--data', name + '.bin', '--vocab', '301')
        self.write('letters', words(20000)[:15000] + b'\xc3\xa4' + words(5000))
        self.refused(*SHORT, '--data', 'letters', '--vocab', '128', says=['token 15000 is 195'])
        self.refused(*SHORT, '--data', 't.txt', 'letters', '--vocab', '128', says=['letters', 'token 15000 is 195'])

    def test_a_bad_vocabulary_has_one_sentence(self):
        self.refused('--steps', '30', '--data', 't.txt', '--vocab', '50', '--out', 'o', says=['the vocabulary has only 50'])

    def test_what_is_no_file(self):
        os.mkdir(self.path('empty'))
        os.mkfifo(self.path('fifo'))
        self.write('nothing', b'')
        self.write('zero.bin', shard([]))
        for data, word in (('empty', 'no .bin and no .txt'), ('fifo', 'regular file'), ('nothing', 'empty'),
                           ('no*such', 'no file matches'), ('missing', 'No such file'), ('/dev/zero', 'regular file'),
                           ('zero.bin', '0 tokens'), ('t.txt,missing', 'missing')):
            self.refused(*SHORT, '--data', data, says=[word])


class Widths(Case):
    def rows_of(self, data, *more):
        self.good(*SHORT, '--vocab', '256', '--data', data, *more)
        return self.rows()

    def test_wide_tokens_without_a_header(self):
        self.write('plain.bin', shard(TOKENS))
        self.write('uint32.bin', tokens32(TOKENS))
        self.write('int64.bin', array.array('q', TOKENS).tobytes())
        plain = self.rows_of('plain.bin')
        for name in ('uint32', 'int64'):
            self.assertEqual(self.rows_of(name + '.bin'), plain)
            out, err = self.good(*SHORT, '--data', name + '.bin')
            self.assertIn('note: %s.bin is read as %s' % (name, name), err)
            self.assertIn('data %s.bin: 4000 tokens (%s)' % (name, name), out)
            self.assertIn('vocabulary 256,', out)

    def test_tokens_beyond_16_bits(self):
        values = [(i * 7919) % 100277 for i in range(4000)]
        self.write('a.bin', tokens32(values))
        self.write('b.bin', shard(values, wide=True))
        for name in 'ab':
            out, _ = self.good(*SHORT, '--data', name + '.bin', '--steps', '1')
            self.assertIn('vocabulary 100288,', out)  # the largest is 100,2xx

    def test_narrow_tokens_stay_narrow(self):
        for i, values in enumerate((TOKENS, [v % 4 for v in TOKENS], [v * 300 for v in TOKENS], [0] * 4000,
                                    [v * 300 if i % 2 else v % 100 for i, v in enumerate(TOKENS)])):
            self.write('a.bin', tokens16(values))
            out, err = self.good(*SHORT, '--data', 'a.bin', '--out', 'o%d' % i)
            self.assertIn('4000 tokens (uint16)', out)
            self.assertNotIn('note', err)


class Shards(Case):
    def setUp(self):
        super().setUp()
        self.parts = [words(size, seed) for size, seed in ((9000, 1), (13, 2), (20001, 3))]
        self.write('whole.txt', b''.join(self.parts))
        for i, part in enumerate(self.parts):
            self.write('d/part%d.txt' % i, part)

    def test_several_are_one_long_text(self):
        """By name, by list, by pattern, by folder: the bits of the files joined."""
        names = ['d/part%d.txt' % i for i in range(3)]
        self.good(*SHORT, '--data', 'whole.txt')
        for given in (['--data', *names], ['--data', ','.join(names)],
                      ['--data', 'd/part*'], ['--data', 'd/part[0-2].txt'], ['--data', 'd'], ['--data', 'd/part0.txt', 'd/part[12].txt']):
            out, _ = self.good(*given, *SHORT, '--out', 'p')
            self.assertIn('29014 tokens (bytes, 3 files), the last 2901 for validation', out)
            self.assertEqual(self.rows('p'), self.rows())
            self.assertEqual(self.read('p', 'eval.csv'), self.read('o', 'eval.csv'))

    def test_shards_of_llm_c(self):
        values = [TOKENS, TOKENS[1000:], TOKENS[:500]]
        self.write('all.bin', shard(sum(values, [])))
        for i, v in enumerate(values):
            self.write('fineweb/fineweb_train_%06d.bin' % (i + 1), shard(v, wide=i == 1))
        self.write('fineweb/fineweb_val_000000.bin', shard(TOKENS[::-1]))
        self.write('fineweb/notes.md', b'not for training')
        self.good(*SHORT, '--data', 'all.bin', '--val-data', 'fineweb/fineweb_val_000000.bin', '--out', 'o')
        for given in (['fineweb'], ['fineweb/'], ['fineweb/*.bin'], ['fineweb/fineweb_train_*', '--val-data', 'fineweb/*val*']):
            out, _ = self.good('--data', *given, *SHORT, '--out', 'p')
            self.assertIn('7500 tokens (llm.c uint16, 3 files), and 4000 for validation', out)
            self.assertEqual(self.rows('p'), self.rows())
            self.assertEqual(self.read('p', 'eval.csv'), self.read('o', 'eval.csv'))

    def test_validation_in_a_file_of_its_own(self):
        out, _ = self.good(*SHORT, '--val-data', 'd/part0.txt')
        self.assertIn('30000 tokens (bytes), and 9000 for validation (d/part0.txt)', out)
        self.refused(*SHORT, '--val-data', 'd/part1.txt', says=['13 for validation'])
        self.refused(*SHORT, '--val-data', 'none.txt', says=['none.txt'])

    def test_kinds_do_not_mix(self):
        self.write('a.bin', shard(TOKENS))
        self.refused(*SHORT, '--data', 't.txt', 'a.bin', says=['t.txt', 'a.bin'])
        self.refused(*SHORT, '--data', 'a.bin', '--val-data', 't.txt', says=['t.txt', 'a.bin'])

    def test_given_twice(self):
        """The last one counts, as of other options; but somebody may have meant a list."""
        out, err = self.good(*SHORT, '--data', 'd/part0.txt', '--data=d/part2.txt')
        self.assertIn('20001 tokens (bytes), the last', out)
        self.assertIn('note: --data was given before', err)

    def test_names_as_they_come(self):
        self.write('with, comma*.txt', words(20000))
        out, _ = self.good(*SHORT, '--data', 'with, comma*.txt')
        self.assertIn('20000 tokens (bytes), the last', out)

    def test_more_files_than_may_be_open(self):
        for i in range(200):
            self.write('many/%03d.txt' % i, b'shard %03d ' % i * 10)

        def few():
            resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        out, _ = self.good(*SHORT, '--data', 'many', preexec_fn=few)
        self.assertIn('200 files', out)


class Changing(Case):
    def started_run(self, *more, **how):
        child = self.start(*LONG, *more, **how)
        self.wait_rows(3, child)
        return child

    def ended(self, child, *says):
        status, _, err = self.finish(child, 60)
        sentences = [line for line in err.splitlines() if line.startswith('pretrain: ')]
        self.assertEqual((status, len(sentences)), (FAILED, 1), err)
        for word in says:
            self.assertIn(word, sentences[0])
        self.assertEqual(len(self.checkpoints()), 1)
        self.assertEqual('step-%08d.safetensors' % len(self.rows()), self.checkpoints()[0])
        self.write('t.txt', words(30000))  # with the data as they were the run goes on
        more = str(len(self.rows()) + 1)
        child = self.start('--resume', 'auto', '--save', 's', '--out', 'o')
        self.wait_rows(int(more), child)
        self.stop(child)

    def test_shorter(self):
        child = self.started_run()
        os.truncate(self.path('t.txt'), 100)
        self.ended(child, 't.txt', 'shorter')

    def test_empty(self):
        child = self.started_run()
        os.truncate(self.path('t.txt'), 0)
        self.ended(child, 't.txt', 'shorter')

    def test_disk_that_fails(self):
        self.write('disk.c', BAD_DISK.encode())
        subprocess.run(['cc', '-shared', '-fPIC', 'disk.c', '-o', 'disk.so', '-ldl'], cwd=self.folder, check=True)
        child = self.started_run(env={'LD_PRELOAD': self.path('disk.so'), 'BAD_DISK': self.path('bad'),
                                      'ASAN_OPTIONS': 'verify_asan_link_order=0'})
        self.write('bad', b'')
        self.ended(child, 't.txt', 'Input/output error')

    def test_other_bytes(self):
        child = self.started_run()
        with open(self.path('t.txt'), 'r+b') as f:
            f.seek(20000)
            f.write(b'!')
        self.ended(child, 't.txt', 'changed')

    def test_validation_data(self):
        self.write('v.txt', words(9000))
        child = self.started_run('--val-data', 'v.txt', '--eval-every', '5')
        os.truncate(self.path('v.txt'), 1000)
        status, _, err = self.finish(child, 60)
        self.assertEqual(status, FAILED, err)
        self.assertIn('v.txt', err)
        self.assertEqual(len(self.checkpoints()), 1)

    def test_found_at_the_end_at_the_latest(self):
        """Too late for a window to show it."""
        child = self.start('--steps', '40', '--accumulate', '1', '--out', 'o')
        self.wait_rows(1, child)
        data = self.read('t.txt')
        self.write('t.txt', data[:-1] + b'#')
        status, _, err = self.finish(child, 60)
        self.assertEqual(status, FAILED, err)

    def test_harmless(self):
        """Touched, appended to, written again the same, replaced by another file of the name, removed."""
        options = ['--steps', '150', '--accumulate', '2']
        self.good(*options, '--out', 'whole')
        child = self.start(*options, '--out', 'o')
        data = self.read('t.txt')
        self.wait_rows(5, child)
        os.utime(self.path('t.txt'))
        self.wait_rows(15, child)
        with open(self.path('t.txt'), 'ab') as f:
            f.write(b'more of it')
        self.wait_rows(25, child)
        with open(self.path('t.txt'), 'r+b') as f:
            f.write(data)
        self.wait_rows(35, child)
        os.rename(self.path('t.txt'), self.path('u.txt'))
        self.write('t.txt', b'another file')
        self.wait_rows(45, child)
        os.remove(self.path('t.txt'))
        status, _, err = self.finish(child)
        self.assertEqual(status, 0, err)
        self.assertEqual(self.rows(), self.rows('whole'))

    def test_resumed_with_other_data(self):
        """One byte of many, in the middle: no sample of pieces would see it."""
        data = bytearray(words(2000000))
        self.write('t.txt', data)
        self.good('--steps', '4', '--save', 's', '--out', 'o')
        for place in (1000000, 1999990, 777777):
            other = bytearray(data)
            other[place] ^= 1
            self.write('t.txt', other)
            self.refused('--resume', 'auto', '--steps', '6', '--save', 's', '--out', 'o', says=['t.txt', 'not the data'])
        self.write('t.txt', data + b'x')
        self.refused('--resume', 'auto', '--steps', '6', '--save', 's', '--out', 'o', says=['2000001', '2000000'])
        os.remove(self.path('t.txt'))
        self.write('moved/t.txt', data)
        self.good('--resume', 'auto', '--steps', '6', '--save', 's', '--out', 'o', '--data', 'moved/t.txt')
