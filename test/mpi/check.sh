#!/bin/sh
# check.sh BUILD: relora/comm_mpi.h with each MPI that is installed, and the program of examples/pretrain with the one it
# is built with. The library is that of BUILD. CC, PKG_CONFIG, FLAGS, OBJECTS and LIBS are those of the makefile.
build=$1
here=$(dirname "$0")
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
found=
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
fault() { echo "check-mpi: $*" >&2; cat "$log" >&2; exit 1; }

# FLAVOUR RANKS TEST: 60 seconds at most; more ranks than processors are no matter here
run() {
    case $1 in
    ompi-c) set -- "$1" "$2" "$3" "$openmpi" --oversubscribe -quiet ;;
    *) set -- "$1" "$2" "$3" "$mpich" ;;
    esac
    flavour=$1 ranks=$2 test=$3
    shift 3
    [ "$test" != kill ] || [ "$flavour" != ompi-c ] || set -- "$@" -enable-recovery # it does not end the others
    timeout 60 "$@" -n "$ranks" "$build/mpi-$flavour" "$test" > "$log" 2>&1
}

openmpi=$(command -v mpirun.openmpi || command -v mpirun)
mpich=$(command -v mpirun.mpich || command -v mpirun)
for flavour in ompi-c mpich; do
    ${PKG_CONFIG:-pkg-config} --exists $flavour 2> /dev/null || continue
    found="$found $flavour"
    # shellcheck disable=SC2086
    $CC $FLAGS $(${PKG_CONFIG:-pkg-config} --cflags $flavour) "$here/ranks.c" $OBJECTS $LIBS \
        $(${PKG_CONFIG:-pkg-config} --libs $flavour) -o "$build/mpi-$flavour" > "$log" 2>&1 || fault "$flavour: no program"
    for ranks in 1 3 4; do run $flavour $ranks exchanges || fault "$flavour: exchanges of $ranks ranks"; done
    for ranks in 2 4; do run $flavour $ranks run || fault "$flavour: a run of $ranks ranks"; done
    for lost in leave silent; do # the status is that of the rank that is lost
        run $flavour 3 $lost
        [ "$(grep -c 'was told' "$log")" = 2 ] || fault "$flavour: $lost: not both other ranks were told"
    done
done
[ "$found" ] || { echo "Skipped: 1, no MPI is installed"; exit 0; }
case $found in
*ompi-c*)
    run ompi-c 3 kill
    [ "$(grep -c 'was told' "$log")" = 2 ] || fault "a rank that is killed: not both other ranks were told" ;;
esac
echo "relora/comm_mpi.h:$found"

"${PYTHON:-python3}" "$here/table.py" docs/many.md || exit 1

# The program is linked with one of them.
case $(ldd "$build/pretrain") in
*libmpich*) launch=$mpich ;;
*libmpi.so*) launch="$openmpi --oversubscribe -quiet" ;;
*) echo "the program is made without MPI"; exit 0 ;;
esac
exec "${PYTHON:-python3}" "$here/pretrain.py" "$build/pretrain" "$launch"
