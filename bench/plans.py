"""The cost of a limit for each caller: allowed checks with and without one, and
whether two threads wait for each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import engine_pairs
import load
import programs
import rig
from figures import count
from rig import Ratio, Sample
from settings import Effort
from stack import Claimgate, Stack

ISSUER = "https://rs256.example.com"

PATIENCE = 3
"""Multiplies the number of repetitions, to see a difference of three percent."""

BYTES_OF_A_TOKEN = 4096
"""More than the cache keeps."""

DIFFERENT = "different tokens"
"""What `benches/pairs.rs` calls two threads with a caller each."""


@dataclass(frozen=True)
class Pair:
    """Known tokens of so many callers, with a limit for each and without."""

    callers: int
    limited: list[Sample]
    unlimited: list[Sample]

    @property
    def rate_ratio(self) -> Ratio:
        return Ratio.of(self.limited, self.unlimited, lambda sample: sample.rate)


@dataclass(frozen=True)
class Results:
    pairs: list[Pair]
    threads: dict[str, dict[str, list[float]]]

    def threads_ratio(self, tokens: str) -> Ratio:
        rates = self.threads[tokens]
        return Ratio.of(rates["two threads"], rates["one thread"], float)


def measure(effort: Effort) -> Results:
    with Stack() as stack:
        pairs = _pairs(stack, effort)
    stack.discard()
    threads = engine_pairs.in_threads("limits", 2 * effort.repetitions)
    results = Results(pairs, threads)
    for tokens in threads:
        ratio = results.threads_ratio(tokens)
        effort.say(f"two threads against one, with limits, {tokens}: {ratio}")
    return results


def _pairs(stack: Stack, effort: Effort) -> list[Pair]:
    minted = programs.mint(stack.folder / "minted", "RS256", ISSUER, effort.tokens)
    # The cache starts to evict a little before it is full.
    room = 2 * effort.tokens
    unlimited = programs.auth(
        [programs.provider(ISSUER, minted.jwks)],
        token_cache_entries=room,
        token_cache_bytes=room * BYTES_OF_A_TOKEN,
    )
    limited = {
        **unlimited,
        # More than can be used up, and it refills so slowly that the budget of
        # every caller is in use.
        "plans": {"all": {"requests": {"per_minute": 1, "burst": 100_000_000}}},
        "default_plan": "all",
        # All these tokens have one subject.
        "limit_by": "jti",
        "max_limited_callers": room,
    }
    services = {
        "limited": programs.claimgate(stack, "limited", limited, rig.SERVER_CORE),
        "unlimited": programs.claimgate(stack, "unlimited", unlimited, rig.SERVER_CORE),
    }
    message = load.message(stack.folder / "message", minted.first)
    metrics = {
        "limited": 'claimgate_limits_total{result="within"}',
        "unlimited": 'claimgate_checks_total{reason="ok"}',
    }
    pairs = []
    for callers in (1, 1_000, effort.tokens):
        tokens = minted.only(callers)

        def contender(name: str, limit: str) -> Callable[[], Sample]:
            service, metric = services[name], metrics[name]
            run = lambda: load.varying(service, service.grpc, message, tokens, limit)
            return lambda: load.counted(service, metric, run)

        for name in services:
            contender(name, str(callers))()  # makes every token and caller known
        _confirm(services["limited"], callers)
        contenders = {name: contender(name, f"{effort.seconds}s") for name in services}
        rig.take_turns(contenders, 1)  # warms both up
        samples = rig.take_turns(contenders, PATIENCE * effort.repetitions)
        pairs.append(Pair(callers, samples["limited"], samples["unlimited"]))
        effort.say(f"{count(callers, 'callers')} with a limit against without: checks/s {pairs[-1].rate_ratio}")
    return pairs


def _confirm(service: Claimgate, callers: int) -> None:
    """Checks that each caller has a budget of its own."""
    counted = service.metrics()["claimgate_limited_callers"]
    if not 0.99 * callers <= counted <= callers:
        raise load.WrongAnswers(f"{counted:.0f} callers are counted instead of {callers}")
