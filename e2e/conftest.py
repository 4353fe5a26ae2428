"""Fixtures of the end-to-end tests."""

from __future__ import annotations

import pytest

import doors
import standard
from stack import Stack

pytest_plugins = ["stack_fixtures", "collector"]


@pytest.fixture(scope="module")
def gateway(module_stack: Stack) -> standard.Gateway:
    """The standard arrangement, for tests that don't change it."""
    return standard.gateway(module_stack)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Through the module's door, what is about the service is left out."""
    for item in items if doors.IS_MODULE else ():
        name = item.name.partition("[")[0]
        reason = doors.NOT_INSIDE.get(name) or doors.NOT_INSIDE.get(item.path.stem)
        if reason:
            item.add_marker(pytest.mark.skip(reason=reason))
