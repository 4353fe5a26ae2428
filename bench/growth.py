"""How speed and memory change with the number of tokens, keys, issuers and
routes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import load
import programs
import rig
from rig import Ratio, Sample
from settings import Effort
from stack import Claimgate, Stack

ISSUER = "https://issuer-0000.example.com"


@dataclass(frozen=True)
class Level:
    """One size of one thing."""

    size: int
    samples: list[Sample]
    megabytes: float


@dataclass(frozen=True)
class Family:
    """The sizes of one thing, measured in turns."""

    what: str
    levels: list[Level]

    def ratio(self, size: int, base: int) -> Ratio:
        """Checks/s at one size against another."""
        samples = {level.size: level.samples for level in self.levels}
        return Ratio.of(samples[size], samples[base], lambda sample: sample.rate)


@dataclass(frozen=True)
class Results:
    families: list[Family]
    idle_megabytes: float

    def family(self, what: str) -> Family:
        return next(family for family in self.families if family.what == what)


BYTES_OF_A_TOKEN = 4096
"""More than the cache keeps."""

TOKENS, KEYS, ISSUERS, ROUTES = "known tokens", "API keys", "issuers", "routes"


@dataclass(frozen=True)
class Case:
    """A service of some size, and the load for it."""

    size: int
    service: Claimgate
    run: Callable[[str], Sample]
    """Puts it under load up to a limit of `load.varying`."""


def measure(effort: Effort) -> Results:
    families = []
    for what, cases in ((TOKENS, _tokens), (KEYS, _keys), (ISSUERS, _issuers), (ROUTES, _routes)):
        with Stack() as stack:
            families.append(_family(what, cases(stack, effort), effort))
        stack.discard()
    return Results(families, _idle())


def _family(what: str, cases: Iterable[Case], effort: Effort) -> Family:
    cases = list(cases)

    def contender(case: Case):
        metric = 'claimgate_checks_total{reason="ok"}'
        limit = f"{effort.seconds}s"
        return lambda: load.counted(case.service, metric, lambda: case.run(limit))

    contenders = {str(case.size): contender(case) for case in cases}
    rig.take_turns(contenders, 1)  # warms all up
    samples = rig.take_turns(contenders, effort.repetitions)
    levels = [
        Level(case.size, samples[str(case.size)], rig.resident_megabytes(case.service))
        for case in cases
    ]
    family = Family(what, levels)
    least, most = cases[0].size, cases[-1].size
    effort.say(f"{most:,} {what} against {least:,}: checks/s {family.ratio(most, least)}")
    return family


def _case(
    stack: Stack, size: int, auth: dict, token: str, tokens: Path | None = None, path: str = ""
) -> Case:
    """The service, and a load that sends `tokens` in turn; `token` is the
    first of them and by default the only one."""
    service = programs.claimgate(stack, f"size-{size}", auth, rig.SERVER_CORE)
    message = load.message(stack.folder / f"message-{size}", token, path or None)
    if tokens is None:
        tokens = stack.folder / f"token-{size}"
        tokens.write_text(token)

    def run(limit: str) -> Sample:
        return load.varying(service, service.grpc, message, tokens, limit)

    return Case(size, service, run)


def _tokens(stack: Stack, effort: Effort) -> Iterable[Case]:
    minted = programs.mint(stack.folder / "minted", "RS256", ISSUER, effort.tokens)
    provider = programs.provider(ISSUER, minted.jwks)
    # The cache starts to evict a little before it is full.
    room = 2 * effort.tokens
    auth = programs.auth(
        [provider], token_cache_entries=room, token_cache_bytes=room * BYTES_OF_A_TOKEN
    )
    for size in (1, 1_000, effort.tokens):
        case = _case(stack, size, auth, minted.first, minted.only(size))
        case.run(str(size))
        known = case.service.metrics()["claimgate_token_cache_entries"]
        if known != size:
            raise load.WrongAnswers(f"{known:.0f} tokens are known instead of {size}")
        yield case


def _keys(stack: Stack, effort: Effort) -> Iterable[Case]:
    for size in (10, 10_000):
        keys = [_key(number) for number in range(size)]
        auth = programs.auth([{"name": "keys", "type": "api_key", "keys": keys}])
        yield _case(stack, size, auth, keys[size // 2]["key"])


def _key(number: int) -> dict:
    return {
        "name": f"client-{number:05}",
        "key": f"cgk_5vLw2m8Rz1Xq7Tn4Jb9Yd3Ks{number:05}",
        "claims": {"client_id": f"client-{number:05}"},
    }


def _issuers(stack: Stack, effort: Effort) -> Iterable[Case]:
    # The token is of the last one.
    for size in (1, 100, 1_000):
        urls = [f"https://issuer-{number:04}.example.com" for number in range(size)]
        minted = programs.mint(stack.folder / f"minted-{size}", "RS256", urls[-1], 1)
        providers = [
            programs.provider(url, minted.jwks, name=f"issuer-{number}")
            for number, url in enumerate(urls)
        ]
        yield _case(stack, size, programs.auth(providers), minted.first)


def _routes(stack: Stack, effort: Effort) -> Iterable[Case]:
    # The request is for the last one; the first match would win.
    minted = programs.mint(stack.folder / "minted", "RS256", ISSUER, 1)
    provider = programs.provider(ISSUER, minted.jwks)
    for size in (1, 10, 1_000):
        routes = [
            {"name": f"route-{number}", "match": {"path_prefix": f"/service-{number:04}/v1"}}
            for number in range(size)
        ]
        auth = programs.auth([provider], routes=routes)
        path = f"/service-{size - 1:04}/v1/chat/completions"
        yield _case(stack, size, auth, minted.first, path=path)


def _idle() -> float:
    """Resident memory of a service with one issuer before any request."""
    with Stack() as stack:
        minted = programs.mint(stack.folder / "minted", "RS256", ISSUER, 1)
        auth = programs.auth([programs.provider(ISSUER, minted.jwks)])
        megabytes = rig.resident_megabytes(
            programs.claimgate(stack, "idle", auth, rig.SERVER_CORE)
        )
    stack.discard()
    return megabytes


def bars(most_tokens: int) -> list[tuple[str, int, int, float]]:
    """What grows, a size, the one it is compared with, and the least ratio of
    checks/s."""
    return [
        (TOKENS, most_tokens, 1_000, 0.85),
        (KEYS, 10_000, 10, 0.9),
        (ISSUERS, 1_000, 1, 0.9),
        (ROUTES, 1_000, 10, 0.9),
    ]
