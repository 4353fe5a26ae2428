"""docs/inside-envoy.md with Envoy Gateway: what its own translator makes of the
chart's objects, in a real Envoy with the module."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import envoy_gateway
import inside
import pages
import release
import tools
import web
from cluster import Cluster
from stack import Envoy, Issuer, Stack

NAMESPACE = "envoy-gateway-system"
UPSTREAM = "10.0.255.2"
CLIENTS = {"shipping": "invoke", "analytics": "invoke reports"}
OWN_ENVOY = "1.39"
"""The minor version of the Envoy that Envoy Gateway 1.9 starts."""


@dataclass
class Gateway:
    """Everything that the page sets up."""

    folder: Path
    objects: list[dict[str, Any]]
    config: Path
    issuer: Issuer
    upstream: str

    def bearer(self, client: str = "shipping") -> list[tuple[str, str]]:
        return web.bearer(self.issuer.token(client, "secret"))

    def kinds(self, *without: str) -> list[dict[str, Any]]:
        """The objects but for those of some kinds."""
        return [each for each in self.objects if each["kind"] not in without]


@pytest.fixture(scope="module")
def gateway(
    cluster: Cluster, module_stack: Stack, tmp_path_factory: pytest.TempPathFactory
) -> Gateway:
    """The page, as far as its commands go."""
    clients = (f"--client={client}:secret:{scopes}" for client, scopes in CLIENTS.items())
    issuer = module_stack.issuer(*clients)
    replaced = {"https://auth.example.com": issuer.url, release.PUBLISHED: str(release.CHART)}
    # Other pages have a gateway in these.
    replaced |= {"namespace: edge": "namespace: inside-edge", "namespace: shop": "namespace: inside-shop"}
    page = pages.Page("inside-envoy.md", replaced)
    for namespace in (NAMESPACE, "inside-edge", "inside-shop"):
        cluster.namespace(namespace)
    folder = tmp_path_factory.mktemp("inside-envoy-gateway")
    page.write(folder)
    path = release.programs(folder, "helm", "kubectl")
    commands = page.commands("kubectl get envoyextensionpolicies")
    pages.run(commands, folder, [path], KUBECONFIG=cluster.kubeconfig)
    config = inside.config_file(cluster, NAMESPACE, folder)
    objects = _seen_by_the_controller(cluster)
    return Gateway(folder, objects, config, issuer, module_stack.upstream())


def _seen_by_the_controller(cluster: Cluster) -> list[dict[str, Any]]:
    wanted = {
        "namespaces": [],
        "gatewayclasses": [],
        "envoyproxies": ["--namespace", "inside-edge"],
        "envoyextensionpolicies": ["--namespace", "inside-edge"],
        "gateways.gateway.networking.k8s.io": ["--namespace", "inside-edge"],
        "httproutes": ["--namespace", "inside-shop"],
    }
    objects = [each for kind, where in wanted.items() for each in cluster.get(kind, *where)["items"]]
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "orders", "namespace": "inside-shop"},
        "spec": {"clusterIP": UPSTREAM, "ports": [{"name": "http", "port": 80}]},
    }
    return [*objects, service]


def _run(
    gateway: Gateway, stack: Stack, folder: Path, objects: list[dict], version: str = "pinned"
) -> Envoy:
    xds = envoy_gateway.translate(folder, objects)
    if any(each["kind"] == "EnvoyProxy" for each in objects):
        xds = inside.here(xds, gateway.config)
    running = {f"{UPSTREAM}:80": gateway.upstream}
    program = tools.module_envoys()[version]
    return envoy_gateway.envoy(stack, folder, xds, running, program=program, log_level="info")


@pytest.fixture(scope="module", params=[OWN_ENVOY, "pinned"])
def envoy(gateway: Gateway, module_stack: Stack, request: pytest.FixtureRequest) -> Envoy:
    folder = gateway.folder / request.param
    folder.mkdir()
    return _run(gateway, module_stack, folder, gateway.objects, request.param)


def test_the_gateway_is_protected(gateway: Gateway, envoy: Envoy):
    refused = web.get(envoy.address, "/orders")
    assert refused.status == 401
    assert refused.header("www-authenticate").startswith('Bearer realm="claimgate"')
    forged = [("x-auth-subject", "admin")]
    seen = web.get(envoy.address, "/orders", [*gateway.bearer(), *forged]).seen
    assert dict(seen.named("x-auth-")) == {
        "x-auth-subject": "shipping",
        "x-auth-scopes": "invoke",
        "x-auth-method": "oauth2",
        "x-auth-provider": "machines",
    }
    assert web.get(envoy.address, "/status", forged).seen.named("x-auth-") == []


def test_routes_ask_for_more(gateway: Gateway, envoy: Envoy):
    statuses = [web.get(envoy.address, "/reports", gateway.bearer(client)).status for client in CLIENTS]
    assert statuses == [403, 200]


def test_a_change_of_the_file_is_no_new_listener(gateway: Gateway, stack: Stack, tmp_path: Path):
    envoy = _run(gateway, stack, tmp_path, gateway.objects)
    headers, text = gateway.bearer(), gateway.config.read_text()
    listeners = envoy.stat("listener_manager.listener_create_success")
    assert web.get(envoy.address, "/orders", headers).status == 200
    gateway.config.write_text(text.replace("- invoke", "- nothing"))
    try:
        web.wait_until(
            lambda: web.get(envoy.address, "/orders", headers).status == 403, "the new rules"
        )
    finally:
        gateway.config.write_text(text)
    assert envoy.stat("listener_manager.listener_create_success") == listeners


def test_a_module_that_is_not_listed_shuts_the_door(gateway: Gateway, stack: Stack, tmp_path: Path):
    objects = [dict(each) for each in gateway.kinds("EnvoyProxy")]
    for each in objects:
        if each["kind"] == "Gateway":
            each["spec"] = {key: value for key, value in each["spec"].items() if key != "infrastructure"}
    envoy = _run(gateway, stack, tmp_path, objects)
    assert web.get(envoy.address, "/orders", gateway.bearer()).status == 500


def test_without_the_policy_the_door_is_open(gateway: Gateway, stack: Stack, tmp_path: Path):
    """So it is the policy that does it."""
    xds = envoy_gateway.translate(tmp_path, gateway.kinds("EnvoyExtensionPolicy"))
    running = {f"{UPSTREAM}:80": gateway.upstream}
    envoy = envoy_gateway.envoy(stack, tmp_path, xds, running)
    assert web.get(envoy.address, "/orders").status == 200


def test_a_policy_on_a_route_replaces_the_gateways(
    gateway: Gateway, stack: Stack, tmp_path: Path
):
    """What the page warns of."""
    script = "function envoy_on_response(handle) end"
    policy = {
        "apiVersion": "gateway.envoyproxy.io/v1alpha1",
        "kind": "EnvoyExtensionPolicy",
        "metadata": {"name": "another", "namespace": "inside-shop"},
        "spec": {
            "targetRefs": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "orders"}],
            "lua": [{"type": "Inline", "inline": script}],
        },
    }
    xds = envoy_gateway.translate(tmp_path, [*gateway.objects, policy])
    running = {f"{UPSTREAM}:80": gateway.upstream}
    envoy = envoy_gateway.envoy(stack, tmp_path, xds, running)
    assert web.get(envoy.address, "/orders").status == 200


def test_the_pods_get_what_the_filter_names(gateway: Gateway):
    (proxy,) = (each for each in gateway.objects if each["kind"] == "EnvoyProxy")
    deployment = proxy["spec"]["provider"]["kubernetes"]["envoyDeployment"]
    mounts = inside.mounted(deployment["pod"], deployment["container"])
    assert mounts == {
        str(Path(inside.MODULE).parent): "ghcr.io/claimgate/claimgate-envoy:0.1.0",
        str(Path(inside.CONFIG).parent): "claimgate",
    }
