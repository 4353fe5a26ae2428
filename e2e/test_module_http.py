"""Claimgate inside Envoy and what HTTP has besides plain requests, on every
Envoy that is served and over both versions of HTTP."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

import http2
import module_gateway
import web
from envoy_config import cluster
from module_gateway import ModuleGateway
from stack import Envoy, Stack

CONFIG = """
auth:
  providers:
    - name: keys
      type: api_key
      keys:
        - {name: job, key: job-key}
        - name: odd
          key: odd-key
          claims: {email: "a\\r\\nx-forged: 1", team: "", org: ["\\r\\nx-forged: 2"]}
  forward_token: false
  headers: {claims: {email: x-auth-email, team: x-auth-team, org: x-auth-org}}
"""

VERSIONS = {"HTTP/1.1": web.Connection, "HTTP/2": http2.Connection}


class Upgrading:
    """An upstream that agrees to every upgrade and then echoes."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self._listener.getsockname()[1]
        self.heads: list[str] = []
        threading.Thread(target=self._run, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as lines:
            head = "".join(iter(lambda: lines.readline().decode("latin-1"), "\r\n"))
            self.heads.append(head)
            connection.sendall(
                b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
            )
            while data := lines.read1(1024):
                connection.sendall(data)


@pytest.fixture(scope="module")
def upgrading() -> Iterator[Upgrading]:
    upstream = Upgrading()
    yield upstream
    upstream.close()


@pytest.fixture(scope="module", params=module_gateway.VERSIONS)
def envoy(module_stack: Stack, upgrading: Upgrading, request: pytest.FixtureRequest) -> Envoy:
    """/ws leads to where upgrades are known."""
    file = module_stack.folder / f"gateway-{request.param}.yaml"
    file.write_text(CONFIG)
    config = module_gateway.module_config({"config_file": str(file)}, module_stack.upstream())
    resources = config["static_resources"]
    resources["clusters"].append(cluster("upgrading", [upgrading.address]))
    (chain,) = resources["listeners"][0]["filter_chains"]
    manager = chain["filters"][0]["typed_config"]
    manager["upgrade_configs"] = [{"upgrade_type": "websocket"}]
    (host,) = manager["route_config"]["virtual_hosts"]
    host["routes"].insert(0, {"match": {"prefix": "/ws"}, "route": {"cluster": "upgrading"}})
    return module_gateway.start(module_stack, config, version=request.param)


@pytest.fixture(params=VERSIONS.values(), ids=VERSIONS)
def send(envoy: Envoy, request: pytest.FixtureRequest) -> Iterator[Callable[..., web.Reply]]:
    """Sends over one version of HTTP."""
    connection = request.param(envoy.address)
    yield connection.send
    connection.close()


def connected(envoy: Envoy) -> socket.socket:
    host, port = envoy.address.rsplit(":", 1)
    return socket.create_connection((host, int(port)), timeout=web.TIMEOUT)


def head(path: str, *lines: str, method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "host: a", *lines, "", ""]).encode("latin-1")


def until(connection: socket.socket, end: bytes) -> bytes:
    received = b""
    while end not in received:
        data = connection.recv(4096)
        assert data, received
        received += data
    return received


UPGRADE = ("connection: upgrade", "upgrade: websocket", "sec-websocket-version: 13")


def test_a_websocket_is_let_through_with_its_identity(envoy: Envoy, upgrading: Upgrading):
    with connected(envoy) as client:
        own = ("authorization: Bearer job-key", "x-auth-subject: root", "sec-websocket-key: a2V5")
        client.sendall(head("/ws", *UPGRADE, *own))
        assert until(client, b"\r\n\r\n").startswith(b"HTTP/1.1 101 ")
        client.sendall(b"frames")
        assert until(client, b"frames") == b"frames"
    arrived = upgrading.heads[-1].lower()
    assert "x-auth-subject: job\r\n" in arrived
    assert "root" not in arrived and "job-key" not in arrived


def test_a_websocket_is_turned_away_as_any_request_is(envoy: Envoy, upgrading: Upgrading):
    before = len(upgrading.heads)
    with connected(envoy) as client:
        client.sendall(head("/ws", *UPGRADE))
        reply = until(client, b"}")
    assert reply.startswith(b"HTTP/1.1 401 ") and b"www-authenticate: Bearer" in reply
    assert len(upgrading.heads) == before


def test_a_denial_does_not_wait_for_the_body(envoy: Envoy):
    with connected(envoy) as client:
        client.sendall(head("/orders", "content-length: 10", method="POST") + b"half")
        assert until(client, b"}").startswith(b"HTTP/1.1 401 ")


def test_a_body_may_come_long_after_the_headers(envoy: Envoy):
    with connected(envoy) as client:
        own = ("authorization: Bearer job-key", "transfer-encoding: chunked")
        client.sendall(head("/orders", *own, method="POST"))
        client.sendall(b"4\r\nhalf\r\n")
        client.sendall(b"5\r\nwhole\r\n0\r\n\r\n")
        assert b'"x-auth-subject"' in until(client, b"}\n")


def test_many_long_odd_and_repeated_headers(send: Callable[..., web.Reply]):
    odd = [("x-odd", "\xff\xfe"), ("x-empty", ""), ("x-twice", "1"), ("x-twice", "2")]
    long = [(f"x-{number}", "v" * 2900) for number in range(20)]
    seen = send("POST", "/orders", [*web.bearer("job-key"), *odd, *long], b"b" * 100_000).seen
    assert seen.get("x-auth-subject") == "job"
    assert seen.get("x-odd") == "\xff\xfe"
    assert seen.get("x-empty") == ""
    twice = [value for name, value in seen.headers if name == "x-twice"]
    assert ",".join(twice) == "1,2"
    assert all(seen.get(name) == value for name, value in long)


def test_line_breaks_in_a_claim_make_no_header(send: Callable[..., web.Reply]):
    forged = [("x-auth-team", "root"), ("x-forged", "by the client")]
    seen = send("GET", "/orders", [*web.bearer("odd-key"), *forged]).seen
    assert seen.get("x-forged") == "by the client"
    assert dict(seen.named("x-auth")) == {
        "x-auth-subject": "odd",
        "x-auth-scopes": "*",
        "x-auth-method": "api_key",
        "x-auth-provider": "keys",
        "x-auth-email": "a%0D%0Ax-forged: 1",
        "x-auth-org": "%0D%0Ax-forged: 2",
    }


@pytest.mark.parametrize(
    ("headers", "status", "grpc"),
    [
        ([], 401, "16"),
        (web.bearer("no-such-key"), 401, "16"),
        ([*web.bearer("job-key"), ("authorization", "Bearer other")], 400, "13"),
    ],
)
def test_a_grpc_caller_never_sees_an_ok(
    send: Callable[..., web.Reply], headers: list, status: int, grpc: str
):
    assert send("POST", "/orders", headers, b"").status == status
    own = [*headers, ("content-type", "application/grpc"), ("te", "trailers")]
    reply = send("POST", "/orders", own, b"")
    assert (reply.status, reply.header("grpc-status")) == (200, grpc)
