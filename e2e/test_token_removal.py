"""With `forward_token: false` the upstream never sees the token."""

from __future__ import annotations

import json

import pytest

import standard
import web
from stack import Stack

SOURCES = """
  token_sources:
    - {header: authorization, scheme: Bearer}
    - {header: x-api-key}
    - {query: access_token}
    - {cookie: session_token}
    - {websocket_protocol: key.}
"""


@pytest.fixture(scope="module", params=[False, True], ids=["headers", "raw headers"])
def secretive(module_stack: Stack, request: pytest.FixtureRequest) -> standard.Gateway:
    config = standard.CONFIG + SOURCES + "  forward_token: false\n"
    return standard.gateway(module_stack, config, encode_raw_headers=request.param)


@pytest.fixture(scope="module")
def open_handed(module_stack: Stack) -> standard.Gateway:
    return standard.gateway(module_stack, standard.CONFIG + SOURCES)


def places(token: str) -> dict[str, tuple[str, list[tuple[str, str]]]]:
    """Requests that carry the token in one place each, and in all."""
    header = ("authorization", f"Bearer {token}")
    key = ("x-api-key", token)
    cookie = ("cookie", f"theme=dark; session_token={token}; lang=en")
    protocol = ("sec-websocket-protocol", f"chat, key.{token}, beta.v1")
    return {
        "header": ("?a=1&b=%20x", [header]),
        "api key header": ("?a=1&b=%20x", [key]),
        "query, first": (f"?access_token={token}&a=1&b=%20x", []),
        "query, in between": (f"?a=1&access_token={token}&b=%20x", []),
        "query, percent-encoded name": (f"?a=1&b=%20x&access%5Ftoken={token}", []),
        "cookie": ("?a=1&b=%20x", [cookie]),
        "protocol": ("?a=1&b=%20x", [protocol]),
        "all at once": (f"?a=1&access_token={token}&b=%20x", [header, key, cookie, protocol]),
    }


PLACES = list(places(""))


@pytest.mark.parametrize("path", ["/orders", "/public"])
@pytest.mark.parametrize("place", PLACES)
def test_the_token_is_gone_and_the_rest_stays(
    secretive: standard.Gateway, place: str, path: str
):
    token = secretive.token()
    query, headers = places(token)[place]
    seen = secretive.get(path + query, headers).seen
    assert token not in json.dumps([seen.path, seen.headers])
    assert seen.get("authorization") is None
    assert seen.get("x-api-key") is None
    # Envoy changes the order of the parameters it keeps.
    kept_path, _, kept_query = seen.path.partition("?")
    assert (kept_path, sorted(kept_query.split("&"))) == (path, ["a=1", "b=%20x"])
    if any(name == "cookie" for name, _ in headers):
        assert seen.get("cookie") == "theme=dark; lang=en"
    if any(name == "sec-websocket-protocol" for name, _ in headers):
        assert seen.get("sec-websocket-protocol") == "chat, beta.v1"


@pytest.mark.parametrize("place", PLACES)
def test_by_default_the_request_passes_as_it_came(open_handed: standard.Gateway, place: str):
    token = open_handed.token()
    query, headers = places(token)[place]
    seen = open_handed.get("/orders" + query, headers).seen
    assert seen.path == "/orders" + query
    assert {name: seen.get(name) for name, _ in headers} == dict(headers)


def test_a_cookie_that_was_only_the_token_goes_whole(secretive: standard.Gateway):
    seen = secretive.get("/orders", [("cookie", f"session_token={secretive.token()}")]).seen
    assert seen.get("cookie") is None


@pytest.mark.parametrize("path", ["/orders", "/public"])
def test_of_protocols_in_several_fields_the_others_stay(secretive: standard.Gateway, path: str):
    values = ["chat", f"key.{secretive.token()}, beta.v1", "gamma"]
    seen = secretive.get(path, [("sec-websocket-protocol", value) for value in values]).seen
    assert seen.get("sec-websocket-protocol") == "chat, beta.v1, gamma"


def test_a_token_among_others_in_the_query_goes_alone(secretive: standard.Gateway):
    seen = secretive.get(f"/orders?access_token={secretive.token()}").seen
    assert seen.path in ("/orders", "/orders?")


def test_two_different_tokens_are_a_bad_request(secretive: standard.Gateway):
    reply = secretive.get(
        f"/orders?access_token={secretive.token()}", web.bearer(secretive.token())
    )
    assert (reply.status, reply.json()["error"]) == (400, "invalid_request")


def test_or_the_first_counts_and_none_reaches_the_upstream(module_stack: Stack):
    """Claude Code with the gateway's key beside a credential of its own."""
    sources = """
  token_sources:
    - {header: x-gateway-key}
    - {header: authorization, scheme: Bearer}
  several_tokens: first
  forward_token: false
"""
    gateway = standard.gateway(module_stack, standard.CONFIG + sources)
    own = ("authorization", "Bearer sk-ant-oat01-own")
    seen = gateway.get("/orders", [own, ("x-gateway-key", "job-key")]).seen
    assert seen.get("x-auth-subject") == "job"
    assert "sk-ant-oat01-own" not in json.dumps(seen.headers)
    assert "job-key" not in json.dumps(seen.headers)
    assert gateway.get("/orders", [own, ("x-gateway-key", "gone-key")]).status == 401
    assert gateway.get("/orders", [own]).status == 401
    repeated = [own, ("x-gateway-key", "job-key"), ("x-gateway-key", "job-key")]
    assert gateway.get("/orders", repeated).status == 400
    seen = gateway.get("/public", [own, ("x-gateway-key", "job-key")]).seen
    assert (seen.get("authorization"), seen.get("x-gateway-key")) == (None, None)


def test_a_provider_sends_on_the_token_it_checked_and_no_other(module_stack: Stack):
    config = standard.CONFIG.replace("type: api_key\n", "type: api_key\n      forward_token: true\n")
    config += SOURCES + "  several_tokens: first\n  forward_token: false\n"
    gateway = standard.gateway(module_stack, config)
    others = [
        ("cookie", "theme=dark; session_token=another"),
        ("sec-websocket-protocol", "chat, key.another"),
    ]
    bearer = ("authorization", "Bearer job-key")
    seen = gateway.get("/orders?access_token=another&a=1", [bearer, *others]).seen
    assert (seen.get("x-auth-subject"), seen.get("authorization")) == ("job", "Bearer job-key")
    assert "another" not in json.dumps([seen.path, seen.headers])
    assert (seen.get("cookie"), seen.get("sec-websocket-protocol")) == ("theme=dark", "chat")
    # Where it came in the query, the query keeps it.
    seen = gateway.get("/orders?access_token=job-key", others).seen
    assert seen.path == "/orders?access_token=job-key"
    assert "another" not in json.dumps(seen.headers)
    # The other provider does as `auth.forward_token` says.
    token = gateway.token()
    seen = gateway.get("/orders", [("authorization", f"Bearer {token}"), *others]).seen
    assert token not in json.dumps(seen.headers) and "another" not in json.dumps(seen.headers)
