"""Envoy Gateway's translator, and a stock Envoy that runs its output.

`egctl x translate` runs the controller's code on files instead of a watch: its
output is the xDS that the controller would send.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import yaml

import go_tools
from stack import Envoy, Stack


def translate(folder: Path, objects: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The xDS of the only Gateway among these objects: resources by their kind,
    `listeners`, `routes`, `clusters` and `endpoints`.

    egctl takes the last GatewayClass for the only one, leaves out Gateways of
    others without a word, and then prints no xDS at all."""
    classes = [each["metadata"]["name"] for each in objects if each["kind"] == "GatewayClass"]
    gateways = {
        f"{each['metadata']['namespace']}/{each['metadata']['name']}": each["spec"]["gatewayClassName"]
        for each in objects
        if each["kind"] == "Gateway"
    }
    assert len(gateways) == 1 and [*gateways.values()] == classes, (
        f"one Gateway and its GatewayClass are needed; there are {gateways} and {classes}"
    )
    file = folder / "resources.yaml"
    file.write_text(yaml.safe_dump_all(objects))
    command = [go_tools.program("egctl"), "experimental", "translate"]
    options = ["--from", "gateway-api", "--to", "xds", "--output", "json", "--file", file]
    ran = subprocess.run([*command, *options], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    translated = json.loads(ran.stdout)
    assert len(translated.get("xds", {})) == 1, f"{ran.stdout}{ran.stderr}"
    dumps = {dump["@type"].rsplit(".", 1)[1]: dump for dump in translated["xds"].popitem()[1]["configs"]}

    def listed(dump: str, entries: str) -> list[dict[str, Any]]:
        return dumps.get(dump, {}).get(entries, [])

    return {
        "listeners": [
            each["activeState"]["listener"]
            for each in listed("ListenersConfigDump", "dynamicListeners")
        ],
        "routes": [
            each["routeConfig"] for each in listed("RoutesConfigDump", "dynamicRouteConfigs")
        ],
        "clusters": [
            each["cluster"] for each in listed("ClustersConfigDump", "dynamicActiveClusters")
        ],
        "endpoints": [
            each["endpointConfig"]
            for each in listed("EndpointsConfigDump", "dynamicEndpointConfigs")
        ],
    }


def published(namespace: str, **parameters: Any) -> list[dict[str, Any]]:
    """A Gateway `public`, its spec with these members too, and the service `orders`
    behind it, at 10.0.255.1, as docs/envoy-gateway.md has them, in one namespace."""
    api = "gateway.networking.k8s.io/v1"
    here = {"namespace": namespace}
    listener = {"name": "http", "port": 80, "protocol": "HTTP"}
    service = {"clusterIP": "10.0.255.1", "ports": [{"name": "http", "port": 80}]}
    return [
        {
            "apiVersion": api,
            "kind": "GatewayClass",
            "metadata": {"name": "envoy-gateway"},
            "spec": {"controllerName": "gateway.envoyproxy.io/gatewayclass-controller"},
        },
        {
            "apiVersion": api,
            "kind": "Gateway",
            "metadata": {"name": "public", **here},
            "spec": {"gatewayClassName": "envoy-gateway", "listeners": [listener], **parameters},
        },
        {
            "apiVersion": api,
            "kind": "HTTPRoute",
            "metadata": {"name": "orders", **here},
            "spec": {
                "parentRefs": [{"name": "public"}],
                "rules": [{"backendRefs": [{"name": "orders", "port": 80}]}],
            },
        },
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "orders", **here}, "spec": service},
    ]


def envoy(
    stack: Stack,
    folder: Path,
    xds: dict[str, list[dict[str, Any]]],
    running: dict[str, str],
    secrets: dict[str, dict[str, Any]] | None = None,
    **options: Any,
) -> Envoy:
    """An Envoy that runs it. Routes and endpoints come from files instead of a
    stream, the listener is on a free port of loopback, and the addresses of
    Services in `running` become those of what runs here; the rest is as it is.
    `secrets` are what the stream would have for TLS, by the names that clusters
    give them.
    `options` are those of `Stack.envoy`."""
    for endpoints in xds["endpoints"]:
        for locality in endpoints["endpoints"]:
            for each in locality["lbEndpoints"]:
                _move(each["endpoint"]["address"]["socketAddress"], running)
    files: dict[str, Path] = {}
    for number, each in enumerate([*xds["routes"], *xds["endpoints"]]):
        file = folder / f"resource-{number}.json"
        file.write_text(json.dumps({"resources": [each]}))
        files[each.get("clusterName") or each["name"]] = file
    for name, secret in (secrets or {}).items():
        file = folder / f"secret-{len(files)}.json"
        kind = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
        file.write_text(json.dumps({"resources": [{"@type": kind, "name": name, **secret}]}))
        files[name] = file
    fields = {
        "rds": ("configSource", "routeConfigName"),
        "edsClusterConfig": ("edsConfig", "serviceName"),
    }

    def from_files(value: Any) -> Any:
        if isinstance(value, list):
            return [from_files(each) for each in value]
        if not isinstance(value, dict):
            return value
        copy = {key: from_files(each) for key, each in value.items()}
        for field, (source, name) in fields.items():
            if field in copy:
                path = {"path": str(files[copy[field][name]])}
                copy[field][source] = {"pathConfigSource": path, "resourceApiVersion": "V3"}
        if "sdsConfig" in copy:
            path = {"path": str(files[copy["name"]])}
            copy["sdsConfig"] = {"pathConfigSource": path, "resourceApiVersion": "V3"}
        return copy

    loopback = {"socketAddress": {"address": "127.0.0.1", "portValue": 0}}
    listeners = [
        {**from_files(each), "address": loopback}
        for each in xds["listeners"]
        # Listeners for the kubelet and Prometheus, on fixed ports.
        if not each["name"].startswith("envoy-gateway-")
    ]
    for each in listeners:
        each.pop("@type")
    clusters = [
        {key: value for key, value in from_files(each).items() if key != "@type"}
        for each in xds["clusters"]
    ]
    return stack.envoy(
        {
            "node": {"id": "envoy", "cluster": "envoy-gateway"},
            "admin": {"address": loopback},
            "staticResources": {"listeners": listeners, "clusters": clusters},
        },
        **options,
    )


def _move(address: dict[str, Any], running: dict[str, str]) -> None:
    host, port = running[f"{address['address']}:{address['portValue']}"].split(":")
    address.update(address=host, portValue=int(port))
