"""TLS between Claimgate and the meshes, as docs/envoy-gateway.md and
docs/istio.md set it up with the chart, and a plain Envoy, as its notes do."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import yaml

import envoy_gateway
import istio
import pages
import printed
import release
import tools
import web
from cluster import Cluster
from stack import Claimgate, Envoy, Stack, free_port
from traffic import Dns

NAMESPACE, EDGE = "claimgate-tls", "edge-tls"
HOST = f"claimgate.{NAMESPACE}.svc.cluster.local"

CONFIG = """
server:
  grpc:
    address: "127.0.0.1:${GRPC_PORT}"
    tls:
      cert_file: ${TLS}/server/tls.crt
      key_file: ${TLS}/server/tls.key
      client_ca_file: ${TLS}/client/ca.crt
  admin: {address: "127.0.0.1:${ADMIN_PORT}"}
auth: {mode: api_key, api_keys: [{name: job, key: job-key}]}
"""


def _claimgate(stack: Stack, folder: Path, host: str = HOST) -> Claimgate:
    """Claimgate over mTLS, with the certificate of its Service."""
    tools.certificate(folder / "server", host)
    tools.certificate(folder / "client", "envoy")
    return stack.claimgate(CONFIG, TLS=str(folder))


def _gateway_objects(cluster: Cluster, folder: Path, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    """What the controller would see: the release, and what the page leaves to
    the reader."""

    def encoded(name: str) -> str:
        return base64.b64encode((folder / "client" / name).read_bytes()).decode()

    roots = {"ca.crt": (folder / "server" / "ca.crt").read_text()}
    objects = [
        *cluster.get("services,backendtlspolicies,referencegrants", "--namespace", NAMESPACE)["items"],
        *cluster.get("securitypolicies,envoyproxies", "--namespace", EDGE)["items"],
        *(cluster.get("namespace", name) for name in (NAMESPACE, EDGE)),
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "internal-ca", "namespace": NAMESPACE}, "data": roots},
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/tls",
            "metadata": {"name": "envoy-client", "namespace": EDGE},
            "data": {name: encoded(name) for name in ("tls.crt", "tls.key")},
        },
        *envoy_gateway.published(EDGE, **parameters),
    ]
    others = ("claimgate-admin", "claimgate-headless")
    return [each for each in objects if each["metadata"]["name"] not in others]


def test_envoy_gateway_asks_over_mtls(cluster: Cluster, stack: Stack, tmp_path: Path):
    for name in (NAMESPACE, EDGE):
        cluster.namespace(name)
    claimgate = _claimgate(stack, tmp_path)
    page = pages.Page("envoy-gateway.md")
    values = yaml.safe_load(page.file("tls-values.yaml").replace("namespace: edge", f"namespace: {EDGE}"))
    target = {"kind": "Gateway", "name": "public"}
    policy = {"name": "claimgate", "namespace": EDGE, "targetRefs": [target]}
    values["envoyGateway"]["securityPolicies"] = [policy]
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(values))
    cluster.helm("install", "claimgate", release.CHART, "--namespace", NAMESPACE, "--values", file)

    parameters = page.yaml("gateway-parameters.yaml")["spec"]
    objects = _gateway_objects(cluster, tmp_path, parameters)
    (service,) = (each for each in objects if each["metadata"]["name"] == "claimgate" and each["kind"] == "Service")
    running = {f"{service['spec']['clusterIP']}:9001": claimgate.grpc, "10.0.255.1:80": stack.upstream()}

    def text(name: str) -> dict[str, str]:
        return {"inlineString": (tmp_path / name).read_text()}

    secrets = {
        f"claimgate/{NAMESPACE}-ca": {"validationContext": {"trustedCa": text("server/ca.crt")}},
        f"{EDGE}/envoy-client": {
            "tlsCertificate": {
                "certificateChain": text("client/tls.crt"),
                "privateKey": text("client/tls.key"),
            }
        },
    }

    def gateway(name: str, objects: list[dict[str, Any]]) -> Envoy:
        folder = tmp_path / name
        folder.mkdir()
        xds = envoy_gateway.translate(folder, objects)
        return envoy_gateway.envoy(stack, folder, xds, running, secrets)

    envoy = gateway("as-printed", objects)
    assert web.get(envoy.address, "/", web.bearer("job-key")).seen.get("x-auth-subject") == "job"
    assert web.get(envoy.address, "/").status == 401

    # Without its objects every request is refused, so the test can fail.
    for kind in ("BackendTLSPolicy", "EnvoyProxy"):
        less = [each for each in objects if each["kind"] != kind]
        if kind == "EnvoyProxy":
            less = [_without_parameters(each) for each in less]
        envoy = gateway(f"without-{kind}", less)
        assert web.get(envoy.address, "/", web.bearer("job-key")).status == 503, kind


def _without_parameters(each: dict[str, Any]) -> dict[str, Any]:
    if each["kind"] != "Gateway":
        return each
    return {**each, "spec": {key: value for key, value in each["spec"].items() if key != "infrastructure"}}


def test_a_plain_envoy_asks_over_mtls(cluster: Cluster, stack: Stack, tmp_path: Path):
    """With the certificate that the meshes take too: its name is the Service's,
    wherever Envoy finds the pods."""
    here = ("--namespace", cluster.namespace("claimgate-plain-tls"))
    claimgate = _claimgate(stack, tmp_path, f"claimgate.{here[1]}.svc.cluster.local")
    mutual = "tls.enabled=true,tls.existingSecret=a,tls.clientCA.existingSecret=b"
    notes = cluster.helm("install", "claimgate", release.CHART, *here, "--dry-run=client", "--set", mutual)
    mounted = {"ca.crt": "server", "tls.crt": "client", "tls.key": "client"}
    for name, side in mounted.items():
        printed_path = f"/etc/envoy/claimgate/{name}"
        assert printed_path in notes
        notes = notes.replace(printed_path, str(tmp_path / side / name))
    dns = Dns("claimgate.internal", cached=0)
    dns.set(["127.0.0.1"])
    try:
        port = int(claimgate.grpc.split(":")[1])
        config = printed.runnable(printed.notes(notes), dns, port, stack.upstream())
        envoy = stack.envoy(config)
        job = web.bearer("job-key")
        web.wait_until(lambda: web.get(envoy.address, "/", job).status == 200, "the pods", 30)
        assert web.get(envoy.address, "/", job).seen.get("x-auth-subject") == "job"
        assert web.get(envoy.address, "/").status == 401
    finally:
        dns.close()


def test_istio_is_told_to_ask_over_mtls(cluster: Cluster, stack: Stack, tmp_path: Path):
    """What istiod sends of the DestinationRule. The certificates themselves it
    sends only to a proxy that has proved who it is, which a stock Envoy can't."""
    namespace = cluster.namespace("claimgate-istio-tls")
    cluster.namespace(istio.ROOT_NAMESPACE)
    page = pages.Page("istio.md")
    values = {**page.yaml("tls-values.yaml")}
    labels = {"istio": "tls"}
    values["istio"]["authorizationPolicies"] = [{"name": "claimgate", "selector": labels}]
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(values))
    cluster.helm("install", "claimgate", release.CHART, "--namespace", namespace, "--values", file)
    istiod = istio.istiod(cluster, {})
    port = {"number": 9001, "name": "grpc", "protocol": "GRPC", "address": f"127.0.0.1:{free_port()}"}
    http = {"number": free_port(), "name": "http", "protocol": "HTTP"}
    servers = [{"port": http, "bind": "127.0.0.1", "hosts": ["*"]}]
    host = f"claimgate.{namespace}.svc.cluster.local"
    route = {"route": [{"destination": {"host": host, "port": {"number": 9001}}}]}
    networking = {"apiVersion": "networking.istio.io/v1", "metadata": {"name": "tls", "namespace": namespace}}
    cluster.apply(
        [
            istio.service_entry(namespace, "claimgate", [port]),
            {**networking, "kind": "Gateway", "spec": {"selector": labels, "servers": servers}},
            {**networking, "kind": "VirtualService", "spec": {"hosts": ["*"], "gateways": ["tls"], "http": [route]}},
        ]
    )
    gateway = istiod.gateway(stack, namespace, labels)
    name = f"outbound|9001||{host}"
    dump = web.get(gateway.admin, "/config_dump?resource=dynamic_active_clusters").json()
    (cluster_sent,) = (
        each["cluster"] for each in dump["configs"] if each["cluster"]["name"] == name
    )
    sent = json.dumps(cluster_sent)
    tls = cluster_sent.get("transport_socket") or cluster_sent["transport_socket_matches"][0]["transport_socket"]
    context = tls["typed_config"]
    assert context["sni"] == host
    common = context["common_tls_context"]
    (certificate,) = common["tls_certificate_sds_secret_configs"]
    assert certificate["name"] == "kubernetes://claimgate-client"
    assert f'"exact": "{host}"' in sent
    assert cluster_sent["outlier_detection"]["consecutive_local_origin_failure"] == 1
    istiod.stop()
