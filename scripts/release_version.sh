#!/usr/bin/env bash
# Prints `version=X.Y.Z` for a tag vX.Y.Z, if Cargo.toml, the chart and the
# changelog have that version too.
#
#   scripts/release_version.sh v1.2.3
set -euo pipefail

cd "$(dirname "$0")/.."
version=${1#v}
[[ ${1-} == v* && $version =~ ^[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$ ]] || {
    echo "release_version.sh: '${1-}' is not a tag such as v1.2.3" >&2
    exit 1
}

differs=0
of() { # FILE, WHAT IT SAYS
    [[ $2 == "$version" ]] && return
    echo "release_version.sh: the tag says $version, but $1 says '$2'" >&2
    differs=1
}
of Cargo.toml "$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -1)"
of "Chart.yaml's appVersion" "$(sed -n 's/^appVersion: *"\{0,1\}\([^"]*\)"\{0,1\}$/\1/p' charts/claimgate/Chart.yaml)"
of CHANGELOG.md "$(sed -n 's/^## \[\{0,1\}\([0-9][^] ]*\).*/\1/p' CHANGELOG.md | head -1)"
[[ $differs -eq 0 ]]
echo "version=$version"
