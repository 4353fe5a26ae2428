"""What the end-to-end tests share."""

from __future__ import annotations

import pytest

import standard
from stack import Stack

pytest_plugins = ["stack_fixtures"]


@pytest.fixture(scope="module")
def gateway(module_stack: Stack) -> standard.Gateway:
    """The standard arrangement, for tests that leave it as it is."""
    return standard.gateway(module_stack)
