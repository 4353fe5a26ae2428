"""Envoy's rate limit service, which Envoy Gateway runs too, and its redis: both
real.

Envoy Gateway sends the service its configuration over xDS. `egctl` does not
print that, so it is made here from the route's actions, of which it is the
mirror image: each entry of a descriptor is one level of the configuration.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import yaml

import go_tools
import shared_limits
import web
from stack import Program, Stack, free_port

CLUSTER = "ratelimit_cluster"
"""What Envoy Gateway calls the service in Envoy."""


def actions(xds: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """The rate limits of all routes, by their domain. A policy's are the same on
    each of its routes."""
    found: dict[str, list[dict[str, Any]]] = {}
    for table in xds["routes"]:
        for route in itertools.chain(*(host["routes"] for host in table["virtualHosts"])):
            for each in route.get("typedPerFilterConfig", {}).values():
                if each["@type"].endswith("filters.http.ratelimit.v3.RateLimitPerRoute"):
                    found[each["domain"]] = each["rateLimits"]
    return found


@dataclass
class RateLimits:
    """Both, running."""

    redis: Program
    service: Program
    address: str


def configuration(xds: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The service's configuration for these routes."""
    files = []
    for domain, limits in actions(xds).items():
        descriptors: list[dict[str, Any]] = []
        for limit in limits:
            _add(descriptors, limit["actions"])
        files.append({"domain": domain, "descriptors": descriptors})
    return files


def start(stack: Stack, configured: list[dict[str, Any]]) -> RateLimits:
    """Starts both."""
    redis = shared_limits.redis(stack)
    folder = stack.folder / f"ratelimit-{free_port()}"
    (files := folder / "data" / "config").mkdir(parents=True)
    for number, file in enumerate(configured):
        (files / f"{number}.yaml").write_text(yaml.safe_dump(file))
    ports = {name: str(free_port()) for name in ("PORT", "GRPC_PORT", "DEBUG_PORT")}
    hosts = {name: "127.0.0.1" for name in ("HOST", "GRPC_HOST", "DEBUG_HOST")}
    environment = {
        **ports,
        **hosts,
        "USE_STATSD": "false",
        "LOG_LEVEL": "warn",
        "BACKEND_TYPE": "redis",
        "REDIS_SOCKET_TYPE": "tcp",
        "REDIS_URL": redis.address,
        "RUNTIME_ROOT": str(folder),
        "RUNTIME_SUBDIRECTORY": "data",
        "RUNTIME_WATCH_ROOT": "false",
    }
    program = stack.start(Program, "ratelimit", [go_tools.program("ratelimit")], environment)
    status = f"127.0.0.1:{ports['PORT']}"
    program.wait_ready(lambda: web.get(status, "/healthcheck").status == 200)
    return RateLimits(redis, program, f"127.0.0.1:{ports['GRPC_PORT']}")


def points_to(xds: dict[str, list[dict[str, Any]]], address: str) -> None:
    """Has Envoy find the service there. The controller adds its own address only
    as it runs."""
    host, port = address.split(":")
    socket = {"socketAddress": {"address": host, "portValue": int(port)}}
    http2 = {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicitHttpConfig": {"http2ProtocolOptions": {}},
    }
    endpoints = [{"lbEndpoints": [{"endpoint": {"address": socket}}]}]
    cluster = {
        "name": CLUSTER,
        "type": "STATIC",
        "typedExtensionProtocolOptions": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2
        },
        "loadAssignment": {"clusterName": CLUSTER, "endpoints": endpoints},
    }
    xds["clusters"].append(cluster)


def fail_closed(xds: dict[str, list[dict[str, Any]]]) -> None:
    """What `failClosed: true` makes of the filters; `egctl` knows no such option."""
    for listener in xds["listeners"]:
        for chain in [*listener.get("filterChains", []), listener.get("defaultFilterChain", {})]:
            for network in chain.get("filters", []):
                for each in network["typedConfig"].get("httpFilters", []):
                    if each["typedConfig"]["@type"].endswith("filters.http.ratelimit.v3.RateLimit"):
                        each["typedConfig"]["failureModeDeny"] = True


def _add(level: list[dict[str, Any]], entries: list[dict[str, Any]]) -> None:
    """The levels for a descriptor of these entries, with Envoy Gateway's own
    limit for a rule that finds none in the metadata."""
    for number, entry in enumerate(entries):
        ((kind, action),) = entry.items()
        key = {"key": action["descriptorKey"]}
        if kind != "requestHeaders":
            key["value"] = action["descriptorValue"]
        found = next((each for each in level if key.items() <= each.items()), None)
        if found is None:
            level.append(found := dict(key))
        if number == len(entries) - 1:
            found["rate_limit"] = {"unit": "second", "requests_per_unit": 4294967295}
        else:
            level = found.setdefault("descriptors", [])
