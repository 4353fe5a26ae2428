"""The policy tests of `examples/tests/` through a real Envoy and whichever door:
what `claimgate test` says of a case must be what a caller gets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import policy_files
import web
from envoy_config import envoy_config
from policy_files import Issuers, Scene
from stack import Envoy, Stack


@pytest.fixture(scope="module")
def issuers() -> Iterator[Issuers]:
    issuers = Issuers()
    yield issuers
    issuers.close()


def started(stack: Stack, scene: Scene, issuers: Issuers, log: Path) -> Envoy:
    claimgate = stack.claimgate(
        scene.text(issuers), wait=not scene.down, name=log.stem, **scene.environment
    )
    return stack.envoy(envoy_config(claimgate.grpc, stack.upstream(), access_log=log))


def logged(log: Path, count: int) -> dict:
    """The line of the latest of so many requests."""
    web.wait_until(lambda: log.exists() and len(log.read_text().splitlines()) == count, "a line")
    return json.loads(log.read_text().splitlines()[-1])


def outcome(envoy: Envoy, log: Path, sent: tuple, expect: dict, count: int) -> dict:
    """What came of a request, of that what is expected."""
    reply = web.send(envoy.address, *sent)
    line = logged(log, count)
    found = {"status": reply.status, "reason": line.get("reason"), "provider": line.get("provider")}
    if reply.status == 200:
        # Of others the metadata does not tell.
        found |= {"subject": line.get("subject"), "scopes": sorted(line.get("scopes") or [])}
    if "headers" in expect:
        # What the upstream gets of an allowed request, and of others the client.
        side = reply.seen.get if reply.status == 200 else reply.header
        found["headers"] = {name: side(name) for name in expect["headers"]}
    return {name: found[name] for name in expect if name in found}


def cases(name: str) -> int:
    (file,) = [file for file in policy_files.FILES if file.name == name]
    return sum(len(scene.cases) for scene in policy_files.scenes(file))


def test_the_cases_are_there():
    assert len(policy_files.FILES) >= 9
    assert cases("many-providers.test.yaml") >= 11


@pytest.mark.parametrize("file", policy_files.FILES, ids=lambda file: file.name.partition(".")[0])
def test_a_caller_gets_what_the_policy_tests_say(stack: Stack, issuers: Issuers, file: Path):
    wrong = []
    for number, scene in enumerate(policy_files.scenes(file)):
        log = stack.folder / f"scene-{number}.jsonl"
        envoy = started(stack, scene, issuers, log)
        for count, case in enumerate(scene.cases, start=1):
            expect = policy_files.expected(case)
            sent = policy_files.request(scene, case, issuers)
            found = outcome(envoy, log, sent, expect, count)
            wanted = {name: expect[name] for name in found}
            if found != wanted:
                wrong.append((case["name"], {"wanted": wanted, "found": found}))
    assert wrong == []
