"""How Envoy itself changes a path: the table of docs/envoy.md, and the cases
that no setting covers, which is why Claimgate reads a path in every way."""

from __future__ import annotations

import pytest

import web
from envoy_config import EXT_AUTHZ, envoy_config
from stack import Stack


def _envoy(stack: Stack, **settings: object) -> str:
    """Envoy with these settings of its connection manager, alone before an
    upstream; its address."""
    config = envoy_config("127.0.0.1:9", stack.upstream())
    [listener] = config["static_resources"]["listeners"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    for key in ("normalize_path", "merge_slashes", "path_with_escaped_slashes_action"):
        del manager[key]
    manager |= settings
    manager["http_filters"] = [each for each in manager["http_filters"] if each["name"] != EXT_AUTHZ]
    return stack.envoy(config).address


@pytest.mark.parametrize(
    ("action", "status", "arrives"),
    [
        ("REJECT_REQUEST", 400, None),
        ("KEEP_UNCHANGED", 200, "/v1/models/meta%2Fllama"),
        ("UNESCAPE_AND_REDIRECT", 307, "/v1/models/meta/llama"),
        ("UNESCAPE_AND_FORWARD", 200, "/v1/models/meta/llama"),
    ],
)
def test_an_escaped_slash(stack: Stack, action: str, status: int, arrives: str | None):
    settings = {"normalize_path": True, "merge_slashes": True, "path_with_escaped_slashes_action": action}
    reply = web.get(_envoy(stack, **settings), "/v1/models/meta%2Fllama")
    assert reply.status == status
    if status == 200:
        assert reply.seen.path == arrives
    if status == 307:
        assert reply.header("location") == arrives


def test_by_default_a_path_is_passed_on_as_it_came(stack: Stack):
    address = _envoy(stack)
    for path in ("/admin/../open", "/admin//../open", "/open\\..\\admin", "/%61dmin", "/x%2f..%2fadmin"):
        assert web.get(address, path).seen.path == path


@pytest.fixture(scope="module")
def hardened(module_stack: Stack) -> str:
    settings = {"normalize_path": True, "merge_slashes": True, "path_with_escaped_slashes_action": "REJECT_REQUEST"}
    return _envoy(module_stack, **settings)


@pytest.mark.parametrize("path", ["/x/../admin", "/x/%2e%2e/admin", "//admin", "/%61dmin", "/x\\..\\admin", "/./admin", "/x/..;/admin"])
def test_what_is_covered(hardened: str, path: str):
    assert web.get(hardened, path).seen.path == "/admin"


@pytest.mark.parametrize(
    "path", ["/admin;x", "/open/...;/admin", "/open%252f..%252fadmin", "/open/%252e%252e/admin", "/ADMIN", "/admin/"]
)
def test_what_is_not_covered(hardened: str, path: str):
    assert web.get(hardened, path).seen.path == path


def test_a_dot_segment_with_a_parameter_is_made(hardened: str):
    """A servlet container reads the forwarded path as `/admin`."""
    assert web.get(hardened, "/open/%2e%2e;/admin").seen.path == "/open/..;/admin"
