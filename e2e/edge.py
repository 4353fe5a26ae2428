"""The edge example (examples/envoy/), started with Claimgates and an upstream."""

from __future__ import annotations

import re
import shutil
import ssl
from dataclasses import dataclass
from pathlib import Path

import tools
import web
from envoy_config import PATIENCE
from stack import Claimgate, Envoy, Stack, free_port

EXAMPLE = tools.ROOT / "examples" / "envoy"
ADMIN, REDIRECT, HTTPS, GATEWAY = 9901, 8080, 8443, 8787
CLAIMGATES = (9001, 9011)
LIMITS = ("timeout: 0.2s", "max_interval: 0.2s", "connect_timeout: 0.1s", "timeout: 0.5s")
"""How long the example's Envoy waits for Claimgate; see PATIENCE."""


@dataclass
class Edge:
    """Envoy at the edge and the two Claimgates that it asks."""

    envoy: Envoy
    claimgates: list[Claimgate]
    folder: Path

    @property
    def https(self) -> str:
        return self.envoy.listeners()["https"]

    @property
    def redirect(self) -> str:
        return self.envoy.listeners()["redirect"]

    @property
    def authority(self) -> Path:
        """The trusted root."""
        return self.folder / "tls" / "ca.crt"

    def connect(self, source: str | None = None) -> web.Connection:
        """A connection to the HTTPS listener from this loopback address."""
        return web.Connection(
            self.https, tls=ssl.create_default_context(cafile=self.authority), source=source
        )

    def send(self, method: str, path: str, headers: web.Headers = (), *,
             body: bytes | None = None, source: str | None = None) -> web.Reply:
        """One exchange on a new connection."""
        connection = self.connect(source)
        try:
            return connection.send(method, path, headers, body)
        finally:
            connection.close()

    def get(self, path: str, headers: web.Headers = (), *, source: str | None = None) -> web.Reply:
        return self.send("GET", path, headers, source=source)


def start(
    stack: Stack,
    config: str,
    *,
    as_it_is: bool = False,
    changes: dict[str, str] | None = None,
    **environment: str,
) -> Edge:
    """Starts an upstream, two Claimgates with this configuration, and Envoy.

    `as_it_is` leaves the example alone; otherwise each port is replaced by a
    free one, and each limit for Claimgate's answer by one that no busy machine
    reaches. `changes` are further replacements in its text.
    """
    ports = (ADMIN, REDIRECT, HTTPS, GATEWAY, *CLAIMGATES)
    used = {port: port if as_it_is else free_port() for port in ports}
    folder = stack.folder / "edge"
    shutil.copytree(EXAMPLE, folder)
    tools.certificate(folder / "tls")
    text = re.sub(
        r"(port_value|port_redirect): (\d+)",
        lambda port: f"{port[1]}: {used[int(port[2])]}",
        (folder / "edge.yaml").read_text(),
    )
    patient = {} if as_it_is else {limit: f"{limit.split()[0]} {PATIENCE}" for limit in LIMITS}
    for old, new in (patient | (changes or {})).items():
        assert old in text, f"the example has no {old!r}"
        text = text.replace(old, new)
    stack.upstream(used[GATEWAY])
    claimgates = [
        stack.claimgate(config, grpc=used[port], **environment) for port in CLAIMGATES
    ]
    edge = Edge(stack.envoy(text, working_folder=folder), claimgates, folder)
    healthy = "cluster.claimgate.membership_healthy"
    web.wait_until(lambda: edge.envoy.stat(healthy) == 2, "two healthy Claimgates", seconds=30)
    return edge

