"""The section about other authorization services, from peers.json."""

from __future__ import annotations

import pictures
from figures import number
from markdown import section, table
from record import Record

EMPTY = "empty server"


def text(record: Record) -> str:
    """The section."""
    method, commits = record["method"], record["commits"]
    built = ", ".join(
        f"{name} {at['commit']}" + (f" ({at['of']})" if "of" in at else "")
        for name, at in commits.items()
    )
    parts = [
        f"""\
`make bench` does not measure these: the peers are in no package registry. They were built by hand from their public repositories and measured on the days named below, so this part changes only when that is done again. The numbers are in [`bench/peers.json`](../bench/peers.json).

**Versions.** {built}.

**Method.** A virtual machine with two cores on a shared host. h2load has core 0; each service runs alone on core 1, the programs in Go with `GOMAXPROCS=1`. {method["repetitions"]} repetitions of {method["seconds"]} s in random order; numbers are medians, ranges were not recorded. Every service gets the same `CheckRequest` of about {number(method["message_bytes"] / 1000, 1)} kB with {method["headers"]} headers over gRPC without TLS, checks the signature of its RS256 token of {number(method["token_bytes"] / 1000, 1)} kB, issuer, audience and one scope, and sets five identity headers. Token caches are as each program has them by default. Authorino ran with a real kube-apiserver.

The *empty server* is the same tonic with envoy-types as above: it decodes the message and allows. *Borrowing*, it runs on one thread and only walks over the bytes, which is about what gRPC alone costs. The last column is checks/s as a multiple of the empty server's **in the same run**: compare that between runs, and nothing else.
"""
    ]
    parts.append(pictures.PEERS.markdown())
    parts.append(
        "A bar is the last column of the first table below, or of the run that is named beside it: "
        "how many checks a service does in the time in which the empty server, the dashed line, does one.\n"
    )
    for run in record["runs"]:
        for load, services in run["loads"].items():
            parts.append(f"### {run['date']}: {load}\n")
            parts.append(_table(services))
    return section("The peers", "\n".join(parts))


def _table(services: Record) -> str:
    columns = {
        "rate": ("checks/s", 0),
        "cpu_us": ("CPU µs", 1),
        "p50_us": ("p50 µs", 0),
        "p99_us": ("p99 µs", 0),
        "megabytes": ("resident MB", 0),
    }
    columns = {
        name: column
        for name, column in columns.items()
        if any(name in numbers for numbers in services.values())
    }
    rows = []
    for name, numbers in services.items():
        cells = [number(numbers[key], digits) if key in numbers else "" for key, (_, digits) in columns.items()]
        rows.append([name, *cells])
    head = ["", *(title for title, _ in columns.values())]
    if "rate" in columns:
        head.append("× empty server")
        for row, times in zip(rows, multiples(services).values(), strict=True):
            row.append(number(times, 2))
    return table(head, rows)


def multiples(services: Record) -> dict[str, float]:
    """Checks/s of each service as multiples of the empty server's."""
    return {name: numbers["rate"] / services[EMPTY]["rate"] for name, numbers in services.items()}


def compared(record: Record) -> dict[str, tuple[float, str]]:
    """Each service once, by its newest run under full load: its multiple, and
    the day."""
    found: dict[str, tuple[float, str]] = {}
    for run in record["runs"]:
        services = run["loads"]["two connections, 50 streams each"]
        for name, times in multiples(services).items():
            found.setdefault(name, (times, run["date"]))
    return found
