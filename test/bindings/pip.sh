#!/bin/sh
# pip.sh BUILD: the tests of examples/python where they lie; with a broken library, which must fail; then the package
# installed by pip beside an installed library, and from a wheel that carries one, each in a clean environment.
set -eu
build=$1 python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PYTHONDONTWRITEBYTECODE=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INDEX=1

"$python" examples/python/tests/test_relora.py 2> "$work/log" || { cat "$work/log"; exit 1; }
! RELORA_LIBRARY=$RELORA_BROKEN "$python" examples/python/tests/test_relora.py 2> "$work/log" ||
    { echo "pip.sh: the broken library was not noticed"; exit 1; }
grep -q 'FAIL: test_same_in_every_language' "$work/log" || { cat "$work/log"; exit 1; }
if "$python" -c 'import torch; torch.ones(1).__dlpack__(max_version=(1, 0))' 2> /dev/null; then
    PYTHONPATH=examples/python "$python" examples/python/torch_linear.py > "$work/log" || { cat "$work/log"; exit 1; }
fi

# What builds a wheel must be here already: nothing is fetched.
if ! "$python" -c 'import setuptools, venv, ensurepip, sys
try:
    from setuptools.command import bdist_wheel
except ImportError:
    import wheel' 2> /dev/null; then
    echo "Skipped: 1, no setuptools, wheel and venv: the package was tried, and not installed"
    exit 0
fi
unset RELORA_LIBRARY

"$python" -m venv --system-site-packages "$work/installed" # setuptools is outside
"$work/installed/bin/pip" install -q --no-build-isolation ./examples/python
rm -rf examples/python/build examples/python/*.egg-info # which setuptools leaves behind
(cd "$work" && LD_LIBRARY_PATH=$build "$work/installed/bin/python" "$OLDPWD/examples/python/train.py" > out)
cmp "$work/out" examples/train.txt

${MAKE:-make} -s --no-print-directory wheel
"$python" -m venv "$work/carried" # with nothing but Python
"$work/carried/bin/pip" install -q --no-index build/wheel/relora-*.whl
cp examples/python/train.py "$work"
(cd "$work" && env -u LD_LIBRARY_PATH "$work/carried/bin/python" train.py > out &&
    env -u LD_LIBRARY_PATH "$work/carried/bin/python" -c 'import relora, sys
sys.exit(sys.prefix not in relora.library_path())')
cmp "$work/out" examples/train.txt
echo "installed by pip, and carried by $(basename build/wheel/relora-*.whl): the trainer agrees"
