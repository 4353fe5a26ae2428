#!/usr/bin/env python3
"""Runs the fuzz targets, each for some seconds, as many at once as there are cores.

    python3 scripts/fuzz.py CARGO-FUZZ [--seconds 30] [TARGET…]

All are built once, by the pinned stable toolchain: cargo-fuzz asks the compiler
for coverage counters, which work without nightly as long as no sanitizer is
used. A run keeps its corpus in ~/.cache/claimgate/fuzz; the next one starts
from it and the seeds in fuzz/seeds. Ends with one line for each target, and
with 1 if any input made one fail: that input is kept and named.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FUZZ = ROOT / "fuzz"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "claimgate"
KEPT = CACHE / "fuzz"
BUILT = CACHE / "fuzz-target"

LONGEST = {"paths": 512, "wire": 4096, "config": 4096, "jwks": 4096}
"""Bytes of an input; 2048 if not listed. Some paths are longer, see
`GIANTS`."""

GIANTS = {"paths": 10_000}
"""A tenth of their time goes to inputs that may be this long."""


@dataclass(frozen=True)
class Outcome:
    """The result of one target."""

    target: str
    failed: bool
    runs: int
    coverage: int
    edges: int
    corpus: int

    def __str__(self) -> str:
        word = "FAILED" if self.failed else "ok"
        return (
            f"fuzz {self.target:8} {word}: {self.runs} runs, coverage {self.coverage}"
            f" (from {self.edges}), {self.corpus} inputs kept"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cargo_fuzz", type=Path)
    parser.add_argument("--seconds", type=int, default=30, help="for each target (default 30)")
    parser.add_argument("targets", nargs="*", help="all if none is named")
    arguments = parser.parse_intermixed_args()
    known = sorted(file.stem for file in (FUZZ / "fuzz_targets").glob("*.rs"))
    targets = arguments.targets or known
    for target in targets:
        if target not in known:
            parser.error(f"{target} is not a target; there are {', '.join(known)}")
    binaries = build(arguments.cargo_fuzz.resolve(), targets)
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as cores:
        outcomes = list(cores.map(lambda target: run(target, binaries[target], arguments.seconds), targets))
    for outcome in outcomes:
        print(outcome)
    failed = sum(outcome.failed for outcome in outcomes)
    # scripts/test.sh counts lines like those of Cargo's tests.
    word = "FAILED" if failed else "ok"
    print(f"test result: {word}. {len(outcomes) - failed} passed; {failed} failed; fuzz targets")
    return 1 if failed else 0


def build(cargo_fuzz: Path, targets: list[str]) -> dict[str, Path]:
    """The program of each target, fresh."""
    host = next(
        line.split()[1]
        for line in subprocess.check_output(["rustc", "-vV"], text=True, cwd=ROOT).splitlines()
        if line.startswith("host:")
    )
    command = [cargo_fuzz, "build", "--sanitizer", "none", "--target-dir", BUILT]
    names = targets if len(targets) == 1 else []
    # One crate is linked into all of them, so nothing is built twice.
    subprocess.run([*map(str, command), *names], cwd=FUZZ, check=True)
    return {target: BUILT / host / "release" / target for target in targets}


def run(target: str, binary: Path, seconds: int) -> Outcome:
    """Runs a target for that long, or until it fails."""
    corpus, failures = KEPT / "corpus" / target, KEPT / "failures" / target
    for folder in [corpus, failures]:
        folder.mkdir(parents=True, exist_ok=True)
    dictionary = FUZZ / "dictionaries" / f"{target}.dict"
    limits = ["-timeout=5", "-rss_limit_mb=2048", f"-artifact_prefix={failures}/"]
    if dictionary.is_file():
        limits.append(f"-dict={dictionary}")
    places = [str(corpus), str(FUZZ / "seeds" / target)]
    longest = LONGEST.get(target, 2048)
    log = ""
    parts = [(seconds, longest)]
    if target in GIANTS:
        parts = [(seconds - seconds // 10, longest), (max(seconds // 10, 1), GIANTS[target])]
    runs, failed = 0, False
    for time, length in parts:
        print(f"fuzz: {target} for {time} s, inputs up to {length} bytes", flush=True)
        # Only what leads to new coverage is kept; the seeds are left alone.
        ended = subprocess.run(
            [str(binary), *limits, f"-max_len={length}", f"-max_total_time={time}",
             "-print_final_stats=1", *places],
            stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, errors="replace",
        )
        log += ended.stderr
        runs += last(r"stat::number_of_executed_units: (\d+)", ended.stderr)
        if ended.returncode != 0:
            failed = True
            print("\n".join(ended.stderr.splitlines()[-40:]), flush=True)
            break
    covered = [int(found) for found in re.findall(r"\bcov: (\d+)", log)]
    return Outcome(
        target, failed, runs, max(covered, default=0), covered[0] if covered else 0,
        len(list(corpus.iterdir())),
    )


def last(pattern: str, text: str) -> int:
    """The last number that the pattern finds, or 0."""
    found = re.findall(pattern, text)
    return int(found[-1]) if found else 0


if __name__ == "__main__":
    sys.exit(main())
