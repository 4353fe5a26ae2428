"""Envoy as the benchmarks run it: one worker thread, pinned to a core."""

from __future__ import annotations

import json

import place  # noqa: F401  puts e2e/ on the path
import doors
import programs
import tools
import web
from stack import Envoy, Stack

_TYPES = "type.googleapis.com/envoy.extensions"

CLIENT_HEADERS = {
    "accept": "application/json",
    "accept-encoding": "gzip, deflate, br",
    "content-type": "application/json",
    "user-agent": "OpenAI/Python 2.8.1",
    "x-stainless-arch": "x64",
    "x-stainless-lang": "python",
    "x-stainless-retry-count": "0",
    "x-stainless-runtime": "CPython",
}
"""The headers of a chat client beside its token; with Envoy's there are 17."""


def start(stack: Stack, name: str, filters: list[dict], authz: str | None, core: int) -> Envoy:
    """An Envoy with these filters that answers every request itself, with an
    empty 200. `authz` is where the cluster `authz` is."""
    config = stack.folder / f"{name}.json"
    config.write_text(json.dumps(_config(filters, authz), indent=2))
    admin = stack.folder / f"{name}-admin.txt"
    command = [
        *("taskset", "--cpu-list", str(core), tools.envoy()),
        *("--config-path", config, "--admin-address-path", admin, "--log-level", "warning"),
        *("--disable-hot-restart", "--concurrency", "1"),
    ]
    uses_module = any(filter["name"] == MODULE for filter in filters)
    envoy = stack.start(Envoy, name, command, _search_path() if uses_module else None)
    envoy.wait_ready(lambda: admin.exists() and ":" in admin.read_text())
    envoy.admin = admin.read_text().strip()
    envoy.wait_ready(lambda: web.get(envoy.admin, "/ready").status == 200)
    envoy.address = next(iter(envoy.listeners().values()))
    return envoy


def ext_authz(timeout: str = "1s") -> dict:
    """The filter that asks the cluster `authz`."""
    return {
        "name": "envoy.filters.http.ext_authz",
        "typed_config": {
            "@type": f"{_TYPES}.filters.http.ext_authz.v3.ExtAuthz",
            "grpc_service": {"envoy_grpc": {"cluster_name": "authz"}, "timeout": timeout},
            "transport_api_version": "V3",
        },
    }


MODULE = "claimgate"


def module(auth: dict) -> dict:
    """Claimgate inside Envoy, with this `auth` block."""
    return doors.http_filter({"config": {"auth": auth}}, MODULE)


def _search_path() -> dict[str, str]:
    return {"ENVOY_DYNAMIC_MODULES_SEARCH_PATH": str(programs.envoy_module().parent)}


def jwt_authn(issuer: str, jwks_file: str, cached: bool, payload: bool = True) -> dict:
    """Envoy's own verification, told to do what Claimgate does as far as it
    can: verify, take issuer and times into account, set headers, and put the
    payload into the metadata."""
    provider = {
        "issuer": issuer,
        "local_jwks": {"filename": jwks_file},
        "forward": True,
        "claim_to_headers": [
            {"header_name": "x-auth-subject", "claim_name": "sub"},
            {"header_name": "x-auth-scopes", "claim_name": "scope"},
            {"header_name": "x-auth-client-id", "claim_name": "client_id"},
        ],
    }
    if payload:
        provider["payload_in_metadata"] = "claims"
    if cached:
        provider["jwt_cache_config"] = {"jwt_cache_size": 10_000}
    return {
        "name": "envoy.filters.http.jwt_authn",
        "typed_config": {
            "@type": f"{_TYPES}.filters.http.jwt_authn.v3.JwtAuthentication",
            "providers": {"machines": provider},
            "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "machines"}}],
        },
    }


def _config(filters: list[dict], authz: str | None) -> dict:
    router = {
        "name": "router",
        "typed_config": {"@type": f"{_TYPES}.filters.http.router.v3.Router"},
    }
    manager = {
        "@type": f"{_TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "use_remote_address": True,
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "direct_response": {"status": 200}}],
                }
            ]
        },
        "http_filters": [*filters, router],
    }
    listener = {
        "address": _address("127.0.0.1:0"),
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    return {
        "admin": {"address": _address("127.0.0.1:0")},
        "static_resources": {
            "listeners": [listener],
            "clusters": [_cluster(authz)] if authz else [],
        },
    }


def _cluster(address: str) -> dict:
    endpoint = {"endpoint": {"address": _address(address)}}
    return {
        "name": "authz",
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": "authz",
            "endpoints": [{"lb_endpoints": [endpoint]}],
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": f"{_TYPES}.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        },
    }


def _address(address: str) -> dict:
    host, port = address.rsplit(":", 1)
    return {"socket_address": {"address": host, "port_value": int(port)}}
