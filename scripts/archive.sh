#!/usr/bin/env bash
# Packs a program or the module for a release, with its licence and readme.
#
#   scripts/archive.sh PROGRAM VERSION TARGET FOLDER
#
# makes FOLDER/claimgate-VERSION-TARGET.tar.gz, of the module
# FOLDER/claimgate-envoy-VERSION-TARGET.tar.gz.
set -euo pipefail

program=${1:?usage: scripts/archive.sh PROGRAM VERSION TARGET FOLDER}
folder=${4:?}
case $(basename "$program") in
    libclaimgate_envoy.so) packed=claimgate-envoy file=libclaimgate_envoy.so mode=644 ;;
    *) packed=claimgate file=claimgate mode=755 ;;
esac
name="$packed-${2:?}-${3:?}"
here=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

mkdir -p "$work/$name" "$folder"
install -m "$mode" "$program" "$work/$name/$file"
cp "$here"/{README.md,CHANGELOG.md,LICENSE} "$work/$name/"
tar -C "$work" -czf "$folder/$name.tar.gz" "$name"
echo "$folder/$name.tar.gz"
