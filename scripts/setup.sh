#!/usr/bin/env bash
# Sees that every program is here which a target of the Makefile runs.
#
#   scripts/setup.sh test     what `make test` runs
#   scripts/setup.sh demo     what `make demo` runs
#
# As root on Debian or Ubuntu, the tests' programs are installed. Elsewhere, and
# for the demo, the missing ones are named all at once, and it ends with 1.
set -euo pipefail

cd "$(dirname "$0")/.."
what=${1:?usage: scripts/setup.sh test|demo}
python=${PYTHON:-python3}
export PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH:/usr/sbin"
rust=$(sed -n 's/^channel = "\(.*\)"$/\1/p' rust-toolchain.toml)

# command:package of Debian
programs="cc:gcc make:make $python:python3"
if [[ $what == test ]]; then
    programs+=" c++:g++ curl:curl openssl:openssl git:git update-ca-certificates:ca-certificates"
    programs+=" chromium:chromium busybox:busybox original-awk:original-awk"
    programs+=" unzip:unzip javac:default-jdk-headless mvn:maven nginx:nginx lighttpd:lighttpd"
    programs+=" redis-server:redis-server"
fi

# What to say about Rust if there is none that works.
need_rust() {
    if command -v rustup >/dev/null; then
        # Reads rust-toolchain.toml, as any call of cargo does.
        rustup show active-toolchain >/dev/null 2>&1 && cargo --version >/dev/null 2>&1 && return
        rustup toolchain install >&2 || echo "Rust $rust, which rustup could not install (see above)"
    elif ! cargo --version >/dev/null 2>&1; then
        echo "Rust $rust: https://rustup.rs installs it"
    elif ! printf '%s\n' "$rust" "$(cargo --version | awk '{ print $2 }')" | sort -C -V; then
        echo "Rust $rust, newer than $(cargo --version): https://rustup.rs installs it"
    fi
}

missing_packages() {
    local pair found=
    for pair in $programs; do
        command -v "${pair%%:*}" >/dev/null || found+=" ${pair##*:}"
    done
    # Debian's gcc comes without the C library's files unless asked for them.
    cc -x c -o /dev/null - <<<'int main(void) { return 0; }' >/dev/null 2>&1 || found+=" libc6-dev"
    "$python" -c 'import ensurepip, venv' >/dev/null 2>&1 || found+=" python3-venv"
    echo "${found# }"
}

install() {
    # The run level of a machine in rescue: Debian would start nginx and lighttpd
    # on one port, and redis.
    export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
    apt-get update -q && apt-get install -qy --no-install-recommends "$@"
}

packages=$(missing_packages)
may_install=
[[ $what == test && $EUID -eq 0 ]] && command -v apt-get >/dev/null && may_install=yes

if [[ $may_install ]]; then
    if [[ $packages ]]; then
        # shellcheck disable=SC2086 # one word for each package
        install $packages >&2 || echo "setup.sh: apt-get could not install all of them" >&2
        packages=$(missing_packages)
    fi
    if ! command -v rustup >/dev/null && ! command -v cargo >/dev/null; then
        curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs |
            sh -s -- -y --no-modify-path --profile minimal --default-toolchain none >&2 || true
    fi
fi

problems=()
[[ $packages ]] && problems+=("these packages of Debian or Ubuntu:"$'\n'"      apt-get install $packages")
wanted=$(need_rust)
[[ $wanted ]] && problems+=("$wanted")
if command -v "$python" >/dev/null && ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    problems+=("Python 3.11 or newer, not $("$python" --version); 'make $what PYTHON=python3.12' uses another one")
fi
[[ ${#problems[@]} -eq 0 ]] && exit

{
    echo "make $what needs what is not here:"
    for problem in "${problems[@]}"; do
        echo "  - $problem"
    done
} >&2
exit 1
