"""Envoy accepts every Envoy configuration in the repository."""

from __future__ import annotations

import os
import re
import shutil
import string
import subprocess
import textwrap
from pathlib import Path

import pytest

import doors
import edge
import module_example
import tools

PAGES = sorted([tools.ROOT / "README.md", *(tools.ROOT / "docs").rglob("*.md")])
FILES = sorted(
    path
    for folder in ("examples", "demo")
    for path in (tools.ROOT / folder).rglob("*.yaml")
    if "static_resources:" in path.read_text()
)

# Around a list of HTTP filters that ends with the router, or lacks it.
AROUND_FILTERS = """
static_resources:
  listeners:
    - address: {socket_address: {address: 127.0.0.1, port_value: 0}}
      filter_chains:
        - filters:
            - name: envoy.filters.network.http_connection_manager
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: shown
                route_config: {virtual_hosts: [{name: all, domains: ["*"], routes: []}]}
%s
%s
  clusters:
    - {name: claimgate, type: STATIC, connect_timeout: 1s}
    - {name: gateway, type: STATIC, connect_timeout: 1s}
"""
# Around the routes of a virtual host.
NO_ROUTES = 'route_config: {virtual_hosts: [{name: all, domains: ["*"], routes: []}]}'
ROUTES = """route_config:
                  virtual_hosts:
                    - name: all
                      domains: ["*"]
%s"""
ROUTER = """
- name: envoy.filters.http.router
  typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
"""


# A list that Envoy reads while it runs, which test_waf.py gives to one; Kubernetes
# objects with parts of a configuration, which kube/ tries on control planes.
ELSEWHERE = r"\A(resources:|# \S+\napiVersion:)"

# What Envoy says of every message of a part of its interface that may yet change.
# These are the ones that examples/envoy/plans.yaml needs, for want of others.
WORK_IN_PROGRESS = (
    r"'envoy\.extensions\.(filters\.http\.sse_to_metadata|content_parsers\.json)\.v3\..*"
    r" marked as work-in-progress\."
)

CORAZA = "/etc/envoy/coraza-proxy-wasm.wasm"
NO_CORAZA = bytes.fromhex(
    "0061736d0100000001090260000060017f017f03030200010503010001073f03066d656d6f727902"
    "001770726f78795f6162695f76657273696f6e5f305f325f3100001870726f78795f6f6e5f6d656d"
    "6f72795f616c6c6f6361746500010a090202000b040041000b"
)
"""A hand-written double of Coraza's module: it has the interface and does nothing.
So the filter around it is known to load, and nothing else."""


def snippets() -> list:
    """Every YAML block on a page that is Envoy's own configuration."""
    blocks = (
        pytest.param(block, id=f"{page.name}:{number}")
        for page in PAGES
        for number, block in enumerate(re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.M | re.S))
        if "type.googleapis.com/envoy" in block and not re.search(ELSEWHERE, block)
    )
    return list(blocks)


def decides_by(folder: Path) -> Path:
    """A config file for the module."""
    file = folder / "gateway.yaml"
    file.write_text("auth: {enabled: false}\n")
    return file


def accept(config: Path, folder: Path) -> None:
    """Fails with Envoy's complaint if it has one, a warning included but for those
    of WORK_IN_PROGRESS."""
    command = [tools.envoy(), "--mode", "validate", "--log-level", "warning"]
    # Who reads lists from files must have a name.
    command += ["--service-node", "edge", "--service-cluster", "edge"]
    said = subprocess.run(
        [*command, "--config-path", config],
        cwd=folder,
        env={**os.environ, **doors.environment()},
        capture_output=True,
        text=True,
        timeout=120,
    )
    warnings = [
        line
        for line in said.stderr.splitlines()
        if "warning" in line and not re.search(WORK_IN_PROGRESS, line)
    ]
    assert said.returncode == 0 and not warnings, f"{config}\n{said.stderr}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(tools.ROOT)))
def test_files(tmp_path: Path, file: Path):
    folder = tmp_path / "folder"
    shutil.copytree(file.parent, folder)
    if file.parent == edge.EXAMPLE:
        tools.certificate(folder / "tls")
    config = folder / file.name
    names = re.findall(r"\$\{(\w+)\}", config.read_text())
    ports = {name: 20_000 + number for number, name in enumerate(dict.fromkeys(names))}
    text = string.Template(config.read_text()).substitute(ports)
    config.write_text(text.replace(module_example.CONFIG, str(decides_by(tmp_path))))
    accept(config, folder)


@pytest.mark.parametrize("block", snippets())
def test_snippets(tmp_path: Path, block: str):
    config = tmp_path / "envoy.yaml"
    block = block.replace(module_example.CONFIG, str(decides_by(tmp_path)))
    (tmp_path / "blocked.yaml").write_text("resources: []\n")
    (tmp_path / "coraza.wasm").write_bytes(NO_CORAZA)
    block = block.replace(CORAZA, str(tmp_path / "coraza.wasm"))
    if block.startswith("static_resources:"):
        config.write_text(block)
    elif block.startswith("routes:"):
        routes = ROUTES % textwrap.indent(block, " " * 22)
        router = textwrap.indent(ROUTER, " " * 18)
        around = AROUND_FILTERS % (" " * 16 + "http_filters:", router)
        config.write_text(around.replace(NO_ROUTES, routes))
    elif block.startswith("route_config:"):
        router = textwrap.indent(ROUTER, " " * 18)
        filters = AROUND_FILTERS % (" " * 16 + "http_filters:", router)
        config.write_text(filters.replace(f"{' ' * 16}{NO_ROUTES}\n", textwrap.indent(block, " " * 16)))
    elif block.startswith("normalize_path:"):
        # The connection manager's own.
        filters = textwrap.indent(block, " " * 16) + " " * 16 + "http_filters:"
        config.write_text(AROUND_FILTERS % (filters, textwrap.indent(ROUTER, " " * 18)))
    else:
        assert block.startswith("http_filters:"), "a kind of snippet that this test can't complete"
        filters = textwrap.indent(block, " " * 16)
        router = "" if "http.router" in block else textwrap.indent(ROUTER, " " * 18)
        config.write_text(AROUND_FILTERS % (filters, router))
    accept(config, tmp_path)


HARDENED = {
    "normalize_path": {"true"},
    "merge_slashes": {"true"},
    "path_with_escaped_slashes_action": {"REJECT_REQUEST", "KEEP_UNCHANGED"},
}
"""The path settings of every connection manager before Claimgate."""


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(tools.ROOT)))
def test_files_give_a_path_one_spelling(file: Path):
    """That is, as often as they ask Claimgate, or have it inside."""
    text = file.read_text()
    filters = len(re.findall(r"^ +- name: (?:envoy\.filters\.http\.ext_authz|claimgate)\n +typed_config:", text, re.M))
    assert filters > 0
    for key, values in HARDENED.items():
        said = re.findall(rf"^ *{key}: (\w+)$", text, re.M)
        assert len(said) == filters and set(said) <= values, key


def test_there_are_some():
    names = {str(file.relative_to(tools.ROOT)) for file in FILES}
    examples = ("edge", "module", "minimal", "plans", "plans-local")
    assert {f"examples/envoy/{name}.yaml" for name in examples} <= names
    assert len(snippets()) >= 2
