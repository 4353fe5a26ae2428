"""A release of the chart, with Claimgate run here instead of by a kubelet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

import go_tools
from cluster import Cluster
from stack import Claimgate, Stack
from tools import ROOT

CHART = ROOT / "charts" / "claimgate"

PUBLISHED = "oci://ghcr.io/claimgate/charts/claimgate"
"""The chart's address on the pages; the tests use the clone's."""


def installed_config(cluster: Cluster, namespace: str) -> dict[str, Any]:
    """The gateway.yaml that the release in this namespace gives its pods."""
    maps = cluster.get("configmaps", "--namespace", namespace)["items"]
    found = [each["data"]["gateway.yaml"] for each in maps if "gateway.yaml" in each.get("data", {})]
    assert len(found) == 1, f"{len(found)} config files in {namespace}"
    return yaml.safe_load(found[0])


def serve(stack: Stack, config: dict[str, Any], **options: Any) -> Claimgate:
    """Runs the service with this configuration, on ports that are free."""
    server = {
        **config.get("server", {}),
        "grpc": {"address": "127.0.0.1:${GRPC_PORT}"},
        "admin": {"address": "127.0.0.1:${ADMIN_PORT}"},
    }
    return stack.claimgate(yaml.safe_dump({**config, "server": server}), **options)


def programs(folder: Path, *names: str) -> Path:
    """A folder to put first into PATH, with these programs."""
    path = folder / "bin"
    path.mkdir(exist_ok=True)
    for name in names:
        (path / name).symlink_to(go_tools.program(name))
    return path
