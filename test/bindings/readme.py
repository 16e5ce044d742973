#!/usr/bin/env python3
"""readme.py BUILD: the first three lines of each language, as README.md has them, compiled and run. BUILD is where the
library lies; tools that are not here are left out. Those of Julia are run by a julia, or looked up in its module."""
import os
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = os.getcwd()
BUILD = os.path.abspath(sys.argv[1])


def rows():
    with open('README.md', encoding='utf-8') as f:
        table = f.read().split('## From your language')[1].split('\n\n')[1]
    for row in table.strip().split('\n')[2:]:
        name, how, lines = [cell.strip() for cell in row.strip('|').split(' | ')]
        yield name, how, re.findall(r'`([^`]*)`', lines)


def write(folder, path, text):
    path = os.path.join(folder, path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'w', encoding='utf-8') as f:
        f.write(text)
    return path


def run(*command, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if done.returncode:
        sys.exit('readme.py: %s\n%s' % (' '.join(command), done.stdout))


def compiler(folder, variable, default, source, *flags):
    program = os.path.join(folder, 'program')
    run(*os.environ.get(variable, default).split(), source, '-I', 'include', '-L', BUILD, '-lrelora', '-o', program, *flags)
    run(program)


def in_c(folder, how, lines):
    text = '#include <relora/relora.h>\nstatic void ok(relora_status s) { if (s < 0) __builtin_trap(); }\n' \
           'int main(void)\n{\n%s\nreturn !stream;\n}\n' % '\n'.join(lines)
    compiler(folder, 'CC', 'cc', write(folder, 'program.c', text), '-Wall', '-Wextra', '-Werror')


def in_cpp(folder, how, lines):
    text = '%s\nint main()\n{\n%s\nreturn !stream;\n}\n' % (lines[0], '\n'.join(lines[1:]))
    compiler(folder, 'CXX', 'c++', write(folder, 'program.cpp', text), '-std=c++17', '-Wall', '-Wextra', '-Werror')


def in_rust(folder, how, lines):
    cargo = os.environ.get('CARGO', 'cargo')
    if not shutil.which(cargo):
        return False
    dependency = re.search(r'`(relora = [^`]*)`', how).group(1).replace('"examples/', '"%s/examples/' % ROOT)
    write(folder, 'Cargo.toml', '[package]\nname = "program"\nversion = "0.1.0"\nedition = "2018"\n[dependencies]\n%s\n' % dependency)
    write(folder, 'src/main.rs', 'fn main() -> relora::Result<()> {\n%s\nassert_eq!(x.count(), 512);\nOk(())\n}\n' % '\n'.join(lines))
    run(cargo, 'run', '--offline', '--quiet', cwd=folder)
    return True


def in_go(folder, how, lines):
    go = os.environ.get('GO', 'go')
    if not shutil.which(go):
        return False
    words = [w.replace('./examples', ROOT + '/examples') for w in re.findall(r'`([^`]*)`', how)]
    write(folder, 'go.mod', 'module program\n\ngo 1.19\n\n%s\n' % '\n'.join(words))
    checks = ['%s\nif err != nil {\npanic(err)\n}' % line for line in lines]
    write(folder, 'main.go', 'package main\n\nimport "relora"\n\nfunc main() {\n%s\nif x.Count() != 512 {\npanic(stream)\n}\n}\n' % '\n'.join(checks))
    run(go, 'run', '.', cwd=folder, env={**os.environ, 'GOCACHE': BUILD + '/go', 'GOFLAGS': '-mod=mod', 'GOPROXY': 'off'})
    return True


def in_julia(folder, how, lines):
    julia = os.environ.get('JULIA', 'julia')
    if shutil.which(julia):
        run(julia, '--startup-file=no', '-e', 'push!(LOAD_PATH, "examples/julia"); %s' % '; '.join(lines))
        return True
    with open('examples/julia/src/Relora.jl', encoding='utf-8') as f:
        module = f.read()
    for name in re.findall(r'Relora\.(\w+)\(', '\n'.join(lines)):
        if not re.search(r'^(function )?%s\(' % name, module, re.M):
            sys.exit('readme.py: Relora.jl has no %s' % name)
    return False


def in_python(folder, how, lines):
    path = write(folder, 'program.py', '\n'.join(lines) + '\nassert stream\n')
    run(os.environ.get('PYTHON', sys.executable), path, env={**os.environ, 'PYTHONPATH': 'examples/python', 'PYTHONDONTWRITEBYTECODE': '1'})


def main():
    languages = {'C': in_c, 'C++17': in_cpp, 'Rust': in_rust, 'Go': in_go, 'Julia': in_julia, 'Python': in_python}
    ran = []
    for name, how, lines in rows():
        if len(lines) != 3:
            sys.exit('readme.py: %s has %d lines' % (name, len(lines)))
        with tempfile.TemporaryDirectory() as folder:
            if languages.pop(name)(folder, how, lines) is not False:
                ran.append(name)
    if languages:
        sys.exit('readme.py: README.md has no %s' % ', '.join(languages))
    print('ran the first lines of ' + ', '.join(ran))


main()
