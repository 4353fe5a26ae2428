#!/usr/bin/env python3
"""Finds libraries that a crate must not depend on.

    python3 scripts/layers.py

Prints the path to each one and exits with 1 if there is any, with 2 if Cargo
fails.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

WIRES_AND_RUNTIMES = re.compile(
    # These, and what belongs to them: tokio-util, tonic-prost, ….
    r"(axum|hyper|opentelemetry|prometheus|prost|reqwest|rustls|tokio|tonic|tracing)([-_].*)?"
    r"|.*(yaml|yml|saphyr).*"
)

FORBIDDEN = {
    "claimgate-core": WIRES_AND_RUNTIMES,
    # examples/embed: a program that embeds the engine.
    "claimgate-embed": WIRES_AND_RUNTIMES,
}
"""For each crate, the libraries that it must not depend on."""

LINE = re.compile(r"(\d+)(\S+) v")


def main() -> int:
    found = 0
    for crate, forbidden in FORBIDDEN.items():
        try:
            ways = list(ways_to(forbidden, tree(crate)))
        except LookupError as error:
            print(f"layers: {error}", file=sys.stderr)
            return 2
        for way in ways:
            print(f"{crate} must not depend on {way[-1]}: {' -> '.join(way)}")
        if not ways:
            print(f"{crate} depends on no library that it must not know")
        found += len(ways)
    return 1 if found else 0


def tree(crate: str) -> str:
    """A crate's dependencies without those of its tests, from Cargo."""
    cargo = shlex.split(os.environ.get("CARGO", "cargo"))
    command = [*cargo, "tree", "--locked", "--package", crate, "--edges", "normal", "--prefix", "depth"]
    asked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if "did not match any packages" in asked.stderr:
        raise LookupError(f"there is no crate {crate} in this workspace; FORBIDDEN in scripts/layers.py names it")
    if asked.returncode != 0:
        raise LookupError(f"cargo tree can't tell what {crate} depends on:\n{asked.stderr.strip()}")
    return asked.stdout


def ways_to(forbidden: re.Pattern[str], tree: str) -> Iterator[list[str]]:
    """The first path from the tree's root to each forbidden library, except
    those that only come with another forbidden one."""
    way: list[str] = []
    seen: set[str] = set()
    for line in filter(None, tree.splitlines()):
        read = LINE.match(line)
        if not read:
            raise LookupError(f"cargo tree prints a line that can't be read: {line}")
        depth, name = int(read[1]), read[2]
        way = [*way[:depth], name]
        if [one for one in way[1:] if forbidden.fullmatch(one)] == [name] and name not in seen:
            seen.add(name)
            yield way


if __name__ == "__main__":
    sys.exit(main())
