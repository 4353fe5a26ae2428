"""A real istiod, and stock Envoys as the gateway and the sidecar that it
configures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

import go_tools
import web
from cluster import START_SECONDS, Cluster
from stack import Envoy, Program, Stack, free_port

ROOT_NAMESPACE = "istio-system"

GATEWAY_LABELS = {"istio": "ingressgateway"}
"""What Istio's own gateway chart puts on its pods."""


class Istiod(Program):
    """`pilot-discovery discovery`, reading the cluster."""

    xds: str

    def gateway(
        self,
        stack: Stack,
        namespace: str = ROOT_NAMESPACE,
        labels: dict[str, str] = GATEWAY_LABELS,
    ) -> Envoy:
        """An ingress gateway, as a `Gateway` selects it."""
        return self._proxy(stack, "router", namespace, labels)

    def sidecar(self, stack: Stack, namespace: str, labels: dict[str, str]) -> Envoy:
        """The sidecar of a workload. It listens where its `Sidecar` says
        instead of having the kernel redirect connections to it."""
        return self._proxy(stack, "sidecar", namespace, labels, INTERCEPTION_MODE="NONE")

    def _proxy(
        self, stack: Stack, kind: str, namespace: str, labels: dict[str, str], **more: str
    ) -> Envoy:
        metadata = {
            "NAMESPACE": namespace,
            "CLUSTER_ID": "Kubernetes",
            "ISTIO_VERSION": "1.31.0",
            "LABELS": labels,
            "STATIC_LABELS": labels,
            **more,
        }
        node = {
            "id": f"{kind}~127.0.0.1~{kind}.{namespace}~{namespace}.svc.cluster.local",
            "cluster": kind,
            "metadata": metadata,
        }
        return stack.envoy(_bootstrap(node, self.xds))


def istiod(cluster: Cluster, mesh: dict[str, Any]) -> Istiod:
    """Starts istiod with this mesh config."""
    stack = cluster.stack
    # Without a CNI or certificates to issue, it uses plain text.
    text = yaml.safe_dump({**mesh, "enableAutoMtls": False})
    file = stack.folder / "mesh.yaml"
    file.write_text(text)
    metadata = {"name": "istio", "namespace": ROOT_NAMESPACE}
    cluster.apply(
        [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"mesh": text}}]
    )
    xds, http, monitoring = (f"127.0.0.1:{free_port()}" for _ in range(3))
    environment = {
        "POD_NAMESPACE": ROOT_NAMESPACE,
        "POD_NAME": "istiod",
        "PILOT_CERT_PROVIDER": "istiod",
        "JWT_POLICY": "first-party-jwt",
        # The rest would need filters that only Istio's own Envoy has.
        "PILOT_ENABLE_METADATA_EXCHANGE": "false",
        "PILOT_ENABLE_ALPN_FILTER": "false",
    }
    command = [
        *(go_tools.program("istiod"), "discovery", "--kubeconfig", cluster.kubeconfig),
        *("--meshConfig", file, "--grpcAddr", xds, "--httpAddr", http),
        *("--monitoringAddr", monitoring, "--ctrlz_port", "0"),
        *("--secureGRPCAddr", "", "--httpsAddr", ""),
    ]
    program = stack.start(Istiod, "istiod", command, environment)
    program.xds = xds
    program.wait_ready(lambda: web.get(http, "/ready").status == 200, START_SECONDS)
    return program


def service_entry(namespace: str, name: str, ports: list[dict[str, Any]]) -> dict[str, Any]:
    """Endpoints on loopback for the Service of this name, which no kubelet
    starts here, under the name that the mesh uses.

    Each port is `number`, `name`, `protocol` and the `address` that serves it.
    """
    keys = ("number", "name", "protocol")
    endpoint = {port["name"]: int(port["address"].rsplit(":", 1)[1]) for port in ports}
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": {"name": f"{name}-endpoints", "namespace": namespace},
        "spec": {
            "hosts": [f"{name}.{namespace}.svc.cluster.local"],
            "location": "MESH_INTERNAL",
            "resolution": "STATIC",
            "ports": [{key: port[key] for key in keys} for port in ports],
            "endpoints": [{"address": "127.0.0.1", "ports": endpoint}],
        },
    }


def charts() -> Path:
    """Istio's own charts."""
    return go_tools.module("istio") / "manifests" / "charts"


def _bootstrap(node: dict[str, Any], xds: str) -> dict[str, Any]:
    ads = {"ads": {}, "resource_api_version": "V3"}
    host, port = xds.split(":")
    http2 = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    endpoint = {"address": {"socket_address": {"address": host, "port_value": int(port)}}}
    istiod = {
        "name": "xds-grpc",
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": "xds-grpc",
            "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}],
        },
        "typed_extension_protocol_options": {
            http2: {
                "@type": f"type.googleapis.com/{http2}",
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        },
    }
    return {
        "node": node,
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
        "dynamic_resources": {
            "lds_config": ads,
            "cds_config": ads,
            "ads_config": {
                "api_type": "GRPC",
                "transport_api_version": "V3",
                "grpc_services": [{"envoy_grpc": {"cluster_name": "xds-grpc"}}],
            },
        },
        "static_resources": {"clusters": [istiod]},
    }
