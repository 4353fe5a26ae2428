"""docs/benchmarks.md: the results, the method, and whether targets are met."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import engine_pairs
import growth
import grpc_alone
import inside_envoy
import load
import observing
import place
import rig
import through_envoy
from settings import Effort


@dataclass
class Measured:
    """The sections that ran."""

    effort: Effort
    grpc: grpc_alone.Results | None = None
    envoy: through_envoy.Results | None = None
    module: inside_envoy.Results | None = None
    growth: growth.Results | None = None
    engine: engine_pairs.Results | None = None
    observing: list[observing.Pair] | None = None


def text(measured: Measured) -> str:
    """The whole page, as far as it was measured."""
    parts = [
        _introduction(measured),
        _bars(measured),
        _grpc(measured.grpc) if measured.grpc else "",
        _envoy(measured.envoy) if measured.envoy else "",
        _module(measured.module) if measured.module else "",
        _growth(measured.growth) if measured.growth else "",
        _engine(measured.engine) if measured.engine else "",
        _observing(measured.observing) if measured.observing else "",
    ]
    return "\n".join(part for part in parts if part)


def note() -> str:
    """When a part was measured."""
    return f"Measured by itself on {date.today()}. Commit {_commit()}."


def _introduction(measured: Measured) -> str:
    effort = measured.effort
    return f"""\
# Benchmarks

`make bench` measured all of this and wrote this page on {date.today()}; `python3 bench/bench.py --quick` is a short run that writes nothing. Compare ratios within one run: absolute numbers are those of this machine on that day.

**Machine.** {_processor()}, {os.cpu_count()} cores, {_memory()} of memory, Linux {platform.release()}. {_rustc()}. Commit {_commit()}.

**Method.** Two programs that are compared take turns: each runs once per repetition, in an order that is reversed from one repetition to the next, after one run of each that does not count. There are {effort.repetitions} repetitions of {effort.seconds} s. A sample during which the host of this virtual machine kept more than {rig.TOLERATED:.0%} of the cores' time to itself is repeated, up to {rig.TRIES} times, whatever its result. A ratio is the median of the ratios of the repetitions, with the least and the greatest in brackets; other numbers are medians.

The server has core {rig.SERVER_CORE} to itself and the load comes from core {rig.LOAD_CORE}. CPU time is what the scheduler counts for all threads of the server (`/proc/PID/task/*/schedstat`), user and system, so it includes the server's share of the kernel's network stack. The load has {load.CONNECTIONS} HTTP/2 connections with {load.STREAMS} streams each, all of them always in use.

The message is a `CheckRequest` as Envoy sends it (`bench/capture.py` recorded it), with 17 headers and a Cognito-like token. The empty server (`benches/empty_server.rs`) is tonic with envoy-types and all defaults: it decodes the message, decides nothing and allows. Claimgate checks a required scope, sets five identity headers and writes metadata.
"""


@dataclass(frozen=True)
class Bar:
    """A target."""

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


def bars(measured: Measured) -> list[Bar]:
    """Those of the sections that ran."""
    found: list[Bar] = []

    def bar(what: str, value: float, *, least=None, most=None, unit="") -> None:
        limit = most if least is None else least
        found.append(Bar(what, value, limit, least is not None, unit))

    if grpc := measured.grpc:
        for kind in (grpc_alone.KNOWN, grpc_alone.KEY):
            pair = grpc.pair(kind)
            bar(f"CPU per check, {kind}, against the empty server", pair.cpu_ratio.median, most=0.5)
            bar(f"checks/s, {kind}, same pair", pair.rate_ratio.median, least=2.0)
    if engine := measured.engine:
        bar("verifications/s, ever-new RS256 tokens, engine against aws-lc-rs alone",
            engine.verify_ratio.median, least=0.85)
    if envoy := measured.envoy:
        bar("requests/s through Envoy, Claimgate against the empty server",
            envoy.rate_ratio.median, least=1.0)
        bar("added p99 through Envoy, same pair", envoy.added_p99_ratio.median, most=1.05)
    if module := measured.module:
        for ours, theirs, least in inside_envoy.BARS:
            ratio = module.rate_ratio(ours, theirs).median
            bar(f"requests/s through Envoy, {ours}, against {theirs}", ratio, least=least)
        bar("added p50 at one connection, module, all metadata",
            statistics.median(module.added_p50), most=8, unit="µs")
        alone = module.megabytes[inside_envoy.NONE]
        bar("resident memory, module over Envoy alone",
            module.megabytes[inside_envoy.MODULE] - alone, most=15, unit="MB")
        bar("resident memory, module with its token cache full over Envoy alone",
            module.full_cache_megabytes - alone, most=90, unit="MB")
    if grown := measured.growth:
        most = measured.effort.tokens
        for what, size, base, least in (
            (growth.TOKENS, most, 1_000, 0.85),
            (growth.KEYS, 10_000, 10, 0.9),
            (growth.ISSUERS, 1_000, 1, 0.9),
            (growth.ROUTES, 1_000, 10, 0.9),
        ):
            ratio = grown.family(what).ratio(size, base).median
            bar(f"checks/s, {size:,} {what} against {base:,}", ratio, least=least)
    if engine := measured.engine:
        for tokens in engine.threads:
            ratio = engine.threads_ratio(tokens).median
            bar(f"engine hit path, two threads against one, {tokens}", ratio, least=1.8)
        allocations = sum(engine.allocations["known token"].values())
        bar("heap allocations in decode + decide + encode, known token",
            allocations, most=4, unit="allocations")
    if grown := measured.growth:
        bar("resident memory, idle", grown.idle_megabytes, most=20, unit="MB")
        level = grown.family(growth.TOKENS).levels[-1]
        bar(f"resident memory, {level.size:,} known tokens", level.megabytes, most=300, unit="MB")
    for pair in measured.observing or []:
        bar(f"checks/s, {pair.kind}, {pair.what} against nothing", pair.rate_ratio.median, least=0.95)
    return found


def _bars(measured: Measured) -> str:
    rows = [bar.row() for bar in bars(measured)]
    return _section("What it must show", _table(["measure", "bar", "measured", ""], rows))


def _grpc(results: grpc_alone.Results) -> str:
    rows = []
    for pair in results.pairs:
        rows.append([
            pair.kind,
            f"{rig.median(pair.ours, lambda s: s.rate):,.0f}",
            f"{rig.median(pair.empty, lambda s: s.rate):,.0f}",
            str(pair.rate_ratio),
            f"{rig.median(pair.ours, lambda s: s.cpu):.2f}",
            f"{rig.median(pair.empty, lambda s: s.cpu):.2f}",
            str(pair.cpu_ratio),
            _busy(pair.ours),
            _busy(pair.empty),
        ])
    table = _table(
        ["check", "checks/s", "empty", "ratio", "CPU µs", "empty", "ratio", "busy: server, load", "empty"],
        rows,
    )
    return _section(
        "gRPC alone",
        f"The message has {results.message_bytes:,} bytes, {results.token_bytes:,} of them the "
        "token. Checks that repeat come from h2load; ever-new tokens from `benches/load.rs`, "
        f"which cycles through {grpc_alone.EVER_NEW:,} while {grpc_alone.CACHED} are "
        "cached; Claimgate's own metrics confirm that each was verified again. A denial "
        "includes its log line. “Busy” is how much of their cores the server and the load "
        "used: where the load's is at 100 %, the server could have answered more.\n\n" + table,
    )


def _busy(samples: list[rig.Sample]) -> str:
    server = rig.median(samples, lambda sample: sample.server_cpu / sample.seconds)
    source = rig.median(samples, lambda sample: sample.load_cpu / sample.seconds)
    return f"{server:.0%}, {source:.0%}"


def _envoy(results: through_envoy.Results) -> str:
    rows = []
    for name, samples in results.samples.items():
        rows.append([
            name,
            f"{rig.median(samples, lambda s: s.rate):,.0f}",
            f"{rig.median(samples, lambda s: s.p50) / 1000:.2f}",
            f"{rig.median(samples, lambda s: s.p99) / 1000:.2f}",
            f"{rig.median(samples, lambda s: s.per_100_000(s.envoy_cpu)):.2f}",
            f"{rig.median(samples, lambda s: s.per_100_000(s.service_cpu)):.2f}"
            if any(sample.service_cpu for sample in samples)
            else "",
        ])
    table = _table(
        ["set-up", "requests/s", "p50 ms", "p99 ms", "Envoy CPU s", "service CPU s"], rows
    )
    return _section(
        "Through Envoy",
        f"Envoy {results.envoy_version}, with one worker thread, and the service share core "
        f"{rig.SERVER_CORE}, as a proxy and its sidecar do; wrk, with {through_envoy.CONNECTIONS} "
        f"connections, has core {rig.LOAD_CORE} and does not fill it. So requests/s show the "
        "total cost of a request. Every request has the same known token; Envoy answers it itself "
        "with an empty 200, so nothing but authorization differs. The empty server sets no "
        "header and no metadata, so Envoy has less to do with its answers than with Claimgate's. "
        "CPU is in seconds per 100,000 requests. “Added” p99 is the difference to the "
        "p99 without authorization in the same repetition.\n\n"
        f"{table}\n"
        f"Claimgate against the empty server: requests/s {results.rate_ratio}, "
        f"added p99 {results.added_p99_ratio}.\n",
    )


def _module(results: inside_envoy.Results) -> str:
    rows = []
    for name, samples in results.samples.items():
        against = inside_envoy.NONE
        rows.append([
            name,
            f"{rig.median(samples, lambda s: s.rate):,.0f}",
            str(results.rate_ratio(name, against)) if name != against else "",
            f"{rig.median(samples, inside_envoy.cpu):.2f}",
            str(results.cpu_ratio(name, against)) if name != against else "",
            f"{results.megabytes[name]:.0f}",
        ])
    table = _table(
        ["set-up", "requests/s", "ratio", "CPU s", "ratio", "Envoy's resident MB"], rows
    )
    pairs = _table(
        ["one against the other", "requests/s", "CPU"],
        [
            [f"{ours} against {theirs}", str(results.rate_ratio(ours, theirs)),
             str(results.cpu_ratio(ours, theirs))]
            for ours, theirs, _ in inside_envoy.BARS
            if theirs != inside_envoy.NONE
        ],
    )
    alone = {
        name: f"{rig.median(samples, lambda s: s.p50):.0f}"
        for name, samples in results.alone.items()
    }
    return _section(
        "Inside Envoy",
        f"The module in Envoy {results.envoy_version}, next to Envoy's own verification and to "
        "the service; cores and load as above, and Envoy answers by itself again. The module "
        "requires a scope and sets five identity headers, `jwt_authn` sets three. CPU is in "
        "seconds per 100,000 requests, of Envoy and the service together; ratios are those to "
        f"no authorization. Of the ever-new tokens the module remembers {inside_envoy.REMEMBERED}.\n\n"
        f"{table}\n{pairs}\n"
        f"At one connection the p50 is {alone[inside_envoy.NONE]} µs without authorization and "
        f"{alone[inside_envoy.MODULE]} µs with the module, all metadata. With "
        f"{inside_envoy.FULL_CACHE:,} tokens remembered, as many as there may be by default, Envoy "
        f"has {results.full_cache_megabytes:.0f} MB.\n",
    )


def _growth(results: growth.Results) -> str:
    rows = []
    for family in results.families:
        base = family.levels[0]
        for level in family.levels:
            rows.append([
                f"{level.size:,} {family.what}",
                f"{rig.median(level.samples, lambda s: s.rate):,.0f}",
                str(family.ratio(level.size, base.size)) if level is not base else "",
                f"{rig.median(level.samples, lambda s: s.cpu):.2f}",
                _busy(level.samples),
                f"{level.megabytes:.0f}",
            ])
    table = _table(
        ["", "checks/s", "against the least", "CPU µs", "busy: server, load", "resident MB"], rows
    )
    return _section(
        "Growth",
        "Load comes from `benches/load.rs`, which sends each known token in turn. The request "
        "is for the last route, the token of the last issuer. Memory is VmRSS after the load "
        f"(10^6 bytes); before any, with one issuer, it is {results.idle_megabytes:.0f} MB.\n\n"
        + table,
    )


def _engine(results: engine_pairs.Results) -> str:
    verify = _table(
        ["ever-new RS256 tokens, one core", "per second"],
        [
            ["engine", f"{rig.median(results.engine, float):,.0f}"],
            ["aws-lc-rs with a parsed key", f"{rig.median(results.aws_lc_rs, float):,.0f}"],
            ["ratio", str(results.verify_ratio)],
        ],
    )
    threads = _table(
        ["known tokens", "one thread, per second", "two threads", "ratio"],
        [
            [
                tokens,
                f"{rig.median(rates['one thread'], float):,.0f}",
                f"{rig.median(rates['two threads'], float):,.0f}",
                str(results.threads_ratio(tokens)),
            ]
            for tokens, rates in results.threads.items()
        ],
    )
    steps = ("decode", "decide", "encode")
    allocations = _table(
        ["heap allocations", *steps, "sum"],
        [
            [kind, *(str(counts[step]) for step in steps), str(sum(counts.values()))]
            for kind, counts in results.allocations.items()
        ],
    )
    return _section(
        "The engine alone",
        "Within one process (`benches/pairs.rs`, `benches/allocations.rs`), from the request's "
        "headers to the headers for the upstream. Two threads decide on one token each.\n\n"
        f"{verify}\n{threads}\n{allocations}",
    )


def _observing(pairs: list[observing.Pair]) -> str:
    rows = [
        [
            pair.kind,
            pair.what,
            f"{rig.median(pair.on, lambda s: s.rate):,.0f}",
            f"{rig.median(pair.off, lambda s: s.rate):,.0f}",
            str(pair.rate_ratio),
            f"{rig.median(pair.on, lambda s: s.cpu):.2f}",
            f"{rig.median(pair.off, lambda s: s.cpu):.2f}",
        ]
        for pair in pairs
    ]
    table = _table(
        ["check", "watched by", "checks/s", "not watched", "ratio", "CPU µs", "not watched"], rows
    )
    return _section(
        "Being watched",
        "The same checks with the status page on, where every denial is recorded, with traces "
        "on, and with neither. If all requests are sampled there are far more spans than an "
        "instance sends (tracing.md); here the exporter uses the same core. There are "
        f"{observing.PATIENCE} times as many repetitions as elsewhere.\n\n"
        + table,
    )


def _section(title: str, body: str) -> str:
    return f"## {title}\n\n{body}"


def _table(head: list[str], rows: Iterable[list[str]]) -> str:
    lines = [head, ["---", *("---:" for _ in head[1:])], *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _processor() -> str:
    info = Path("/proc/cpuinfo").read_text().splitlines()
    names = (line.split(":", 1)[1].strip() for line in info if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def _memory() -> str:
    total = Path("/proc/meminfo").read_text().split(None, 2)[1]
    return f"{int(total) * 1024 / 1e9:.0f} GB"


def _rustc() -> str:
    return _first_line(["rustc", "--version"])


def _commit() -> str:
    commit = _first_line(["git", "rev-parse", "--short", "HEAD"])
    dirty = _first_line(["git", "status", "--porcelain", "--untracked-files=no"])
    return f"{commit}, with changes" if dirty else commit


def _first_line(command: list[str]) -> str:
    done = subprocess.run(command, cwd=place.ROOT, stdout=subprocess.PIPE, text=True)
    return next(iter(done.stdout.splitlines()), "")
