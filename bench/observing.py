"""What it costs to be watched: the same checks with and without the status
page, which remembers every denial."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import load
import programs
import rig
import web
from rig import Ratio, Sample
from settings import Effort
from stack import Claimgate, Stack

ISSUER = "https://rs256.example.com"

KNOWN, DENIED = "known RS256 token", "denial (scope missing)"


@dataclass(frozen=True)
class Pair:
    """One kind of check with the status page on and off."""

    kind: str
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
    on, off = (
        programs.claimgate(stack, name, auth, rig.SERVER_CORE, status_page=shown)
        for name, shown in (("page-on", True), ("page-off", False))
    )
    _confirm(on, off)
    bearer = f"Bearer {minted.first}"
    bodies = {
        KNOWN: load.body(stack.folder / "known", bearer),
        DENIED: load.body(stack.folder / "denied", bearer, path="/admin/users"),
    }
    pairs = []
    for kind, body in bodies.items():
        def contender(service: Claimgate) -> Callable[[], Sample]:
            return lambda: load.h2load(service, service.grpc, body, effort.seconds)

        contenders = {"on": contender(on), "off": contender(off)}
        rig.take_turns(contenders, 1)  # warms both up
        samples = rig.take_turns(contenders, effort.repetitions)
        pairs.append(Pair(kind, samples["on"], samples["off"]))
        effort.say(f"{kind}, status page on against off: checks/s {pairs[-1].rate_ratio}")
    remembered = web.get(on.admin, "/status.json").json()["denials"]
    if len(remembered) != 200:
        raise load.WrongAnswers(f"{len(remembered)} denials are remembered instead of 200")
    return pairs


def _confirm(on: Claimgate, off: Claimgate) -> None:
    statuses = tuple(web.get(service.admin, "/").status for service in (on, off))
    if statuses != (200, 404):
        raise load.WrongAnswers(f"the status pages answer with {statuses}")
