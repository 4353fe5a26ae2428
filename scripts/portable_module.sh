#!/usr/bin/env bash
# Builds the filter that Envoy loads, for Envoys on systems older than this one:
# with Zig's linker, against the C library that is named here.
#
#   scripts/portable_module.sh FOLDER [PROCESSOR]
#
# makes FOLDER/libclaimgate_envoy.so, for this machine's processor or another
# one (x86_64, aarch64).
set -euo pipefail

# Envoy itself asks for 2.30.
glibc=2.28

[[ $# -eq 1 || $# -eq 2 ]] || { echo "usage: scripts/portable_module.sh FOLDER [PROCESSOR]" >&2; exit 2; }
processor=${2:-$(uname -m)}
mkdir -p "$1"
folder=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."

venv=$("${PYTHON:-python3}" e2e/tools.py scripts/portable_module.txt)
export PATH="$venv/bin:$PATH"
machine=$processor-unknown-linux-gnu
"${CARGO:-cargo}" zigbuild --locked --release --package claimgate-envoy --target "$machine.$glibc"
built=${CARGO_TARGET_DIR:-target}/$machine/release/libclaimgate_envoy.so

needed=$(objdump --dynamic-syms "$built" | grep --only-matching 'GLIBC_[0-9.]*' | sort --unique --version-sort | tail -n 1)
if [[ $(printf '%s\n' "GLIBC_$glibc" "$needed" | sort --version-sort | tail -n 1) != "GLIBC_$glibc" ]]; then
    echo "portable_module.sh: the module needs $needed, but GLIBC_$glibc must do" >&2
    exit 1
fi
install --mode=644 "$built" "$folder/libclaimgate_envoy.so"
echo "$folder/libclaimgate_envoy.so: $needed"
