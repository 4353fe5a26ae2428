"""The book in a real browser, at the width of a phone, a tablet and a desktop,
and its search."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

import tools

BOOK = tools.ROOT / "target" / "book"
SHOTS = os.environ.get("CLAIMGATE_SCREENSHOTS")
"""The folder to keep screenshots in."""
SHOWN = ["benchmarks.html", "config-keys.html", "configuration.html", "clients.html"]


@pytest.fixture(scope="module")
def book() -> Path:
    """Built now."""
    built = subprocess.run(["make", "docs"], cwd=tools.ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return BOOK


def browser(task: str, book: Path, *arguments: str, shots: Path | None = None) -> dict | list:
    command = ["node", tools.browser("book.mjs"), task, book, *arguments]
    environment = {**os.environ, "CLAIMGATE_CHROMIUM": str(tools.chromium()), "SCREENSHOTS": str(shots)}
    run = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def pages(book: Path) -> list[str]:
    return sorted(str(page.relative_to(book)) for page in book.rglob("*.html") if page.name != "404.html")


def test_every_cell_of_every_table_is_in_sight(book: Path):
    names = pages(book)
    assert len(names) >= 40
    seen = browser("fits", book, *names)
    assert len(seen) == 3 * len(names)
    assert {page: trouble for page, trouble in seen.items() if trouble} == {}


def test_without_its_style_the_check_fails(book: Path, tmp_path: Path):
    """So that it is known to see something."""
    page = re.sub(r'<link rel="stylesheet" href="scripts/book[^>]+>', "", (book / "errors.html").read_text())
    (tmp_path / "errors.html").write_text(page)
    for part in ("css", "fonts"):
        (tmp_path / part).symlink_to(book / part)
    seen = browser("fits", tmp_path, "errors.html")
    assert any("out of sight" in trouble for trouble in seen["errors.html phone light"])


def test_both_looks_of_a_chart_are_shown_each_in_its_theme(book: Path, tmp_path: Path):
    folder = Path(SHOTS or tmp_path)
    seen = browser("look", book, *SHOWN, shots=folder)
    assert {page: trouble for page, trouble in seen.items() if trouble} == {}
    assert len(list(folder.glob("*-html-*.png"))) >= len(SHOWN) * 3 * 2


def test_every_picture_is_on_a_page_in_both_looks():
    docs = tools.ROOT / "docs"
    pages = [page.read_text() for page in docs.rglob("*.md")]
    pictures = sorted((docs / "pictures").iterdir())
    assert {"status-page-light.png", "dashboard-light.png", "explain-light.svg"} <= {file.name for file in pictures}
    for light in pictures:
        if "-light." in light.name:
            dark = light.with_name(light.name.replace("-light.", "-dark."))
            shown = f'srcset="pictures/{dark.name}">\n<img alt="'
            assert dark.exists() and any(shown in page and f'src="pictures/{light.name}"' in page for page in pages)


STOP_WORDS = {"is"}
"""Keys that are words which the search leaves out; their paths are found."""


def keys() -> list[tuple[str, str]]:
    """Each key of the page of keys, and its path."""
    page = (tools.ROOT / "docs" / "config-keys.md").read_text()
    found = re.findall(r"^### `(\w+|\*)`.*\n\n`([^`]+)`", page, re.M)
    assert len(found) >= 150 and len(dict(found)) < len(found)
    return found


def test_the_search_finds_every_key(book: Path):
    found = keys()
    anchors = {f"config-keys.html#{anchor}" for anchor in re.findall(r'id="([^"]+)"', (book / "config-keys.html").read_text())}
    by_path = browser("search", book, *(path for _, path in found))
    for (name, path), results in zip(found, by_path, strict=True):
        within = path.removesuffix(name).rstrip(".")
        slug = re.sub(r"[^\w -]", "", f"{name} in {within}" if within else name).replace(" ", "-").lower()
        anchor = f"config-keys.html#{slug}"
        assert anchor in anchors, path
        # Of a block, the section with its keys will do.
        block = f"config-keys.html#keys-of-{re.sub(r'[^a-z0-9_-]', '', path.lower())}"
        assert {anchor, block} & set(results[:5]), (path, results)
    names = sorted({name for name, _ in found} - {"*"} - STOP_WORDS)
    for name, results in zip(names, browser("search", book, *names), strict=True):
        assert any(result.startswith(f"config-keys.html#{name.lower()}") for result in results[:10]), (name, results[:10])
