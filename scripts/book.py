#!/usr/bin/env python3
"""Builds the book from docs/ and checks its links: `book.py build MDBOOK`.

mdBook runs this file as a preprocessor too: what a page links to outside docs/
(the README, an example, a source file) is not part of the book, so that link
leads to the file in the repository.
"""

from __future__ import annotations

import json
import os
import posixpath
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parent.parent
DOCS = "docs"
BOOK = ROOT / "target" / "book"
REPOSITORY = "https://github.com/claimgate/claimgate"
# Pages of the repository that are not chapters; GitHub shows them.
FRONT_PAGES = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"]

LINK = re.compile(r"(\]\()([^)\s]+)(\))")
FENCE = re.compile(r"^(```|~~~).*?^\1[ \t]*$", re.DOTALL | re.MULTILINE)
HEADING = re.compile(r"^#{1,6} +(.*?) *$", re.MULTILINE)


def main(arguments: list[str]) -> int:
    """Preprocesses, or builds and checks, as the arguments say."""
    match arguments:
        case ["supports", _]:
            return 0
        case []:
            _, book = json.load(sys.stdin)
            for chapter in chapters(book["items"]):
                if chapter.get("source_path"):
                    page = posixpath.join(DOCS, chapter["source_path"])
                    chapter["content"] = lead_out_of_the_book(page, chapter["content"])
            json.dump(book, sys.stdout)
            return 0
        case ["build", mdbook]:
            problems = build(mdbook) or [*dead_links_in_book(), *dead_links_in_front_pages()]
            for problem in problems:
                print(f"book: {problem}", file=sys.stderr)
            return 1 if problems else 0
    print(__doc__, file=sys.stderr)
    return 2


def chapters(items: list):
    """Every chapter, those inside others included."""
    for item in items:
        if isinstance(item, dict) and "Chapter" in item:
            yield item["Chapter"]
            yield from chapters(item["Chapter"]["sub_items"])


def lead_out_of_the_book(page: str, text: str) -> str:
    """The page with its links to files outside docs/ made absolute."""

    def absolute(link: re.Match[str]) -> str:
        target = urlsplit(link[2])
        if target.scheme or target.netloc or not target.path:
            return link[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(page), target.path))
        if path.startswith(f"{DOCS}/") or path.startswith("../"):
            return link[0]
        kind = "tree" if (ROOT / path).is_dir() else "blob"
        anchor = f"#{target.fragment}" if target.fragment else ""
        return f"{link[1]}{REPOSITORY}/{kind}/main/{path}{anchor}{link[3]}"

    parts, end = [], 0
    for fence in FENCE.finditer(text):
        parts += [LINK.sub(absolute, text[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join([*parts, LINK.sub(absolute, text[end:])])


def build(mdbook: str) -> list[str]:
    """Runs mdBook; a warning counts as an error."""
    command = [mdbook, "build", "--dest-dir", str(BOOK)]
    environment = {**os.environ, "MDBOOK_LOG": "warn"}
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    complaints = (built.stdout + built.stderr).strip()
    if built.returncode != 0 or complaints:
        return [f"mdbook says:\n{complaints or built.returncode}"]
    return []


class Page(HTMLParser):
    """The link targets in a page, and its own links."""

    def __init__(self, text: str):
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value and name == "id":
                self.anchors.add(value)
            elif value and name in ("href", "src"):
                self.links.append(value)


def dead_links_in_book():
    """Links of the built pages to files or anchors that do not exist."""
    # 404.html is shown in place of any page, so its links have no fixed base.
    files = [file for file in BOOK.rglob("*.html") if file.name != "404.html"]
    pages = {file: Page(file.read_text()) for file in files}
    if not pages:
        yield f"no page in {BOOK}"
    for file, page in pages.items():
        for link in page.links:
            if not leads_somewhere(file, link, pages):
                yield f"{file.relative_to(BOOK)}: dead link {link}"


def leads_somewhere(file: Path, link: str, pages: dict[Path, Page]) -> bool:
    """Whether a link of this page leads to a file and, if named, an anchor;
    other sites are not requested."""
    if link.startswith(f"{REPOSITORY}/"):
        kind_and_path = link.removeprefix(f"{REPOSITORY}/").partition("/main/")
        path, _, anchor = kind_and_path[2].partition("#")
        target = ROOT / path
        return target.exists() and (not anchor or anchor in anchors_of(target))
    url = urlsplit(link)
    if url.scheme or url.netloc:
        return True
    target = (file.parent / unquote(url.path)).resolve() if url.path else file
    if target.is_dir():
        target /= "index.html"
    if not target.exists():
        return False
    if not url.fragment or target not in pages:
        return True
    return unquote(url.fragment) in pages[target].anchors


def dead_links_in_front_pages():
    """Links of the pages beside docs/ to files or headings that do not exist."""
    for name in FRONT_PAGES:
        page = ROOT / name
        for link in LINK.finditer(FENCE.sub("", page.read_text())):
            url = urlsplit(link[2])
            if url.scheme or url.netloc:
                continue
            target = page.parent / unquote(url.path) if url.path else page
            if not target.exists() or (url.fragment and url.fragment not in anchors_of(target)):
                yield f"{name}: dead link {link[2]}"


def anchors_of(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a Markdown page."""
    anchors: set[str] = set()
    for heading in HEADING.finditer(FENCE.sub("", page.read_text())):
        text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading[1])
        slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        anchors.add(slug)
    return anchors


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
