"""The chart's objects match the definitions of Kubernetes, Istio, Envoy Gateway
and the operators."""

from __future__ import annotations

import subprocess

import go_tools
import pytest
import schemas

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


def test_secrets_are_never_made(example: Rendered):
    assert not [found for found in example.objects if found["kind"] == "Secret"]


def test_the_templates_own_tests_pass():
    ran = subprocess.run(
        [go_tools.program("helm-unittest"), "--strict", "--color=false", CHART],
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
