"""Pieces of a Markdown page."""

from __future__ import annotations

from collections.abc import Iterable


def section(title: str, body: str) -> str:
    return f"## {title}\n\n{body}"


def table(head: list[str], rows: Iterable[list[str]]) -> str:
    lines = [head, ["---", *("---:" for _ in head[1:])], *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
