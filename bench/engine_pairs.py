"""The engine within one process: verifications, threads, allocations."""

from __future__ import annotations

import json
from dataclasses import dataclass

import programs
import rig
from rig import Ratio
from settings import Effort


@dataclass(frozen=True)
class Results:
    engine: list[float]
    """Ever-new RS256 tokens decided per second, turn by turn."""
    aws_lc_rs: list[float]
    """The same tokens' signatures verified by aws-lc-rs alone."""
    threads: dict[str, dict[str, list[float]]]
    allocations: dict[str, dict[str, int]]

    @property
    def verify_ratio(self) -> Ratio:
        return Ratio.of(self.engine, self.aws_lc_rs, float)

    def threads_ratio(self, tokens: str) -> Ratio:
        rates = self.threads[tokens]
        return Ratio.of(rates["two threads"], rates["one thread"], float)


def measure(effort: Effort) -> Results:
    verify = programs.run("pairs", "verify", 3 * effort.repetitions, core=rig.SERVER_CORE)
    verify = json.loads(verify)
    threads = in_threads("threads", 2 * effort.repetitions)
    allocations = json.loads(programs.run("allocations"))
    results = Results(verify["engine"], verify["aws-lc-rs"], threads, allocations)
    effort.say(f"verifications/s against aws-lc-rs alone: {results.verify_ratio}")
    for tokens in threads:
        effort.say(f"two threads against one, {tokens}: {results.threads_ratio(tokens)}")
    effort.say(f"allocations: {allocations}")
    return results


def in_threads(pair: str, turns: int) -> dict[str, dict[str, list[float]]]:
    """One of the pairs of `benches/pairs.rs` that compare one thread with two, by
    tokens and side; in turns, because two threads need both cores undisturbed."""
    rates: dict[str, dict[str, list[float]]] = {}
    for _ in range(turns):
        turn = json.loads(rig.undisturbed(lambda: programs.run("pairs", pair, 1)))
        for tokens, sides in turn.items():
            for side, values in sides.items():
                rates.setdefault(tokens, {}).setdefault(side, []).extend(values)
    return rates
