"""The Envoy configurations that we print, made to run here: those for a plain
Envoy, of docs/envoy.md, of the chart's notes and of examples/envoy/edge.yaml."""

from __future__ import annotations

import copy
import re
import textwrap
from typing import Any

import yaml

import pages
from tools import ROOT
from traffic import Dns

EDGE = ROOT / "examples" / "envoy" / "edge.yaml"
TYPES = "type.googleapis.com/envoy.extensions"
ANY_PORT = {"socket_address": {"address": "127.0.0.1", "port_value": 0}}

PATIENCE = "8s"
"""Instead of each limit of time for Claimgate's answer: a machine that runs
tests stalls for longer than any of them. How often Envoy checks and asks again
stays as printed, and a pod that is gone refuses connections at once."""


def page() -> dict[str, Any]:
    """docs/envoy.md: its three snippets, around a route to the upstream."""
    blocks = [block.text for block in pages.Page("envoy.md").blocks if block.language == "yaml"]
    (filters,) = (yaml.safe_load(text) for text in blocks if text.startswith("http_filters:"))
    (manager,) = (yaml.safe_load(text) for text in blocks if text.startswith("normalize_path:"))
    (clusters,) = (yaml.safe_load(text) for text in blocks if text.startswith("static_resources:"))
    return _around({**manager, **filters}, clusters["static_resources"]["clusters"])


def notes(text: str) -> dict[str, Any]:
    """What the chart's notes print for a plain Envoy."""
    blocks = re.findall(r"^  - name: .*\n(?:    .*\n|\n)+", text, re.MULTILINE)
    lists = [yaml.safe_load(textwrap.dedent(block)) for block in blocks]
    (filters,) = (each for each in lists if each[0]["name"] == "envoy.filters.http.ext_authz")
    (clusters,) = (each for each in lists if each[0]["name"] == "claimgate")
    return _around({"http_filters": filters}, clusters)


def edge() -> dict[str, Any]:
    """The example, found by name as its comment says, for many requests from
    one address."""
    text = EDGE.read_text()
    limit = "max_tokens: 2000, tokens_per_fill: 2000"
    assert limit in text
    config = yaml.safe_load(text.replace(limit, "max_tokens: 200000, tokens_per_fill: 200000"))
    config["admin"] = {"address": ANY_PORT}
    resources = config["static_resources"]
    (cluster,) = (each for each in resources["clusters"] if each["name"] == "claimgate")
    cluster["type"] = "STRICT_DNS"
    endpoints = cluster["load_assignment"]["endpoints"][0]
    endpoints["lb_endpoints"] = endpoints["lb_endpoints"][:1]
    endpoints["lb_endpoints"][0]["endpoint"]["address"]["socket_address"]["address"] = "claimgate.internal"
    resources["listeners"] = [each for each in resources["listeners"] if each["name"] == "https"]
    resources["listeners"][0]["address"] = ANY_PORT
    return config


def runnable(
    config: dict[str, Any], dns: Dns, port: int, upstream: str, *, patient: bool = True
) -> dict[str, Any]:
    """The same with Claimgate's name known to `dns` and its port this one, and
    with the address of an upstream that runs."""
    config = with_patience(config) if patient else copy.deepcopy(config)
    for cluster in config["static_resources"]["clusters"]:
        address = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]
        if cluster["name"] != "claimgate":
            host, number = upstream.split(":")
            address["socket_address"] = {"address": host, "port_value": int(number)}
            continue
        address["socket_address"] = {"address": dns.name, "port_value": port}
        cluster["typed_dns_resolver_config"] = {
            "name": "envoy.network.dns_resolver.cares",
            "typed_config": {
                "@type": f"{TYPES}.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
                "resolvers": [{"socket_address": {"address": "127.0.0.1", "port_value": dns.port}}],
            },
        }
    return config


def with_patience(config: Any, under: str = "") -> Any:
    """A configuration with limits of time that no busy machine reaches; in the
    spelling of a file or of xDS as JSON."""
    if isinstance(config, list):
        return [with_patience(each, under) for each in config]
    if not isinstance(config, dict):
        return copy.deepcopy(config)
    changed = {key: with_patience(value, key) for key, value in config.items()}
    limits = {
        "grpc_service": ("timeout",),
        "retry_back_off": ("max_interval",),
        "health_checks": ("timeout",),
        "clusters": ("connect_timeout",),
    }
    for key in limits.get(_snake(under), ()):
        for spelling in (key, _camel(key)):
            if spelling in changed:
                changed[spelling] = PATIENCE
    return changed


def _snake(key: str) -> str:
    return re.sub("[A-Z]", lambda letter: "_" + letter[0].lower(), key)


def _camel(key: str) -> str:
    return re.sub("_([a-z])", lambda letter: letter[1].upper(), key)


def _around(manager: dict[str, Any], clusters: list[dict[str, Any]]) -> dict[str, Any]:
    router = {"name": "router", "typed_config": {"@type": f"{TYPES}.filters.http.router.v3.Router"}}
    routes = [{"match": {"prefix": "/"}, "route": {"cluster": "upstream"}}]
    http = {
        "@type": f"{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "printed",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        **manager,
        "http_filters": [*manager["http_filters"], router],
    }
    endpoint = {"endpoint": {"address": copy.deepcopy(ANY_PORT)}}
    upstream = {
        "name": "upstream",
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": "upstream", "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
    listener = {"address": ANY_PORT, "filter_chains": [{"filters": [{"name": "http", "typed_config": http}]}]}
    return {
        "admin": {"address": ANY_PORT},
        "static_resources": {"listeners": [listener], "clusters": [*clusters, upstream]},
    }
