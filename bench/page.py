"""docs/benchmarks.md, with a part of it measured anew."""

from __future__ import annotations

HEADING = "## "
BARS = "What it must show"


def updated(page: str, part: str, note: str) -> str:
    """`page` with the sections of `part` in the place of those of the same
    title, each under a note, and with its bars among the others. New ones come
    last."""
    introduction, sections = _sections(page)
    _, new = _sections(part)
    bars = new.pop(BARS, "")
    sections |= {title: f"\n{note}\n{body}" for title, body in new.items()}
    if BARS in sections:
        sections[BARS] = _with_rows(sections[BARS], bars)
    text = introduction + "".join(HEADING + title + body for title, body in sections.items())
    return f"{text.rstrip()}\n"


def _sections(page: str) -> tuple[str, dict[str, str]]:
    """What comes before the first section, and each section's text by title."""
    introduction, *rest = f"\n{page}".split(f"\n{HEADING}")
    parts = (section.partition("\n") for section in rest)
    sections = {title: f"\n{body.rstrip()}\n\n" for title, _, body in parts}
    return f"{introduction.strip()}\n\n", sections


def _with_rows(table: str, new: str) -> str:
    """The table with the rows of another one, by their first cell."""
    rows = {line.split(" | ")[0]: line for text in (table, new) for line in text.splitlines() if line}
    return "\n" + "\n".join(["", *rows.values()]) + "\n\n"
