"""Real servers of many kinds behind one Envoy, with and without Claimgate.

Each reads a path in its own way, and names the handler that ran in the header
`x-ran`: `open`, `admin`, `exact`, `read` (for GET alone), `keys` (of a path with
a parameter, in Fastify) or `other`.
"""

from __future__ import annotations

import copy
import json
import shutil
import socket
import string
import tempfile
from dataclasses import dataclass
from pathlib import Path

import standard
import tools
import web
from envoy_config import EXT_AUTHZ, cluster, envoy_config
from stack import Claimgate, Envoy, Program, Stack, free_port

SERVERS = [
    "tomcat",
    "jetty",
    "undertow",
    "undertow-handlers",
    "express",
    "fastify",
    "node-url",
    "starlette",
    "werkzeug",
    "nginx",
    "nginx-unmerged",
    "lighttpd",
]

HARDENED = {"normalize_path": True, "merge_slashes": True}
MODES = {
    "defaults": {},
    "kept": {**HARDENED, "path_with_escaped_slashes_action": "KEEP_UNCHANGED"},
    "refused": {**HARDENED, "path_with_escaped_slashes_action": "REJECT_REQUEST"},
    "unescaped": {**HARDENED, "path_with_escaped_slashes_action": "UNESCAPE_AND_FORWARD"},
}
"""The path settings of Envoy's connection manager."""

METHOD_OVERRIDES = ["x-http-method-override", "x-http-method", "x-method-override"]
"""Headers that make some frameworks use another method than the one that was
sent; the hardened Envoys remove them."""

AUTH = """
auth:
  providers:
    - name: keys
      type: api_key
      keys:
        - {name: basic, key: basic-key, scopes: [basic]}
        - {name: admin, key: admin-key, scopes: [basic, admin]}
  required_scopes: [basic]
  routes:
    - {name: open, match: {path_prefix: /open}, public: true}
    - {name: admin, match: {path_prefix: /admin}, required_scopes: [admin]}
    - {name: exact, match: {path: /exact}, required_scopes: [admin]}
    - {name: read, match: {path: /read, methods: [GET]}, required_scopes: [admin]}
    - {name: keys, match: {path_template: "/tenants/{id}/keys"}, required_scopes: [admin]}
"""

TOKENS = {"none": [], "basic": web.bearer("basic-key"), "admin": web.bearer("admin-key")}


@dataclass(frozen=True)
class Answer:
    """Which handler ran, if any, and the response's status."""

    ran: str | None
    status: int


@dataclass
class Servers:
    """All of it, running."""

    claimgate: Claimgate
    envoy: Envoy
    addresses: dict[str, str]

    def connect(self, mode: str) -> "Client":
        return Client(self.envoy.listeners()[mode])


class Client:
    """A connection to Envoy that is kept open."""

    def __init__(self, address: str):
        self._connection = web.Connection(address)

    def ask(
        self,
        server: str,
        path: str,
        token: str = "none",
        *,
        method: str = "GET",
        guarded: bool = True,
        headers: web.Headers = (),
    ) -> Answer:
        """The server's result for the path, sent byte for byte; Claimgate is not
        asked if `guarded` is false."""
        chosen = [("x-server", server), ("x-guarded", str(guarded).lower())]
        reply = self._connection.send(method, path, [*chosen, *TOKENS[token], *headers])
        return Answer(reply.header("x-ran"), reply.status)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()


def start(stack: Stack) -> Servers:
    """Starts them all, Claimgate and Envoy."""
    addresses: dict[str, str] = {}
    java = [*tools.servlet_containers(), stack.folder / "tomcat"]
    several = {
        "servlet-containers": java,
        "node-servers": [tools.node(), tools.node_servers()],
        "python-servers": tools.python_servers(),
    }
    programs = [stack.start(Program, name, command) for name, command in several.items()]
    addresses |= _nginx(stack)
    addresses["lighttpd"] = lighttpd(stack)
    claimgate = stack.claimgate(standard.SERVER + AUTH)
    for program in programs:
        addresses |= json.loads(program.first_line())
    assert sorted(addresses) == sorted(SERVERS)
    envoy = stack.envoy(_config(claimgate.grpc, addresses))
    return Servers(claimgate, envoy, addresses)


def _nginx(stack: Stack) -> dict[str, str]:
    folder = stack.folder / "nginx"
    folder.mkdir()
    ports = {"MERGING": free_port(), "KEEPING": free_port()}
    shutil.copy(tools.PATH_SERVERS / "locations.conf", folder)
    _fill(tools.PATH_SERVERS / "nginx.conf", folder, ports)
    command = [tools.debian_server("nginx"), "-e", "stderr", "-p", folder, "-c", "nginx.conf"]
    program = stack.start(Program, "nginx", command)
    merging, keeping = (f"127.0.0.1:{port}" for port in ports.values())
    program.wait_ready(lambda: _listens(merging) and _listens(keeping))
    return {"nginx": merging, "nginx-unmerged": keeping}


def lighttpd(stack: Stack) -> str:
    """lighttpd with its CGI; its address. The scripts `/open` and `/admin` answer
    with the request's headers that they received."""
    folder = Path(tempfile.mkdtemp(prefix="lighttpd-", dir=stack.folder))
    (folder / "scripts").mkdir()
    for name in ("open", "admin"):
        shutil.copy(tools.PATH_SERVERS / "ran.cgi", folder / "scripts" / name)
    port = free_port()
    values = {"PORT": port, "FOLDER": folder / "scripts"}
    config = _fill(tools.PATH_SERVERS / "lighttpd.conf", folder, values)
    command = [tools.debian_server("lighttpd"), "-D", "-f", config]
    program = stack.start(Program, "lighttpd", command)
    address = f"127.0.0.1:{port}"
    program.wait_ready(lambda: _listens(address))
    return address


def _fill(source: Path, folder: Path, values: dict[str, object]) -> Path:
    filled = folder / source.name
    filled.write_text(string.Template(source.read_text()).substitute(values))
    return filled


def _listens(address: str) -> bool:
    host, port = address.split(":")
    socket.create_connection((host, int(port)), timeout=web.TIMEOUT).close()
    return True


def _config(claimgate: str, addresses: dict[str, str]) -> dict:
    """A listener for each mode, and routes by the headers that `Client` sends."""
    config = envoy_config(claimgate, "127.0.0.1:9")
    resources = config["static_resources"]
    [plain] = resources["listeners"]
    routes = [_route(server, guarded) for server in addresses for guarded in (True, False)]
    resources["listeners"] = [_listener(plain, mode, routes) for mode in MODES]
    clusters = [cluster(name, [address]) for name, address in addresses.items()]
    resources["clusters"] = [resources["clusters"][0], *clusters]
    return config


def _listener(plain: dict, mode: str, routes: list[dict]) -> dict:
    listener = copy.deepcopy(plain)
    listener["name"] = mode
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    for key in ("normalize_path", "merge_slashes", "path_with_escaped_slashes_action"):
        del manager[key]
    manager |= MODES[mode]
    # Or Envoy alone would refuse `get`; over HTTP/2 it doesn't.
    manager["http_protocol_options"] = {"allow_custom_methods": True}
    hosts = {"name": "all", "domains": ["*"], "routes": routes}
    manager["route_config"] = {"virtual_hosts": [hosts]}
    if mode != "defaults":
        manager["route_config"]["request_headers_to_remove"] = METHOD_OVERRIDES
    return listener


def _route(server: str, guarded: bool) -> dict:
    wanted = {"x-server": server, "x-guarded": str(guarded).lower()}
    headers = [{"name": name, "string_match": {"exact": value}} for name, value in wanted.items()]
    # A server may close a connection just when Envoy sends on it.
    retry = {"retry_on": "reset,connect-failure", "num_retries": 3}
    return {
        "match": {"prefix": "/", "headers": headers},
        "route": {"cluster": server, "retry_policy": retry},
        "typed_per_filter_config": {} if guarded else {EXT_AUTHZ: _not_asked()},
    }


def _not_asked() -> dict:
    kind = "envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute"
    return {"@type": f"type.googleapis.com/{kind}", "disabled": True}
