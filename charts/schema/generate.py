"""Makes the chart's generated files: values.schema.json and README.md.

    python3 charts/schema/generate.py [FOLDER]

FOLDER is the chart's own by default; a test passes another and compares.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import kubernetes_types

HERE = Path(__file__).resolve().parent
CHART = HERE.parent / "claimgate"
sys.path.append(str(HERE.parents[1] / "kube"))

import go_tools  # noqa: E402

GENERATED = ("values.schema.json", "README.md")


def generate(into: Path) -> None:
    """Writes the generated files into a folder."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "claimgate"
        shutil.copytree(CHART, copy, ignore=shutil.ignore_patterns(*GENERATED))
        _schema(copy)
        _readme(copy)
        for name in GENERATED:
            shutil.copy(copy / name, into / name)


def _schema(chart: Path) -> None:
    refers_to = chart / "schema"
    refers_to.mkdir()
    shutil.copy(HERE / "own.json", refers_to)
    values = (chart / "values.yaml").read_text()
    (refers_to / "kubernetes.json").write_text(kubernetes_types.referred_to(values))
    _run("helm-schema", "--config", HERE / "helm-schema.yaml", chart=chart)
    file = chart / "values.schema.json"
    schema = json.loads(file.read_text())
    _name_the_known_keys(schema)
    file.write_text(json.dumps(schema, indent=1) + "\n")


def _name_the_known_keys(schema: object) -> None:
    """Makes Helm list the known keys beside an unknown one.

    Helm's own sentence can't be changed, but it quotes the value of a `const`.
    """
    if isinstance(schema, list):
        for entry in schema:
            _name_the_known_keys(entry)
    if not isinstance(schema, dict):
        return
    for entry in schema.values():
        _name_the_known_keys(entry)
    properties = schema.get("properties")
    if schema.get("additionalProperties") is False and isinstance(properties, dict):
        names = sorted(properties)
        schema["if"] = {"propertyNames": {"enum": names}}
        schema["else"] = {"const": f"a mapping of no other keys than {', '.join(names)}"}


def _readme(chart: Path) -> None:
    _run("helm-docs", "--chart-search-root", chart, "--sort-values-order", "file", chart=chart)


def _run(program: str, *arguments: str | Path, chart: Path) -> None:
    subprocess.run(
        [go_tools.program(program), *arguments], cwd=chart, check=True, stdout=sys.stderr
    )


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else CHART)
