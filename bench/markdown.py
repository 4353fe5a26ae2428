"""Pieces of a Markdown page."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from charts import Picture

FOLDER = "pictures"
"""Beside the page."""


def section(title: str, body: str) -> str:
    return f"## {title}\n\n{body}"


def table(head: list[str], rows: Iterable[list[str]]) -> str:
    lines = [head, ["---", *("---:" for _ in head[1:])], *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def picture(of: Picture) -> str:
    """A chart, light or dark as the reader's page is."""
    return (
        "<picture>\n"
        f'<source media="(prefers-color-scheme: dark)" srcset="{FOLDER}/{of.name}-dark.svg">\n'
        f'<img alt="{of.text}" src="{FOLDER}/{of.name}-light.svg">\n'
        "</picture>\n"
    )
