"""What a run measured, as it is kept in results.json: the page and its charts
are made from that file alone, so they can be made again without a run.

A number is its median, or `[median, least, greatest]` of the repetitions.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
from datetime import date
from pathlib import Path
from typing import Any

import engine_pairs
import growth
import grpc_alone
import inside_envoy
import load
import observing
import place
import plans
import rig
import through_envoy
from figures import Figure
from settings import Effort

Record = dict[str, Any]


def of_run(effort: Effort, sections: Record) -> Record:
    """The record of a run with these sections."""
    return {"run": _run(effort), **sections}


def load_file(file: Path = place.RESULTS) -> Record:
    return json.loads(file.read_text())


def save(record: Record, file: Path = place.RESULTS) -> None:
    file.write_text(_json(record) + "\n")


def merged(old: Record, new: Record) -> Record:
    """`old` with the sections of `new`, each with the time of its own run."""
    when = {key: new["run"][key] for key in ("date", "commit")}
    sections = {name: {"alone": when, **section} for name, section in new.items() if name != "run"}
    return {**old, **sections}


def _run(effort: Effort) -> Record:
    return {
        "date": str(date.today()),
        "commit": _commit(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": _memory_gb(),
        "linux": platform.release(),
        "rustc": _first_line(["rustc", "--version"]),
        "repetitions": effort.repetitions,
        "seconds": effort.seconds,
        "tolerated": rig.TOLERATED,
        "tries": rig.TRIES,
        "server_core": rig.SERVER_CORE,
        "load_core": rig.LOAD_CORE,
        "connections": load.CONNECTIONS,
        "streams": load.STREAMS,
    }


def grpc(results: grpc_alone.Results) -> Record:
    def side(samples: list[rig.Sample]) -> Record:
        return {
            "rate": Figure.of(samples, lambda sample: sample.rate).kept(),
            "cpu_us": Figure.of(samples, lambda sample: sample.cpu).kept(),
            "busy": _busy(samples),
        }

    return {
        "message_bytes": results.message_bytes,
        "token_bytes": results.token_bytes,
        "ever_new": grpc_alone.EVER_NEW,
        "cached": grpc_alone.CACHED,
        "checks": {
            pair.kind: {
                "claimgate": side(pair.ours),
                "empty": side(pair.empty),
                "rate_ratio": Figure.of(pair.rate_ratio.values).kept(),
                "cpu_ratio": Figure.of(pair.cpu_ratio.values).kept(),
            }
            for pair in results.pairs
        },
    }


def envoy(results: through_envoy.Results) -> Record:
    return {
        "envoy": results.envoy_version,
        "connections": through_envoy.CONNECTIONS,
        "setups": {name: _setup(samples) for name, samples in results.samples.items()},
        "rate_ratio": Figure.of(results.rate_ratio.values).kept(),
        "added_p99_ratio": Figure.of(results.added_p99_ratio.values).kept(),
    }


def _setup(samples: list[through_envoy.Sample]) -> Record:
    setup = {
        "rate": Figure.of(samples, lambda sample: sample.rate).kept(),
        "p50_ms": Figure.of(samples, lambda sample: sample.p50 / 1000).kept(),
        "p99_ms": Figure.of(samples, lambda sample: sample.p99 / 1000).kept(),
        "envoy_cpu_s": Figure.of(samples, lambda s: s.per_100_000(s.envoy_cpu)).kept(),
    }
    if any(sample.service_cpu for sample in samples):
        setup["service_cpu_s"] = Figure.of(samples, lambda s: s.per_100_000(s.service_cpu)).kept()
    return setup


def module(results: inside_envoy.Results) -> Record:
    def pair(ours: str, theirs: str) -> Record:
        return {
            "rate_ratio": Figure.of(results.rate_ratio(ours, theirs).values).kept(),
            "cpu_ratio": Figure.of(results.cpu_ratio(ours, theirs).values).kept(),
        }

    none = inside_envoy.NONE
    return {
        "envoy": results.envoy_version,
        "remembered": inside_envoy.REMEMBERED,
        "full_cache": inside_envoy.FULL_CACHE,
        "setups": {
            name: {
                "rate": Figure.of(samples, lambda sample: sample.rate).kept(),
                "cpu_s": Figure.of(samples, inside_envoy.cpu).kept(),
                "megabytes": Figure(results.megabytes[name]).kept(),
                **(pair(name, none) if name != none else {}),
            }
            for name, samples in results.samples.items()
        },
        "pairs": [
            {"ours": ours, "theirs": theirs, "least": least, **pair(ours, theirs)}
            for ours, theirs, least in inside_envoy.BARS
        ],
        "p50_us_alone": {
            "none": Figure.of(results.alone[none], lambda sample: sample.p50).kept(),
            "module": Figure.of(results.alone[inside_envoy.MODULE], lambda s: s.p50).kept(),
            "added": Figure.of(results.added_p50).kept(),
        },
        "megabytes": {
            "none": Figure(results.megabytes[none]).kept(),
            "module": Figure(results.megabytes[inside_envoy.MODULE]).kept(),
            "full_cache": Figure(results.full_cache_megabytes).kept(),
        },
    }


def grown(results: growth.Results) -> Record:
    families = {}
    for family in results.families:
        base = family.levels[0].size
        levels = {}
        for level in family.levels:
            levels[str(level.size)] = {
                "rate": Figure.of(level.samples, lambda sample: sample.rate).kept(),
                "cpu_us": Figure.of(level.samples, lambda sample: sample.cpu).kept(),
                "busy": _busy(level.samples),
                "megabytes": Figure(level.megabytes).kept(),
            }
            if level.size != base:
                ratio = family.ratio(level.size, base)
                levels[str(level.size)]["ratio"] = Figure.of(ratio.values).kept()
        families[family.what] = {"levels": levels}
    bars = []
    most_tokens = results.family(growth.TOKENS).levels[-1].size
    for what, size, base, least in growth.bars(most_tokens):
        ratio = Figure.of(results.family(what).ratio(size, base).values).kept()
        bars.append({"what": what, "size": size, "base": base, "least": least, "ratio": ratio})
    return {
        "idle_megabytes": Figure(results.idle_megabytes).kept(),
        "families": families,
        "bars": bars,
    }


def engine(results: engine_pairs.Results) -> Record:
    return {
        "verify": {
            "engine": Figure.of(results.engine).kept(),
            "aws_lc_rs": Figure.of(results.aws_lc_rs).kept(),
            "ratio": Figure.of(results.verify_ratio.values).kept(),
        },
        "threads": _threads(results),
        "allocations": results.allocations,
    }


def limited(results: plans.Results) -> Record:
    return {
        "patience": plans.PATIENCE,
        "pairs": [
            {
                "callers": pair.callers,
                "limited": _side(pair.limited),
                "unlimited": _side(pair.unlimited),
                "rate_ratio": Figure.of(pair.rate_ratio.values).kept(),
            }
            for pair in results.pairs
        ],
        "threads": _threads(results),
    }


def _side(samples: list[rig.Sample]) -> Record:
    return {
        "rate": Figure.of(samples, lambda sample: sample.rate).kept(),
        "cpu_us": Figure.of(samples, lambda sample: sample.cpu).kept(),
    }


def _threads(results: engine_pairs.Results | plans.Results) -> Record:
    return {
        tokens: {
            "one": Figure.of(rates["one thread"]).kept(),
            "two": Figure.of(rates["two threads"]).kept(),
            "ratio": Figure.of(results.threads_ratio(tokens).values).kept(),
        }
        for tokens, rates in results.threads.items()
    }


def watched(pairs: list[observing.Pair]) -> Record:
    return {
        "patience": observing.PATIENCE,
        "pairs": [
            {
                "check": pair.kind,
                "by": pair.what,
                "on": _side(pair.on),
                "off": _side(pair.off),
                "rate_ratio": Figure.of(pair.rate_ratio.values).kept(),
            }
            for pair in pairs
        ],
    }


def _busy(samples: list[rig.Sample]) -> list[float]:
    """The shares of their cores that the server and the load used."""
    server = Figure.of(samples, lambda sample: sample.server_cpu / sample.seconds)
    source = Figure.of(samples, lambda sample: sample.load_cpu / sample.seconds)
    return [round(server.median, 4), round(source.median, 4)]


def _json(value: Any, indent: str = "") -> str:
    """JSON with one line for each object that holds no other."""
    if not any(_holds_object(part) for part in _parts(value)):
        return json.dumps(value, ensure_ascii=False)
    inner = indent + "  "
    if isinstance(value, dict):
        parts = [f"{_json(key)}: {_json(part, inner)}" for key, part in value.items()]
        return f"{{\n{inner}" + f",\n{inner}".join(parts) + f"\n{indent}}}"
    parts = [_json(part, inner) for part in value]
    return f"[\n{inner}" + f",\n{inner}".join(parts) + f"\n{indent}]"


def _holds_object(value: Any) -> bool:
    return isinstance(value, dict) or any(map(_holds_object, _parts(value)))


def _parts(value: Any) -> list:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _processor() -> str:
    info = Path("/proc/cpuinfo").read_text().splitlines()
    names = (line.split(":", 1)[1].strip() for line in info if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def _memory_gb() -> int:
    total = Path("/proc/meminfo").read_text().split(None, 2)[1]
    return round(int(total) * 1024 / 1e9)


def _commit() -> str:
    commit = _first_line(["git", "rev-parse", "--short", "HEAD"])
    dirty = _first_line(["git", "status", "--porcelain", "--untracked-files=no"])
    return f"{commit}, with changes" if dirty else commit


def _first_line(command: list[str]) -> str:
    done = subprocess.run(command, cwd=place.ROOT, stdout=subprocess.PIPE, text=True)
    return next(iter(done.stdout.splitlines()), "")
