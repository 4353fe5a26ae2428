"""The commands of docs/install.md that install the chart, and of docs/kubernetes.md
that need no cluster."""

from __future__ import annotations

import re
import shlex

import chart
from chart import CHART, Rendered

DOCS = CHART.parents[1] / "docs"
PAGE = DOCS / "install.md"


def test_the_command_for_an_own_image_uses_it(tmp_path):
    shell = re.sub(r"\\\n\s*", "", PAGE.read_text())
    [built] = re.findall(r"^\$ docker build --tag (\S+) \.$", shell, re.M)
    [command] = re.findall(r"^\$ helm install claimgate charts/claimgate (.*)$", shell, re.M)
    (tmp_path / "gateway.yaml").write_text("auth: {public_paths: [/health]}\n")
    options = [word.replace("config=", f"config={tmp_path}/") for word in shlex.split(command)]
    options.remove("--create-namespace")
    ran = chart.helm("template", "claimgate", CHART, *options)
    assert ran.returncode == 0, ran.stderr
    rendered = Rendered(ran.stdout)
    assert rendered.container["image"] == built
    # So that the image that was loaded into the node is not looked for elsewhere.
    assert rendered.container["imagePullPolicy"] == "IfNotPresent"
    assert "public_paths" in rendered.gateway_yaml


def test_a_refusal_reads_as_on_the_page():
    page = (DOCS / "kubernetes.md").read_text()
    [(command, shown)] = re.findall(r"^\$ helm (template .*)\n((?:(?!```).*\n)+)```", page, re.M)
    words = [str(CHART) if word == "charts/claimgate" else word for word in shlex.split(command)]
    ran = chart.helm(*words)
    assert ran.returncode != 0
    said = "".join(f"{line.rstrip()}\n" for line in ran.stderr.splitlines())
    assert said.startswith(shown)
