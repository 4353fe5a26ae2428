"""Tokens of a third-party OAuth server: npm's oidc-provider."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

import standard
import tools
import web
from envoy_config import envoy_config
from stack import Claimgate, Envoy, Program, Stack

AUTH = """
auth:
  providers:
    - name: keys
      type: api_key
      keys: [{name: job, key: job-key}]
    - name: oidc
      type: oauth2
      issuer: ${ISSUER_URL}
      discovery: true
      audience: https://api.example
      client_ids: [machine]
      algorithms: [RS256, PS256, ES256, EdDSA]
  required_scopes: [invoke]
"""


@dataclass
class Foreign:
    issuer: str
    claimgate: Claimgate
    envoy: Envoy

    def token(self, kind: str) -> str:
        resource = f"urn:e2e:{kind}"
        return web.client_credentials(
            f"{self.issuer}/token", "machine", "machine-secret", scope="invoke", resource=resource
        )


@pytest.fixture(scope="module")
def foreign(module_stack: Stack) -> Foreign:
    server = module_stack.start(Program, "oidc-provider", [tools.node(), tools.oidc_provider()])
    issuer = server.first_line()
    claimgate = module_stack.claimgate(standard.SERVER + AUTH, ISSUER_URL=issuer)
    envoy = module_stack.envoy(envoy_config(claimgate.grpc, module_stack.upstream()))
    return Foreign(issuer, claimgate, envoy)


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
def test_its_jwt_is_accepted(foreign: Foreign, algorithm: str):
    token = foreign.token(algorithm)
    seen = web.get(foreign.envoy.address, "/orders", web.bearer(token)).seen
    assert (seen.get("x-auth-subject"), seen.get("x-auth-provider")) == ("machine", "oidc")


def test_its_opaque_token_is_refused(foreign: Foreign):
    before = foreign.claimgate.checks("unknown_key")
    reply = web.get(foreign.envoy.address, "/orders", web.bearer(foreign.token("opaque")))
    assert reply.status == 401
    assert foreign.claimgate.checks("unknown_key") == before + 1
