"""The programs that get tokens, each as its users run it, and a token endpoint
that each test scripts."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import socket
import subprocess
import threading
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import tools

SCRIPTS = tools.ROOT / "scripts"

SECONDS = 120
"""Time for one run of a client: far more than it needs, on a busy machine."""


@dataclass(frozen=True)
class Client:
    """A program and the userland that it runs in."""

    name: str
    command: Callable[[], list[str | Path]]
    """Its command."""
    caches: bool
    tools: dict[str, str] = field(default_factory=dict)
    """Commands that replace others on its PATH."""

    def __repr__(self) -> str:
        return self.name


def _script(name: str, *shell: str) -> Callable[[], list[str | Path]]:
    return lambda: [*shell, SCRIPTS / name]


# macOS has bash 3.2 as /bin/sh and the one true awk; Alpine has busybox alone.
# The tests use plain POSIX shells and those tools instead.
_MAC = {"awk": "original-awk"}
_BUSYBOX = dict.fromkeys("sh awk od tr date find id mktemp mv dirname sleep".split(), "busybox")
_GET, _CACHED = "get-gateway-token.sh", "gateway-token-cached.sh"

UNCACHED = [
    Client("get", _script(_GET), False),
    Client("get-bash-mac", _script(_GET, "bash", "--posix"), False, _MAC),
    Client("get-busybox", _script(_GET, "busybox", "sh"), False, _BUSYBOX),
    Client("token-no-cache", lambda: [tools.claimgate(), "token", "--no-cache"], False),
]
CACHED = [
    Client("cached", _script(_CACHED), True),
    Client("cached-bash-mac", _script(_CACHED, "bash", "--posix"), True, _MAC),
    Client("cached-busybox", _script(_CACHED, "busybox", "sh"), True, _BUSYBOX),
    Client("token", lambda: [tools.claimgate(), "token"], True),
]
# The cached script calls the other one, so one userland is enough.
ALL = [*UNCACHED, *(client for client in CACHED if not client.tools)]


@dataclass(frozen=True)
class Outcome:
    """The result of a run."""

    status: int
    stdout: str
    stderr: str

    @property
    def token(self) -> str:
        """The token it printed, on its own line."""
        assert self.status == 0, f"exit {self.status}: {self.stderr}"
        assert self.stdout.endswith("\n") and self.stdout.count("\n") == 1, repr(self.stdout)
        return self.stdout[:-1]


@dataclass
class Desk:
    """A user's account: a home and a PATH, and nothing else in the environment."""

    folder: Path
    client: Client
    variables: dict[str, str] = field(default_factory=dict)

    @cached_property
    def path(self) -> str:
        """The client's own tools first."""
        own = self.folder / "bin"
        own.mkdir()
        for name, tool in self.client.tools.items():
            (own / name).symlink_to(_which(tool))
        return f"{own}:{os.environ['PATH']}"

    @property
    def home(self) -> Path:
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        return home

    @property
    def environment(self) -> dict[str, str]:
        return {"HOME": str(self.home), "PATH": self.path, **self.variables}

    def start(self, **variables: str) -> subprocess.Popen:
        """Starts the client with these variables beside the desk's own."""
        return subprocess.Popen(
            [str(part) for part in self.client.command()],
            env={**self.environment, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, **variables: str) -> Outcome:
        """Runs the client to its end."""
        return finish(self.start(**variables))

    def cache_files(self) -> list[Path]:
        """Its cached files, without locks."""
        folder = self.home / ".cache" / "claimgate"
        return [file for file in folder.glob("*token-*") if file.suffix == ""]


def finish(process: subprocess.Popen) -> Outcome:
    """The outcome of a run, once it has ended."""
    stdout, stderr = process.communicate(timeout=SECONDS)
    return Outcome(process.returncode, stdout, stderr)


def _which(tool: str) -> str:
    found = shutil.which(tool)
    if not found:
        raise tools.ToolMissing(f"{tool} is not installed; Debian has it in the package {tool}")
    return found


@dataclass(frozen=True)
class Asked:
    """A token request as it arrived."""

    authorization: str | None
    form: dict[str, str]

    @property
    def client(self) -> tuple[str, str]:
        """Id and secret, wherever they were (RFC 6749, section 2.3.1)."""
        if self.authorization is None:
            return self.form["client_id"], self.form["client_secret"]
        assert "client_id" not in self.form and "client_secret" not in self.form
        scheme, _, value = self.authorization.partition(" ")
        assert scheme == "Basic"
        name, _, secret = base64.b64decode(value, validate=True).decode().partition(":")
        return urllib.parse.unquote_plus(name), urllib.parse.unquote_plus(secret)


class Endpoint(ThreadingHTTPServer):
    """A hand-written double of a token endpoint: it answers every request with
    the response that the test set last."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.asked: list[Asked] = []
        self.answer()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def __enter__(self) -> "Endpoint":
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/token?tenant=a%20b"

    def answer(
        self,
        body: str | bytes = '{"access_token":"opaque"}',
        status: int = 200,
        headers: dict[str, str] | None = None,
        hold: threading.Event | None = None,
    ) -> None:
        """Sets the next response; with `hold` it waits for that."""
        body = body.encode() if isinstance(body, str) else body
        self.next = (status, headers or {"content-type": "application/json"}, body, hold)


class _Answers(BaseHTTPRequestHandler):
    server: Endpoint

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        assert self.headers["content-type"] == "application/x-www-form-urlencoded"
        pairs = urllib.parse.parse_qsl(body, strict_parsing=True, keep_blank_values=True)
        form = dict(pairs)
        assert len(form) == len(pairs), "a parameter came twice"
        self.server.asked.append(Asked(self.headers["authorization"], form))
        status, headers, answer, hold = self.server.next
        if hold:
            hold.wait(SECONDS)
        try:
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(answer))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)
        except OSError:
            pass  # The client gave up, as some tests intend.

    def log_message(self, format: str, *args: object) -> None:
        """Silence: requests are in `asked`."""


def silent_port() -> socket.socket:
    """A listener that accepts connections and never answers."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=16)
    return listener


def part(token: str, index: int) -> dict:
    """A part of a JWT: 0 is the header, 1 the claims."""
    text = token.split(".")[index]
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


def jwt(claims: str) -> str:
    """An unsigned lookalike with these claims."""

    def encoded(text: str) -> str:
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    return ".".join([encoded('{"alg":"RS256"}'), encoded(claims), "c2lnbmF0dXJl"])


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a page that are in this language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)


def commands(block: str) -> list[tuple[str, list[str]]]:
    """The commands of a console block, each with the output that is shown."""
    found: list[tuple[str, list[str]]] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return found
