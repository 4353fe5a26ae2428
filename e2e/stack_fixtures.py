"""The fixtures of every suite that starts programs, as a plugin of pytest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from stack import Stack

STACKS: list[Stack] = []


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """Programs for one test."""
    yield from _stack(tmp_path)


@pytest.fixture(scope="module")
def module_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Programs for all tests of a file."""
    yield from _stack(tmp_path_factory.mktemp("stack"))


@pytest.fixture(scope="session")
def session_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Programs for all tests."""
    yield from _stack(tmp_path_factory.mktemp("session"))


def _stack(folder: Path) -> Iterator[Stack]:
    with Stack(folder) as stack:
        STACKS.append(stack)
        yield stack
    STACKS.remove(stack)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo):
    """Adds the ends of the logs to a failure."""
    report = yield
    if report.failed:
        for program in (program for stack in STACKS for program in stack.programs):
            report.sections.append((f"{program.name}: {program.log}", program.tail()))
    return report
