"""Servers of the Model Context Protocol behind the gateway: a client library
that knows only a server's URL finds out where to get a token, and gets access."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass

import pytest

import standard
import tools
import web
from envoy_config import envoy_config
from stack import Claimgate, Program, Stack, free_port

AUTH = """
auth:
  providers:
    - name: oidc
      type: oauth2
      issuer: ${ISSUER_URL}
      discovery: true
      audience: ${RESOURCE}
  allow_cors_preflight: true
  routes:
    - name: tools
      match: {path_prefix: /mcp}
      required_scopes: [invoke]
      protected_resource:
        resource: ${RESOURCE}
        resource_name: Tools of the tests
"""


@dataclass
class Tools:
    claimgate: Claimgate
    address: str
    resource: str
    issuer: str

    @property
    def metadata_path(self) -> str:
        return "/.well-known/oauth-protected-resource/mcp"


@pytest.fixture(scope="module")
def mcp(module_stack: Stack) -> Tools:
    provider = module_stack.start(Program, "oidc-provider", [tools.node(), tools.oidc_provider()])
    server = module_stack.start(Program, "mcp-server", [tools.node(), tools.sdk_program("mcp_server.mjs")])
    issuer = provider.first_line()
    address = f"127.0.0.1:{free_port()}"
    resource = f"http://{address}/mcp"
    claimgate = module_stack.claimgate(
        standard.SERVER + AUTH, ISSUER_URL=issuer, RESOURCE=resource
    )
    config = envoy_config(claimgate.grpc, server.first_line(), listen=address)
    module_stack.envoy(config)
    return Tools(claimgate, address, resource, issuer)


def test_a_client_library_discovers_the_issuer_and_gets_in(mcp: Tools):
    client = [tools.node(), tools.sdk_program("mcp_client.mjs"), mcp.resource]
    run = subprocess.run(client, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    told = json.loads(run.stdout)
    assert told["status"] == 401
    assert told["challenge"] == {
        "resourceMetadataUrl": f"http://{mcp.address}{mcp.metadata_path}",
        "scope": "invoke",
    }
    assert told["resource"] == told["guessed"]
    assert told["resource"] == {
        "resource": mcp.resource,
        "authorization_servers": [mcp.issuer],
        "scopes_supported": ["invoke"],
        "bearer_methods_supported": ["header"],
        "resource_name": "Tools of the tests",
    }
    assert told["tokenEndpoint"] == f"{mcp.issuer}/token"
    assert told["said"] == "hello machine"


def test_envoy_answers_with_the_document(mcp: Tools):
    before = mcp.claimgate.checks("public")
    reply = web.get(mcp.address, mcp.metadata_path, [("origin", "https://a.example")])
    assert reply.status == 200
    assert reply.header("content-type") == "application/json"
    assert reply.header("access-control-allow-origin") == "*"
    assert reply.header("cache-control") == "public, max-age=300"
    assert reply.json()["resource"] == mcp.resource
    assert mcp.claimgate.checks("public") == before + 1
    head = web.send(mcp.address, "HEAD", mcp.metadata_path)
    assert (head.status, head.body) == (200, b"")


def test_a_browser_may_ask_for_it(mcp: Tools):
    """The preflight is not left to the upstream."""
    headers = [
        ("origin", "https://a.example"),
        ("access-control-request-method", "GET"),
        ("access-control-request-headers", "mcp-protocol-version"),
    ]
    reply = web.send(mcp.address, "OPTIONS", mcp.metadata_path, headers)
    assert (reply.status, reply.body) == (204, b"")
    assert reply.header("access-control-allow-origin") == "*"
    assert reply.header("access-control-allow-headers") == "*"


@pytest.mark.parametrize(
    "method, path, status",
    [
        ("POST", "/.well-known/oauth-protected-resource/mcp", 401),
        ("GET", "/.well-known/oauth-protected-resource", 401),
        ("GET", "/.well-known/oauth-protected-resource/mcp/", 401),
        # Where there are routes, the text after two slashes may be a host.
        ("GET", "//.well-known/oauth-protected-resource/mcp", 400),
        ("GET", "/.well-known/oauth-protected-resource/other", 401),
    ],
)
def test_anything_else_is_denied_without_a_token(mcp: Tools, method: str, path: str, status: int):
    assert web.send(mcp.address, method, path, body=b"").status == status
