"""What the chart brings into Envoy's pods with `mode: module`, on this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import tools
from cluster import Cluster

CONFIG = "/etc/claimgate/config/gateway.yaml"
MODULE = "/etc/claimgate/module/libclaimgate_envoy.so"
"""Where the files are in a pod."""


def config_file(cluster: Cluster, namespace: str, folder: Path) -> Path:
    """What the ConfigMap in the namespace of Envoy's pods holds, as a file."""
    data = cluster.get("configmap", "claimgate", "--namespace", namespace)["data"]
    file = folder / "gateway.yaml"
    file.write_text(data["gateway.yaml"])
    return file


def here(value: Any, config: Path) -> Any:
    """The same with the paths of the pod made those of this machine."""
    text = json.dumps(value)
    for path, real in ((CONFIG, config), (MODULE, tools.envoy_module())):
        assert path in text, f"nothing names {path}"
        text = text.replace(path, str(real))
    return json.loads(text)


def mounted(pod: dict[str, Any], container: dict[str, Any]) -> dict[str, str]:
    """Where a container finds an image or a ConfigMap: the paths, and the names of these."""
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    found = {}
    for mount in container["volumeMounts"]:
        volume = volumes[mount["name"]]
        source = volume.get("image", {}).get("reference") or volume.get("configMap", {}).get("name")
        found[mount["mountPath"]] = source
    return found
