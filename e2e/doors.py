"""The same tests through another door: with CLAIMGATE_DOOR=module, every Envoy
whose configuration is a dict decides by itself, on the config files of the
services that it would have asked."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from pathlib import Path

import tools

IS_MODULE = os.environ.get("CLAIMGATE_DOOR", "grpc") == "module"

EXT_AUTHZ = "envoy.filters.http.ext_authz"
TYPES = "type.googleapis.com/envoy.extensions.filters.http.dynamic_modules.v3"


NOT_INSIDE = {
    "test_hidden_headers": "about what ext_authz hides from a service",
    "test_lifecycle": "about the service's own signals and reloads",
    "test_it_keeps_itself_up_to_date": "ends the service and starts it again",
}
"""Files and tests that are about the service, and why."""


def inside(config: dict, services: dict[str, Path]) -> tuple[dict, set[str]]:
    """The configuration with the module in the place of each ext_authz that
    asks one of the services, of which there are addresses and config files;
    and the addresses that it would have asked."""
    config = copy.deepcopy(config)
    found = {
        cluster["name"]: address
        for cluster in config["static_resources"]["clusters"]
        for address in _addresses(cluster)
        if address in services
    }
    asked = {name: services[address] for name, address in found.items()}
    for listener in config["static_resources"]["listeners"]:
        for part in _dicts(listener):
            for number, http in enumerate(part.get("http_filters", [])):
                file = asked.get(_cluster_of(http))
                if file:
                    part["http_filters"][number] = http_filter({"config_file": str(file)}, http["name"])
            routes = part.get("typed_per_filter_config", {})
            if asked and EXT_AUTHZ in routes:
                routes[EXT_AUTHZ] = _on_a_route(routes[EXT_AUTHZ])
    return config, set(found.values())


def http_filter(options: dict, name: str = EXT_AUTHZ) -> dict:
    """The module as an HTTP filter."""
    return {
        "name": name,
        "typed_config": {
            "@type": f"{TYPES}.DynamicModuleFilter",
            "dynamic_module_config": _module(),
            "filter_name": "claimgate",
            "filter_config": _struct(options),
        },
    }


def route_config(name: str) -> dict:
    """The module's configuration on a route: the name of a Claimgate route."""
    return {
        "@type": f"{TYPES}.DynamicModuleFilterPerRoute",
        "dynamic_module_config": _module(),
        "filter_name": "claimgate",
        "filter_config": _struct({"route": name}),
    }


def environment() -> dict[str, str]:
    """What Envoy needs to find the module."""
    return {"ENVOY_DYNAMIC_MODULES_SEARCH_PATH": str(tools.envoy_module().parent)}


def _on_a_route(ext_authz: dict) -> dict:
    if ext_authz.get("disabled"):
        return {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "disabled": True}
    return route_config(ext_authz["check_settings"]["context_extensions"]["claimgate_route"])


def _module() -> dict:
    return {"name": "claimgate_envoy", "do_not_close": True, "metrics_namespace": "claimgate"}


def _struct(value: dict) -> dict:
    return {"@type": "type.googleapis.com/google.protobuf.Struct", "value": value}


def _cluster_of(http_filter: dict) -> str | None:
    service = http_filter.get("typed_config", {}).get("grpc_service", {})
    return service.get("envoy_grpc", {}).get("cluster_name")


def _addresses(cluster: dict) -> Iterator[str]:
    for part in _dicts(cluster):
        if "port_value" in part:
            yield f"{part['address']}:{part['port_value']}"


def _dicts(value: object) -> Iterator[dict]:
    """Every dict in it, itself first."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for element in value:
            yield from _dicts(element)
