"""docs/benchmarks.md: method, results, whether targets are met, and the peers.

All of it follows from results.json and peers.json.
"""

from __future__ import annotations

import peers
import pictures
from figures import Figure, count, number
from markdown import section, table
from record import Record
from targets import targets


def text(record: Record, peer_record: Record | None = None) -> str:
    """The whole page, as far as it was measured."""
    sections = [
        (_grpc, "grpc"),
        (_envoy, "envoy"),
        (_module, "module"),
        (_growth, "growth"),
        (_engine, "engine"),
        (_observing, "observing"),
        (_plans, "plans"),
    ]
    parts = [_introduction(record["run"]), _targets(record)]
    parts += [part(record[name]) for part, name in sections if name in record]
    if peer_record:
        parts.append(peers.text(peer_record))
    return "\n".join(parts)


def _introduction(run: Record) -> str:
    note = f"\n**Ranges.** {run['note']}\n" if "note" in run else ""
    return f"""\
# Benchmarks

`make bench` measured all of this but [the peers](#the-peers), on {run["date"]}. It keeps what it measures in [`bench/results.json`](../bench/results.json); this page and its charts are made from that file, and `make bench-page` makes them again without a run. `python3 bench/bench.py --quick` is a short run that writes nothing. Compare ratios within one run: absolute numbers are those of this machine on that day.

**Machine.** {run["processor"]}, {run["cores"]} cores, {run["memory_gb"]} GB of memory, Linux {run["linux"]}. {run["rustc"]}. Commit {run["commit"]}.

**Method.** Two programs that are compared take turns: each runs once per repetition, in an order that is reversed from one repetition to the next, after one run of each that does not count. There are {run["repetitions"]} repetitions of {run["seconds"]} s. A sample during which the host of this virtual machine kept more than {run["tolerated"]:.0%} of the cores' time to itself is repeated, up to {run["tries"]} times, whatever its result. Numbers are medians, with the least and the greatest of the repetitions in brackets; a ratio is the median of the ratios of the repetitions.
{note}
The server has core {run["server_core"]} to itself and the load comes from core {run["load_core"]}. CPU time is what the scheduler counts for all threads of the server (`/proc/PID/task/*/schedstat`), user and system, so it includes the server's share of the kernel's network stack. The load has {run["connections"]} HTTP/2 connections with {run["streams"]} streams each, all of them always in use.

The message is a `CheckRequest` as Envoy sends it (`bench/capture.py` recorded it), with 17 headers and a Cognito-like token. The empty server (`benches/empty_server.rs`) is tonic with envoy-types and all defaults: it decodes the message, decides nothing and allows. Claimgate checks a required scope, sets five identity headers and writes metadata.
"""


def _targets(record: Record) -> str:
    rows = [target.row() for target in targets(record)]
    return section("What it must show", table(["measure", "bar", "measured", "result"], rows))


def _grpc(results: Record) -> str:
    rows = []
    for kind, check in results["checks"].items():
        ours, empty = check["claimgate"], check["empty"]
        rows.append([
            kind,
            _cell(ours, "rate"),
            _cell(empty, "rate"),
            _cell(check, "rate_ratio", 2),
            _cell(ours, "cpu_us", 2),
            _cell(empty, "cpu_us", 2),
            _cell(check, "cpu_ratio", 2),
            _busy(ours),
            _busy(empty),
        ])
    head = [
        "check", "checks/s", "empty server", "ratio", "CPU µs", "CPU µs, empty", "CPU ratio",
        "busy: server, load", "busy, empty",
    ]
    return section(
        "gRPC alone",
        f"{_alone(results)}"
        f"The message has {results['message_bytes']:,} bytes, {results['token_bytes']:,} of them the "
        "token. Checks that repeat come from h2load; ever-new tokens from `benches/load.rs`, "
        f"which cycles through {results['ever_new']:,} while {results['cached']} are "
        "cached; Claimgate's own metrics confirm that each was verified again. A denial "
        "includes its log line. “Busy” is how much of their cores the server and the load "
        "used: where the load's is at 100 %, the server could have answered more.\n\n"
        f"{pictures.GRPC.markdown()}\n"
        "A bar is Claimgate's checks/s as a multiple of the empty server's, which is the dashed "
        "line:\n\n"
        "- *known RS256 token*: the signature was verified before, as for most requests.\n"
        "- *API key*: looked up by its hash.\n"
        "- *denial*: a known token without the scope, with its log line.\n"
        "- *ever-new tokens*: every signature is verified, which the empty server never does.\n\n"
        f"{table(head, rows)}",
    )


def _envoy(results: Record) -> str:
    rows = [
        [
            name,
            _cell(setup, "rate"),
            _cell(setup, "p50_ms", 2),
            _cell(setup, "p99_ms", 2),
            _cell(setup, "envoy_cpu_s", 2),
            _cell(setup, "service_cpu_s", 2),
        ]
        for name, setup in results["setups"].items()
    ]
    head = ["set-up", "requests/s", "p50 ms", "p99 ms", "Envoy CPU s", "service CPU s"]
    return section(
        "Through Envoy",
        f"{_alone(results)}"
        f"Envoy {results['envoy']}, with one worker thread, and the service share one core, as a "
        f"proxy and its sidecar do; wrk, with {results['connections']} connections, has the other "
        "core and does not fill it. So requests/s show the total cost of a request. Every request "
        "has the same known token; Envoy answers it itself with an empty 200, so nothing but "
        "authorization differs. CPU is in seconds per 100,000 requests. “Added” p99 is the "
        "difference to the p99 without authorization in the same repetition.\n\n"
        f"{pictures.ENVOY.markdown()}\n"
        "What each bar is for:\n\n"
        "- *no authorization*: Envoy answers at once. It is the most that this core can do.\n"
        "- *`jwt_authn`*: Envoy's own filter, which verifies the signature of every request.\n"
        "- *`jwt_authn`, its token cache on*: the same filter, which remembers tokens.\n"
        "- *`ext_authz`, empty server*: Envoy asks a server over gRPC that allows everything. It is "
        "what asking costs. This server sets no header and no metadata, so Envoy has less to do "
        "with its answers than with Claimgate's.\n"
        "- *`ext_authz`, Claimgate*: Envoy asks Claimgate, which decides.\n\n"
        f"{pictures.ENVOY_CPU.markdown()}\n"
        "The first part of a bar is Envoy's CPU time, the second the service's.\n\n"
        f"{table(head, rows)}\n"
        f"Claimgate against the empty server: requests/s {_cell(results, 'rate_ratio', 2)}, "
        f"added p99 {_cell(results, 'added_p99_ratio', 2)}.\n",
    )


def _module(results: Record) -> str:
    rows = [
        [
            name,
            _cell(setup, "rate"),
            _cell(setup, "rate_ratio", 2),
            _cell(setup, "cpu_s", 2),
            _cell(setup, "cpu_ratio", 2),
            _cell(setup, "megabytes"),
        ]
        for name, setup in results["setups"].items()
    ]
    head = ["set-up", "requests/s", "ratio", "CPU s", "CPU ratio", "Envoy's resident MB"]
    pairs = table(
        ["one against the other", "requests/s", "CPU"],
        [
            [f"{pair['ours']} against {pair['theirs']}", _cell(pair, "rate_ratio", 2), _cell(pair, "cpu_ratio", 2)]
            for pair in results["pairs"]
            if pair["theirs"] != "no authorization"
        ],
    )
    alone = results["p50_us_alone"]
    return section(
        "Inside Envoy",
        f"{_alone(results)}"
        f"The module in Envoy {results['envoy']}, next to Envoy's own verification and to "
        "the service; cores and load as above, and Envoy answers by itself again. The module "
        "requires a scope and sets five identity headers, `jwt_authn` sets three. CPU is in "
        "seconds per 100,000 requests, of Envoy and the service together; ratios are those to "
        f"no authorization. Of the ever-new tokens the module remembers {results['remembered']}.\n\n"
        f"{pictures.MODULE.markdown()}\n"
        "*No authorization* is the most that the core can do; the bars of the module show what it "
        "adds with all metadata, with some and with none, for an API key, on a public path, for a "
        "denial, and when every signature is verified; those of `jwt_authn` and `ext_authz` are "
        "what they are measured against.\n\n"
        f"{table(head, rows)}\n{pairs}\n"
        f"At one connection the p50 is {_cell(alone, 'none')} µs without authorization and "
        f"{_cell(alone, 'module')} µs with the module, all metadata. With "
        f"{results['full_cache']:,} tokens remembered, as many as there may be by default, Envoy "
        f"has {_cell(results['megabytes'], 'full_cache')} MB.\n",
    )


def _growth(results: Record) -> str:
    rows = [
        [
            count(int(size), what),
            _cell(level, "rate"),
            _cell(level, "ratio", 2),
            _cell(level, "cpu_us", 2),
            _busy(level),
            _cell(level, "megabytes"),
        ]
        for what, family in results["families"].items()
        for size, level in family["levels"].items()
    ]
    head = ["", "checks/s", "against the least", "CPU µs", "busy: server, load", "resident MB"]
    return section(
        "Growth",
        f"{_alone(results)}"
        "Load comes from `benches/load.rs`, which sends each known token in turn. The request "
        "is for the last route, the token of the last issuer. Memory is VmRSS after the load "
        f"(10^6 bytes); before any, with one issuer, it is {_cell(results, 'idle_megabytes')} MB.\n\n"
        f"{pictures.GROWTH.markdown()}\n"
        "A bar is checks/s with so many of one thing and few of all others: where those of one "
        "kind are equally long, the number does not matter.\n\n"
        f"{table(head, rows)}",
    )


def _engine(results: Record) -> str:
    verify = results["verify"]
    verified = table(
        ["ever-new RS256 tokens, one core", "per second"],
        [
            ["engine", _cell(verify, "engine")],
            ["aws-lc-rs with a parsed key", _cell(verify, "aws_lc_rs")],
            ["ratio", _cell(verify, "ratio", 2)],
        ],
    )
    threads = _threads("known tokens", results)
    steps = ("decode", "decide", "encode")
    allocations = table(
        ["heap allocations", *steps, "sum"],
        [
            [kind, *(str(counts[step]) for step in steps), str(sum(counts.values()))]
            for kind, counts in results["allocations"].items()
        ],
    )
    return section(
        "The engine alone",
        f"{_alone(results)}"
        "Within one process (`benches/pairs.rs`, `benches/allocations.rs`), from the request's "
        "headers to the headers for the upstream. Two threads decide on one token each.\n\n"
        f"{verified}\n{threads}\n{allocations}",
    )


def _observing(results: Record) -> str:
    rows = [
        [
            pair["check"],
            pair["by"],
            _cell(pair["on"], "rate"),
            _cell(pair["off"], "rate"),
            _cell(pair, "rate_ratio", 2),
            _cell(pair["on"], "cpu_us", 2),
            _cell(pair["off"], "cpu_us", 2),
        ]
        for pair in results["pairs"]
    ]
    head = ["check", "watched by", "checks/s", "not watched", "ratio", "CPU µs", "CPU µs, not watched"]
    return section(
        "Being watched",
        f"{_alone(results)}"
        "The same checks with the status page on, where every denial is recorded, with traces "
        "on, and with neither. If all requests are sampled there are far more spans than an "
        "instance sends ([tracing.md](tracing.md)); here the exporter uses the same core. There are "
        f"{results['patience']} times as many repetitions as elsewhere.\n\n"
        f"{table(head, rows)}",
    )


def _plans(results: Record) -> str:
    pairs = table(
        ["known tokens of", "checks/s with a limit", "without", "ratio", "CPU µs", "CPU µs, without"],
        [
            [
                count(pair["callers"], "callers"),
                _cell(pair["limited"], "rate"),
                _cell(pair["unlimited"], "rate"),
                _cell(pair, "rate_ratio", 2),
                _cell(pair["limited"], "cpu_us", 2),
                _cell(pair["unlimited"], "cpu_us", 2),
            ]
            for pair in results["pairs"]
        ],
    )
    threads = _threads("the engine alone, with a limit", results)
    return section(
        "A limit for each caller",
        f"{_alone(results)}"
        "The same checks with a [plan](plans.md) for every caller, counted by Claimgate, and "
        "without plans. All requests are within their limit, and as many callers as there are "
        "have a budget that is in use. There are "
        f"{results['patience']} times as many repetitions as elsewhere. Two threads decide on "
        "one caller's token each, or on the same one's.\n\n"
        f"{pairs}\n{threads}",
    )


def _threads(what: str, results: Record) -> str:
    return table(
        [what, "one thread, per second", "two threads", "ratio"],
        [
            [tokens, _cell(rates, "one"), _cell(rates, "two"), _cell(rates, "ratio", 2)]
            for tokens, rates in results["threads"].items()
        ],
    )


def _alone(results: Record) -> str:
    """When a section was measured that did not run with the others."""
    if when := results.get("alone"):
        return f"Measured by itself on {when['date']}. Commit {when['commit']}.\n\n"
    return ""


def _cell(numbers: Record, name: str, decimals: int = 0) -> str:
    """A number as a table shows it; empty if there is none."""
    return Figure.read(numbers[name]).text(decimals) if name in numbers else ""


def _busy(numbers: Record) -> str:
    return ", ".join(f"{number(share * 100)}%" for share in numbers["busy"])
