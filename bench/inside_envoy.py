"""Claimgate inside Envoy: what the module adds to a request, next to Envoy's
own verification and to the service.

Envoy has one worker thread and a core to itself, but for the service, which
shares it as a sidecar does; wrk has the other core.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import envoys
import load
import programs
import rig
import through_envoy
import web
from rig import Ratio
from settings import Effort
from stack import Envoy, Program, Stack
from through_envoy import Sample

ISSUER = "https://rs256.example.com"
API_KEY = "cgk_5vLw2m8Rz1Xq7Tn4Jb9Yd3Ks6Hf0Pa"

EVER_NEW, REMEMBERED = 5_000, 10
"""So few are remembered that none of the many is when it comes again."""

FULL_CACHE = 10_000
"""The default of `token_cache_entries`."""

FILL_SECONDS = 4
"""How long it takes to send as many tokens, and some again."""

NONE = "no authorization"
NONE_KEY = "no authorization, API key"
JWT_AUTHN = "`jwt_authn`, ever-new tokens"
JWT_CACHED = "`jwt_authn`, its token cache on"
JWT_PAYLOAD = "`jwt_authn`, the same with `payload_in_metadata`"
JWT_DENIED = "`jwt_authn`, no token"
SERVICE = "`ext_authz`, Claimgate"
MODULE = "module, all metadata"
MODULE_REASON = "module, `metadata: [reason]`"
MODULE_BARE = "module, `metadata: []`"
MODULE_KEY = "module, API key"
MODULE_PUBLIC = "module, public path"
MODULE_DENIED = "module, no token"
MODULE_NEW = "module, ever-new tokens"

BARS = [
    (MODULE, NONE, 0.85),
    (MODULE_REASON, NONE, 0.90),
    (MODULE, JWT_PAYLOAD, 1.05),
    (MODULE_BARE, JWT_CACHED, 1.0),
    (MODULE, SERVICE, 2.2),
    (MODULE_KEY, NONE_KEY, 0.85),
    (MODULE_PUBLIC, NONE, 0.95),
    (MODULE_DENIED, JWT_DENIED, 1.0),
    (MODULE_NEW, JWT_AUTHN, 1.2),
]
"""Set-ups, what they are measured against, and the least ratio of requests/s."""


@dataclass(frozen=True)
class Results:
    samples: dict[str, list[Sample]]
    alone: dict[str, list[Sample]]
    """With one connection."""
    megabytes: dict[str, float]
    """Envoy's resident memory, under the same names."""
    full_cache_megabytes: float
    """That of an Envoy whose module remembers as many tokens as it may."""
    envoy_version: str

    def rate_ratio(self, ours: str, theirs: str) -> Ratio:
        """Requests/s, one against the other."""
        return Ratio.of(self.samples[ours], self.samples[theirs], lambda sample: sample.rate)

    def cpu_ratio(self, ours: str, theirs: str) -> Ratio:
        """CPU for a request, Envoy's and the service's, one against the other."""
        return Ratio.of(self.samples[ours], self.samples[theirs], cpu)

    @property
    def added_p50(self) -> list[float]:
        """Microseconds that the module adds at one connection, by repetition."""
        pairs = zip(self.alone[MODULE], self.alone[NONE], strict=True)
        return [module.p50 - without.p50 for module, without in pairs]


def measure(effort: Effort) -> Results:
    with Stack() as stack:
        results = _measure(stack, effort)
    stack.discard()
    return results


def _measure(stack: Stack, effort: Effort) -> Results:
    minted = programs.mint(stack.folder / "rs256", "RS256", ISSUER, max(EVER_NEW, FULL_CACHE))
    jwks = str(minted.jwks)
    issuers = [programs.provider(ISSUER, minted.jwks)]
    keys = [{"name": "keys", "type": "api_key", "keys": [_key(API_KEY)]}]
    service = programs.claimgate(stack, "claimgate", programs.auth(issuers), rig.SERVER_CORE)

    def envoy(name: str, *filters: dict, authz: str | None = None) -> Envoy:
        return envoys.start(stack, name, list(filters), authz, rig.SERVER_CORE)

    def module(name: str, providers: list[dict], **more: object) -> Envoy:
        return envoy(name, envoys.module(programs.auth(providers, **more)))

    def jwt_authn(name: str, cached: bool, payload: bool) -> Envoy:
        return envoy(name, envoys.jwt_authn(ISSUER, jwks, cached, payload))

    same, varied = through_envoy.same_request, through_envoy.varied_requests
    known = same(stack.folder / "known.lua", minted.first)
    key = same(stack.folder / "key.lua", API_KEY)
    denied = same(stack.folder / "denied.lua", None, status=401)
    new = varied(stack.folder / "new.lua", minted.only(EVER_NEW))

    public = through_envoy.path().partition("?")[0]
    plain = envoy("plain")
    full = module("module", issuers)
    uncached = jwt_authn("jwt-authn", cached=False, payload=True)
    setups: dict[str, tuple[Path, Envoy, Program | None]] = {
        NONE: (known, plain, None),
        NONE_KEY: (key, plain, None),
        JWT_CACHED: (known, jwt_authn("jwt-authn-cached", cached=True, payload=False), None),
        JWT_PAYLOAD: (known, jwt_authn("jwt-authn-payload", cached=True, payload=True), None),
        SERVICE: (known, envoy("to-claimgate", envoys.ext_authz(), authz=service.grpc), service),
        MODULE: (known, full, None),
        MODULE_REASON: (known, module("reason", issuers, metadata=["reason"]), None),
        MODULE_BARE: (known, module("bare", issuers, metadata=[]), None),
        MODULE_KEY: (key, module("keys", keys), None),
        MODULE_PUBLIC: (known, module("public", issuers, public_paths=[public]), None),
        JWT_DENIED: (denied, uncached, None),
        MODULE_DENIED: (denied, full, None),
        JWT_AUTHN: (new, uncached, None),
        MODULE_NEW: (new, module("forgetful", issuers, token_cache_entries=REMEMBERED), None),
    }
    samples = _turns(effort, setups)
    alone = _turns(effort, {name: setups[name] for name in (NONE, MODULE)}, connections=1)
    _check(setups[MODULE][1])
    megabytes = {name: rig.resident_megabytes(envoy) for name, (_, envoy, _) in setups.items()}
    version = web.get(plain.admin, "/server_info").json()["version"].split("/")[1]
    full_cache = _full_cache(module("full-cache", issuers), varied(stack.folder / "full.lua", minted.file))
    results = Results(samples, alone, megabytes, full_cache, version)
    for ours, theirs in ((MODULE, NONE), (MODULE, JWT_PAYLOAD), (MODULE, SERVICE)):
        effort.say(f"{ours} against {theirs}: requests/s {results.rate_ratio(ours, theirs)}, "
                   f"CPU {results.cpu_ratio(ours, theirs)}")
    return results


def _turns(
    effort: Effort, setups: dict[str, tuple[Path, Envoy, Program | None]], **more: int
) -> dict[str, list[Sample]]:
    def contender(setup: tuple[Path, Envoy, Program | None]) -> Callable[[], Sample]:
        return lambda: through_envoy.wrk(*setup, effort.seconds, **more)

    contenders = {name: contender(setup) for name, setup in setups.items()}
    rig.take_turns(contenders, 1)  # warms all up
    return rig.take_turns(contenders, effort.repetitions)


def _check(envoy: Envoy) -> None:
    """The module decided, by the tokens that it knew."""
    web.wait_until(lambda: _hits(envoy) > 0, "the module's counts in Envoy's statistics")


def _full_cache(envoy: Envoy, script: Path) -> float:
    """Envoy's memory once the module remembers all tokens of the script."""
    through_envoy.wrk(script, envoy, None, FILL_SECONDS)
    web.wait_until(lambda: _entries(envoy) > FULL_CACHE * 0.9, "a full token cache")
    return rig.resident_megabytes(envoy)


def _entries(envoy: Envoy) -> int:
    return _metric(envoy, "claimgate_token_cache_entries")


def _hits(envoy: Envoy) -> int:
    return _metric(envoy, 'claimgate_token_cache_total{result="hit"}')


def _metric(envoy: Envoy, name: str) -> int:
    """A metric of the module, as Envoy shows it."""
    lines = web.get(envoy.admin, "/stats/prometheus").body.decode().splitlines()
    found = (line.rsplit(" ", 1) for line in lines if name in line and not line.startswith("#"))
    return sum(int(value) for _, value in found)


def cpu(sample: Sample) -> float:
    """CPU seconds for 100,000 requests, Envoy's and the service's."""
    return sample.per_100_000(sample.envoy_cpu + sample.service_cpu)


def _key(key: str) -> dict:
    scopes = ["https://gateway.internal/invoke"]
    return {"name": "reporting-job", "key": key, "scopes": scopes, "claims": {"client_id": "reporting"}}
