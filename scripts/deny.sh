#!/usr/bin/env bash
# Checks the dependencies with the cargo-deny named as the first argument.
#
# Licences, bans and sources need only Cargo.lock and always count.
# Advisories need their database from GitHub; if it is not available, the last
# line says that they were not checked.
set -euo pipefail

deny=${1:?usage: scripts/deny.sh PATH-TO-CARGO-DENY}
cd "$(dirname "$0")/.."

"$deny" --locked check licenses bans sources

if ! "$deny" fetch db; then
    echo "cargo-deny: ADVISORIES NOT CHECKED: their database could not be fetched (see above)" >&2
    exit 0
fi
"$deny" --locked check --disable-fetch advisories
