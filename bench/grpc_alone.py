"""Checks per second and CPU per check without Envoy, each kind of check in
turns with the empty server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import load
import programs
import rig
from rig import Ratio, Sample
from settings import Effort
from stack import Stack

RS256, ES256 = "https://rs256.example.com", "https://es256.example.com"
API_KEY = "cgk_5vLw2m8Rz1Xq7Tn4Jb9Yd3Ks6Hf0Pa"

# Few are cached, so that none of the many is still cached when it comes again.
EVER_NEW = 5_000
CACHED = 10


@dataclass(frozen=True)
class Pair:
    """One kind of check, and the empty server at the same time."""

    kind: str
    ours: list[Sample]
    empty: list[Sample]

    @property
    def cpu_ratio(self) -> Ratio:
        return Ratio.of(self.ours, self.empty, lambda sample: sample.cpu)

    @property
    def rate_ratio(self) -> Ratio:
        return Ratio.of(self.ours, self.empty, lambda sample: sample.rate)


@dataclass(frozen=True)
class Results:
    pairs: list[Pair]
    message_bytes: int
    token_bytes: int

    def pair(self, kind: str) -> Pair:
        return next(pair for pair in self.pairs if pair.kind == kind)


KNOWN, KEY, DENIED = "known RS256 token", "API key", "denial (scope missing)"
NEW_RS256, NEW_ES256 = "ever-new RS256 tokens", "ever-new ES256 tokens"


def measure(effort: Effort) -> Results:
    with Stack() as stack:
        results = _measure(stack, effort)
    stack.discard()
    return results


def _measure(stack: Stack, effort: Effort) -> Results:
    folder, core = stack.folder, rig.SERVER_CORE
    rs256 = programs.mint(folder / "rs256", "RS256", RS256, EVER_NEW)
    es256 = programs.mint(folder / "es256", "ES256", ES256, EVER_NEW)
    empty, empty_address = programs.empty_server(stack, core)
    issuers = [
        programs.provider(RS256, rs256.jwks),
        programs.provider(ES256, es256.jwks, name="others", algorithms=["ES256"]),
    ]
    admin = {
        "name": "admin",
        "match": {"path_prefix": "/admin"},
        "required_scopes": ["https://gateway.internal/no-one"],
    }
    tokens = programs.claimgate(stack, "tokens", programs.auth(issuers, routes=[admin]), core)
    uncached = programs.auth(issuers, token_cache_entries=CACHED)
    uncached = programs.claimgate(stack, "uncached", uncached, core)
    keys = {"name": "keys", "type": "api_key", "keys": [_key(API_KEY)]}
    keys = programs.claimgate(stack, "keys", programs.auth([keys]), core)

    bearer = f"Bearer {rs256.first}"
    known = load.body(folder / "known", bearer)
    with_key = load.body(folder / "key", f"Bearer {API_KEY}")
    denied = load.body(folder / "denied", bearer, path="/admin/users")
    new_rs256 = load.message(folder / "new-rs256", rs256.first)
    new_es256 = load.message(folder / "new-es256", es256.first)

    def same(body):
        return lambda server, address: load.h2load(server, address, body, effort.seconds)

    def varied(message, minted):
        limit = f"{effort.seconds}s"
        return lambda server, address: load.varying(server, address, message, minted.file, limit)

    kinds = [
        (KNOWN, tokens, same(known), 'claimgate_token_cache_total{result="hit"}'),
        (KEY, keys, same(with_key), 'claimgate_checks_total{reason="ok"}'),
        (DENIED, tokens, same(denied), 'claimgate_checks_total{reason="insufficient_scope"}'),
        (NEW_RS256, uncached, varied(new_rs256, rs256), MISSES),
        (NEW_ES256, uncached, varied(new_es256, es256), MISSES),
    ]
    pairs = []
    for kind, service, run, metric in kinds:
        contenders: dict[str, Callable[[], Sample]] = {
            "ours": lambda: load.counted(service, metric, lambda: run(service, service.grpc)),
            "empty": lambda: run(empty, empty_address),
        }
        rig.take_turns(contenders, 1)  # warms both up
        samples = rig.take_turns(contenders, effort.repetitions)
        pairs.append(Pair(kind, samples["ours"], samples["empty"]))
        effort.say(f"{kind}: CPU {pairs[-1].cpu_ratio}, checks/s {pairs[-1].rate_ratio}")
    return Results(pairs, new_rs256.stat().st_size, len(rs256.first))


MISSES = 'claimgate_token_cache_total{result="miss"}'


def _key(key: str) -> dict:
    return {"name": "reporting-job", "key": key, "claims": {"client_id": "reporting"}}
