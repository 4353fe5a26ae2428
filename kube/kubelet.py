"""What a kubelet does with a Job's pod, as far as a test needs it: it puts the
files of ConfigMaps and Secrets from the API server where the container expects
them, runs the container's arguments with its variables, and reports the end.
There is no container engine: the program is the built one, and paths below
`/etc/claimgate` are in a folder of the test.
"""

from __future__ import annotations

import base64
import datetime
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tools
from cluster import Cluster


@dataclass
class Ended:
    """How the container ended."""

    status: int
    output: str


def run(cluster: Cluster, job: dict[str, Any], folder: Path) -> Ended:
    """Runs the only container of this Job's pod, and sets the Job's status."""
    namespace = job["metadata"]["namespace"]
    spec = job["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    volumes = {each["name"]: each for each in spec["volumes"]}
    mounts = {each["mountPath"]: each["name"] for each in container["volumeMounts"]}
    for path, name in mounts.items():
        inside = _inside(folder, path)
        inside.mkdir(parents=True)
        for file, content in _files(cluster, namespace, volumes[name]).items():
            for other in mounts:
                content = content.replace(f"{other}/", f"{_inside(folder, other)}/")
            (inside / file).write_text(content)
    arguments = [
        str(_inside(folder, each)) if each.startswith("/") else each for each in container["args"]
    ]
    environment = _environment(cluster, namespace, container)
    command = [tools.claimgate(), *arguments]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True)
    _report(cluster, job, ran.returncode == 0)
    return Ended(ran.returncode, ran.stdout + ran.stderr)


def _inside(folder: Path, path: str) -> Path:
    return folder / path.lstrip("/")


def _environment(cluster: Cluster, namespace: str, container: dict[str, Any]) -> dict[str, str]:
    variables = {}
    for source in container.get("envFrom", []):
        ((kind, named),) = source.items()
        variables |= _data(cluster, namespace, kind.removesuffix("Ref").lower(), named["name"])
    return variables | {each["name"]: each["value"] for each in container["env"]}


def _files(cluster: Cluster, namespace: str, volume: dict[str, Any]) -> dict[str, str]:
    for kind, name in (("configMap", "name"), ("secret", "secretName")):
        if source := volume.get(kind):
            data = _data(cluster, namespace, kind.lower(), source[name])
            items = source.get("items") or [{"key": key, "path": key} for key in data]
            return {each["path"]: data[each["key"]] for each in items}
    return {}


def _data(cluster: Cluster, namespace: str, kind: str, name: str) -> dict[str, str]:
    data = cluster.get(kind, name, "--namespace", namespace).get("data", {})
    if kind == "configmap":
        return data
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


def _report(cluster: Cluster, job: dict[str, Any], succeeded: bool) -> None:
    """The status that the Job controller would set: it names the end first, and
    states it once the pod is gone."""
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    reason = "CompletionsReached" if succeeded else "BackoffLimitExceeded"
    kinds = ("SuccessCriteriaMet", "Complete") if succeeded else ("FailureTarget", "Failed")
    conditions = [
        {"type": kind, "status": "True", "reason": reason, "lastTransitionTime": now}
        for kind in kinds
    ]
    count = {"succeeded": 1, "completionTime": now} if succeeded else {"failed": 1}
    status = {"startTime": now, "conditions": conditions, **count}
    where = ("--namespace", job["metadata"]["namespace"], "--subresource=status", "--type=merge")
    cluster.kubectl("patch", "job", job["metadata"]["name"], *where, "--patch", json.dumps({"status": status}))
