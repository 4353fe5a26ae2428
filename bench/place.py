"""Paths. Importing this makes the modules of e2e/ importable."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
REPORT = ROOT / "docs" / "benchmarks.md"

sys.path.insert(0, str(ROOT / "e2e"))
