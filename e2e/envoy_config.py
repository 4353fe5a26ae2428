"""An Envoy configuration for the tests, as the dict that Envoy reads as JSON."""

from __future__ import annotations

from pathlib import Path

EXT_AUTHZ = "envoy.filters.http.ext_authz"
PATIENCE = "8s"
"""How long Envoy waits for anything. Machines that run tests sometimes stall for
a second; with its default of 0.2 s Envoy would then answer 503, and the result
would depend on the machine."""
_TYPES = "type.googleapis.com/envoy.extensions"


def envoy_config(
    claimgate: str | list[str],
    upstream: str,
    *,
    encode_raw_headers: bool = False,
    health_checks: bool = False,
    access_log: Path | None = None,
    named_routes: dict[str, str] | None = None,
    listen: str = "127.0.0.1:0",
    websockets: bool = False,
) -> dict:
    """One listener, on a free port by default, that asks Claimgate about every request.

    Paths are left as the client sent them, so that Claimgate gets to read the
    ambiguous ones. `named_routes` maps a path prefix to the `claimgate_route`
    that Envoy's route for it names. With `health_checks` Envoy stops asking an
    endpoint that says it is not serving.
    """
    endpoints = [claimgate] if isinstance(claimgate, str) else claimgate
    routes = [_route(prefix, name) for prefix, name in (named_routes or {}).items()]
    listener = {
        "address": _address(listen),
        "filter_chains": [
            {
                "filters": [
                    {
                        "name": "http",
                        "typed_config": {
                            "@type": f"{_TYPES}.filters.network.http_connection_manager"
                            ".v3.HttpConnectionManager",
                            "stat_prefix": "e2e",
                            "normalize_path": False,
                            "merge_slashes": False,
                            "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
                            "upgrade_configs": [{"upgrade_type": "websocket"}] if websockets else [],
                            "access_log": _access_log(access_log) if access_log else [],
                            "route_config": {
                                "virtual_hosts": [
                                    {
                                        "name": "all",
                                        "domains": ["*"],
                                        "routes": [*routes, _route("/", None)],
                                    }
                                ]
                            },
                            "http_filters": [
                                _ext_authz(encode_raw_headers),
                                {
                                    "name": "router",
                                    "typed_config": {
                                        "@type": f"{_TYPES}.filters.http.router.v3.Router"
                                    },
                                },
                            ],
                        },
                    }
                ]
            }
        ],
    }
    authz = cluster("claimgate", endpoints)
    authz["typed_extension_protocol_options"] = {
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": f"{_TYPES}.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {}},
        }
    }
    if health_checks:
        authz["health_checks"] = [_health_check()]
    return {
        "admin": {"address": _address("127.0.0.1:0")},
        "static_resources": {
            "listeners": [listener],
            "clusters": [authz, cluster("upstream", [upstream])],
        },
    }


def _ext_authz(encode_raw_headers: bool) -> dict:
    grpc_service = {"envoy_grpc": {"cluster_name": "claimgate"}, "timeout": PATIENCE}
    return {
        "name": EXT_AUTHZ,
        "typed_config": {
            "@type": f"{_TYPES}.filters.http.ext_authz.v3.ExtAuthz",
            "grpc_service": grpc_service,
            "transport_api_version": "V3",
            "failure_mode_allow": False,
            "status_on_error": {"code": "ServiceUnavailable"},
            "validate_mutations": True,
            "encode_raw_headers": encode_raw_headers,
        },
    }


def _route(prefix: str, claimgate_route: str | None) -> dict:
    route: dict = {"match": {"prefix": prefix}, "route": {"cluster": "upstream"}}
    if claimgate_route:
        route["typed_per_filter_config"] = {
            EXT_AUTHZ: {
                "@type": f"{_TYPES}.filters.http.ext_authz.v3.ExtAuthzPerRoute",
                "check_settings": {"context_extensions": {"claimgate_route": claimgate_route}},
            }
        }
    return route


def cluster(name: str, endpoints: list[str]) -> dict:
    """A cluster of endpoints with fixed addresses."""
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": PATIENCE,
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [
                {
                    "lb_endpoints": [
                        {"endpoint": {"address": _address(endpoint)}} for endpoint in endpoints
                    ]
                }
            ],
        },
    }


def _health_check() -> dict:
    return {
        "timeout": PATIENCE,
        "interval": "0.1s",
        "no_traffic_interval": "0.1s",
        "unhealthy_threshold": 1,
        "healthy_threshold": 1,
        "grpc_health_check": {},
    }


def _access_log(file: Path) -> list[dict]:
    def metadata(key: str) -> str:
        return f"%DYNAMIC_METADATA({EXT_AUTHZ}:{key})%"

    fields = ("reason", "provider", "method", "subject", "scopes", "client_id", "expires_at")
    return [
        {
            "name": "file",
            "typed_config": {
                "@type": f"{_TYPES}.access_loggers.file.v3.FileAccessLog",
                "path": str(file),
                "log_format": {
                    "json_format": {
                        "path": "%REQ(:PATH)%",
                        "status": "%RESPONSE_CODE%",
                        "details": "%RESPONSE_CODE_DETAILS%",
                        "case": "%REQ(X-CASE)%",
                        "metadata": f"%DYNAMIC_METADATA({EXT_AUTHZ})%",
                        **{field: metadata(field) for field in fields},
                    }
                },
            },
        }
    ]


def _address(address: str) -> dict:
    host, port = address.rsplit(":", 1)
    return {"socket_address": {"address": host, "port_value": int(port)}}
