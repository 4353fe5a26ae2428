"""JSON Schemas for kubeconform: Kubernetes' own kinds, of two versions, and
the custom resources, from their projects' own definitions.

All are strict: a field that the kind does not have is an error.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import go_tools
import kubernetes_types
import yaml
from tools import cache_dir

KUBERNETES = ("1.30.0", kubernetes_types.VERSION)
"""The oldest version that the chart supports, and the newest known one."""

DEFINITIONS = {
    "cert-manager": "deploy/crds/*.yaml",
    "envoy-gateway": "charts/gateway-crds-helm/templates/generated/*.yaml",
    "gateway-api": "config/crd/standard/*.yaml",
    "istio": "manifests/charts/base/files/crd-all.gen.yaml",
    "prometheus-operator": "example/prometheus-operator-crd/*.yaml",
}
"""Where modules keep the definitions of their custom resources."""

class Loader(yaml.CSafeLoader):
    """Reads `=`, one of the matchers that Alertmanager knows, as a string."""


Loader.add_constructor("tag:yaml.org,2002:value", Loader.construct_yaml_str)

KIND = "{{.ResourceKind}}{{.KindSuffix}}.json"
"""How kubeconform names a kind's file."""


def kubernetes(version: str) -> str:
    """The schema location for kubeconform of Kubernetes' own kinds."""
    source = json.loads((kubernetes_types.schemas(version) / "_definitions.json").read_text())
    folder = _folder(f"kubernetes-{version}")
    if not folder.exists():
        definitions = {"$defs": source["$defs"]}
        kinds = {
            _file(which["group"], which["version"], which["kind"]): {"$ref": f"#/$defs/{name}"}
            for name, definition in source["$defs"].items()
            for which in definition.get("x-kubernetes-group-version-kind", [])
            if name.startswith("io.k8s.api.")
        }
        _write(folder, {name: kind | _needed(definitions, kind) for name, kind in kinds.items()})
    return f"{folder}/{KIND}"


def custom_resources() -> str:
    """The schema location for kubeconform of custom resources."""
    versions = "-".join(go_tools.MODULES[name][1] for name in sorted(DEFINITIONS))
    folder = _folder(f"custom-resources-{hashlib.sha256(versions.encode()).hexdigest()[:12]}")
    if not folder.exists():
        _write(folder, dict(_custom_resources()))
    return f"{folder}/{KIND}"


def _custom_resources() -> Iterator[tuple[str, dict]]:
    for name, files in DEFINITIONS.items():
        for file in sorted(go_tools.module(name).glob(files)):
            # Envoy Gateway's are in a chart, each between two lines of template.
            lines = file.read_text().splitlines()
            text = "\n".join(line for line in lines if not line.startswith("{{"))
            for found in yaml.load_all(text, Loader=Loader):
                if found and found["kind"] == "CustomResourceDefinition":
                    spec = found["spec"]
                    for version in spec["versions"]:
                        which = _file(spec["group"], version["name"], spec["names"]["kind"])
                        schema = version["schema"]["openAPIV3Schema"]
                        # Every object has these, even if its definition does not list them.
                        common = {name: {} for name in ("apiVersion", "kind", "metadata")}
                        schema["properties"] = common | schema["properties"]
                        yield which, _strict(schema)


def _file(group: str, version: str, kind: str) -> str:
    group = group.split(".")[0]
    return "-".join(filter(None, (kind.lower(), group, version))) + ".json"


def _strict(schema: object) -> object:
    """The schema, with unknown fields forbidden where the fields are known."""
    if isinstance(schema, list):
        return [_strict(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    strict = {key: _strict(value) for key, value in schema.items()}
    is_closed = isinstance(schema.get("properties"), dict) and schema.get("type") == "object"
    if is_closed and not schema.get("x-kubernetes-preserve-unknown-fields"):
        strict.setdefault("additionalProperties", False)
    return strict


def _needed(definitions: dict, kind: dict) -> dict:
    """The definitions that a kind refers to, directly or not."""
    needed: dict[str, object] = {}
    wanted = [kind["$ref"]]
    while wanted:
        name = wanted.pop().removeprefix("#/$defs/")
        if name not in needed:
            needed[name] = kubernetes_types.EITHER.get(name) or definitions["$defs"][name]
            wanted += _references(needed[name])
    return {"$defs": needed}


def _references(schema: object) -> Iterator[str]:
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key == "$ref":
                yield value
            else:
                yield from _references(value)
    elif isinstance(schema, list):
        for entry in schema:
            yield from _references(entry)


def _folder(what: str) -> Path:
    """The cache folder for schemas made by this version of the code."""
    code = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]
    return cache_dir() / "schemas" / f"{what}-{code}"


def _write(folder: Path, files: dict[str, object]) -> None:
    """Fills a folder in one step, so that no other process finds half of it."""
    folder.parent.mkdir(exist_ok=True)
    half = Path(tempfile.mkdtemp(dir=folder.parent))
    for name, schema in files.items():
        (half / name).write_text(json.dumps(schema))
    try:
        half.rename(folder)
    except OSError:  # Another process was faster.
        shutil.rmtree(half)
