"""The edge example, instead of ALB: tests every promise of docs/edge.md."""

from __future__ import annotations

import json
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

import edge
import standard
import tools
import web
from stack import Stack

# One address for each test, since each has its own limit.
ADDRESSES = iter(f"127.0.1.{last}" for last in range(1, 255))
CLIENT_HELLO = bytes.fromhex("16030100")
"""The start of one: a record of type handshake, without its length."""


@pytest.fixture(scope="module")
def running(module_stack: Stack) -> Iterator[tuple[edge.Edge, dict[str, web.Headers]]]:
    """The edge, and headers with tokens of the standard clients."""
    yield _start(module_stack)


@pytest.fixture
def tokens(running) -> dict[str, web.Headers]:
    return running[1]


@pytest.fixture
def envoy(running) -> edge.Edge:
    return running[0]


@pytest.fixture
def source() -> str:
    """An address that no other test sends from."""
    return next(ADDRESSES)


def _start(stack: Stack, **options) -> tuple[edge.Edge, dict[str, web.Headers]]:
    issuer = stack.issuer(*standard.CLIENTS)
    started = edge.start(stack, standard.CONFIG, ISSUER_URL=issuer.url, **options)
    tokens = {name: web.bearer(issuer.token(name, f"{name}-secret")) for name in ("web", "root")}
    return started, tokens


def test_plain_http_is_sent_to_https(envoy: edge.Edge):
    port = envoy.https.rsplit(":", 1)[1]
    for method in ("GET", "POST"):
        reply = web.send(envoy.redirect, method, "/v1/chat?x=1")
        assert reply.status == 308
        assert reply.header("location") == f"https://127.0.0.1:{port}/v1/chat?x=1"


@pytest.mark.parametrize(
    "version, spoken",
    [
        (ssl.TLSVersion.TLSv1, None),
        (ssl.TLSVersion.TLSv1_1, None),
        (ssl.TLSVersion.TLSv1_2, "TLSv1.2"),
        (ssl.TLSVersion.TLSv1_3, "TLSv1.3"),
    ],
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_tls_is_1_2_or_1_3(envoy: edge.Edge, version: ssl.TLSVersion, spoken: str | None):
    context = ssl.create_default_context(cafile=envoy.authority)
    # Current clients would not even try the old ones.
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    host, port = envoy.https.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=web.TIMEOUT) as plain:
        if spoken:
            with context.wrap_socket(plain, server_hostname="localhost") as tls:
                assert tls.version() == spoken
        else:
            with pytest.raises(ssl.SSLError, match="ALERT_PROTOCOL_VERSION"):
                context.wrap_socket(plain, server_hostname="localhost")


def test_http_2_is_spoken(envoy: edge.Edge):
    context = ssl.create_default_context(cafile=envoy.authority)
    context.set_alpn_protocols(["h2", "http/1.1"])
    host, port = envoy.https.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=web.TIMEOUT) as plain:
        with context.wrap_socket(plain, server_hostname="localhost") as tls:
            assert tls.selected_alpn_protocol() == "h2"


def test_a_token_is_needed_and_enough(envoy: edge.Edge, tokens, source: str):
    assert envoy.get("/v1/chat", source=source).status == 401
    reply = envoy.get("/v1/chat", tokens["web"], source=source)
    assert reply.seen.get("x-auth-subject") == "web"
    assert reply.header("strict-transport-security")


def test_an_address_has_2000_requests_in_5_minutes(envoy: edge.Edge, source: str):
    """The bucket refills while this runs: 2,000 tokens in 300 s."""
    connection, started, statuses = envoy.connect(source), time.monotonic(), Counter()
    limited = None
    while not limited:
        reply = connection.send("GET", "/healthz")
        statuses[reply.status] += 1
        limited = reply if reply.status == 429 else None
        assert statuses.total() < 4000
    refilled = (time.monotonic() - started) * 2000 / 300
    assert 2000 <= statuses[200] <= 2000 + refilled + 1
    assert int(limited.header("retry-after")) >= 1
    # For any path and any caller.
    assert connection.send("GET", "/v1/chat").status == 429
    assert envoy.get("/healthz", source=next(ADDRESSES)).status == 200
    # An address in a header is ignored.
    forged = [("x-forwarded-for", next(ADDRESSES))]
    told = Counter(connection.send("GET", "/healthz", forged).status for _ in range(20))
    assert told[429] >= 10, told


@pytest.mark.parametrize("path, status", [("/healthz", 200), ("/v1/health", 200), ("/public", 200),
                                          ("/v1/health/", 401), ("/healthz2", 401)])
def test_exempt_routes_need_no_token(envoy: edge.Edge, source: str, path: str, status: int):
    assert envoy.get(path, source=source).status == status


@pytest.mark.parametrize("path", ["/v1/health", "/public"])
def test_nothing_forged_gets_through_on_exempt_routes(
    envoy: edge.Edge, source: str, path: str
):
    names = ["subject", "scopes", "method", "provider", "client-id"]
    for dash in "-.~!":
        forged = [(f"X{dash}Auth{dash}{name}", "ceo") for name in names]
        seen = envoy.get(path, forged, source=source).seen
        assert [name for name, value in seen.headers if value == "ceo"] == [], dash


ADMIN = ["/admin", "/admin/", "/admin/users?x=1", "/%61dmin", "//admin", "/x/../admin",
         "/./admin", "/x/%2e%2e/admin", "/x\\..\\admin", "/v1/health/../../admin"]
REFUSED = ["/x%2f..%2fadmin", "/%2Fadmin", "/x%5c..%5cadmin", "/admin;x=1", "/x;/../admin;y",
           "/%2561dmin", "/x/..%252fadmin", "/admin%00", "/v1/health%2f..%2f..%2fadmin"]


@pytest.mark.parametrize("path", ADMIN)
def test_a_route_is_not_dodged_by_spelling(envoy: edge.Edge, tokens, source: str, path: str):
    assert envoy.get(path, tokens["web"], source=source).status == 403
    reply = envoy.get(path, tokens["root"], source=source)
    # One spelling arrives.
    assert reply.seen.path.partition("?")[0] in ("/admin", "/admin/", "/admin/users")


@pytest.mark.parametrize("path", REFUSED)
def test_a_path_with_two_readings_is_refused(envoy: edge.Edge, tokens, source: str, path: str):
    assert envoy.get(path, tokens["root"], source=source).status == 400


@pytest.mark.parametrize("path", ["/healthz/../v1/chat", "/v1/health/../chat", "/healthz;x",
                                  "/v1/health;/../chat", "/%2e/v1/chat"])
def test_no_spelling_makes_a_path_exempt(envoy: edge.Edge, source: str, path: str):
    assert envoy.get(path, source=source).status in (400, 401)


@pytest.mark.parametrize("path", ["/v1/chat", "/healthz", "/v1/health"])
def test_headers_with_underscores_are_refused(envoy: edge.Edge, tokens, source: str, path: str):
    headers = [*tokens["web"], ("x_auth_subject", "ceo")]
    assert envoy.get(path, headers, source=source).status == 400


def test_no_header_tells_another_method_or_path(envoy: edge.Edge, tokens, source: str):
    names = ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X-Original-URL", "X-Rewrite-URL"]
    told = [(name, "/admin") for name in names]
    seen = envoy.get("/v1/chat", [*tokens["web"], *told], source=source).seen
    assert [name for name in names if seen.get(name.lower())] == []


def test_too_large_a_request_is_a_413(envoy: edge.Edge, tokens, source: str):
    most = 10 * 1024 * 1024
    send = lambda size, headers: envoy.send(  # noqa: E731
        "POST", "/v1/chat", headers, body=b"x" * size, source=source
    )
    assert send(most, tokens["web"]).status == 200
    assert send(most + 1, tokens["web"]).status == 413


@pytest.mark.parametrize(
    "headers",
    [[("x-long", "x" * 61 * 1024)], [(f"x-{number}", "x") for number in range(101)]],
    ids=["long", "many"],
)
def test_too_many_headers_are_a_431(envoy: edge.Edge, tokens, source: str, headers):
    assert envoy.get("/v1/chat", [*tokens["web"], *headers], source=source).status == 431


def test_slow_clients_are_dropped(stack: Stack):
    """With a fifth of the example's limits, to save time."""
    changes = {
        "request_headers_timeout: 5s": "request_headers_timeout: 1s",
        "request_timeout: 30s": "request_timeout: 2s",
        "transport_socket_connect_timeout: 5s": "transport_socket_connect_timeout: 1s",
    }
    started, tokens = _start(stack, changes=changes)
    [(_, authorization)] = tokens["web"]
    head = f"POST /v1/chat HTTP/1.1\r\nhost: x\r\nauthorization: {authorization}\r\n"
    body = f"{head}content-length: 1000\r\n\r\n"
    said: dict[str, bytes] = {
        "redirect": _dawdle(started.redirect, None, b"GET / HTTP/1.1\r\nx: "),
        "headers": _dawdle(started.https, started, head.encode()),
        "body": _dawdle(started.https, started, body.encode()),
        "handshake": _dawdle(started.https, None, CLIENT_HELLO),
    }
    assert said["redirect"].startswith(b"HTTP/1.1 408"), said
    assert said["headers"].startswith(b"HTTP/1.1 408"), said
    assert said["body"].startswith(b"HTTP/1.1 408"), said
    assert said["handshake"] == b"", said


def _dawdle(address: str, tls: edge.Edge | None, start: bytes) -> bytes:
    """Sends a start and then a byte at a time; returns what it received until
    the other side closed the connection."""
    host, port = address.rsplit(":", 1)
    connection = socket.create_connection((host, int(port)), timeout=web.TIMEOUT)
    if tls:
        context = ssl.create_default_context(cafile=tls.authority)
        connection = context.wrap_socket(connection, server_hostname="localhost")
    deadline = time.monotonic() + 30
    with connection:
        connection.sendall(start)
        connection.settimeout(0.2)
        while time.monotonic() < deadline:
            try:
                received = connection.recv(65536)
                return received
            except TimeoutError:
                pass
            except ConnectionResetError:
                return b""
            try:
                connection.sendall(b"x")
            except OSError:
                return b""
    raise AssertionError("it was not dropped")


def test_a_claimgate_killed_fails_no_request(stack: Stack):
    started, tokens = _start(stack)
    with _flow(started, tokens["web"]) as flow:
        flow.pass_by(200)
        started.claimgates[0].kill()
        flow.pass_by(600)
    assert set(flow.outcomes) == {200}, flow.outcomes
    web.wait_until(
        lambda: started.envoy.stat("cluster.claimgate.membership_healthy") == 1,
        "the dead one to be noticed",
        seconds=30,
    )
    started.claimgates[1].kill()
    # No request passes when both are down.
    assert started.get("/v1/chat", tokens["web"], source=next(ADDRESSES)).status == 503
    assert started.get("/public", source=next(ADDRESSES)).status == 503


def _flow(started: edge.Edge, headers: web.Headers) -> web.Flow:
    def connect(_: str) -> web.Connection:
        return started.connect(next(ADDRESSES))

    return web.Flow(started.https, "/v1/chat", lambda: headers, connect=connect, most=4000)


def test_the_access_log_tells_who_and_why(envoy: edge.Edge, tokens, source: str):
    cases = [
        ("/v1/chat?access_token=secret", tokens["web"], (200, "ok", "machines", "web")),
        ("/v1/chat", web.bearer("job-key"), (200, "ok", "team-keys", "job")),
        ("/v1/chat", [], (401, "missing_token", None, None)),
        ("/v1/chat", web.bearer("gone-key"), (401, "key_revoked", "team-keys", None)),
        ("/admin", tokens["web"], (403, "insufficient_scope", "machines", None)),
        ("/healthz", [], (200, None, None, None)),
    ]
    for path, headers, _ in cases:
        envoy.get(path, headers, source=source)
    lines = _wait_for(lambda: _access_log(envoy, source), len(cases))
    told = [tuple(line[key] or None for key in ("status", "reason", "provider", "subject"))
            for line in lines]
    assert told == [expected for _, _, expected in cases]
    assert lines[0]["path"] == "/v1/chat"
    assert "secret" not in json.dumps(lines)
    assert [line["route"] for line in lines[3:]] == ["default", "admin", "edge-health"]


def _access_log(envoy: edge.Edge, source: str) -> list[dict]:
    lines = envoy.envoy.output.read_text().splitlines(keepends=True)
    read = (json.loads(line) for line in lines if line.endswith("}\n"))
    return [line for line in read if line["client"] == source]


def _wait_for(lines: Callable[[], list[dict]], count: int) -> list[dict]:
    web.wait_until(lambda: len(lines()) == count, f"{count} lines in the access log")
    return lines()


def test_a_renewed_certificate_needs_no_restart(stack: Stack):
    started, _ = _start(stack)
    fresh = started.folder / "fresh"
    tools.certificate(fresh)
    trusted = ssl.create_default_context(cafile=fresh / "ca.crt")
    for name in ("tls.key", "tls.crt"):
        (fresh / name).rename(started.folder / "tls" / name)

    def shown() -> bool:
        try:
            return web.Connection(started.https, tls=trusted).send("GET", "/healthz").status == 200
        except ssl.SSLCertVerificationError:
            return False

    web.wait_until(shown, "the new certificate", seconds=30)
