"""Two sources of checks: h2load, and one that varies the token."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import programs
import rig
import wire
from rig import Sample
from stack import Claimgate, Program

CONNECTIONS, STREAMS = 2, 50
CALL = "/envoy.service.auth.v3.Authorization/Check"


class WrongAnswers(Exception):
    """The server did not do the work that was to be measured."""


def h2load(server: Program, address: str, body: Path, seconds: int) -> Sample:
    """The same check, repeated."""
    command = rig.pinned(
        rig.LOAD_CORE,
        *("h2load", "--clients", CONNECTIONS, "--max-concurrent-streams", STREAMS),
        *("--threads", 1, "--duration", seconds, "--data", body),
        *("--header", "content-type: application/grpc", "--header", "te: trailers"),
        f"http://{address}{CALL}",
    )
    before, load_before = rig.cpu_seconds(server), rig.children_cpu()
    text = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    server_cpu = rig.cpu_seconds(server) - before
    load_cpu = rig.children_cpu() - load_before
    # Its own rate leaves out connecting and the final wait for responses.
    finished = re.search(r"finished in [\d.]+\w+, ([\d.]+) req/s", text)
    counts = re.search(r"(\d+) done, (\d+) succeeded, (\d+) failed", text)
    if not finished or not counts or counts[1] != counts[2] or int(counts[2]) == 0:
        raise WrongAnswers(f"h2load against {server.name}:\n{text}")
    checks = int(counts[2])
    return Sample(checks, checks / float(finished[1]), server_cpu, load_cpu)


def varying(
    server: Program, address: str, message: Path, tokens: Path, limit: str
) -> Sample:
    """A check with each of the tokens in turn, all to be allowed; `limit` is
    a time such as `2s` or a number of checks."""
    before, load_before = rig.cpu_seconds(server), rig.children_cpu()
    command = ("load", address, message, tokens, limit)
    result = json.loads(programs.run(*command, core=rig.LOAD_CORE))
    server_cpu = rig.cpu_seconds(server) - before
    load_cpu = rig.children_cpu() - load_before
    if result["denied"] or not result["allowed"]:
        raise WrongAnswers(f"{server.name} was to allow everything: {result}")
    return Sample(result["allowed"], result["seconds"], server_cpu, load_cpu)


def counted(service: Claimgate, metric: str, run: Callable[[], Sample]) -> Sample:
    """The sample, if a metric of the service confirms that nearly every check
    in it was of the intended kind."""
    read = programs.metric(service, metric)
    before = read()
    sample = run()
    confirmed = read() - before
    if confirmed < 0.99 * sample.checks:
        raise WrongAnswers(f"{service.name}: {metric} grew by {confirmed} in {sample.checks} checks")
    return sample


def body(file: Path, authorization: str | None, path: str | None = None) -> Path:
    """A gRPC body for h2load."""
    file.write_bytes(wire.framed(wire.check_request(authorization, path)))
    return file


def message(file: Path, token: str, path: str | None = None) -> Path:
    """A message for `varying`."""
    file.write_bytes(wire.check_request(f"Bearer {token}", path))
    return file
