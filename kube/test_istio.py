"""docs/istio.md, on a real istiod and with stock Envoys that it configures."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

import go_tools
import istio
import pages
import rate_limits
import release
import web
from cluster import Cluster
from istio import Istiod, service_entry
from stack import Claimgate, Envoy, Issuer, Stack, free_port

NAMESPACE = "claimgate"
CLIENTS = ("analytics", "shipping")
FORGED = [("x-auth-subject", "admin"), ("x-auth-client-id", "analytics")]


@dataclass
class Mesh:
    """Everything that the page sets up, running."""

    cluster: Cluster
    page: pages.Page
    istiod: Istiod
    issuer: Issuer
    claimgate: Claimgate
    gateway: Envoy
    sidecar: Envoy

    def bearer(self, client: str = "shipping") -> list[tuple[str, str]]:
        return web.bearer(self.issuer.token(client, "secret"))

    def get(self, path: str, headers: web.Headers = ()) -> web.Reply:
        """A GET through the gateway."""
        return web.get(self.gateway.address, path, headers)

    @contextmanager
    def applied(self, objects: list[dict]) -> Iterator[None]:
        """Objects that exist during the block."""
        self.cluster.apply(objects)
        try:
            yield
        finally:
            text = yaml.safe_dump_all(objects)
            self.cluster.kubectl("delete", "--filename", "-", stdin=text)

    @contextmanager
    def without_claimgate(self) -> Iterator[None]:
        """Claimgate is down during the block."""
        assert self.claimgate.stop() == 0
        try:
            yield
        finally:
            self.claimgate.start()
            self.claimgate.wait_ready(self.claimgate.ready)
            headers = self.bearer()
            web.wait_until(
                lambda: self.get("/v1/orders", headers).status == 200, "Envoy to connect again"
            )


@pytest.fixture(scope="module")
def mesh(cluster: Cluster, module_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Mesh:
    """The page, run step by step."""
    issuer = module_stack.issuer(*(f"--client={client}:secret:invoke" for client in CLIENTS))
    replaced = {"https://auth.example.com": issuer.url, release.PUBLISHED: str(release.CHART)}
    page = pages.Page("istio.md", replaced)
    for namespace in (istio.ROOT_NAMESPACE, "shop"):
        cluster.namespace(namespace)
    folder = tmp_path_factory.mktemp("istio")
    page.write(folder)
    tools = release.programs(folder, "helm", "kubectl")
    pages.run(page.commands("helm install"), folder, [tools], KUBECONFIG=cluster.kubeconfig)
    claimgate = release.serve(module_stack, release.installed_config(cluster, NAMESPACE))
    istiod = istio.istiod(cluster, page.yaml("istiod-values.yaml")["meshConfig"])
    cluster.apply(_endpoints_and_routes(folder, claimgate, module_stack.upstream()))
    gateway = istiod.gateway(module_stack)
    sidecar = istiod.sidecar(module_stack, "shop", {"app": "orders"})
    return Mesh(cluster, page, istiod, issuer, claimgate, gateway, sidecar)


def _endpoints_and_routes(folder: Path, claimgate: Claimgate, upstream: str) -> list[dict]:
    grpc = {"number": 9001, "name": "grpc", "protocol": "GRPC", "address": claimgate.grpc}
    http = {"number": 80, "name": "http", "protocol": "HTTP", "address": upstream}
    listener = {"number": free_port(), "name": "http", "protocol": "HTTP"}
    inbound = {"number": free_port(), "name": "http", "protocol": "HTTP"}
    orders = "orders.shop.svc.cluster.local"
    return [
        service_entry(NAMESPACE, "claimgate", [grpc]),
        service_entry("shop", "orders", [http]),
        {
            "apiVersion": "networking.istio.io/v1",
            "kind": "Gateway",
            "metadata": {"name": "public", "namespace": istio.ROOT_NAMESPACE},
            "spec": {
                "selector": istio.GATEWAY_LABELS,
                "servers": [{"port": listener, "bind": "127.0.0.1", "hosts": ["*"]}],
            },
        },
        {
            "apiVersion": "networking.istio.io/v1",
            "kind": "VirtualService",
            "metadata": {"name": "public", "namespace": istio.ROOT_NAMESPACE},
            "spec": {
                "hosts": ["*"],
                "gateways": ["public"],
                "http": [{"route": [{"destination": {"host": orders, "port": {"number": 80}}}]}],
            },
        },
        {
            "apiVersion": "networking.istio.io/v1",
            "kind": "Sidecar",
            "metadata": {"name": "orders", "namespace": "shop"},
            "spec": {
                "workloadSelector": {"labels": {"app": "orders"}},
                "ingress": [
                    {
                        "port": inbound,
                        "bind": "127.0.0.1",
                        "captureMode": "NONE",
                        "defaultEndpoint": upstream,
                    }
                ],
                # Services that it may call. Bound to a socket file without connections.
                "egress": [
                    {
                        "port": {"number": 9001, "name": "grpc", "protocol": "GRPC"},
                        "bind": f"unix://{folder / 'egress.sock'}",
                        "captureMode": "NONE",
                        "hosts": [f"{NAMESPACE}/*"],
                    }
                ],
            },
        },
        {
            # istiod issues no certificates here.
            "apiVersion": "security.istio.io/v1",
            "kind": "PeerAuthentication",
            "metadata": {"name": "plain", "namespace": "shop"},
            "spec": {"mtls": {"mode": "DISABLE"}},
        },
    ]


def test_usage_plans(mesh: Mesh, stack: Stack):
    """Counted by the real rate limit service; one client's use is not another's."""
    limits = rate_limits.start(stack, mesh.page.objects("ratelimit.yaml"))
    port = {"number": 8081, "name": "grpc-ratelimit", "protocol": "GRPC", "address": limits.address}
    before = mesh.claimgate.config.read_text()
    config = yaml.safe_load(before)
    # A day's window does not end within the test.
    plans = {"free": {"requests": {"per_day": 5}}}
    config["auth"] |= {"plans": plans, "default_plan": "free", "limits": "metadata"}
    config["auth"]["routes"] = [
        {"name": "dear", "match": {"path_prefix": "/dear"}, "cost": 3},
        {"name": "gratis", "match": {"path_prefix": "/gratis"}, "limits": "none"},
    ]
    service = service_entry(istio.ROOT_NAMESPACE, "ratelimit", [port])

    def is_configured() -> bool:
        dump = web.get(mesh.gateway.admin, "/config_dump?include_eds").body.decode()
        listening = f'"port_value": {limits.address.split(":")[1]}'
        return "ratelimit.v3.RateLimitPerRoute" in dump and listening in dump

    def allowed(client: str, count: int, path: str = "/v1/orders") -> int:
        headers = mesh.bearer(client)
        statuses = [mesh.get(path, headers).status for _ in range(count)]
        assert set(statuses) <= {200, 429}, statuses
        return statuses.count(200)

    with mesh.applied([service, *mesh.page.objects("plans.yaml")]):
        web.wait_until(is_configured, "the filter and the service", 60)
        reloads = mesh.claimgate.reloads("success")
        mesh.claimgate.config.write_text(yaml.safe_dump(config))
        web.wait_until(lambda: mesh.claimgate.reloads("success") > reloads, "the reload")
        try:
            assert allowed("shipping", 8, "/gratis") == 8
            assert allowed("shipping", 8) == 5
            over = mesh.get("/v1/orders", mesh.bearer("shipping"))
            assert 0 < int(over.header("retry-after")) <= 86400
            assert mesh.get("/v1/orders", FORGED).status == 401
            assert allowed("analytics", 1, "/dear") == 1
            assert allowed("analytics", 8) == 2
        finally:
            mesh.claimgate.config.write_text(before)
            web.wait_until(lambda: mesh.claimgate.reloads("success") > reloads + 1, "the old file")


def test_both_ways_to_name_the_provider_say_the_same(mesh: Mesh, tmp_path: Path):
    """Istio's own code turns each of them into istiod's mesh config."""
    mesh.page.write(tmp_path)
    values = mesh.page.yaml("istiod-values.yaml")["meshConfig"]
    helm = mesh.cluster.helm(
        *("template", "istiod", istio.charts() / "istio-control" / "istio-discovery"),
        *("--values", tmp_path / "istiod-values.yaml", "--show-only", "templates/configmap.yaml"),
    )
    operator = subprocess.run(
        [go_tools.program("istio-manifest"), tmp_path / "istio-operator.yaml"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert set(values) == {"extensionProviders", "pathNormalization"}
    for rendered in (helm, operator):
        config = _mesh_config(rendered)
        assert {key: config[key] for key in values} == values


def _mesh_config(manifests: str) -> dict:
    """The mesh config in the ConfigMap `istio` among these manifests."""
    # All of Istio takes long to parse.
    texts = [text for text in re.split(r"^---\n", manifests, flags=re.M) if "kind: ConfigMap" in text]
    maps = [yaml.safe_load(text) for text in texts]
    (config,) = (each for each in maps if each and each["metadata"]["name"] == "istio")
    return yaml.safe_load(config["data"]["mesh"])


def test_the_gateway_is_protected(mesh: Mesh):
    refused = mesh.get("/v1/orders")
    assert refused.status == 401
    assert refused.header("www-authenticate").startswith('Bearer realm="claimgate"')
    assert mesh.get("/v1/orders", web.bearer("bad.token.here")).status == 401

    seen = mesh.get("/v1/orders", [*mesh.bearer(), *FORGED]).seen
    assert dict(seen.named("x-auth-")) == {
        "x-auth-subject": "shipping",
        "x-auth-scopes": "invoke",
        "x-auth-method": "oauth2",
        "x-auth-provider": "machines",
        "x-auth-client-id": "shipping",
    }


def test_exempt_paths_pass(mesh: Mesh):
    """As the page warns, forged headers are only removed on paths that
    Claimgate itself exempts."""
    assert mesh.get("/status", FORGED).seen.named("x-auth-") == []
    assert mesh.get("/healthz", FORGED).seen.named("x-auth-") == FORGED


def test_a_path_has_one_spelling(mesh: Mesh):
    """Before the check, and when it arrives."""
    headers = mesh.bearer()
    for path in ("/v1//orders", "/v1%2Forders", "/v1%5corders", "/v1/x/../orders", "/v1/%2e/orders"):
        assert mesh.get(path, headers).seen.path == "/v1/orders", path
    assert mesh.get("/v1/../healthz").seen.path == "/healthz"


def test_other_spellings_of_a_path_that_a_policy_names_are_not_asked_about(mesh: Mesh):
    """As the page warns: the sidecar's policy is for `/v1/*`."""
    for path in ("/V1/orders", "/v1;x/orders"):
        seen = web.get(mesh.sidecar.address, path, FORGED).seen
        assert (seen.path, seen.named("x-auth-")) == (path, FORGED)


def test_look_alikes_of_identity_headers_are_seen_and_removed(mesh: Mesh):
    alike = [("x_auth_subject", "forged"), ("x-auth_client-id", "forged")]
    seen = mesh.get("/v1/orders", [*mesh.bearer(), *alike]).seen
    assert [name for name, value in seen.headers if value == "forged"] == []


def test_a_rule_on_a_claim_tells_clients_apart(mesh: Mesh):
    with mesh.applied(mesh.page.objects("reports-policy.yaml")):
        shipping, analytics = mesh.bearer("shipping"), mesh.bearer("analytics")
        web.wait_until(lambda: mesh.get("/reports/2026", shipping).status == 403, "the policy")
        denied = mesh.get("/reports/2026", [*shipping, *FORGED])
        assert (denied.status, denied.body) == (403, b"RBAC: access denied")
        assert mesh.get("/reports/2026", analytics).seen.get("x-auth-client-id") == "analytics"
        assert mesh.get("/v1/orders", shipping).status == 200
        assert mesh.get("/reports/2026", FORGED).status == 401


def test_the_workload_is_protected(mesh: Mesh):
    """A request that passed the gateway, or bypassed it, is checked again."""
    address = mesh.sidecar.address
    assert web.get(address, "/v1/orders", FORGED).status == 401
    seen = web.get(address, "/v1/orders", [*mesh.bearer(), *FORGED]).seen
    assert seen.get("x-auth-client-id") == "shipping"
    assert web.get(address, "/elsewhere").status == 200


def test_without_claimgate_the_door_is_shut(mesh: Mesh):
    headers = mesh.bearer()
    with mesh.without_claimgate():
        for address in (mesh.gateway.address, mesh.sidecar.address):
            answers = [web.get(address, "/v1/orders", each).status for each in (headers, [])]
            assert answers == [503, 503], address
        assert mesh.get("/healthz").status == 200


def test_a_wrong_provider_name_denies_everything(mesh: Mesh):
    policy = {
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": {"name": "typo", "namespace": istio.ROOT_NAMESPACE},
        "spec": {
            "selector": {"matchLabels": istio.GATEWAY_LABELS},
            "action": "CUSTOM",
            "provider": {"name": "claim-gate"},
            "rules": [{"to": [{"operation": {"paths": ["/healthz"]}}]}],
        },
    }
    with mesh.applied([policy]):
        web.wait_until(lambda: mesh.get("/healthz").status == 403, "the policy")
        assert mesh.get("/healthz", mesh.bearer()).body == b"RBAC: access denied"
    web.wait_until(lambda: mesh.get("/healthz").status == 200, "the policy to be gone")
