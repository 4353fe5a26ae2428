"""docs/envoy-gateway.md, through Envoy Gateway's own translator."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import envoy_gateway
import pages
import release
import web
from cluster import Cluster
from stack import Claimgate, Envoy, Issuer, Stack

NAMESPACE = "claimgate-eg"
UPSTREAM = "10.0.255.1"
CLIENTS = {"shipping": "invoke", "analytics": "invoke reports"}
FORGED = [("x-auth-subject", "admin"), ("x_auth_client_id", "analytics")]


@dataclass
class Gateway:
    """Everything that the page sets up, running."""

    page: pages.Page
    objects: list[dict[str, Any]]
    running: dict[str, str]
    issuer: Issuer
    claimgate: Claimgate
    envoy: Envoy

    def bearer(self, client: str = "shipping") -> list[tuple[str, str]]:
        return web.bearer(self.issuer.token(client, "secret"))

    def get(self, path: str, headers: web.Headers = ()) -> web.Reply:
        """A GET through Envoy."""
        return web.get(self.envoy.address, path, headers)


@pytest.fixture(scope="module")
def gateway(
    cluster: Cluster, module_stack: Stack, tmp_path_factory: pytest.TempPathFactory
) -> Gateway:
    """The page, run step by step."""
    clients = (f"--client={client}:secret:{scopes}" for client, scopes in CLIENTS.items())
    issuer = module_stack.issuer(*clients)
    replaced = {
        "https://auth.example.com": issuer.url,
        release.PUBLISHED: str(release.CHART),
        # The tests of other pages have a release in the printed one.
        "--namespace claimgate ": f"--namespace {NAMESPACE} ",
    }
    page = pages.Page("envoy-gateway.md", replaced)
    for namespace in ("edge", "shop"):
        cluster.namespace(namespace)
    folder = tmp_path_factory.mktemp("envoy-gateway")
    page.write(folder)
    tools = release.programs(folder, "helm", "kubectl")
    pages.run(page.commands("helm install"), folder, [tools], KUBECONFIG=cluster.kubeconfig)
    claimgate = release.serve(module_stack, release.installed_config(cluster, NAMESPACE))
    objects = _seen_by_the_controller(cluster)
    services = [each for each in objects if each["kind"] == "Service"]
    (service,) = (each for each in services if each["metadata"]["name"] == "claimgate")
    running = {
        f"{service['spec']['clusterIP']}:9001": claimgate.grpc,
        f"{UPSTREAM}:80": module_stack.upstream(),
    }
    envoy = _run(module_stack, folder, objects, running)
    return Gateway(page, objects, running, issuer, claimgate, envoy)


def _seen_by_the_controller(cluster: Cluster) -> list[dict[str, Any]]:
    """What the API server has, and the upstream's Service."""
    wanted = {
        "namespaces": None,
        "services": NAMESPACE,
        "referencegrants": NAMESPACE,
        "securitypolicies": None,
        "gatewayclasses": None,
        "gateways.gateway.networking.k8s.io": "edge",
        "httproutes": "shop",
    }
    objects: list[dict[str, Any]] = []
    for kind, namespace in wanted.items():
        where = ["--namespace", namespace] if namespace else ["--all-namespaces"]
        objects += cluster.get(kind, *where)["items"]
    objects = [each for each in objects if each["metadata"]["name"] != "claimgate-admin"]
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "orders", "namespace": "shop"},
        "spec": {"clusterIP": UPSTREAM, "ports": [{"name": "http", "port": 80}]},
    }
    return [
        *objects,
        service,
    ]


def _run(
    stack: Stack, folder: Path, objects: list[dict[str, Any]], running: dict[str, str]
) -> Envoy:
    xds = envoy_gateway.translate(folder, objects)
    return envoy_gateway.envoy(stack, folder, xds, running)


def test_the_gateway_is_protected(gateway: Gateway):
    refused = gateway.get("/orders")
    assert refused.status == 401
    assert refused.header("www-authenticate").startswith('Bearer realm="claimgate"')

    forged = [("x-auth-subject", "admin"), ("x-auth-client-id", "analytics")]
    seen = gateway.get("/orders", [*gateway.bearer(), *forged]).seen
    assert dict(seen.named("x-auth-")) == {
        "x-auth-subject": "shipping",
        "x-auth-scopes": "invoke",
        "x-auth-method": "oauth2",
        "x-auth-provider": "machines",
        "x-auth-client-id": "shipping",
    }
    assert gateway.get("/status", forged).seen.named("x-auth-") == []


def test_a_route_is_judged_by_the_rules_it_names(gateway: Gateway):
    assert gateway.get("/reports").status == 401
    denied = gateway.get("/reports", gateway.bearer("shipping"))
    assert (denied.status, denied.json()["error"]) == (403, "insufficient_scope")
    seen = gateway.get("/reports", gateway.bearer("analytics")).seen
    assert seen.get("x-auth-scopes") == "invoke reports"


def test_what_envoy_gateway_does_before_it_asks(gateway: Gateway, stack: Stack, tmp_path: Path):
    escaped, underscore = "/models/meta%2Fllama", [("x_auth_client_id", "analytics")]
    redirected = gateway.get(escaped, gateway.bearer())
    assert (redirected.status, redirected.header("location")[-18:]) == (307, "/models/meta/llama")
    assert gateway.get("/orders", [*gateway.bearer(), *underscore]).status == 400

    objects = [*gateway.objects, *gateway.page.objects("client-traffic-policy.yaml")]
    envoy = _run(stack, tmp_path, objects, gateway.running)
    assert web.get(envoy.address, escaped, gateway.bearer()).seen.path == escaped
    alike = [*underscore, ("x.auth.client-id", "analytics"), ("x~auth!client_id", "analytics")]
    told = [("x-http-method-override", "DELETE"), ("x-original-url", "/reports")]
    seen = web.get(envoy.address, "/orders", [*gateway.bearer(), *alike, *told]).seen
    assert seen.named("x-auth-client") == [("x-auth-client-id", "shipping")]
    assert not {value for _, value in alike + told} & {value for _, value in seen.headers}
    for path in ("/x/..//orders", "//orders", "/x/%2e%2e/orders"):
        assert web.get(envoy.address, path, gateway.bearer()).seen.path == "/orders", path


def test_a_list_of_headers_hides_look_alikes(gateway: Gateway, stack: Stack, tmp_path: Path):
    """The problem that the page warns of, and `removeOnMatch` as its fix."""
    objects = copy.deepcopy(gateway.objects)
    for each in objects:
        if each["kind"] == "SecurityPolicy":
            each["spec"]["extAuth"]["headersToExtAuth"] = ["authorization"]
    forged = [*gateway.bearer(), ("x.auth.client-id", "analytics")]
    envoy = _run(stack, tmp_path, objects, gateway.running)
    assert web.get(envoy.address, "/orders", forged).seen.get("x.auth.client-id") == "analytics"
    policy = gateway.page.objects("client-traffic-policy.yaml")
    (cured := tmp_path / "cured").mkdir()
    envoy = _run(stack, cured, [*objects, *policy], gateway.running)
    assert web.get(envoy.address, "/orders", forged).seen.get("x.auth.client-id") is None


def test_without_claimgate_the_door_is_shut(gateway: Gateway):
    headers = gateway.bearer()
    assert gateway.claimgate.stop() == 0
    try:
        for path in ("/orders", "/reports", "/status"):
            assert gateway.get(path, headers).status == 503, path
            assert gateway.get(path).status == 503, path
    finally:
        gateway.claimgate.start()
        gateway.claimgate.wait_ready(gateway.claimgate.ready)
        web.wait_until(
            lambda: gateway.get("/orders", headers).status == 200, "Envoy to connect again"
        )


@pytest.mark.parametrize(("missing", "status"), [("ReferenceGrant", 500), ("SecurityPolicy", 200)])
def test_what_the_charts_objects_are_for(
    gateway: Gateway, stack: Stack, tmp_path: Path, missing: str, status: int
):
    """Without the grant no request passes; without the policies every one does."""
    objects = [each for each in gateway.objects if each["kind"] != missing]
    envoy = _run(stack, tmp_path, objects, gateway.running)
    assert web.get(envoy.address, "/orders").status == status


def test_fail_open_opens_on_a_mistake(gateway: Gateway, stack: Stack, tmp_path: Path):
    """The problem that the page warns of; the chart has no such value."""
    objects = copy.deepcopy([each for each in gateway.objects if each["kind"] != "ReferenceGrant"])
    for each in objects:
        if each["kind"] == "SecurityPolicy":
            each["spec"]["extAuth"]["failOpen"] = True
    envoy = _run(stack, tmp_path, objects, gateway.running)
    assert web.get(envoy.address, "/orders", FORGED[:1]).seen.named("x-auth-") == FORGED[:1]


@pytest.mark.parametrize(("kind", "well"), [("GRPC", False), ("TCP", True)])
def test_active_health_checks(
    gateway: Gateway, stack: Stack, tmp_path: Path, kind: str, well: bool
):
    """Those over gRPC have the cluster's name as their authority, which is not a
    host name. The page says to use TCP."""
    active = {"type": kind, "interval": "100ms", "timeout": "1s", "unhealthyThreshold": 1}
    active |= {"tcp": {}} if kind == "TCP" else {}
    objects = copy.deepcopy(gateway.objects)
    for each in objects:
        if each["kind"] == "SecurityPolicy":
            grpc = each["spec"]["extAuth"]["grpc"]
            grpc["backendSettings"] = {"healthCheck": {"active": active}}
    envoy = _run(stack, tmp_path, objects, gateway.running)
    counter = "cluster.securitypolicy.*health_check." + ("success" if well else "failure")
    web.wait_until(lambda: envoy.stat(counter) > 0, f"{counter} to count")
    other = "cluster.securitypolicy.*health_check." + ("failure" if well else "success")
    assert envoy.stat(other) == 0


def test_the_pages_policies_are_what_the_api_server_takes(cluster: Cluster, gateway: Gateway):
    cluster.apply(gateway.page.objects("client-traffic-policy.yaml"), "--dry-run=server")
