#!/usr/bin/env python3
"""Builds the book from docs/ and checks its links: `book.py build MDBOOK`.

mdBook runs this file as a preprocessor too: what a page links to outside docs/
(the README, an example, a source file) is not part of the book, so that link
leads to the file in the repository. And a picture that is there for light and
for dark pages follows the theme that the reader chose in the book; on GitHub it
follows the browser's.

After the build, the cells of tables get the heads of their columns, which
book.css shows on phones.
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
                    content = lead_out_of_the_book(page, chapter["content"])
                    chapter["content"] = in_the_look_of_the_theme(content)
            json.dump(book, sys.stdout)
            return 0
        case ["build", mdbook]:
            problems = build(mdbook) or label_tables() or [*dead_links_in_book(), *dead_links_in_front_pages()]
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


PICTURE = re.compile(
    r'<picture>\n<source media="\(prefers-color-scheme: dark\)" srcset="(?P<dark>[^"]+)">\n'
    r'<img alt="(?P<alt>[^"]*)" src="(?P<light>[^"]+)">\n</picture>'
)


def in_the_look_of_the_theme(text: str) -> str:
    """The page with both looks of a picture, of which book.css shows one. It
    leads to the whole picture, for those who read on a phone."""
    return PICTURE.sub(
        r'<p><a href="\g<light>"><img class="only-light" alt="\g<alt>" src="\g<light>"></a>'
        r'<a href="\g<dark>"><img class="only-dark" alt="\g<alt>" src="\g<dark>"></a></p>',
        text,
    )


def build(mdbook: str) -> list[str]:
    """Runs mdBook; a warning counts as an error."""
    command = [mdbook, "build", "--dest-dir", str(BOOK)]
    environment = {**os.environ, "MDBOOK_LOG": "warn"}
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    complaints = (built.stdout + built.stderr).strip()
    if built.returncode != 0 or complaints:
        return [f"mdbook says:\n{complaints or built.returncode}"]
    return []


TABLE = re.compile(r"<table>.*?</table>", re.DOTALL)
HEAD = re.compile(r"<th\b[^>]*>(.*?)</th>", re.DOTALL)
ROW = re.compile(r"<tr>.*?</tr>", re.DOTALL)
CELL = re.compile(r"<td\b([^>]*)>(.*?)</td>", re.DOTALL)
TAG = re.compile(r"<[^>]*>")
MANY = 6
"""So many columns need smaller letters."""
SHORT = 32
"""Letters of a name that stays on one line, in the first column."""


def label_tables() -> None:
    """Writes the head of its column into each cell of the book's tables."""
    for file in BOOK.rglob("*.html"):
        page = file.read_text()
        labelled = TABLE.sub(lambda table: labelled_table(table[0]), page)
        if labelled != page:
            file.write_text(labelled)


def labelled_table(table: str) -> str:
    heads = [TAG.sub("", head) for head in HEAD.findall(table)]

    def row(found: re.Match[str]) -> str:
        columns = iter(heads)
        first = True

        def cell(found: re.Match[str]) -> str:
            nonlocal first
            head = next(columns, "").replace('"', "&quot;")
            label = f' data-head="{head}"' if head else ""
            if first and len(TAG.sub("", found[2])) <= SHORT:
                label += ' class="short"'
            first = False
            return f"<td{found[1]}{label}>{found[2]}</td>"

        return CELL.sub(cell, found[0])

    kind = "labelled many" if len(heads) >= MANY else "labelled"
    return ROW.sub(row, table.replace("<table>", f'<table class="{kind}">', 1))


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
