"""The arrangement that most tests use: one issuer, API keys, an admin route."""

from __future__ import annotations

from dataclasses import dataclass

import web
from envoy_config import envoy_config
from stack import Claimgate, Envoy, Issuer, Stack

SERVER = """
server:
  grpc: {address: "127.0.0.1:${GRPC_PORT}"}
  admin: {address: "127.0.0.1:${ADMIN_PORT}"}
"""

AUTH = """
auth:
  providers:
    - name: team-keys
      type: api_key
      keys:
        - {name: job, key: job-key, scopes: [invoke]}
        - {name: gone, key: gone-key, revoked: true}
    - name: machines
      type: oauth2
      issuer: ${ISSUER_URL}
      algorithms: [RS256]
      require_audience: false
      jwks_refresh_cooldown_seconds: 2
  required_scopes: [invoke]
  public_paths: [/public]
  routes:
    - {name: admin, match: {path_prefix: /admin}, required_scopes: [admin]}
  headers:
    claims: {client_id: x-auth-client-id, email: x-auth-email}
"""

CONFIG = SERVER + AUTH

CLIENTS = ("--client=web:web-secret:invoke", "--client=root:root-secret:invoke admin")


class Requests:
    """Tokens of the arrangement's issuer, and requests through its Envoy."""

    issuer: Issuer
    envoy: Envoy

    def token(self, client: str = "web", **more: object) -> str:
        return self.issuer.token(client, f"{client}-secret", **more)

    def get(self, path: str, headers: web.Headers = ()) -> web.Reply:
        """A GET through Envoy."""
        return web.get(self.envoy.address, path, headers)

    def flow(self, path: str, headers, **more) -> web.Flow:
        """Requests through Envoy that keep coming."""
        return web.Flow(self.envoy.address, path, headers, **more)


@dataclass
class Gateway(Requests):
    """A running arrangement."""

    stack: Stack
    issuer: Issuer
    upstream: str
    claimgate: Claimgate
    envoy: Envoy


def gateway(stack: Stack, config: str = CONFIG, **envoy_options) -> Gateway:
    """Starts everything."""
    issuer, upstream = stack.issuer(*CLIENTS), stack.upstream()
    claimgate = stack.claimgate(config, ISSUER_URL=issuer.url)
    envoy = stack.envoy(envoy_config(claimgate.grpc, upstream, **envoy_options))
    return Gateway(stack, issuer, upstream, claimgate, envoy)
