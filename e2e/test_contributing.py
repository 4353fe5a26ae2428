"""CONTRIBUTING.md's table of commands is true of each target of the Makefile."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest

import tools

ROOT = tools.ROOT
PAGE = (ROOT / "CONTRIBUTING.md").read_text()
ROWS = dict(re.findall(r"^\| `make ([\w-]+)` \| (.+) \|$", PAGE, re.M))


@dataclass
class Target:
    needs: list[str]
    help: str
    recipe: str


def targets() -> dict[str, Target]:
    """Those that `make help` lists."""
    text = (ROOT / "Makefile").read_text()
    rule = re.compile(r"^([a-z][\w-]*):([^=\n]*?) ## (.*)\n((?:\t.*\n)*)", re.M)
    return {
        name: Target([word for word in needs.split() if "/" not in word], help, recipe)
        for name, needs, help, recipe in rule.findall(text)
    }


TARGETS = targets()


def test_every_target_is_in_the_table_and_nothing_else():
    assert len(TARGETS) >= 20
    assert set(ROWS) == set(TARGETS) - {"help"}


@pytest.mark.parametrize("name", ROWS)
def test_a_row_names_what_its_target_runs_first(name: str):
    for needed in TARGETS[name].needs:
        assert f"`make {needed}`" in ROWS[name]
    named = set(re.findall(r"`make ([\w-]+)`", ROWS[name]))
    if name in ("lint", "test"):
        assert named <= {*TARGETS[name].needs, *checks()}


@pytest.mark.parametrize("name", ROWS)
def test_the_settings_in_a_row_are_the_targets(name: str):
    # What a target passes on to another one, it has from that.
    recipe = TARGETS[name].recipe + "".join(TARGETS[needed].recipe for needed in TARGETS[name].needs)
    makefile = (ROOT / "Makefile").read_text()
    for setting in re.findall(r"`([A-Z]+)=", ROWS[name]):
        # A test may read it itself: make hands on what its command line sets.
        if f"{setting}=" in TARGETS[name].help and reads(setting):
            continue
        # By itself, or through a variable that is made of it.
        through = re.findall(rf"^(\w+) :=.*\b{setting}\b", makefile, re.M)
        assert any(f"$({used})" in recipe or re.search(rf"\b{used}\b", recipe) for used in [setting, *through]), setting


def reads(setting: str) -> bool:
    """Whether a test reads it from the environment."""
    tests = [file for folder in ("kube", "e2e", "charts/tests") for file in (ROOT / folder).glob("*.py")]
    return any(re.search(rf"environ\b.*\"{setting}\"", file.read_text()) for file in tests)


@pytest.mark.parametrize("name", ROWS)
def test_the_files_in_a_row_are_there_or_are_made(name: str):
    target = TARGETS[name]
    for path in re.findall(r"`((?:[\w.-]+/)+[\w.-]*)`", ROWS[name]):
        made = path.startswith("target/") and (path.split("/")[1] in target.help + target.recipe + "release")
        assert made or (ROOT / path).exists(), path


def test_what_ci_is_said_to_run_it_runs():
    assert {name for name, row in ROWS.items() if re.search(r"\bCI runs it\b", row)} <= checks()


@pytest.mark.parametrize("page", ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md",
                                  *sorted(str(page.relative_to(ROOT)) for page in (ROOT / "docs").rglob("*.md"))])
def test_every_target_that_a_page_names_exists(page: str):
    text = (ROOT / page).read_text()
    named = re.findall(r"(?:`|^\$ )make ([a-z][\w-]*)", text, re.M)
    assert set(named) <= set(TARGETS)


def checks() -> set[str]:
    """The targets that CI runs."""
    scripts = [ROOT / ".ci" / "run", ROOT / "scripts" / "test.sh"]
    words = {word for file in scripts if file.exists() for word in re.findall(r"[a-z][\w-]*", file.read_text())}
    return words & set(TARGETS)
