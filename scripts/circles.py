#!/usr/bin/env python3
"""Finds circles of files: files of one crate that depend on each other.

    python3 scripts/circles.py [--crate NAME] [--dot] [MANIFEST…]

An arrow leads from a file that takes a name to the file that defines it
(`rust_files.py` finds them). Only a module and its own child may depend on each
other. Every longer path back to a file is a circle, also the one from a module
to one child, to another child and back. Prints the names that tie each circle
and exits with 1 if there is one.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from rust_files import Arrow, Crate, Unreadable

ROOT = Path(__file__).resolve().parent.parent
MANIFESTS = [ROOT / "Cargo.toml", ROOT / "fuzz" / "Cargo.toml"]
KINDS = {"lib", "rlib", "dylib", "cdylib", "staticlib", "proc-macro", "bin"}

Graph = dict[Path, set[Path]]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("manifests", nargs="*", type=Path, default=MANIFESTS, metavar="MANIFEST")
    parser.add_argument("--crate", metavar="NAME", help="look at this package alone")
    parser.add_argument("--dot", action="store_true", help="print all arrows for Graphviz instead")
    options = parser.parse_args(arguments)
    try:
        crates = [crate for manifest in options.manifests for crate in crates_of(manifest, options.crate)]
    except Unreadable as unreadable:
        print(f"circles: {unreadable}", file=sys.stderr)
        return 2
    if not crates:
        print(f"circles: no package {options.crate} in the workspace", file=sys.stderr)
        return 2
    if options.dot:
        print(dot(crates))
        return 0
    texts = [describe(crate, circle) for crate in crates for circle in circles(crate)]
    for text in texts:
        print(text, end="\n\n")
    files = {file for crate in crates for file in crate.parents}
    count = f"{len(texts) or 'no'} circle{'s' if len(texts) != 1 else ''}"
    print(f"{count}: {len(files)} files in {len(crates)} crates")
    return 1 if texts else 0


def crates_of(manifest: Path, package_name: str | None = None) -> list[Crate]:
    """The libraries and programs of a workspace."""
    cargo = shlex.split(os.environ.get("CARGO", "cargo"))
    command = [*cargo, "metadata", "--no-deps", "--offline", "--format-version=1"]
    asked = subprocess.run(
        [*command, "--manifest-path", manifest.resolve()], cwd=ROOT, capture_output=True, text=True
    )
    if asked.returncode != 0:
        raise Unreadable(f"cargo metadata can't read {manifest}:\n{asked.stderr.strip()}")
    return [
        Crate(f"{target['kind'][0]} {target['name']}", Path(target["src_path"]))
        for package in json.loads(asked.stdout)["packages"]
        for target in package["targets"]
        if package_name in (None, package["name"]) and KINDS.intersection(target["kind"])
    ]


def circles(crate: Crate) -> list[list[Arrow]]:
    """The arrows of each circle."""
    arrows = crate.arrows()
    graph: Graph = defaultdict(set)
    for arrow in arrows:
        graph[arrow.source].add(arrow.target)
    rings = [without_own_children(ring, graph, crate.parents) for ring in rings_of(graph)]
    found = [[arrow for arrow in arrows if {arrow.source, arrow.target} <= ring] for ring in rings]
    return sorted(filter(None, found))


def rings_of(graph: Graph) -> list[set[Path]]:
    """The strongly connected components of two files or more."""
    reached = {file: reach(file, graph) for file in list(graph)}
    left = {file for file in reached if file in reached[file]}
    rings = []
    while left:
        file = left.pop()
        rings.append({other for other in reached[file] if file in reached.get(other, ())})
        left -= rings[-1]
    return rings


def reach(file: Path, graph: Graph) -> set[Path]:
    """All files that can be reached along the arrows of a file."""
    reached: set[Path] = set()
    waiting = [file]
    while waiting:
        further = graph.get(waiting.pop(), set()) - reached
        reached |= further
        waiting += further
    return reached


def without_own_children(ring: set[Path], graph: Graph, parents: dict[Path, Path | None]) -> set[Path]:
    """The ring without files that are tied only to their parent or one child. If
    that is the only way back from each, one file is left."""
    for file in sorted(ring):
        ties = {other for other in ring - {file} if other in graph[file] or file in graph[other]}
        if len(ties) == 1 and (parents[file] in ties or parents[min(ties)] == file):
            return without_own_children(ring - {file}, graph, parents)
    return ring


def describe(crate: Crate, circle: list[Arrow]) -> str:
    """A line for each two files of a circle, with all names and where they are taken."""
    names: dict[tuple[Path, Path], list[str]] = defaultdict(list)
    for arrow in circle:
        names[arrow.source, arrow.target].append(f"{arrow.name} (line {arrow.line})")
    files = {file for pair in names for file in pair}
    lines = [f"  {short(source)} -> {short(target)}: {', '.join(taken)}" for (source, target), taken in names.items()]
    return "\n".join([f"circle of {len(files)} files in the {crate.name}:", *lines])


def dot(crates: list[Crate]) -> str:
    """All arrows as a graph for Graphviz."""
    pairs = sorted({(arrow.source, arrow.target) for crate in crates for arrow in crate.arrows()})
    lines = [f'  "{short(source)}" -> "{short(target)}";' for source, target in pairs]
    return "\n".join(["digraph files {", *lines, "}"])


def short(file: Path) -> Path:
    """The file as seen from the repository's root."""
    return file.relative_to(ROOT) if file.is_relative_to(ROOT) else file


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
