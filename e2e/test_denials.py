"""The responses that denied clients get through a real Envoy."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import standard
import web
from envoy_config import envoy_config
from stack import Stack, free_port


def challenge(reply: web.Reply) -> dict[str, str]:
    """The parameters of the one Bearer challenge (RFC 6750, section 3)."""
    value = reply.header("www-authenticate") or ""
    assert re.fullmatch(r'Bearer (\w+="[^"\\]*")(, \w+="[^"\\]*")*', value), value
    return dict(re.findall(r'(\w+)="([^"]*)"', value))


def assert_denial(reply: web.Reply) -> None:
    """The parts that all denials share."""
    assert reply.header("content-type") == "application/json"
    assert reply.header("cache-control") == "no-store"
    assert set(reply.json()) == {"error", "error_description"}


def test_without_a_token_no_error_is_named(gateway: standard.Gateway):
    reply = gateway.get("/orders")
    assert reply.status == 401
    assert_denial(reply)
    assert challenge(reply)["realm"] == "claimgate"
    assert "error" not in challenge(reply)


@pytest.mark.parametrize(
    "token",
    ["expired", "gone-key", "unknown-key", "a.b.c", "...", "x" * 20_000],
    ids=lambda token: token[:12],
)
def test_a_bad_token_is_invalid(gateway: standard.Gateway, token: str):
    if token == "expired":
        token = gateway.token(lifetime=-600)
    reply = gateway.get("/orders", web.bearer(token))
    assert reply.status == 401
    assert_denial(reply)
    assert challenge(reply)["error"] == "invalid_token"
    assert reply.json()["error"] == "invalid_token"
    assert token not in reply.body.decode()


def test_a_missing_scope_is_named(gateway: standard.Gateway):
    reply = gateway.get("/admin", web.bearer(gateway.token()))
    assert reply.status == 403
    assert_denial(reply)
    assert challenge(reply)["error"] == "insufficient_scope"
    assert challenge(reply)["scope"] == "admin"


def test_two_headers_are_a_bad_request(gateway: standard.Gateway):
    token = gateway.token()
    reply = gateway.get("/orders", [*web.bearer(token), *web.bearer(token)])
    assert reply.status == 400
    assert_denial(reply)
    assert challenge(reply)["error"] == "invalid_request"


ADMIN_SPELLINGS = ["/admin", "/admin/", "/admin/users", "/%61dmin", "/admin//users",
                   "/admin/a%2Fb", "/%61%64%6d%69%6e"]
AMBIGUOUS = ["/x%2f..%2fadmin", "/x/..%2fadmin", "/%2fadmin", "/admin/..%2fx", "/admin;x=1",
             "/x;/../admin;y", "/x%5c..%5cadmin", "/%2561dmin", "//admin", "/x/../admin",
             "/./admin", "/x/%2e%2e/admin", "/ADMIN", "//x/admin", "/admin/../x",
             "/public/x;%2fy/..;/..;/admin", "/admin;%252f.."]
ORDINARY = ["/administrator", "/orders/admin", "/v1/models/meta%2Fllama", "/orders?next=/admin"]


@pytest.mark.parametrize("path", ADMIN_SPELLINGS)
def test_a_route_is_not_dodged_by_spelling(gateway: standard.Gateway, path: str):
    assert gateway.get(path, web.bearer(gateway.token())).status == 403
    assert gateway.get(path, web.bearer(gateway.token("root"))).status == 200


@pytest.mark.parametrize("path", AMBIGUOUS)
def test_ambiguous_paths_are_refused_for_every_caller(gateway: standard.Gateway, path: str):
    before = gateway.claimgate.checks("ambiguous_path")
    reply = gateway.get(path, web.bearer(gateway.token("root")))
    assert reply.status == 400
    assert_denial(reply)
    assert gateway.claimgate.checks("ambiguous_path") == before + 1


@pytest.mark.parametrize("path", ORDINARY)
def test_ordinary_paths_pass(gateway: standard.Gateway, path: str):
    assert gateway.get(path, web.bearer(gateway.token())).seen.path == path


@pytest.mark.parametrize("path", ["/public/", "//public", "/%70ublic", "/public/x", "/Public"])
def test_public_paths_are_public_in_one_spelling_only(gateway: standard.Gateway, path: str):
    assert gateway.get(path).status in (400, 401)


@pytest.mark.parametrize(
    "token, grpc_status", [(None, "16"), ("expired", "16"), ("web", "7"), ("ambiguous", "13")]
)
def test_grpc_callers_get_a_grpc_status(
    gateway: standard.Gateway, token: str | None, grpc_status: str
):
    """Envoy maps the HTTP status and puts the body into grpc-message."""
    headers = [("content-type", "application/grpc")]
    path = "/admin;x" if token == "ambiguous" else "/admin"
    if token == "expired":
        headers += web.bearer(gateway.token(lifetime=-600))
    elif token:
        headers += web.bearer(gateway.token())
    reply = web.send(gateway.envoy.address, "POST", path, headers, b"")
    assert reply.status == 200
    assert reply.header("grpc-status") == grpc_status
    assert "error" in (reply.header("grpc-message") or "")


def test_envoys_own_route_may_name_ours(module_stack: Stack, gateway: standard.Gateway):
    """A named route needs no matching, so no path is ambiguous for it."""
    names = {"/by-name": "admin", "/unknown": "nobody-knows-this"}
    config = envoy_config(gateway.claimgate.grpc, gateway.upstream, named_routes=names)
    envoy = module_stack.envoy(config)
    web_token, root_token = web.bearer(gateway.token()), web.bearer(gateway.token("root"))
    assert web.get(envoy.address, "/by-name", web_token).status == 403
    assert web.get(envoy.address, "/by-name", root_token).status == 200
    assert web.get(envoy.address, "/by-name/x%2f..%2fy;z", root_token).status == 200
    reply = web.get(envoy.address, "/unknown", root_token)
    assert reply.status == 500
    assert_denial(reply)


def test_no_request_passes_when_claimgate_is_gone(stack: Stack):
    envoy = stack.envoy(envoy_config(f"127.0.0.1:{free_port()}", stack.upstream()))
    assert web.get(envoy.address, "/public").status == 503


def test_the_access_log_tells_who_and_why(module_stack: Stack, gateway: standard.Gateway):
    log = module_stack.folder / "access.log"
    config = envoy_config(gateway.claimgate.grpc, gateway.upstream, access_log=log)
    address = module_stack.envoy(config).address
    web.get(address, "/orders", web.bearer(gateway.token()))
    web.get(address, "/orders", web.bearer("job-key"))
    web.get(address, "/orders", web.bearer(gateway.token(lifetime=-600)))
    web.get(address, "/orders", web.bearer("gone-key"))
    web.get(address, "/admin", web.bearer(gateway.token()))
    web.get(address, "/orders")
    web.get(address, "/public")

    def lines() -> list[dict]:
        text = Path(log).read_text() if log.exists() else ""
        return [json.loads(line) for line in text.splitlines() if line.endswith("}")]

    web.wait_until(lambda: len(lines()) == 7, "seven lines in the access log")
    told = [(line["status"], line["reason"], line["provider"] or None) for line in lines()]
    assert told == [
        (200, "ok", "machines"),
        (200, "ok", "team-keys"),
        (401, "expired", "machines"),
        (401, "key_revoked", "team-keys"),
        (403, "insufficient_scope", "machines"),
        (401, "missing_token", None),
        (200, "public", None),
    ]
    by_token = lines()[0]
    assert (by_token["method"], by_token["subject"]) == ("oauth2", "web")
    assert by_token["client_id"] == "web"
    assert "invoke" in str(by_token["scopes"])
    assert by_token["expires_at"] is not None
