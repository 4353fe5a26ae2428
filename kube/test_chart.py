"""The chart on a real API server."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from cluster import Cluster, CommandFailed
from release import CHART

EXAMPLES = sorted((CHART / "examples").glob("*.yaml"))
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


def documents(text: str) -> list[dict]:
    """The objects of a manifest."""
    return [each for each in yaml.load_all(text, yaml.CSafeLoader) if each]


def make_what_it_expects(cluster: Cluster, objects: list[dict]) -> None:
    """Objects that the values name and the chart does not make: namespaces, and
    priority and runtime classes."""
    spaces = {each["metadata"].get("namespace") for each in objects} - {None}
    for name in sorted(spaces - cluster.names("namespaces")):
        cluster.namespace(name)
    pods = [each["spec"]["template"]["spec"] for each in objects if each["kind"] == "Deployment"]
    priorities = {pod.get("priorityClassName") for pod in pods} - {None}
    for name in sorted(priorities - cluster.names("priorityclasses")):
        cluster.kubectl("create", "priorityclass", name, "--value=1")
    runtimes = {pod.get("runtimeClassName") for pod in pods} - {None}
    for name in sorted(runtimes - cluster.names("runtimeclasses")):
        kind = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "handler": name}
        cluster.apply([{**kind, "metadata": {"name": name}}])


def pod_of(deployment: dict) -> dict:
    """The Pod that a controller would make from it."""
    template = deployment["spec"]["template"]
    metadata = {**template["metadata"], "name": "made-by-hand"}
    metadata["namespace"] = deployment["metadata"]["namespace"]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def test_there_are_examples():
    assert len(EXAMPLES) > 3


@pytest.mark.parametrize("values", EXAMPLES, ids=lambda file: file.stem)
def test_every_object_is_accepted(cluster: Cluster, values: Path):
    """With unknown and repeated fields refused, by the real definitions, and
    with the Pod of the template admitted under `restricted`."""
    namespace = cluster.namespace(f"accepted-{values.stem}", **RESTRICTED)
    options = ("--namespace", namespace, "--values", values)
    text = cluster.helm("template", "claimgate", CHART, *options)
    objects = documents(text)
    make_what_it_expects(cluster, objects)
    deployments = [each for each in objects if each["kind"] == "Deployment"]
    # With Claimgate inside Envoy the pods are of others.
    assert len(deployments) == (0 if values.stem.startswith("module-") else 1)
    pod = yaml.safe_dump_all([pod_of(each) for each in deployments])
    try:
        cluster.apply(text)
        if deployments:
            cluster.apply(pod)
    finally:
        everything = f"{text}\n---\n{pod}"
        cluster.kubectl("delete", "--ignore-not-found", "--filename", "-", stdin=everything)


def test_other_pods_are_not_admitted(cluster: Cluster):
    """The test above can fail."""
    namespace = cluster.namespace("strict", **RESTRICTED)
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "lax", "namespace": namespace},
        "spec": {"containers": [{"name": "lax", "image": "lax"}]},
    }
    with pytest.raises(CommandFailed, match='violates PodSecurity "restricted:latest"'):
        cluster.apply([pod])
    pod["spec"]["containers"][0]["colour"] = "red"
    with pytest.raises(CommandFailed, match="colour"):
        cluster.apply([pod])


def test_install_upgrade_rollback_uninstall(cluster: Cluster):
    everything = next(file for file in EXAMPLES if file.stem.startswith("every"))
    namespace = cluster.namespace("lifecycle", **RESTRICTED)
    here = ("--namespace", namespace)
    text = cluster.helm("template", "claimgate", CHART, *here, "--values", everything)
    make_what_it_expects(cluster, documents(text))
    before = cluster.everything()

    printed = cluster.helm("install", "claimgate", CHART, *here)
    assert "STATUS: deployed" in printed
    installed = cluster.everything() - before
    first = cluster.get("deployment", "claimgate", *here)

    cluster.helm("upgrade", "claimgate", CHART, *here, "--values", everything)
    released = [each for each in documents(text) if not _is_hook(each)]
    for each in released:
        each["metadata"].setdefault("namespace", namespace)
    manifest = yaml.safe_dump_all(released)
    cluster.kubectl("get", "--filename", "-", stdin=manifest)
    assert len(cluster.everything() - before) > len(installed)
    assert cluster.get("deployment", "claimgate", *here)["spec"] != first["spec"]

    cluster.helm("rollback", "claimgate", "1", *here)
    rolled_back = cluster.everything() - before
    assert _made_by_the_chart(rolled_back) == _made_by_the_chart(installed)
    assert cluster.get("deployment", "claimgate", *here)["spec"] == first["spec"]

    cluster.helm("uninstall", "claimgate", *here)
    assert cluster.everything() == before


def _is_hook(manifest: dict) -> bool:
    return "helm.sh/hook" in manifest["metadata"].get("annotations", {})


def _made_by_the_chart(objects: set[str]) -> set[str]:
    """Without the Secret that Helm keeps for each revision, and the second
    address that the API server leaves to a Service which once had two."""
    others = ("sh.helm.release", "/registry/ipaddresses/")
    return {each for each in objects if not any(other in each for other in others)}
