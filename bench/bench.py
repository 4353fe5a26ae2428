"""Measures the cost of a check against the baselines: `make bench`.

Runs every section, or those named. A full run of all is kept in results.json,
from which docs/benchmarks.md and its charts are made (page.py). With --quick,
or with sections named, the page goes to stdout and nothing is kept; --write
keeps what was named anyway. Takes a Linux machine with two cores and nothing else to do.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from dataclasses import replace

import place
import engine_pairs
import growth
import grpc_alone
import inside_envoy
import load
import observing
import page
import plans
import programs
import record
import report
import targets
import through_envoy
from settings import FULL, QUICK
from stack import DidNotStart
from tools import ToolMissing, say

SECTIONS = {
    "grpc": (grpc_alone.measure, record.grpc),
    "envoy": (through_envoy.measure, record.envoy),
    "module": (inside_envoy.measure, record.module),
    "growth": (growth.measure, record.grown),
    "engine": (engine_pairs.measure, record.engine),
    "observing": (observing.measure, record.watched),
    "plans": (plans.measure, record.limited),
}
"""How each is measured, and what is kept of it."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument("--quick", action="store_true", help="a smoke run; its numbers mean little")
    parser.add_argument("--write", action="store_true", help="keep what was measured")
    parser.add_argument("--repetitions", type=int, help="instead of the usual number")
    arguments = parser.parse_args()
    if unknown := set(arguments.sections) - set(SECTIONS):
        parser.error(f"no such section: {', '.join(unknown)}; there are {', '.join(SECTIONS)}")
    effort = QUICK if arguments.quick else FULL
    if arguments.repetitions:
        effort = replace(effort, repetitions=arguments.repetitions)
    if len(os.sched_getaffinity(0)) < 2:
        sys.exit("the server and the load need a core each")

    programs.install()
    sections = {}
    for name in arguments.sections or SECTIONS:
        say(f"section {name}")
        measure, keep = SECTIONS[name]
        sections[name] = keep(measure(effort))
    measured = record.of_run(effort, sections)
    kept = arguments.write or not arguments.sections and effort == FULL
    if arguments.sections and arguments.write:
        record.save(record.merged(record.load_file(), measured))
    elif kept:
        record.save(measured)
    else:
        print(report.text(measured))
    missed = [target for target in targets.targets(measured) if not target.is_met]
    for target in missed:
        say("not met: {}: {} (bar {})".format(*(target.row()[i] for i in (0, 2, 1))))
    return page.again() if kept else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (ToolMissing, DidNotStart, load.WrongAnswers, subprocess.CalledProcessError) as problem:
        sys.exit(f"{problem}")
