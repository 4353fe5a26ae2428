#!/usr/bin/env bash
# Packs a program for a release, with its licence and readme.
#
#   scripts/archive.sh PROGRAM VERSION TARGET FOLDER
#
# makes FOLDER/claimgate-VERSION-TARGET.tar.gz.
set -euo pipefail

program=${1:?usage: scripts/archive.sh PROGRAM VERSION TARGET FOLDER}
name="claimgate-${2:?}-${3:?}" folder=${4:?}
here=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

mkdir -p "$work/$name" "$folder"
cp "$program" "$work/$name/claimgate"
chmod 755 "$work/$name/claimgate"
cp "$here"/{README.md,CHANGELOG.md,LICENSE} "$work/$name/"
tar -C "$work" -czf "$folder/$name.tar.gz" "$name"
echo "$folder/$name.tar.gz"
