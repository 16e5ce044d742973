#!/bin/sh
# gpu-pack.sh: fetch what a machine with nothing but CUDA, gcc and make lacks for `make gpu-day`, into build/gpu-pack, to be
# carried there with the sources. As root or not; needs apt-get and a network.
set -e
mkdir -p build/gpu-pack
cd build/gpu-pack
packages='check libsubunit0 libsubunit-dev libjansson4 libjansson-dev'
[ "$(id -u)" != 0 ] || apt-get update -qq
apt-get download -qq $packages
for package in $packages; do
    set -- "$package"_*.deb
    [ -e "$1" ] || { echo "gpu-pack: no $package"; exit 1; }
done
du -ch ./*.deb | sed -n 's|\ttotal| in build/gpu-pack|p'
