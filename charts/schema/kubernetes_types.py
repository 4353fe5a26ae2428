"""The types of the Kubernetes API that values.yaml refers to, as JSON Schema.

kubernetes-validate carries the schemas of every Kubernetes version. This takes
the definitions that are referred to, with everything they need, and leaves out
what a schema of values does not need.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

VERSION = "1.37.0"
"""The Kubernetes version whose fields are known."""

EITHER = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"type": ["string", "number"]},
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"type": ["string", "integer"]},
}
"""Types for which the source requires exactly one of two, though null is both."""


def schemas(version: str = VERSION) -> Path:
    """The folder with the strict schemas of a Kubernetes version."""
    import kubernetes_validate

    carried = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"
    return carried / f"v{version}-local-strict"


def referred_to(values: str) -> str:
    """The definitions that the text of a values.yaml refers to, as JSON."""
    source = json.loads((schemas() / "_definitions.json").read_text())["$defs"]
    wanted = re.findall(r"kubernetes\.json#/definitions/([\w.]+)", values)
    found: dict[str, object] = {}
    while wanted:
        name = wanted.pop()
        if name not in found:
            text = json.dumps(EITHER.get(name) or _lean(source[name]))
            found[name] = json.loads(text.replace("#/$defs/", "#/definitions/"))
            wanted += re.findall(r'"#/\$defs/([\w.]+)"', text)
    return json.dumps({"definitions": dict(sorted(found.items()))})


def _lean(schema: object) -> object:
    """The schema without its prose and Kubernetes' own extensions."""
    if isinstance(schema, list):
        return [_lean(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: _lean(value)
        for key, value in schema.items()
        if not (key == "description" and isinstance(value, str) or key.startswith("x-"))
    }
