"""Requests through Envoy: the cost that authorization adds.

Envoy, with one worker thread, and the service share a core as a proxy and its
sidecar do, and wrk has the other, which it never fills. So the rate shows the
total cost of a request, in Envoy and in the service.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

import envoys
import load
import programs
import rig
import web
import wire
from rig import Ratio
from settings import Effort
from stack import Envoy, Program, Stack

ISSUER = "https://rs256.example.com"
CONNECTIONS = 32
SERVICE_CORE = rig.SERVER_CORE

NONE = "no authorization"
JWT_AUTHN, JWT_AUTHN_CACHED = "`jwt_authn`", "`jwt_authn`, its token cache on"
EMPTY, CLAIMGATE = "`ext_authz`, empty server", "`ext_authz`, Claimgate"


@dataclass(frozen=True)
class Sample:
    """One run of wrk."""

    requests: int
    seconds: float
    p50: float
    """Microseconds, as all times here."""
    p99: float
    envoy_cpu: float
    """Seconds, as the next one."""
    service_cpu: float

    @property
    def rate(self) -> float:
        return self.requests / self.seconds

    def per_100_000(self, cpu: float) -> float:
        """CPU seconds for so many requests."""
        return cpu / self.requests * 100_000


@dataclass(frozen=True)
class Results:
    samples: dict[str, list[Sample]]
    envoy_version: str

    @property
    def rate_ratio(self) -> Ratio:
        """Requests/s, Claimgate against the empty server."""
        return Ratio.of(self.samples[CLAIMGATE], self.samples[EMPTY], lambda sample: sample.rate)

    @property
    def added_p99_ratio(self) -> Ratio:
        """The p99 that each adds to that without authorization, as a ratio."""
        without = [sample.p99 for sample in self.samples[NONE]]
        added = {
            name: [sample.p99 - base for sample, base in zip(self.samples[name], without)]
            for name in (CLAIMGATE, EMPTY)
        }
        return Ratio.of(added[CLAIMGATE], added[EMPTY], lambda p99: p99)


def measure(effort: Effort) -> Results:
    with Stack() as stack:
        results = _measure(stack, effort)
    stack.discard()
    return results


def _measure(stack: Stack, effort: Effort) -> Results:
    minted = programs.mint(stack.folder / "rs256", "RS256", ISSUER, 1)
    empty, empty_address = programs.empty_server(stack, SERVICE_CORE)
    auth = programs.auth([programs.provider(ISSUER, minted.jwks)])
    claimgate = programs.claimgate(stack, "claimgate", auth, SERVICE_CORE)

    def envoy(name: str, filters: list[dict], authz: str | None = None) -> Envoy:
        return envoys.start(stack, name, filters, authz, rig.SERVER_CORE)

    plain = envoy("plain", [])
    setups: dict[str, tuple[Envoy, Program | None]] = {
        NONE: (plain, None),
        JWT_AUTHN: (
            envoy("jwt-authn", [envoys.jwt_authn(ISSUER, str(minted.jwks), cached=False)]),
            None,
        ),
        JWT_AUTHN_CACHED: (
            envoy("jwt-authn-cached", [envoys.jwt_authn(ISSUER, str(minted.jwks), cached=True)]),
            None,
        ),
        EMPTY: (envoy("to-empty", [envoys.ext_authz()], empty_address), empty),
        CLAIMGATE: (envoy("to-claimgate", [envoys.ext_authz()], claimgate.grpc), claimgate),
    }
    script = same_request(stack.folder / "request.lua", minted.first)

    def contender(name: str):
        return lambda: wrk(script, *setups[name], effort.seconds)

    def checked():
        metric = 'claimgate_checks_total{reason="ok"}'
        read = programs.metric(claimgate, metric)
        before = read()
        sample = contender(CLAIMGATE)()
        if read() - before < sample.requests:
            raise load.WrongAnswers("Envoy did not ask Claimgate about every request")
        return sample

    contenders = {name: contender(name) for name in setups} | {CLAIMGATE: checked}
    rig.take_turns(contenders, 1)  # warms all up
    samples = rig.take_turns(contenders, effort.repetitions)
    version = web.get(plain.admin, "/server_info").json()["version"].split("/")[1]
    results = Results(samples, version)
    effort.say(f"through Envoy: requests/s {results.rate_ratio}, added p99 {results.added_p99_ratio}")
    return results


def wrk(
    script: Path,
    envoy: Envoy,
    service: Program | None,
    seconds: int,
    connections: int = CONNECTIONS,
) -> Sample:
    """One run against an Envoy; an answer that the script does not expect ends
    it."""

    def cpu() -> tuple[float, float]:
        return rig.cpu_seconds(envoy), rig.cpu_seconds(service) if service else 0

    command = rig.pinned(
        rig.LOAD_CORE,
        *("wrk", "--threads", 1, "--connections", connections, "--duration", f"{seconds}s"),
        *("--script", script, f"http://{envoy.address}{path()}"),
    )
    before = cpu()
    text = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    envoy_cpu, service_cpu = (after - start for after, start in zip(cpu(), before))
    result = json.loads(text.splitlines()[-1])
    if result["errors"] or not result["requests"]:
        raise load.WrongAnswers(f"wrk against {envoy.name}: {text}")
    return Sample(
        result["requests"],
        result["microseconds"] / 1e6,
        result["p50"],
        result["p99"],
        envoy_cpu,
        service_cpu,
    )


def path() -> str:
    """What is asked for."""
    return wire.headers(wire.CAPTURED.read_bytes())[":path"]


def same_request(file: Path, token: str | None, status: int = 200) -> Path:
    """A script that sends one request again and again, and expects this
    status."""
    headers = envoys.CLIENT_HEADERS | ({"authorization": f"Bearer {token}"} if token else {})
    lines = [f'wrk.headers["{name}"] = "{value}"' for name, value in headers.items()]
    return _script(file, status, lines)


def varied_requests(file: Path, tokens: Path) -> Path:
    """A script that sends the tokens of a file, one after the other, again and
    again."""
    headers = [f'["{name}"] = "{value}"' for name, value in envoys.CLIENT_HEADERS.items()]
    lines = [
        f"local headers = {{{', '.join(headers)}}}",
        "local requests, next = {}, 0",
        "init = function()",
        f'  for token in io.lines("{tokens}") do',
        '    headers["authorization"] = "Bearer " .. token',
        "    requests[#requests + 1] = wrk.format(nil, nil, headers)",
        "  end",
        "end",
        "request = function()",
        "  next = next % #requests + 1",
        "  return requests[next]",
        "end",
    ]
    return _script(file, 200, lines)


def _script(file: Path, status: int, lines: list[str]) -> Path:
    """These lines, and what is printed at the end. wrk takes answers from 400
    up for errors."""
    wrong = "e.status" if status < 400 else "summary.requests - e.status"
    lines.append(
        f"""
        done = function(summary, latency, requests)
            local e = summary.errors
            io.write(string.format(
                '{{"requests": %d, "microseconds": %d, "p50": %d, "p99": %d, "errors": %d}}\\n',
                summary.requests, summary.duration,
                latency:percentile(50), latency:percentile(99),
                e.connect + e.read + e.write + e.timeout + {wrong}))
        end
        """
    )
    file.write_text("\n".join(lines))
    return file
