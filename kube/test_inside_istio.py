"""docs/inside-envoy.md with Istio: what a real istiod makes of the chart's
objects, in stock Envoys with the module."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

import inside
import istio
import pages
import release
import web
from cluster import Cluster
from istio import Istiod, service_entry
from stack import Envoy, Issuer, Stack, free_port

NAMESPACE = "istio-ingress"
SHOP = "inside-mesh"
LABELS = {"istio": "ingress"}
"""What Istio's gateway chart gives the pods of a release called istio-ingress."""
FORGED = [("x-auth-subject", "admin"), ("x-auth-client-id", "analytics")]


@dataclass
class Mesh:
    """Everything that the page sets up, running."""

    cluster: Cluster
    page: pages.Page
    folder: Path
    issuer: Issuer
    gateway: Envoy
    sidecar: Envoy

    def bearer(self) -> list[tuple[str, str]]:
        return web.bearer(self.issuer.token("shipping", "secret"))


@pytest.fixture(scope="module")
def mesh(
    cluster: Cluster, module_stack: Stack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mesh]:
    """The page, carried out step by step."""
    issuer = module_stack.issuer("--client=shipping:secret:invoke")
    replaced = {
        "https://auth.example.com": issuer.url,
        release.PUBLISHED: str(release.CHART),
        # The tests of another page have their workload in this one.
        "namespace: shop": f"namespace: {SHOP}",
        "[istio-ingress, shop]": f"[istio-ingress, {SHOP}]",
    }
    page = pages.Page("inside-envoy.md", replaced)
    for namespace in (istio.ROOT_NAMESPACE, NAMESPACE, SHOP):
        cluster.namespace(namespace)
    folder = tmp_path_factory.mktemp("inside-istio")
    page.write(folder)
    path = release.programs(folder, "helm", "kubectl")
    pages.run(page.commands("--values istio-values.yaml"), folder, [path], KUBECONFIG=cluster.kubeconfig)
    _use_files_of_this_machine(cluster, folder)
    istiod = istio.istiod(cluster, {})
    cluster.apply(_endpoints_and_routes(folder, module_stack.upstream()))
    gateway = istiod.gateway(module_stack, NAMESPACE, LABELS)
    sidecar = istiod.sidecar(module_stack, SHOP, {"app": "orders"})
    yield Mesh(cluster, page, folder, issuer, gateway, sidecar)
    istiod.stop()


def _use_files_of_this_machine(cluster: Cluster, folder: Path) -> None:
    """No image is mounted here, so the filters name the files where they are."""
    for namespace in (NAMESPACE, SHOP):
        config = inside.config_file(cluster, namespace, folder)
        found = cluster.get("envoyfilter", "claimgate", "--namespace", namespace)
        patch = {"spec": inside.here(found["spec"], config)}
        options = ("--namespace", namespace, "--type", "merge", "--patch", json.dumps(patch))
        cluster.kubectl("patch", "envoyfilter", "claimgate", *options)


def _endpoints_and_routes(folder: Path, upstream: str) -> list[dict]:
    http = {"number": 80, "name": "http", "protocol": "HTTP"}
    outside, inbound = ({**http, "number": free_port()} for _ in range(2))
    orders = f"orders.{SHOP}.svc.cluster.local"
    route = {"destination": {"host": orders, "port": {"number": 80}}}
    networking = {"apiVersion": "networking.istio.io/v1"}
    public = {"name": "inside", "namespace": NAMESPACE}
    return [
        service_entry(SHOP, "orders", [{**http, "address": upstream}]),
        {
            **networking,
            "kind": "Gateway",
            "metadata": public,
            "spec": {
                "selector": LABELS,
                "servers": [{"port": outside, "bind": "127.0.0.1", "hosts": ["*"]}],
            },
        },
        {
            **networking,
            "kind": "VirtualService",
            "metadata": public,
            "spec": {"hosts": ["*"], "gateways": ["inside"], "http": [{"route": [route]}]},
        },
        {
            **networking,
            "kind": "Sidecar",
            "metadata": {"name": "orders", "namespace": SHOP},
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
                # Bound to a socket file, as it asks for nothing.
                "egress": [
                    {
                        "port": http,
                        "bind": f"unix://{folder / 'egress.sock'}",
                        "captureMode": "NONE",
                        "hosts": ["./*"],
                    }
                ],
            },
        },
        {
            # istiod gives out no certificates here.
            "apiVersion": "security.istio.io/v1",
            "kind": "PeerAuthentication",
            "metadata": {"name": "plain", "namespace": SHOP},
            "spec": {"mtls": {"mode": "DISABLE"}},
        },
    ]


@pytest.mark.parametrize("proxy", ["gateway", "sidecar"])
def test_the_proxy_decides(mesh: Mesh, proxy: str):
    envoy: Envoy = getattr(mesh, proxy)
    refused = web.get(envoy.address, "/v1/orders", FORGED)
    assert refused.status == 401
    assert refused.header("www-authenticate").startswith('Bearer realm="claimgate"')
    seen = web.get(envoy.address, "/v1/orders", [*mesh.bearer(), *FORGED]).seen
    assert dict(seen.named("x-auth-")) == {
        "x-auth-subject": "shipping",
        "x-auth-scopes": "invoke",
        "x-auth-method": "oauth2",
        "x-auth-provider": "machines",
        # No name of Claimgate's own, here.
        "x-auth-client-id": "analytics",
    }


def test_istios_own_policies_see_the_caller(mesh: Mesh):
    """As the filter stands before theirs."""
    policy = {
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": {"name": "inside", "namespace": NAMESPACE},
        "spec": {
            "selector": {"matchLabels": LABELS},
            "action": "DENY",
            "rules": [{"when": [{"key": "request.headers[x-auth-subject]", "values": ["shipping"]}]}],
        },
    }
    mesh.cluster.apply([policy])
    try:
        headers = mesh.bearer()
        web.wait_until(
            lambda: web.get(mesh.gateway.address, "/v1/orders", headers).status == 403, "the policy"
        )
        assert web.get(mesh.gateway.address, "/status", FORGED[:1]).status == 200
    finally:
        text = yaml.safe_dump(policy)
        mesh.cluster.kubectl("delete", "--filename", "-", stdin=text)


def test_istios_gateway_chart_takes_the_values(mesh: Mesh, tmp_path: Path):
    """Those on the page are those that the chart's notes print."""
    mesh.page.write(tmp_path)
    text = mesh.cluster.helm(
        *("template", "istio-ingress", istio.charts() / "gateway"),
        *("--values", tmp_path / "istio-gateway-values.yaml"),
    )
    objects = [each for each in yaml.safe_load_all(text) if each]
    (deployment,) = (each for each in objects if each["kind"] == "Deployment")
    template = deployment["spec"]["template"]
    assert LABELS.items() <= template["metadata"]["labels"].items()
    (container,) = template["spec"]["containers"]
    assert inside.mounted(template["spec"], container) == {
        str(Path(inside.MODULE).parent): "ghcr.io/claimgate/claimgate-envoy:0.1.0",
        str(Path(inside.CONFIG).parent): "claimgate",
    }
    notes = mesh.cluster.helm("get", "notes", "claimgate", "--namespace", NAMESPACE)
    values = yaml.safe_load(mesh.page.file("istio-gateway-values.yaml"))
    printed = notes.split("Values of Istio's gateway chart:")[1].split("Annotations")[0]
    assert yaml.safe_load(printed) == values
    # A sidecar's annotations are the same, by name.
    annotations = yaml.safe_load(notes.split("sidecar decides:")[1])
    for key, annotation in (("volumes", "userVolume"), ("volumeMounts", "userVolumeMount")):
        listed = json.loads(annotations[f"sidecar.istio.io/{annotation}"])
        assert [{"name": name, **rest} for name, rest in listed.items()] == sorted(
            values[key], key=lambda each: each["name"]
        )
