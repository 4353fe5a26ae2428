"""The examples of limits that Envoy counts (examples/envoy/plans.yaml and
plans-local.yaml), started with envoyproxy/ratelimit and redis."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import yaml

import tools
import web
from envoy_config import PATIENCE
from stack import Claimgate, Envoy, Program, Stack, free_port

sys.path.append(str(tools.ROOT / "kube"))
import go_tools  # noqa: E402

FOLDER = tools.ROOT / "examples" / "envoy"
SHARED, LOCAL = FOLDER / "plans.yaml", FOLDER / "plans-local.yaml"
PORTS = {"admin": 9901, "listener": 8080, "gateway": 8787, "claimgate": 9001, "ratelimit": 8081}
"""The examples' own."""

LIMITS = ("timeout: 0.2s", "timeout: 0.1s", "max_interval: 0.1s", "max_interval: 0.2s",
          "timeout: 0.5s")
"""How long the examples' Envoy waits for Claimgate and the service that counts;
see PATIENCE."""


VALUES = """
local values = {}
for _, key in ipairs(redis.call('KEYS', ARGV[1])) do
  values[#values + 1] = redis.call('GET', key)
end
return values
"""
"""What is stored under the names that fit a pattern."""


class Redis(Program):
    """A real redis that keeps nothing on disk."""

    address: str
    secured: Secured | None = None

    def counted(self, what: str, caller: str) -> list[int]:
        """How much of it was counted for the caller, in each window."""
        port = self.address.rsplit(":", 1)[1]
        client = [tools.debian_server("redis-cli", "redis-tools"), "-p", port]
        client += ["--tls", "--cacert", str(self.secured.ca)] if self.secured else []
        ran = subprocess.run(
            [*client, "--raw", "eval", VALUES, "0", f"claimgate_{what}_{caller}_*"],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, **({"REDISCLI_AUTH": PASSWORD} if self.secured else {})},
        )
        return [int(line) for line in ran.stdout.split()]


PASSWORD = "pass:word with $pecial characters"


class Secured:
    """The certificates of a redis that takes TLS and a password alone."""

    def __init__(self, folder: Path):
        files = folder / "redis-tls"
        tools.certificate(files, "127.0.0.1")
        self.ca, self.certificate, self.key = (files / name for name in ("ca.crt", "tls.crt", "tls.key"))

    def arguments(self, port: int) -> list[str | Path]:
        """Of redis-server."""
        return ["--port", "0", "--tls-port", str(port), "--tls-auth-clients", "no",
                "--tls-cert-file", self.certificate, "--tls-key-file", self.key,
                "--tls-ca-cert-file", self.ca, "--requirepass", PASSWORD]

    def settings(self) -> dict[str, str]:
        """Of the service, as docs/plans.md has them."""
        return {"REDIS_TLS": "true", "REDIS_TLS_CACERT": str(self.ca), "REDIS_AUTH": f"default:{PASSWORD}"}


def redis(stack: Stack, secured: Secured | None = None) -> Redis:
    port = free_port()
    listens = secured.arguments(port) if secured else ["--port", str(port)]
    command = [tools.debian_server("redis-server"), *listens, "--bind", "127.0.0.1"]
    program = stack.start(Redis, "redis", [*command, "--save", "", "--dir", stack.folder])
    program.address, program.secured = f"127.0.0.1:{port}", secured
    # Without it the service would not start.
    program.wait_ready(lambda: socket.create_connection(("127.0.0.1", port)).close() is None)
    return program


class RateLimit(Program):
    """The real envoyproxy/ratelimit."""

    grpc: str
    http: str

    def healthy(self) -> bool:
        return web.get(self.http, "/healthcheck").status == 200


def ratelimit(stack: Stack, redis: str, more: dict[str, str] | None = None) -> RateLimit:
    """The service, with the example's settings but for its ports, and `more`."""
    file = (FOLDER / "ratelimit" / "ratelimit.env").read_text()
    settings = dict(re.findall(r"^(\w+)=(.*)$", file, re.M))
    ports = {name: str(free_port()) for name in ("GRPC_PORT", "PORT", "DEBUG_PORT")}
    settings |= {**ports, "REDIS_URL": redis, **(more or {})}
    program = stack.start(RateLimit, "ratelimit", [go_tools.program("ratelimit")], settings, FOLDER)
    program.grpc, program.http = f"127.0.0.1:{ports['GRPC_PORT']}", f"127.0.0.1:{ports['PORT']}"
    program.wait_ready(program.healthy)
    return program


def envoy(
    stack: Stack,
    example: Path,
    claimgate: Claimgate,
    gateway: str,
    ratelimit: str | None = None,
    changes: dict[str, str] | None = None,
) -> Envoy:
    """Envoy with the example, whose ports are replaced, and so is each limit for
    what it asks by one that no busy machine reaches. `changes` are further
    replacements in its text."""
    addresses = {"claimgate": claimgate.grpc, "gateway": gateway, "ratelimit": ratelimit}
    used = {
        port: addresses[name].rsplit(":", 1)[1] if addresses.get(name) else str(free_port())
        for name, port in PORTS.items()
    }
    text = example.read_text()
    text = re.sub(r"port_value: (\d+)", lambda port: f"port_value: {used[int(port[1])]}", text)
    patient = {limit: f"{limit.split()[0]} {PATIENCE}" for limit in LIMITS if limit in text}
    for old, new in (patient | (changes or {})).items():
        assert old in text, f"the example has no {old!r}"
        text = text.replace(old, new)
    # As what it says, so that the module's door finds its place.
    started = stack.envoy(yaml.safe_load(text))
    for name in ("claimgate", *(["ratelimit"] if ratelimit else [])):
        started.wait_ready(lambda name=name: started.stat(f"cluster.{name}.membership_healthy") == 1)
    return started
