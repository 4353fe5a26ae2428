"""Measures the cost of a check against the baselines: `make bench`.

Runs every section, or those named, and writes docs/benchmarks.md after a full
run of all. With --quick, or with sections named, the page goes to stdout;
--write puts what was named into docs/benchmarks.md all the same.
Takes a Linux machine with two cores and nothing else to do.
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
import programs
import report
import through_envoy
from settings import FULL, QUICK
from stack import DidNotStart
from tools import ToolMissing, say

SECTIONS = {
    "grpc": grpc_alone.measure,
    "envoy": through_envoy.measure,
    "module": inside_envoy.measure,
    "growth": growth.measure,
    "engine": engine_pairs.measure,
    "observing": observing.measure,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument("--quick", action="store_true", help="a smoke run; its numbers mean little")
    parser.add_argument("--write", action="store_true", help="write what was measured into the page")
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
    measured = report.Measured(effort)
    for name in arguments.sections or SECTIONS:
        say(f"section {name}")
        setattr(measured, name, SECTIONS[name](effort))
    text = report.text(measured)
    if arguments.sections and arguments.write:
        text = page.updated(place.REPORT.read_text(), text, report.note())
    elif arguments.sections or effort != FULL:
        print(text)
    if arguments.write or not arguments.sections and effort == FULL:
        place.REPORT.write_text(text)
        say(f"written: {place.REPORT.relative_to(place.ROOT)}")
    missed = [bar for bar in report.bars(measured) if not bar.is_met]
    for bar in missed:
        say("not met: {}: {} (bar {})".format(*(bar.row()[i] for i in (0, 2, 1))))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (ToolMissing, DidNotStart, load.WrongAnswers, subprocess.CalledProcessError) as problem:
        sys.exit(f"{problem}")
