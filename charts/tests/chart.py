"""The chart as Helm renders it."""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path

import go_tools
import yaml

CHART = Path(__file__).resolve().parents[1] / "claimgate"
EXAMPLES = sorted((CHART / "examples").glob("*.yaml"))
MODULES = [file for file in EXAMPLES if file.stem.startswith("module-")]
"""Those with Claimgate inside Envoy; the others have pods."""
SERVICES = [file for file in EXAMPLES if file not in MODULES]
RELEASE = "claimgate"
NAMESPACE = "gateway"


class Rendered:
    """The objects of one rendering."""

    def __init__(self, text: str):
        self.text = text
        self.objects = [found for found in yaml.safe_load_all(text) if found]

    def one(self, kind: str, name: str = RELEASE) -> dict:
        """The object of this kind and name."""
        (found,) = (
            found
            for found in self.objects
            if (found["kind"], found["metadata"]["name"]) == (kind, name)
        )
        return found

    @property
    def container(self) -> dict:
        """Claimgate's container."""
        pod = self.one("Deployment")["spec"]["template"]["spec"]
        (found,) = (found for found in pod["containers"] if found["name"] == "claimgate")
        return found

    @property
    def gateway_yaml(self) -> str:
        """The configuration that the pods load."""
        return self.one("ConfigMap")["data"]["gateway.yaml"]


def helm(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs Helm without a cluster; the caller checks the result."""
    return subprocess.run(
        [go_tools.program("helm"), *arguments], capture_output=True, text=True
    )


def template(*options: str | Path) -> subprocess.CompletedProcess[str]:
    """The output of `helm template` with some options."""
    return helm("template", RELEASE, CHART, "--namespace", NAMESPACE, *options)


HOOK = ("--set", "preUpgradeCheck.enabled=true")
"""The one option that no example has: an upgrade would wait for its Job, on a
control plane without nodes forever."""


@functools.cache
def rendered(values: Path | None = None, *options: str) -> Rendered:
    """The chart's objects, with the values of a file."""
    ran = template(*(["--values", values] if values else []), *options)
    assert ran.returncode == 0, ran.stderr
    return Rendered(ran.stdout)


def refusal(values: Path) -> str:
    """Helm's error for values that it refuses, on one line."""
    ran = template("--values", values)
    assert ran.returncode != 0, "helm template accepts these values"
    return " ".join(ran.stderr.split())
