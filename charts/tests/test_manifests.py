"""The chart's objects match the definitions of Kubernetes, Istio, Envoy Gateway
and the operators."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import go_tools
import pytest
import schemas
import yaml

import chart
from chart import CHART, EXAMPLES, Rendered


@pytest.mark.parametrize("values", EXAMPLES, ids=lambda file: file.stem)
def test_lint_finds_nothing(values):
    ran = chart.helm("lint", "--strict", CHART, "--values", values)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("version", schemas.KUBERNETES)
def test_manifests_are_valid(everything: Rendered, version: str):
    """Strictly: unknown fields and unknown kinds are errors."""
    command = [go_tools.program("kubeconform"), "-strict", "-summary", "-kubernetes-version", version]
    for location in (schemas.kubernetes(version), schemas.custom_resources()):
        command += ["-schema-location", location]
    ran = subprocess.run([*command, "-"], input=everything.text, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"Valid: {len(everything.objects)}," in ran.stdout, ran.stdout


def test_unknown_fields_and_kinds_are_found():
    """The test above can fail."""
    good = chart.rendered().text
    for version in schemas.KUBERNETES:
        locations = (schemas.kubernetes(version), schemas.custom_resources())
        options = [option for location in locations for option in ("-schema-location", location)]
        command = [go_tools.program("kubeconform"), "-strict", "-kubernetes-version", version, *options]
        for bad in (
            good.replace("enableServiceLinks:", "enableServiceLink:"),
            good.replace("kind: Deployment", "kind: Deploymint"),
            good.replace("containerPort: 9001", "containerPort: grpc"),
        ):
            assert bad != good
            ran = subprocess.run([*command, "-"], input=bad, capture_output=True, text=True)
            assert ran.returncode != 0, ran.stdout


def test_the_examples_make_every_kind():
    """The tests of the examples render every template."""
    templates = " ".join(file.read_text() for file in (CHART / "templates").glob("*.yaml"))
    kinds = {line.split()[1] for line in templates.splitlines() if line.startswith("kind: ")}
    renderings = [*map(chart.rendered, EXAMPLES), chart.rendered(None, *chart.HOOK)]
    made = {found["kind"] for rendering in renderings for found in rendering.objects}
    assert kinds <= made


EVERYTHING = CHART / "examples" / "everything.yaml"

SHARED = (
    "automountServiceAccountToken enableServiceLinks hostUsers imagePullSecrets securityContext priorityClassName "
    "runtimeClassName schedulerName dnsPolicy dnsConfig hostAliases nodeSelector tolerations initContainers"
).split()
"""What holds for each pod of the chart: those of hooks load the file as the service does."""


def _pods(rendering: Rendered) -> dict[str, dict]:
    """The specifications of the pods, by the kind of what makes them."""
    templates = {
        each["kind"]: each["spec"]["template"]["spec"]
        for each in rendering.objects
        if each["kind"] in ("Deployment", "Job")
    }
    return templates | {"Pod": rendering.one("Pod", "claimgate-test")["spec"]}


def test_every_pod_has_the_settings_of_the_service():
    pods = _pods(chart.rendered(EVERYTHING, *chart.HOOK))
    service = {name: pods["Deployment"].get(name) for name in SHARED}
    assert None not in service.values(), service
    assert len(pods) == 3
    for kind, pod in pods.items():
        assert {name: pod.get(name) for name in SHARED} == service, kind
        own = [each["image"] for each in pod["containers"] if each["name"] != "custom-provider"]
        assert all(image.startswith("mirror.example.com/") for image in own), kind


def test_a_hooks_pod_may_run_beside_the_services(tmp_path: Path):
    """So of the affinity only what it says of nodes holds for it."""
    here = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {}}
    term = {"matchExpressions": [{"key": "pool", "operator": "In", "values": ["gateway"]}]}
    of_nodes = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    apart = {"requiredDuringSchedulingIgnoredDuringExecution": [here]}
    values = tmp_path / "values.yaml"
    values.write_text(yaml.safe_dump({"affinity": {"nodeAffinity": of_nodes, "podAntiAffinity": apart}}))
    pods = _pods(chart.rendered(values, *chart.HOOK))
    assert pods["Deployment"]["affinity"]["podAntiAffinity"] == apart
    for kind in ("Pod", "Job"):
        assert pods[kind]["affinity"] == {"nodeAffinity": of_nodes}


def test_the_check_needs_no_serviceaccount_that_the_upgrade_makes():
    """Without a cluster to ask, the namespace's own; an existing one as it is."""
    account = _pods(chart.rendered(None, *chart.HOOK))["Job"]["serviceAccountName"]
    assert account == "default"
    existing = ("--set", "serviceAccount.create=false,serviceAccount.name=own")
    assert _pods(chart.rendered(None, *chart.HOOK, *existing))["Job"]["serviceAccountName"] == "own"


@pytest.mark.parametrize("values", EXAMPLES, ids=lambda file: file.stem)
def test_names_follow_the_overrides(values: Path):
    """In another namespace than the release's, and with another domain."""
    options = ["--set", "namespaceOverride=elsewhere,clusterDomain=k8s.corp"]
    if values in chart.SERVICES:
        options += chart.HOOK
    rendering = chart.rendered(values, *options)
    own = "claimgate-more", "claimgate-text"
    for each in rendering.objects:
        if each["metadata"]["name"] not in own:
            assert each["metadata"]["namespace"] != chart.NAMESPACE
    assert f".{chart.NAMESPACE}." not in rendering.text
    assert not re.findall(r"claimgate\S*\.svc\.(?!k8s\.corp)\S+", rendering.text)


def test_secrets_are_never_made(example: Rendered):
    assert not [found for found in example.objects if found["kind"] == "Secret"]


def test_the_templates_own_tests_pass():
    ran = subprocess.run(
        [go_tools.program("helm-unittest"), "--strict", "--color=false", CHART],
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
