"""The measurements: pinned programs, CPU time, memory, and turns."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import place  # noqa: F401  puts e2e/ on the path
from stack import Program

SERVER_CORE, LOAD_CORE = 0, 1

T = TypeVar("T")


def pinned(core: int, *command: object) -> list[str]:
    """The command, pinned to one core."""
    return ["taskset", "--cpu-list", str(core), *map(str, command)]


def cpu_seconds(program: Program) -> float:
    """The CPU time, user and system, of all threads of a program so far, as
    the scheduler counts it, in nanoseconds; /proc/PID/stat has hundredths of
    seconds. A thread that ended is missing, so none must end in between."""
    threads = Path(f"/proc/{program.process.pid}/task").iterdir()
    times = ((thread / "schedstat").read_text().split()[0] for thread in threads)
    return sum(map(int, times)) / 1e9


def resident_megabytes(program: Program) -> float:
    """VmRSS, in units of 10^6 bytes."""
    status = Path(f"/proc/{program.process.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024 / 1e6


@dataclass(frozen=True)
class Sample:
    """One run of the load against one server."""

    checks: int
    seconds: float
    server_cpu: float
    load_cpu: float

    @property
    def rate(self) -> float:
        """Checks per second."""
        return self.checks / self.seconds

    @property
    def cpu(self) -> float:
        """Microseconds of the server's CPU per check."""
        return self.server_cpu / self.checks * 1e6


TOLERATED = 0.03
"""The share of both cores' time that a sample may lack."""

TRIES = 3


def undisturbed(run: Callable[[], T]) -> T:
    """A sample that had its cores to itself. A virtual machine's host lends
    them to others at times; a sample that lacks more than is tolerated is
    repeated, and of a few such samples the one that lacks least counts. Its
    speed does not matter."""
    samples = []
    for _ in range(TRIES):
        start, had = time.monotonic(), _cpu_time()
        sample = run()
        lacking = 1 - (_cpu_time() - had) / (2 * (time.monotonic() - start))
        if lacking <= TOLERATED:
            return sample
        samples.append((lacking, sample))
    return min(samples, key=lambda each: each[0])[1]


def _cpu_time() -> float:
    """Seconds that the two cores have had, busy or idle, but not stolen."""
    lines = Path("/proc/stat").read_text().splitlines()
    cores = [f"cpu{core}" for core in (SERVER_CORE, LOAD_CORE)]
    # user, nice, system, idle, iowait, irq, softirq; then the stolen time.
    rows = [line.split()[1:8] for line in lines if line.split()[0] in cores]
    return sum(sum(map(int, row)) for row in rows) / os.sysconf("SC_CLK_TCK")


def take_turns(
    contenders: Mapping[str, Callable[[], T]], repetitions: int
) -> dict[str, list[T]]:
    """The samples of every contender. All run once in each repetition, the
    order reversed from one to the next, so that changes of the machine over
    time affect all of them."""
    samples: dict[str, list[T]] = {name: [] for name in contenders}
    for repetition in range(repetitions):
        order = list(contenders)
        for name in order if repetition % 2 == 0 else reversed(order):
            samples[name].append(undisturbed(contenders[name]))
    return samples


@dataclass(frozen=True)
class Ratio:
    """The ratios of two contenders, repetition by repetition."""

    values: list[float]

    @classmethod
    def of(cls, ours: list[T], theirs: list[T], what: Callable[[T], float]) -> Ratio:
        return cls([what(our) / what(their) for our, their in zip(ours, theirs, strict=True)])

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def __str__(self) -> str:
        return f"{self.median:.2f} ({min(self.values):.2f}–{max(self.values):.2f})"


def median(samples: list[T], what: Callable[[T], float]) -> float:
    """The median of one number of each sample."""
    return statistics.median(map(what, samples))


def children_cpu() -> float:
    """CPU seconds of the child processes that have ended so far."""
    times = os.times()
    return times.children_user + times.children_system
