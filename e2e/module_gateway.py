"""Claimgate inside Envoy, as the tests arrange it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import doors
import standard
import tools
from envoy_config import envoy_config
from stack import Envoy, Issuer, Stack

VERSIONS = [*sorted(file.stem for file in tools.MODULE_ENVOYS.glob("*.txt")), "pinned"]
"""Names of all Envoys that are served, as `tools.module_envoys` has them."""

CONFIG = standard.AUTH
"""The usual rules; what a listener of Claimgate's own needs is left out."""

@dataclass
class ModuleGateway(standard.Requests):
    """A running arrangement."""

    stack: Stack
    issuer: Issuer
    upstream: str
    config: Path
    envoy: Envoy

    def logged(self, text: str) -> int:
        """How many lines of Envoy's log hold the text."""
        return sum(text in line for line in self.envoy.log.read_text().splitlines())


def gateway(
    stack: Stack, config: str = CONFIG, *, version: str = "pinned", **options
) -> ModuleGateway:
    """Starts everything."""
    issuer, upstream = stack.issuer(*standard.CLIENTS), stack.upstream()
    file = stack.folder / f"gateway-{version}.yaml"
    file.write_text(config)
    envoy_side = module_config({"config_file": str(file)}, upstream, **options)
    envoy = start(stack, envoy_side, version=version, ISSUER_URL=issuer.url)
    return ModuleGateway(stack, issuer, upstream, file, envoy)


def start(stack: Stack, config: dict, *, version: str = "pinned", **environment: str) -> Envoy:
    """An Envoy that finds the module."""
    environment = {**doors.environment(), **environment}
    program = tools.module_envoys()[version]
    return stack.envoy(config, program=program, log_level="info", **environment)


def module_config(
    options: dict,
    upstream: str,
    *,
    listeners: int = 1,
    named_routes: dict[str, str] | None = None,
    access_log: Path | None = None,
) -> dict:
    """As `envoy_config`, with the module in the place of ext_authz."""
    config = envoy_config("127.0.0.1:9", upstream, access_log=access_log)
    resources = config["static_resources"]
    (listener,) = resources["listeners"]
    (chain,) = listener["filter_chains"]
    manager = chain["filters"][0]["typed_config"]
    manager["http_filters"][0] = doors.http_filter(options)
    (host,) = manager["route_config"]["virtual_hosts"]
    routes = (named_routes or {}).items()
    host["routes"] = [*(_route(prefix, name) for prefix, name in routes), *host["routes"]]
    resources["listeners"] = [{**listener, "name": f"number-{number}"} for number in range(listeners)]
    resources["clusters"] = [found for found in resources["clusters"] if found["name"] == "upstream"]
    return config


def discovered(config: dict, file: Path) -> dict:
    """The configuration with its first filter to be read from the file, as
    from a control plane."""
    (listener, *_) = config["static_resources"]["listeners"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    source = {"path_config_source": {"path": str(file)}, "resource_api_version": "V3"}
    type_url = manager["http_filters"][0]["typed_config"]["@type"]
    manager["http_filters"][0] = {
        "name": doors.EXT_AUTHZ,
        "config_discovery": {"config_source": source, "type_urls": [type_url]},
    }
    return {**config, "node": {"id": "test", "cluster": "test"}}


def publish(file: Path, options: dict, version: object) -> None:
    """Puts the filter with these options into the file that is read."""
    resource = {
        "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
        **doors.http_filter(options),
    }
    fresh = file.with_suffix(".new")
    fresh.write_text(json.dumps({"version_info": str(version), "resources": [resource]}))
    os.replace(fresh, file)


def _route(prefix: str, name: str) -> dict:
    return {
        "match": {"prefix": prefix},
        "route": {"cluster": "upstream"},
        "typed_per_filter_config": {doors.EXT_AUTHZ: doors.route_config(name)},
    }
