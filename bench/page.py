"""Makes docs/benchmarks.md and its charts from what was recorded:
`make bench-page`. With --check it only compares.

Needs the packages of bench/requirements.txt; without them it runs itself again
in a virtual environment that has them.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import charts
import place
import record
import report
import tools


def write(page: Path, pictures: Path) -> list[Path]:
    """Writes everything; the files."""
    results, peers = record.load_file(), json.loads(place.PEERS.read_text())
    page.write_text(report.text(results, peers))
    return [page, *charts.write(results, peers, pictures)]


def stale() -> list[str]:
    """What differs from what the records give."""
    with tempfile.TemporaryDirectory() as folder:
        made = write(Path(folder) / place.REPORT.name, Path(folder) / place.PICTURES.name)
        kept = [place.REPORT, *(place.PICTURES / file.name for file in made[1:])]
        return [
            str(old.relative_to(place.ROOT))
            for old, new in zip(kept, made, strict=True)
            if not old.exists() or old.read_bytes() != new.read_bytes()
        ]


def again(*arguments: str) -> int:
    """Runs this file with the packages that it needs; its exit status."""
    python = tools.venv(place.REQUIREMENTS) / "bin" / "python"
    return subprocess.run([python, __file__, *arguments]).returncode


def main(arguments: list[str]) -> int:
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return again(*arguments)
    if arguments == ["--check"]:
        differing = stale()
        for name in differing:
            print(f"{name} is not what bench/*.json says; run `make bench-page`", file=sys.stderr)
        return 1 if differing else 0
    for file in write(place.REPORT, place.PICTURES):
        tools.say(f"written: {file.relative_to(place.ROOT)}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except tools.ToolMissing as missing:
        sys.exit(f"{missing}")
