"""scripts/places.py: one command puts another place into every file."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import tools

OTHER = ["REGISTRY=registry.example.com:5000", "REPOSITORY=acme/platform/gate", "SOURCE=https://git.example.com/acme/gate"]
HOME = ["REGISTRY=ghcr.io", "REPOSITORY=claimgate/claimgate", "SOURCE=https://github.com/claimgate/claimgate"]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A copy of the files as they are now, in a repository of their own."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=tools.ROOT, capture_output=True, text=True, check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (tools.ROOT / name).is_file():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(tools.ROOT / name, tmp_path / name)
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    return tmp_path


def places(clone: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, clone / "scripts" / "places.py", *arguments], capture_output=True, text=True
    )


def content(clone: Path) -> dict[str, bytes]:
    """Every file but those of git and this script's."""
    return {str(file.relative_to(clone)): file.read_bytes()
            for file in clone.rglob("*") if file.is_file() and ".git" not in file.relative_to(clone).parts}


def test_one_command_changes_every_file_and_back(clone: Path):
    before = content(clone)
    assert places(clone, *OTHER).returncode == 0
    assert places(clone).returncode == 0
    moved = content(clone)
    values = yaml.safe_load(moved["charts/claimgate/values.yaml"])
    for image, suffix in ((values["image"], ""), (values["module"]["image"], "-envoy")):
        assert (image["registry"], image["repository"]) == ("registry.example.com:5000", f"acme/platform/gate{suffix}")
    env = yaml.safe_load(moved[".github/workflows/release.yml"])["env"]
    assert env == {
        "REGISTRY": "registry.example.com:5000",
        "IMAGE": "registry.example.com:5000/acme/platform/gate",
        "MODULE_IMAGE": "registry.example.com:5000/acme/platform/gate-envoy",
        "CHARTS": "oci://registry.example.com:5000/acme/platform/charts",
    }
    left = [name for name, text in moved.items() if b"ghcr.io" in text or b"github.com/claimgate" in text]
    assert set(left) <= {"scripts/places.py", "e2e/test_places.py"}
    assert b"--repo acme/gate" in moved["docs/operations.md"]
    assert places(clone, *HOME).returncode == 0
    assert content(clone) == before


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("docs/kubernetes.md", "oci://ghcr.io/claimgate/charts", "oci://ghcr.io/someone/charts", "ghcr.io/someone/charts"),
        ("charts/claimgate/values.yaml", "registry: ghcr.io", "registry: quay.io", "lacks 'registry: ghcr.io'"),
        (".github/workflows/release.yml", "IMAGE: ghcr.io", "IMAGE: quay.io", "lacks 'IMAGE: ghcr.io/claimgate/claimgate'"),
        ("Cargo.toml", "github.com/claimgate/claimgate", "github.com/claimgate/other", "lacks 'repository = "),
        ("docs/install.md", "docker pull ghcr.io/claimgate/claimgate", "docker pull ghcr.io/claimgate/gate", "ghcr.io/claimgate/gate"),
    ],
)
def test_a_file_that_differs_is_named(clone: Path, file: str, old: str, new: str, said: str):
    text = (clone / file).read_text()
    assert old in text
    (clone / file).write_text(text.replace(old, new))
    checked = places(clone)
    assert checked.returncode == 1
    assert file in checked.stderr and said in checked.stderr, checked.stderr


@pytest.mark.parametrize("wrong", ["REGISTRY=a b", "REPOSITORY=Acme/X", "SOURCE=http://x/y", "IMAGE=x", "x"])
def test_what_it_can_not_be(clone: Path, wrong: str):
    before = content(clone)
    refused = places(clone, wrong)
    assert refused.returncode == 2 and wrong.split("=")[0] in refused.stderr
    assert content(clone) == before
