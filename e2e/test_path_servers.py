"""No spelling of a path bypasses a rule, on any of the real servers.

`/open` is public. Claimgate requires the scope `admin` for `/admin`, `/exact`, GET
of `/read` and `/tenants/{id}/keys`, and `basic` for the rest. Each server gets the same spellings
through the same Envoy, with and without Claimgate, so that the tests show the
difference.
"""

from __future__ import annotations

import posixpath

import pytest

import real_servers
import web
from envoy_config import envoy_config
from real_servers import MODES, SERVERS, Servers
from spellings import spellings
from stack import Stack

SPELLINGS = spellings()
PROTECTED = {"admin", "exact", "read"}

REACHED = {
    "tomcat": ["/open/x;%2fy/..;/..;/admin", "/open/%2e%2e;/admin", "/admin;%2f..", "/admin;%5c..", "/admin;%252f.."],
    "jetty": ["/open;/../admin", "/admin;%2f..", "/admin;%5c..", "/admin;%252f.."],
    "undertow": ["/admin;%2f..", "/admin;%5c..", "/admin/../open", "/admin//../open", "/admin/.%2e"],
    "undertow-handlers": ["/admin/../open", "/admin//../open", "/admin;%2f..", "/exact/"],
    "express": ["/ADMIN", "/admin/../open", "/admin/.%2e", "/exact/", "/EXACT", "/read/"],
    "fastify": ["/admin/../open", "/admin//../open", "/%61dmin", "/%65xact"],
    "node-url": ["/admin//../open", "//x/admin", "/\\x/admin", "/open\\..\\admin", "/open/.%2e/admin"],
    "starlette": ["/admin/../open", "/admin//../open", "/admin/.%2e", "/%61dmin"],
    "werkzeug": ["/admin/../open", "/admin/.%2e", "/%61dmin", "/exact/", "/read/"],
    "nginx": ["/open%2f..%2fadmin", "//x/../admin", "/open/%2e%2e/admin", "//admin"],
    "nginx-unmerged": ["/admin//../open", "/open%2f..%2fadmin", "/open//../../admin"],
    "lighttpd": ["/open%2f..%2fadmin", "/open//../../admin", "//admin", "/%2fadmin"],
}
"""Spellings that run a protected handler of this server, when Claimgate is not
asked and Envoy has its defaults. Some look different as written, some once
resolved."""

FEW = {"fastify": 15}
"""Servers that take fewer than 25 such spellings."""

READ = ["tomcat", "jetty", "undertow", "express", "fastify", "starlette", "werkzeug"]
"""Those with a handler for GET only."""

HONEST = [
    ("/open", "none", "open"),
    ("/open/x", "none", "open"),
    ("/open/x", "basic", "open"),
    ("/admin", "none", None),
    ("/admin", "basic", None),
    ("/admin", "admin", "admin"),
    ("/admin/users", "basic", None),
    ("/admin/users?x=/../open", "basic", None),
    ("/admin/users", "admin", "admin"),
]
ORDINARY = [
    ("/exact", "basic", None),
    ("/exact", "admin", "exact"),
    ("/v1/models", "none", None),
    ("/v1/models", "basic", "other"),
    ("/v1/models/Llama-3.1:70b@latest", "basic", "other"),
    ("/v1/files/a%20b.txt", "basic", "other"),
]
"""Servers with more than the two handlers."""


@pytest.fixture(scope="module")
def servers(module_stack: Stack) -> Servers:
    return real_servers.start(module_stack)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("server", SERVERS)
def test_no_spelling_reaches_what_it_may_not(servers: Servers, server: str, mode: str):
    with servers.connect(mode) as client:
        ran = {path: client.ask(server, path).ran for path in SPELLINGS}
        assert [path for path in SPELLINGS if ran[path] not in (None, "open")] == []
        ran = {path: client.ask(server, path, "basic").ran for path in SPELLINGS}
        assert [path for path in SPELLINGS if ran[path] in PROTECTED] == []


@pytest.mark.parametrize("server", SERVERS)
def test_many_a_spelling_would(servers: Servers, server: str):
    """The counter-check of the test above: the same without Claimgate."""
    with servers.connect("defaults") as client:
        ran = {path: client.ask(server, path, guarded=False).ran for path in SPELLINGS}
    reached = [path for path in SPELLINGS if ran[path] in PROTECTED]
    assert [path for path in REACHED[server] if path not in reached] == []
    odd = [path for path in reached if not (_in_admin(path) and _in_admin(posixpath.normpath(path)))]
    assert len(odd) >= FEW.get(server, 25), odd


def _in_admin(path: str) -> bool:
    return path == "/admin" or path.startswith("/admin/")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("server", SERVERS)
def test_honest_spellings_reach_what_they_should(servers: Servers, server: str, mode: str):
    cases = HONEST if server == "lighttpd" else HONEST + ORDINARY
    with servers.connect(mode) as client:
        for path, token, expected in cases:
            assert client.ask(server, path, token).ran == expected, (path, token)


@pytest.mark.parametrize("path", ["/v1/models/meta%2Fllama", "/v1//models"])
@pytest.mark.parametrize("mode", ["defaults", "kept"])
def test_escapes_and_slashes_that_change_no_rule_pass(servers: Servers, mode: str, path: str):
    """For servers that accept them, which not all do."""
    with servers.connect(mode) as client:
        for server in ("express", "fastify", "node-url", "starlette", "undertow", "nginx"):
            assert client.ask(server, path, "basic").ran == "other", server
            assert client.ask(server, path, "none") == real_servers.Answer(None, 401), server


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("server", READ)
def test_head_and_the_methods_case_dodge_no_rule(servers: Servers, server: str, mode: str):
    with servers.connect(mode) as client:
        assert client.ask(server, "/read", "admin").ran == "read"
        for method in ("GET", "HEAD", "get", "Get", "head"):
            for token in ("none", "basic"):
                assert client.ask(server, "/read", token, method=method).ran is None, (method, token)


@pytest.mark.parametrize(
    ("server", "method"),
    [*((server, "HEAD") for server in READ), ("werkzeug", "get"), ("werkzeug", "head")],
)
def test_such_methods_would_run_the_handler(servers: Servers, server: str, method: str):
    with servers.connect("defaults") as client:
        assert client.ask(server, "/read", method=method, guarded=False).ran == "read"


EMPTY = ["/tenants//keys", "/tenants/%2f/keys", "/tenants/;/keys", "//tenants//keys", "/tenants//keys?x=/"]
"""An empty segment, or what is one in some reading, where the parameter stands."""


@pytest.mark.parametrize("mode", MODES)
def test_an_empty_segment_dodges_no_template(servers: Servers, mode: str):
    with servers.connect(mode) as client:
        assert client.ask("fastify", "/tenants/7/keys", "admin").ran == "keys"
        assert client.ask("fastify", "/tenants/7/keys", "basic") == real_servers.Answer(None, 403)
        for path in EMPTY:
            for token in ("none", "basic"):
                assert client.ask("fastify", path, token).ran in (None, "other"), (path, token)


def test_fastify_takes_an_empty_segment_for_a_parameter(servers: Servers):
    """The counter-check; with Claimgate, whose rules differ there, it is a 400."""
    with servers.connect("defaults") as client:
        for path in ["/tenants//keys", "/tenants/%2f/keys", "/tenants/;/keys"]:
            assert client.ask("fastify", path, guarded=False).ran == "keys", path
        for token in ("none", "basic", "admin"):
            assert client.ask("fastify", "/tenants//keys", token) == real_servers.Answer(None, 400)


@pytest.mark.parametrize("mode", MODES)
def test_a_method_in_a_header_is_envoys_to_remove(servers: Servers, mode: str):
    """Claimgate decides by the method that was sent. Express can be set to follow the header."""
    override = [("X-HTTP-Method-Override", "GET")]
    with servers.connect(mode) as client:
        answer = client.ask("express", "/read", "basic", method="POST", headers=override)
    assert answer.ran == ("read" if mode == "defaults" else "other")


def test_a_route_that_envoy_names_is_not_read_again(servers: Servers, module_stack: Stack):
    """As docs/envoy.md warns: a public route that is named for a prefix."""
    config = envoy_config(servers.claimgate.grpc, servers.addresses["tomcat"], named_routes={"/open": "open"})
    [listener] = config["static_resources"]["listeners"]
    listener["filter_chains"][0]["filters"][0]["typed_config"] |= MODES["refused"]
    envoy = module_stack.envoy(config)
    assert web.get(envoy.address, "/open/%2e%2e;/admin").header("x-ran") == "admin"
    assert web.get(envoy.address, "/x/%2e%2e;/admin").header("x-ran") is None
