"""values.schema.json, README.md and the annotations agree with their sources."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import generate
import pytest
import yaml
from generate import CHART

import chart


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generated")
    generate.generate(folder)
    return folder


@pytest.mark.parametrize("name", generate.GENERATED)
def test_generated_files_are_up_to_date(generated: Path, name: str):
    assert (CHART / name).read_text() == (generated / name).read_text(), "run `make chart-generate`"


def test_every_value_is_explained():
    table = (CHART / "README.md").read_text().split("## Values")[1].split("\n## ")[0]
    rows = [line.split(" | ") for line in table.splitlines() if line.startswith("| ")]
    assert len(rows) > 100
    assert not [key for key, *_, explained in rows if not explained.strip(" |")]


def test_every_default_in_words_is_shown():
    table = (CHART / "README.md").read_text()
    lines = (CHART / "values.yaml").read_text().splitlines()
    words = [line.split("# @default -- ")[1] for line in lines if "# @default -- " in line]
    assert len(words) > 5
    assert not [each for each in words if f"| {each} |" not in table]


def test_the_package_holds_what_is_needed(tmp_path: Path):
    ran = chart.helm("package", CHART, "--destination", tmp_path)
    assert ran.returncode == 0, ran.stderr
    (archive,) = tmp_path.glob("*.tgz")
    with tarfile.open(archive) as packed:
        names = {name.removeprefix("claimgate/") for name in packed.getnames()}
    assert {"values.schema.json", "files/gateway.yaml", "files/alerts.yaml"} <= names
    assert {"dashboards/claimgate.json", "README.md", "CHANGELOG.md"} <= names
    assert not [name for name in names if name.startswith(("tests/", "examples/"))]
    assert chart.helm("template", "x", archive).stdout == chart.helm("template", "x", CHART).stdout


def test_the_chart_can_be_a_dependency(tmp_path: Path):
    about = {"apiVersion": "v2", "name": "parent", "version": "0.1.0"}
    depends = {"name": "claimgate", "version": "0.1.0", "condition": "claimgate.enabled"}
    (tmp_path / "Chart.yaml").write_text(yaml.safe_dump(about | {"dependencies": [depends]}))
    shutil.copytree(CHART, tmp_path / "charts" / "claimgate")
    for enabled in (True, False):
        options = ("--set", f"claimgate.enabled={enabled},global.zone=a".lower())
        ran = chart.helm("template", "x", tmp_path, *options)
        assert ran.returncode == 0, ran.stderr
        assert ("kind: Deployment" in ran.stdout) == enabled


def test_the_chart_follows_the_program():
    about = yaml.safe_load((CHART / "Chart.yaml").read_text())
    cargo = (CHART.parents[1] / "Cargo.toml").read_text()
    assert f'version = "{about["appVersion"]}"' in cargo
    assert f":{about['appVersion']}\n" in about["annotations"]["artifacthub.io/images"]


def test_the_changelog_has_this_version():
    about = yaml.safe_load((CHART / "Chart.yaml").read_text())
    changes = yaml.safe_load(about["annotations"]["artifacthub.io/changes"])
    changelog = (CHART / "CHANGELOG.md").read_text()
    section = changelog.split(f"## {about['version']}\n")[1].split("\n## ")[0]
    for change in changes:
        assert change["description"] in section
