"""Fixtures of the tests against real control planes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cluster import Cluster
from stack import Stack

pytest_plugins = ["stack_fixtures"]


@pytest.fixture(scope="session")
def cluster(session_stack: Stack) -> Iterator[Cluster]:
    """One Kubernetes API for all tests, each of which has its own namespaces."""
    cluster = Cluster(session_stack)
    cluster.install_custom_resources()
    yield cluster
