"""No client can forge identity headers."""

from __future__ import annotations

from itertools import product

import pytest

import standard
import web
from stack import Stack

IDENTITY = [
    f"x-auth-{what}" for what in ("subject", "scopes", "method", "provider", "client-id", "email")
]
SPELLINGS = {
    "as configured": lambda name: name,
    "underscores": lambda name: name.replace("-", "_"),
    "one underscore": lambda name: name.replace("-", "_", 1),
    "another underscore": lambda name: "_".join(name.rsplit("-", 1)),
    "upper case": str.upper,
    "upper case underscores": lambda name: name.upper().replace("-", "_"),
}
FORGED = [
    *((spell(name), "forged") for name, spell in product(IDENTITY, SPELLINGS.values())),
    *((name, "forged twice") for name in IDENTITY),
    *((name.replace("-", "_"), "") for name in IDENTITY),
]
BY_TOKEN = {
    "x-auth-subject": "web",
    "x-auth-scopes": "invoke",
    "x-auth-method": "oauth2",
    "x-auth-provider": "machines",
    "x-auth-client-id": "web",
}
BY_KEY = {
    "x-auth-subject": "job",
    "x-auth-scopes": "invoke",
    "x-auth-method": "api_key",
    "x-auth-provider": "team-keys",
}


@pytest.fixture(scope="module", params=[False, True], ids=["headers", "raw headers"])
def raw(request: pytest.FixtureRequest) -> bool:
    """The form of the request's headers that Envoy sends."""
    return request.param


@pytest.fixture(scope="module")
def guarded(module_stack: Stack, raw: bool) -> standard.Gateway:
    return standard.gateway(module_stack, encode_raw_headers=raw)


@pytest.fixture(scope="module")
def switched_off(module_stack: Stack, raw: bool) -> standard.Gateway:
    config = standard.CONFIG.replace("auth:\n", "auth:\n  enabled: false\n")
    return standard.gateway(module_stack, config, encode_raw_headers=raw)


def assert_identity(gateway: standard.Gateway, path: str, own: web.Headers, identity: dict):
    """Forges every header alone and all at once."""
    own = list(own)
    for forged in ([], *([header] for header in FORGED), FORGED):
        seen = gateway.get(path, [*forged, *own]).seen
        arrived = seen.named("x-auth-")
        assert dict(arrived) == identity, forged
        assert len(arrived) == len(identity), forged


def test_a_token_says_who_the_caller_is(guarded: standard.Gateway):
    """The token has no `email`, so x-auth-email is absent, not the client's."""
    assert_identity(guarded, "/orders", web.bearer(guarded.token()), BY_TOKEN)


def test_an_api_key_says_who_the_caller_is(guarded: standard.Gateway):
    assert_identity(guarded, "/orders", web.bearer("job-key"), BY_KEY)


def test_a_public_path_has_no_caller(guarded: standard.Gateway):
    assert_identity(guarded, "/public", [], {})


def test_a_token_on_a_public_path_makes_no_caller(guarded: standard.Gateway):
    assert_identity(guarded, "/public", web.bearer(guarded.token()), {})


def test_there_is_no_caller_when_auth_is_off(switched_off: standard.Gateway):
    assert_identity(switched_off, "/orders", [], {})


def test_other_headers_pass(guarded: standard.Gateway):
    own = [("x-authority", "a"), ("x_other", "b"), ("x-auth", "c"), ("x-auth-mode", "d")]
    seen = guarded.get("/orders", [*own, *web.bearer(guarded.token())]).seen
    assert {name: seen.get(name) for name, _ in own} == dict(own)
