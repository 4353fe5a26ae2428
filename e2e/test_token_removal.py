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
    return {
        "header": ("?a=1&b=%20x", [header]),
        "api key header": ("?a=1&b=%20x", [key]),
        "query, first": (f"?access_token={token}&a=1&b=%20x", []),
        "query, in between": (f"?a=1&access_token={token}&b=%20x", []),
        "query, percent-encoded name": (f"?a=1&b=%20x&access%5Ftoken={token}", []),
        "cookie": ("?a=1&b=%20x", [cookie]),
        "all at once": (f"?a=1&access_token={token}&b=%20x", [header, key, cookie]),
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


def test_a_token_among_others_in_the_query_goes_alone(secretive: standard.Gateway):
    seen = secretive.get(f"/orders?access_token={secretive.token()}").seen
    assert seen.path in ("/orders", "/orders?")


def test_two_different_tokens_are_a_bad_request(secretive: standard.Gateway):
    reply = secretive.get(
        f"/orders?access_token={secretive.token()}", web.bearer(secretive.token())
    )
    assert (reply.status, reply.json()["error"]) == (400, "invalid_request")
