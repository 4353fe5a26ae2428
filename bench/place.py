"""Paths. Importing this makes the modules of e2e/ importable."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
REPORT = ROOT / "docs" / "benchmarks.md"
PICTURES = ROOT / "docs" / "pictures"
RESULTS = HERE / "results.json"
"""What the last runs measured."""
PEERS = HERE / "peers.json"
REQUIREMENTS = HERE / "requirements.txt"

sys.path.insert(0, str(ROOT / "e2e"))
