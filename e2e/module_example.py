"""The example of Claimgate inside Envoy (examples/envoy/module.yaml), started."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import doors
import tools
from stack import Envoy, Stack, free_port

EXAMPLE = tools.ROOT / "examples" / "envoy" / "module.yaml"
ADMIN, LISTENER, GATEWAY = 9901, 8080, 8787
CONFIG = "/etc/claimgate/gateway.yaml"
"""Where the example has Claimgate's."""


@dataclass
class Inside:
    """The running Envoy, and the file that it decides by."""

    envoy: Envoy
    config: Path


def text(config: Path, ports: dict[int, int]) -> str:
    """The example with this config file of Claimgate's and these ports."""
    replaced = {CONFIG: str(config)}
    replaced |= {f"port_value: {old}}}": f"port_value: {new}}}" for old, new in ports.items()}
    found = EXAMPLE.read_text()
    for old, new in replaced.items():
        assert old in found, f"the example has no {old!r}"
        found = found.replace(old, new)
    return found


def start(
    stack: Stack, config: str, *, version: str = "pinned", log_level: str = "info", **environment: str
) -> Inside:
    """Starts an upstream, and an Envoy with this configuration of Claimgate."""
    upstream = stack.upstream()
    file = stack.config_file("gateway", config, environment)
    ports = {ADMIN: free_port(), LISTENER: free_port(), GATEWAY: int(upstream.rsplit(":", 1)[1])}
    program = tools.module_envoys()[version]
    environment = {**doors.environment(), **environment}
    envoy = stack.envoy(text(file, ports), program=program, log_level=log_level, **environment)
    return Inside(envoy, file)
