"""What Envoy's access log finds in the dynamic metadata."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import standard
import web
from stack import Stack

OF_A_KEY = {
    "reason": "ok",
    "provider": "team-keys",
    "method": "api_key",
    "subject": "job",
    "scopes": ["invoke"],
}
OF_A_DENIAL = {"reason": "key_revoked", "provider": "team-keys"}
CASES = {
    "left out": ("", OF_A_KEY, OF_A_DENIAL),
    "two": ("metadata: [reason, subject]", {"reason": "ok", "subject": "job"}, {"reason": "key_revoked"}),
    "of callers alone": ("metadata: [scopes, method]", {"scopes": ["invoke"], "method": "api_key"}, None),
    "none": ("metadata: []", None, None),
}


def logged(file: Path, case: str) -> dict:
    """The access log's line of the one request with this header."""

    def lines() -> list[dict]:
        found = map(json.loads, file.read_text().splitlines()) if file.exists() else []
        return [line for line in found if line["case"] == case]

    web.wait_until(lines, f"the access log's line of {case}")
    (line,) = lines()
    return line


def written(metadata: dict | None) -> dict | None:
    """The members from Claimgate; Envoy adds how long ext_authz took."""
    return metadata and {name: value for name, value in metadata.items() if name != "ext_authz_duration"}


@pytest.mark.parametrize(("wanted", "allowed", "denied"), CASES.values(), ids=CASES)
def test_the_members_that_are_wanted_are_told(
    stack: Stack, wanted: str, allowed: dict | None, denied: dict | None
):
    file = stack.folder / "access.jsonl"
    gateway = standard.gateway(stack, f"{standard.CONFIG}  {wanted}\n", access_log=file)
    for key, status, expected in [("job-key", 200, allowed), ("gone-key", 401, denied)]:
        reply = gateway.get("/orders", [*web.bearer(key), ("x-case", key)])
        assert reply.status == status
        assert written(logged(file, key)["metadata"]) == expected
