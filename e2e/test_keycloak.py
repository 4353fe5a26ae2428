"""A real Keycloak: its page works as printed, its tokens pass or are refused
as the page says, and all token clients can get them.

One Keycloak serves all of these tests, since it takes half a minute to start.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

import pytest

import standard
import token_clients as clients
import tools
import web
from envoy_config import envoy_config
from stack import Claimgate, Envoy, Program, Stack, free_port
from token_clients import Client, Desk

pytestmark = pytest.mark.keycloak

PAGE = tools.ROOT / "docs" / "issuers" / "keycloak.md"
PAGE_ADDRESS = "127.0.0.1:8180"
START_SECONDS = 600


@dataclass(frozen=True)
class Keycloak:
    """A running one, with the page's realm `platform` and the tests' `e2e`."""

    address: str
    folder: Path

    def issuer(self, realm: str) -> str:
        return f"http://{self.address}/realms/{realm}"

    def endpoint(self, realm: str) -> str:
        return f"{self.issuer(realm)}/protocol/openid-connect/token"

    def client_credentials(self, realm: str, client: str) -> str:
        return web.client_credentials(self.endpoint(realm), client, f"{client}-secret")

    def alices_tokens(self) -> dict[str, str]:
        """The tokens of a login: an access, an ID and a refresh token."""
        form = {
            "grant_type": "password", "scope": "openid", "client_id": "app",
            "client_secret": "app-secret", "username": "alice", "password": "alice-password",
        }
        reply = web.send(
            self.address, "POST", "/realms/e2e/protocol/openid-connect/token",
            [("content-type", "application/x-www-form-urlencoded")],
            urllib.parse.urlencode(form).encode(),
        )
        assert reply.status == 200, reply.body
        return reply.json()

    def bound_token(self) -> str:
        """A token that is bound to a key by DPoP."""
        script = tools.HERE / "keycloak" / "dpop.mjs"
        command = [tools.node(), script, self.endpoint("e2e"), "bound", "bound-secret"]
        answer = json.loads(subprocess.check_output(command, timeout=clients.SECONDS))
        assert answer["token_type"] == "DPoP", answer
        return answer["access_token"]


def blocks(language: str) -> list[str]:
    return clients.blocks(PAGE.read_text(), language)


@pytest.fixture(scope="module")
def keycloak(module_stack: Stack) -> Keycloak:
    """Started by the page's own commands, on a port that is free."""
    folder = module_stack.folder / "page"
    folder.mkdir()
    address = f"127.0.0.1:{free_port()}"
    (folder / tools.keycloak().name).symlink_to(tools.keycloak())
    (folder / "platform-realm.json").write_text(blocks("json")[0])
    *preparing, (start, _) = clients.commands(blocks("console")[0])
    for command, _ in preparing:
        subprocess.run(["bash", "-ec", command], cwd=folder, check=True)
    shutil.copy(tools.HERE / "keycloak" / "realm.json", folder / "keycloak-26.4.0/data/import/e2e-realm.json")
    assert start.endswith(" &")
    start = f"cd {folder}; exec {start[:-2]}".replace("8180", address.rpartition(":")[2])
    program = module_stack.start(Program, "keycloak", ["bash", "-ec", start])
    discovery = "/realms/e2e/.well-known/openid-configuration"
    program.wait_ready(lambda: web.get(address, discovery).status == 200, START_SECONDS)
    return Keycloak(address, folder)


def test_the_page_works_as_printed(keycloak: Keycloak):
    """Except the port and the commands that started Keycloak."""
    (keycloak.folder / "gateway.yaml").write_text(
        blocks("yaml")[0].replace(PAGE_ADDRESS, keycloak.address)
    )
    script = ""
    for number, (command, _) in enumerate(printed := [
        found for block in blocks("console")[1:] for found in clients.commands(block)
    ]):
        script += f"{{ {command}\n}} > out.{number} || exit\n"
    assert len(printed) >= 7
    own = keycloak.folder / "bin"
    own.mkdir()
    (own / "claimgate").symlink_to(tools.claimgate())
    environment = {"PATH": f"{own}:/usr/bin:/bin", "HOME": str(keycloak.folder)}
    ended = subprocess.run(
        ["bash", "-c", script.replace(PAGE_ADDRESS, keycloak.address)],
        cwd=keycloak.folder, env=environment, capture_output=True, text=True,
        timeout=2 * clients.SECONDS,
    )
    assert ended.returncode == 0, ended.stderr
    for number, (command, shown) in enumerate(printed):
        lines = (keycloak.folder / f"out.{number}").read_text().splitlines()
        for expected in shown:
            pattern = re.escape(expected).replace("…", ".+")
            assert any(re.fullmatch(pattern, line) for line in lines), (command, expected, lines)


# Through Envoy.

AUTH = """
auth:
  providers:
    - {name: platform, type: oauth2, issuer: "${KEYCLOAK}/realms/platform", discovery: true,
       audience: llm-gateway, algorithms: [RS256, ES256], required_claims: {typ: Bearer}}
    - {name: e2e, type: oauth2, issuer: "${KEYCLOAK}/realms/e2e",
       jwks_uri: "${KEYCLOAK}/realms/e2e/protocol/openid-connect/certs",
       algorithms: [RS256, PS256], required_claims: {typ: Bearer},
       require_audience: false, client_ids: [pss, app, bound]}
  routes:
    - {name: admin, match: {path_prefix: /admin}, required_claims: {realm_access.roles: gateway-admin}}
  headers:
    claims: {azp: x-auth-client-id, realm_access.roles: x-auth-roles, preferred_username: x-auth-user}
"""


@dataclass(frozen=True)
class Gateway:
    claimgate: Claimgate
    envoy: Envoy

    def get(self, path: str, token: str) -> web.Reply:
        return web.get(self.envoy.address, path, web.bearer(token))


@pytest.fixture(scope="module")
def gateway(module_stack: Stack, keycloak: Keycloak) -> Gateway:
    claimgate = module_stack.claimgate(
        standard.SERVER + AUTH, KEYCLOAK=f"http://{keycloak.address}"
    )
    envoy = module_stack.envoy(envoy_config(claimgate.grpc, module_stack.upstream()))
    return Gateway(claimgate, envoy)


@pytest.mark.parametrize(
    "realm, client, algorithm",
    [("platform", "agent-runner", "RS256"), ("platform", "notebook", "ES256"), ("e2e", "pss", "PS256")],
)
def test_machines_pass(
    keycloak: Keycloak, gateway: Gateway, realm: str, client: str, algorithm: str
):
    token = keycloak.client_credentials(realm, client)
    assert clients.part(token, 0)["alg"] == algorithm
    # A key that Keycloak made just now may take a fetch that outlasts the
    # check's deadline on a busy machine; the next request gets its result.
    web.wait_until(lambda: gateway.get("/chat", token).status != 503, "the key", 60)
    seen = gateway.get("/chat", token).seen
    assert seen.get("x-auth-client-id") == client
    assert seen.get("x-auth-provider") == realm
    assert seen.get("x-auth-subject") == clients.part(token, 1)["sub"]


def test_a_realm_role_opens_the_route(keycloak: Keycloak, gateway: Gateway):
    admin = keycloak.client_credentials("platform", "agent-runner")
    assert gateway.get("/admin", admin).seen.get("x-auth-roles") == "gateway-admin"
    other = keycloak.client_credentials("platform", "notebook")
    web.wait_until(lambda: gateway.get("/chat", other).status != 503, "the key", 60)
    reply = gateway.get("/admin", other)
    assert reply.status == 403
    assert reply.json()["error"] == "insufficient_scope"


def test_people_pass_with_their_access_token(keycloak: Keycloak, gateway: Gateway):
    token = keycloak.alices_tokens()["access_token"]
    assert gateway.get("/chat", token).seen.get("x-auth-user") == "alice"


@pytest.mark.parametrize(
    "kind, reason",
    [("id_token", "wrong_claim"), ("refresh_token", "algorithm_not_allowed"), ("bound", "wrong_token_type")],
)
def test_other_tokens_are_refused(
    keycloak: Keycloak, gateway: Gateway, kind: str, reason: str
):
    token = keycloak.bound_token() if kind == "bound" else keycloak.alices_tokens()[kind]
    before = gateway.claimgate.checks(reason)
    reply = gateway.get("/chat", token)
    assert (reply.status, reply.json()["error"]) == (401, "invalid_token")
    assert gateway.claimgate.checks(reason) == before + 1


def test_the_encryption_key_is_skipped(keycloak: Keycloak, gateway: Gateway):
    jwks = web.get(keycloak.address, "/realms/platform/protocol/openid-connect/certs").json()
    assert {"sig", "enc"} == {key["use"] for key in jwks["keys"]}
    assert gateway.claimgate.metrics()['claimgate_jwks_keys{provider="platform"}'] >= 1


# The clients.


@pytest.mark.parametrize("auth", ["client_secret_basic", "client_secret_post"])
@pytest.mark.parametrize("client", clients.ALL, ids=repr)
def test_every_client_gets_a_token(keycloak: Keycloak, tmp_path: Path, client: Client, auth: str):
    realm = json.loads((tools.HERE / "keycloak" / "realm.json").read_text())
    (odd,) = [found for found in realm["clients"] if found["clientId"] == "odd client"]
    desk = Desk(tmp_path, client, {
        "GATEWAY_CLIENT_ID": odd["clientId"],
        "GATEWAY_CLIENT_SECRET": odd["secret"],
        "GATEWAY_CLIENT_AUTH": auth,
        "GATEWAY_TOKEN_ENDPOINT": keycloak.endpoint("e2e"),
    })
    token = desk.run().token
    assert clients.part(token, 1)["azp"] == odd["clientId"]
    if client.caches:
        assert desk.run().token == token
    refused = desk.run(GATEWAY_CLIENT_ID="pss")
    assert refused.status == 2
    assert "unauthorized_client" in refused.stderr
