#!/usr/bin/env python3
"""docs.py ROOT: every file that the documentation names exists.

Checked are the links of every Markdown file, relative to it, and, in docs/contributing.md, every path in backticks,
relative to ROOT; a name that ends with a slash must be a folder."""
import os
import re
import subprocess
import sys

LINK = re.compile(r'\]\(([^)#:\s]+)(?:#[^)]*)?\)')
CODE = re.compile(r'`([^`\s]+)`')
NAME = re.compile(r'[\w.]+(/[\w.]*)*/?$')


def missing_links(root, path):
    with open(os.path.join(root, path), encoding='utf-8') as f:
        for target in LINK.findall(f.read()):
            if not os.path.exists(os.path.join(root, os.path.dirname(path), target)):
                yield '%s: no %s' % (path, target)


def missing_names(root, path):
    found = 0
    with open(os.path.join(root, path), encoding='utf-8') as f:
        for name in CODE.findall(f.read()):
            if not NAME.match(name) or not ('/' in name or name.endswith('.md')):
                continue
            found += 1
            full = os.path.join(root, name)
            if not (os.path.isdir(full) if name.endswith('/') else os.path.isfile(full)):
                yield '%s: no %s' % (path, name)
    if found < 40:
        yield '%s: %d names of files; has its form changed?' % (path, found)


def main(root):
    listed = subprocess.run(['find', '.', '-name', '*.md', '-not', '-path', './build/*'], cwd=root, check=True,
                            capture_output=True, text=True).stdout.split('\n')
    bad = [m for path in sorted(filter(None, listed)) for m in missing_links(root, path)]
    bad += missing_names(root, 'docs/contributing.md')
    print('\n'.join(bad) if bad else 'every file that the documentation names exists')
    return bool(bad)


if __name__ == '__main__':
    sys.exit(main(sys.argv[1]))
