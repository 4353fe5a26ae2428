"""The cost of observability: the same checks with and without the status page,
which records every denial, and with and without traces."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import load
import place
import programs
import rig
import web
from rig import Ratio, Sample
from settings import Effort
from stack import Claimgate, Stack

ISSUER = "https://rs256.example.com"

KNOWN, DENIED = "known RS256 token", "denial (scope missing)"

PAGE, NOT_SAMPLED, ALL_SAMPLED = "status page", "traces, none sampled", "traces, all sampled"

PATIENCE = 2
"""Multiplies the number of repetitions, to see differences of a few percent."""

WATCHED = {KNOWN: (PAGE, NOT_SAMPLED, ALL_SAMPLED), DENIED: (PAGE,)}
"""The features that each kind of check is measured with."""


@dataclass(frozen=True)
class Pair:
    """One kind of check with something on and with all of it off."""

    kind: str
    what: str
    on: list[Sample]
    off: list[Sample]

    @property
    def rate_ratio(self) -> Ratio:
        return Ratio.of(self.on, self.off, lambda sample: sample.rate)


def measure(effort: Effort) -> list[Pair]:
    with Stack() as stack:
        pairs = _measure(stack, effort)
    stack.discard()
    return pairs


def _measure(stack: Stack, effort: Effort) -> list[Pair]:
    minted = programs.mint(stack.folder / "minted", "RS256", ISSUER, 1)
    admin = {
        "name": "admin",
        "match": {"path_prefix": "/admin"},
        "required_scopes": ["https://gateway.internal/no-one"],
    }
    auth = programs.auth([programs.provider(ISSUER, minted.jwks)], routes=[admin])
    collector = _collector(stack)

    def service(name: str, **server: object) -> Claimgate:
        return programs.claimgate(stack, name, auth, rig.SERVER_CORE, **server)

    def traced(ratio: float) -> dict:
        return {"otlp_endpoint": collector, "protocol": "http", "sample_ratio": ratio}

    off = service("off")
    services = {
        PAGE: service("page", status_page=True),
        NOT_SAMPLED: service("not-sampled", tracing=traced(0)),
        ALL_SAMPLED: service("all-sampled", tracing=traced(1)),
    }
    bearer = f"Bearer {minted.first}"
    bodies = {
        KNOWN: load.body(stack.folder / "known", bearer),
        DENIED: load.body(stack.folder / "denied", bearer, path="/admin/users"),
    }
    pairs = []
    for kind, body in bodies.items():
        def contender(service: Claimgate) -> Callable[[], Sample]:
            return lambda: load.h2load(service, service.grpc, body, effort.seconds)

        contenders = {what: contender(services[what]) for what in WATCHED[kind]}
        contenders["off"] = contender(off)
        rig.take_turns(contenders, 1)  # warms all up
        samples = rig.take_turns(contenders, PATIENCE * effort.repetitions)
        for what in WATCHED[kind]:
            pairs.append(Pair(kind, what, samples[what], samples["off"]))
            effort.say(f"{kind}, {what} against nothing: checks/s {pairs[-1].rate_ratio}")
    _confirm(off, services[PAGE], collector)
    return pairs


def _collector(stack: Stack) -> str:
    """The URL of a collector that accepts everything, on the other core."""
    command = rig.pinned(rig.LOAD_CORE, sys.executable, place.HERE / "collector.py")
    _, address = programs.listening(stack, "collector", command)
    return f"http://{address}"


def _confirm(off: Claimgate, page: Claimgate, collector: str) -> None:
    """Checks that the measured feature was on."""
    if web.get(off.admin, "/").status != 404:
        raise load.WrongAnswers("the status page is on where it was to be off")
    denials = web.get(page.admin, "/status.json").json()["denials"]
    if len(denials) != 200:
        raise load.WrongAnswers(f"{len(denials)} denials are recorded instead of 200")
    if int(web.get(collector.removeprefix("http://"), "/").body) == 0:
        raise load.WrongAnswers("no spans were sent")
