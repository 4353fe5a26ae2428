"""The targets, and whether the recorded numbers meet them."""

from __future__ import annotations

from dataclasses import dataclass

import plans
from figures import Figure, count
from record import Record


@dataclass(frozen=True)
class Target:
    what: str
    value: float
    limit: float
    at_least: bool
    unit: str = ""

    @property
    def is_met(self) -> bool:
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def row(self) -> list[str]:
        sign = "≥" if self.at_least else "≤"
        unit = f" {self.unit}" if self.unit else ""
        # Enough digits to see on which side of the limit it is.
        return [
            self.what,
            f"{sign} {self.limit:g}{unit}",
            f"{self.value:.4g}{unit}",
            "met" if self.is_met else "**not met**",
        ]


KNOWN, KEY = "known RS256 token", "API key"


def targets(record: Record) -> list[Target]:
    """Those of the sections that are recorded."""
    found: list[Target] = []

    def target(what: str, kept: float | list[float], *, least=None, most=None, unit="") -> None:
        limit = most if least is None else least
        found.append(Target(what, Figure.read(kept).median, limit, least is not None, unit))

    if grpc := record.get("grpc"):
        for kind in (KNOWN, KEY):
            check = grpc["checks"][kind]
            target(f"CPU per check, {kind}, against the empty server", check["cpu_ratio"], most=0.5)
            target(f"checks/s, {kind}, same pair", check["rate_ratio"], least=2.0)
    if engine := record.get("engine"):
        target("verifications/s, ever-new RS256 tokens, engine against aws-lc-rs alone",
               engine["verify"]["ratio"], least=0.85)
    if envoy := record.get("envoy"):
        target("requests/s through Envoy, Claimgate against the empty server",
               envoy["rate_ratio"], least=1.0)
        target("added p99 through Envoy, same pair", envoy["added_p99_ratio"], most=1.05)
    if module := record.get("module"):
        for pair in module["pairs"]:
            target(f"requests/s through Envoy, {pair['ours']}, against {pair['theirs']}",
                   pair["rate_ratio"], least=pair["least"])
        target("added p50 at one connection, module, all metadata",
               module["p50_us_alone"]["added"], most=8, unit="µs")
        memory = module["megabytes"]
        target("resident memory, module over Envoy alone",
               memory["module"] - memory["none"], most=15, unit="MB")
        target("resident memory, module with its token cache full over Envoy alone",
               memory["full_cache"] - memory["none"], most=90, unit="MB")
    if grown := record.get("growth"):
        for bar in grown["bars"]:
            target(f"checks/s, {bar['size']:,} {bar['what']} against {bar['base']:,}",
                   bar["ratio"], least=bar["least"])
    if engine := record.get("engine"):
        for tokens, threads in engine["threads"].items():
            target(f"engine hit path, two threads against one, {tokens}", threads["ratio"], least=1.8)
        target("heap allocations in decode + decide + encode, known token",
               sum(engine["allocations"]["known token"].values()), most=4, unit="allocations")
    if grown := record.get("growth"):
        target("resident memory, idle", grown["idle_megabytes"], most=20, unit="MB")
        size, level = list(grown["families"]["known tokens"]["levels"].items())[-1]
        target(f"resident memory, {int(size):,} known tokens", level["megabytes"], most=300, unit="MB")
    for pair in record.get("observing", {}).get("pairs", []):
        target(f"checks/s, {pair['check']}, {pair['by']} against nothing", pair["rate_ratio"], least=0.95)
    if limited := record.get("plans"):
        for pair in limited["pairs"]:
            target(f"checks/s, known RS256 tokens of {count(pair['callers'], 'callers')}, "
                   "with a limit for each against without", pair["rate_ratio"], least=0.97)
        target("engine hit path with limits, two threads against one, different callers",
               limited["threads"][plans.DIFFERENT]["ratio"], least=1.8)
    return found
