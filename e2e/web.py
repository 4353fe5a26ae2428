"""HTTP for the tests: header names sent as written, repeats kept, paths not
normalised, connections kept open."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import threading
import time
import urllib.parse
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

Headers = Iterable[tuple[str, str]]

TIMEOUT = 10
"""Seconds; the limit of one exchange."""


@dataclass(frozen=True)
class Reply:
    """A response, read to its end."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        """A header's value; None without it. Repeats are an error here."""
        values = [value for key, value in self.headers if key.lower() == name]
        assert len(values) <= 1, f"{name} came {len(values)} times"
        return values[0] if values else None

    def json(self) -> dict:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def seen(self) -> "Seen":
        """What the upstream received, if it was the upstream that answered."""
        assert self.status == 200, f"{self.status}: {self.body[:300]!r}"
        return Seen(**self.json())


@dataclass(frozen=True)
class Seen:
    """A request as it arrived at the upstream."""

    method: str
    path: str
    headers: list[list[str]]

    def named(self, prefix: str) -> list[tuple[str, str]]:
        """Headers whose names start with `prefix` once `_` is read as `-`."""
        return [
            (name, value)
            for name, value in self.headers
            if name.lower().replace("_", "-").startswith(prefix)
        ]

    def get(self, name: str) -> str | None:
        """The value of a header of exactly this name."""
        values = [value for key, value in self.headers if key.lower() == name]
        assert len(values) <= 1, f"{name} arrived {len(values)} times"
        return values[0] if values else None


class _AnyPath:
    """Sends paths that http.client refuses."""

    def _validate_path(self, url: str) -> None:
        """Bad paths are intended."""

    def _encode_request(self, request: str) -> bytes:
        return request.encode("latin-1")


class _Plain(_AnyPath, http.client.HTTPConnection):
    pass


class _Tls(_AnyPath, http.client.HTTPSConnection):
    pass


class Connection:
    """A connection to `host:port` that is kept open, and reopened when the
    other side has closed it between two requests. Its source address is
    `source`, one of the loopback's; it uses TLS if there is a context."""

    def __init__(
        self, address: str, *, tls: ssl.SSLContext | None = None, source: str | None = None
    ):
        options = {"timeout": TIMEOUT, "source_address": (source, 0) if source else None}
        self._http = _Tls(address, context=tls, **options) if tls else _Plain(address, **options)

    def send(
        self, method: str, path: str, headers: Headers = (), body: bytes | None = None
    ) -> Reply:
        """One exchange. `path` is sent byte for byte."""
        fresh = self._http.sock is None
        try:
            return self._exchange(method, path, headers, body)
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            self._http.close()
            if fresh:
                raise
        return self._exchange(method, path, headers, body)

    def close(self) -> None:
        self._http.close()

    def _exchange(
        self, method: str, path: str, headers: Headers, body: bytes | None
    ) -> Reply:
        headers = list(headers)
        named = any(name.lower() == "host" for name, _ in headers)
        try:
            self._http.putrequest(method, path, skip_host=named, skip_accept_encoding=True)
            for name, value in headers:
                self._http.putheader(name, value)
            if body is not None:
                self._http.putheader("content-length", str(len(body)))
            self._http.endheaders(body)
            answer = self._http.getresponse()
            return Reply(answer.status, answer.getheaders(), answer.read())
        except BaseException:
            self._http.close()
            raise


def get(address: str, path: str, headers: Headers = ()) -> Reply:
    """One GET on a connection of its own."""
    return send(address, "GET", path, headers)


def send(
    address: str, method: str, path: str, headers: Headers = (), body: bytes | None = None
) -> Reply:
    """One exchange on a connection of its own."""
    connection = Connection(address)
    try:
        return connection.send(method, path, headers, body)
    finally:
        connection.close()


def bearer(token: str) -> list[tuple[str, str]]:
    """The usual header for a token."""
    return [("authorization", f"Bearer {token}")]


class TokenRefused(Exception):
    """The token endpoint refused."""


def client_credentials(endpoint: str, client: str, secret: str, **more: object) -> str:
    """An access token by the client-credentials grant (RFC 6749, section 4.4)."""
    url = urllib.parse.urlsplit(endpoint)
    form = {"grant_type": "client_credentials", **more}
    pair = f"{urllib.parse.quote_plus(client)}:{urllib.parse.quote_plus(secret)}"
    reply = send(
        url.netloc,
        "POST",
        url.path,
        [
            ("authorization", "Basic " + base64.b64encode(pair.encode()).decode()),
            ("content-type", "application/x-www-form-urlencoded"),
        ],
        urllib.parse.urlencode(form).encode(),
    )
    if reply.status != 200:
        raise TokenRefused(f"{endpoint} answered {reply.status}: {reply.body[:300]!r}")
    return reply.json()["access_token"]


@dataclass
class Flow:
    """Requests that keep coming from a few threads until told to stop.

    A context manager: the flow runs inside the `with`, `outcomes` counts the
    statuses (or error names) afterwards and, roughly, meanwhile.
    """

    address: str
    path: str
    headers: Callable[[], Headers]
    threads: int = 2
    most: int = 20_000
    connect: Callable[[str], Connection] = Connection
    outcomes: Counter = field(default_factory=Counter)

    def __enter__(self) -> "Flow":
        self._stop = threading.Event()
        self._count = threading.Lock()
        self._running = [threading.Thread(target=self._run) for _ in range(self.threads)]
        for thread in self._running:
            thread.start()
        self.pass_by(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._running:
            thread.join()

    @property
    def total(self) -> int:
        with self._count:
            return self.outcomes.total()

    def pass_by(self, count: int) -> None:
        """Waits until `count` more requests are answered, so that some of them
        started after the latest change."""
        target = self.total + count + self.threads
        wait_until(
            lambda: self.total >= min(target, self.most), f"{count} more requests"
        )

    def _run(self) -> None:
        connection = self.connect(self.address)
        while not self._stop.is_set() and self.total < self.most:
            try:
                outcome: object = connection.send("GET", self.path, self.headers()).status
            except Exception as error:  # any error is a failed request
                outcome = type(error).__name__
            with self._count:
                self.outcomes[outcome] += 1
        connection.close()


def wait_until(condition: Callable[[], object], what: str, seconds: float = 15) -> None:
    """Polls until the condition holds; the failure names `what` it waited for."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"gave up waiting after {seconds} s: {what}")
        time.sleep(0.01)
