"""Fixtures of the chart's tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path += [str(ROOT / folder) for folder in ("e2e", "kube", "charts/schema")]

import chart  # noqa: E402


@pytest.fixture(scope="session", params=chart.EXAMPLES, ids=lambda file: file.stem)
def example(request: pytest.FixtureRequest) -> chart.Rendered:
    """The chart with the values of each example."""
    return chart.rendered(request.param)


@pytest.fixture(scope="session", params=[*chart.EXAMPLES, None], ids=lambda file: file.stem if file else "checked")
def everything(request: pytest.FixtureRequest) -> chart.Rendered:
    """The same, and the chart with the check before an upgrade."""
    return chart.rendered(request.param) if request.param else chart.rendered(None, *chart.HOOK)


@pytest.fixture(scope="session", params=chart.SERVICES, ids=lambda file: file.stem)
def service(request: pytest.FixtureRequest) -> chart.Rendered:
    """The chart with the values of each example that makes pods."""
    return chart.rendered(request.param)
