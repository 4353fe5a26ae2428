"""The one way to start an issuer, Claimgate, Envoy and an upstream together.

    with Stack() as stack:
        issuer = stack.issuer("--client", "web:secret:read")
        upstream = stack.upstream()
        claimgate = stack.claimgate(CONFIG, ISSUER_URL=issuer.url)
        envoy = stack.envoy(envoy_config(claimgate.grpc, upstream))

Each call returns when its program is ready. Leaving the `with` ends all of
them, also after a failure. Ports are free ones, found at start; every program's
output goes to a log file in `stack.folder`.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import doors
import tools
import web

START_SECONDS = 20
STOP_SECONDS = 30


class DidNotStart(Exception):
    """A program ended or stayed unready; the text has the end of its log."""


class Program:
    """A child process and its log."""

    def __init__(
        self,
        name: str,
        command: list[str | Path],
        folder: Path,
        environment: dict[str, str],
        working_folder: Path | None = None,
    ):
        self.name = name
        self.log = _fresh(folder / f"{name}.log")
        self.output = self.log.with_suffix(".out")
        self._command = [str(part) for part in command]
        self.environment = environment
        self._folder = working_folder
        self.start()

    def start(self) -> None:
        """Starts it, once more if it has ended."""
        with open(self.log, "ab") as log, open(self.output, "ab") as output:
            # Its own session: Ctrl-C at the terminal reaches only the parent,
            # which then ends its children in order.
            self.process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=log,
                env={**os.environ, **self.environment},
                cwd=self._folder,
                start_new_session=True,
            )

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def wait_ready(self, ready: Callable[[], object], seconds: float = START_SECONDS) -> None:
        """Waits for `ready`; connection errors mean not yet."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                if ready():
                    return
            except OSError:
                pass
            if not self.running:
                raise DidNotStart(f"{self.name} ended at start\n{self.tail()}")
            if time.monotonic() > deadline:
                raise DidNotStart(f"{self.name} was not ready after {seconds} s\n{self.tail()}")
            time.sleep(0.01)

    def first_line(self) -> str:
        """The first line on stdout, once it is complete."""
        self.wait_ready(lambda: b"\n" in self.output.read_bytes())
        return self.output.read_text().splitlines()[0]

    def tail(self, lines: int = 20) -> str:
        """The end of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def signal(self, number: int) -> None:
        if self.running:
            self.process.send_signal(number)

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """The exit status, once it has ended."""
        return self.process.wait(seconds)

    def stop(self) -> int:
        """Stops it, and kills it if it does not end."""
        self.signal(signal.SIGTERM)
        try:
            return self.wait()
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def kill(self) -> None:
        """Kills it."""
        self.process.kill()
        self.process.wait()


class Issuer(Program):
    """`claimgate issuer`."""

    url: str
    token_endpoint: str
    jwks_uri: str

    @property
    def address(self) -> str:
        return self.jwks_uri.split("/")[2]

    def token(self, client: str, secret: str, **more: object) -> str:
        """A token by the client-credentials grant."""
        return web.client_credentials(self.token_endpoint, client, secret, **more)

    def rotate(self) -> str:
        """Replaces the signing key; its id."""
        return web.send(self.address, "POST", "/rotate").json()["kid"]

    def jwks_fetches(self) -> int:
        """How often the keys were fetched."""
        return web.get(self.address, "/stats").json()["jwks_fetches"]


class Claimgate(Program):
    """`claimgate serve`."""

    grpc: str
    admin: str
    config: Path

    def ready(self) -> bool:
        return web.get(self.admin, "/readyz").status == 200

    def metrics(self) -> dict[str, float]:
        """Every sample, by its name and labels as written."""
        text = web.get(self.admin, "/metrics").body.decode()
        samples = (line.rsplit(" ", 1) for line in text.splitlines() if line[:1] not in ("", "#"))
        return {name: float(value) for name, value in samples}

    def checks(self, reason: str) -> float:
        """How many checks ended with this reason so far."""
        return sum(
            value
            for name, value in self.metrics().items()
            if name.startswith("claimgate_checks_total{") and f'reason="{reason}"' in name
        )

    def reloads(self, result: str) -> float:
        """How many reloads had this result."""
        return self.metrics().get(f'claimgate_config_reloads_total{{result="{result}"}}', 0)


class Envoy(Program):
    """A real Envoy."""

    admin: str
    address: str

    def listeners(self) -> dict[str, str]:
        """The addresses it listens on, by name, in the order of its configuration;
        socket files aside."""
        statuses = web.get(self.admin, "/listeners?format=json").json().get("listener_statuses", [])
        return {
            status["name"]: _address(status["local_address"])
            for status in statuses
            if "socket_address" in status["local_address"]
        }

    def healthy(self, port: int) -> set[str]:
        """The hosts with this port that get requests, in any cluster."""
        clusters = web.get(self.admin, "/clusters?format=json").json().get("cluster_statuses", [])
        hosts = (host for cluster in clusters for host in cluster.get("host_statuses", []))
        found = set()
        for host in hosts:
            address = host["address"].get("socket_address", {})
            status = dict(host["health_status"])
            if address.get("port_value") == port and status.pop("eds_health_status", "") == "HEALTHY":
                found |= set() if any(status.values()) else {address["address"]}
        return found

    def stat(self, name: str) -> int:
        """One counter or gauge."""
        text = web.get(self.admin, f"/stats?filter=^{name}$").body.decode()
        return sum(int(line.rsplit(": ", 1)[1]) for line in text.splitlines())


class Stack:
    """Programs that start and end together."""

    def __init__(self, folder: Path | None = None, *, for_people: bool = False):
        """`for_people`: its files have values where the tests' have ${NAME}, so that
        commands work on them as they are; and its programs end with this one, even
        if it is killed."""
        self.folder = Path(folder or tempfile.mkdtemp(prefix="claimgate-"))
        self.programs: list[Program] = []
        self._for_people = for_people

    def __enter__(self) -> "Stack":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends all programs, the last one started first."""
        for program in reversed(self.programs):
            program.stop()

    def discard(self) -> None:
        """Removes the logs."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def upstream(self, port: int = 0) -> str:
        """An upstream that echoes; its address. Port 0 is a free one."""
        command = [sys.executable, tools.HERE / "upstream.py", "--port", str(port)]
        return self.start(Program, "upstream", command).first_line()

    def issuer(self, *options: str, address: str = "127.0.0.1:0") -> Issuer:
        """A development issuer with these options."""
        command = [tools.claimgate(), "issuer", "--address", address, *options]
        issuer = self.start(Issuer, "issuer", command)
        urls = json.loads(issuer.first_line())
        issuer.url, issuer.jwks_uri = urls["issuer"], urls["jwks_uri"]
        issuer.token_endpoint = urls["token_endpoint"]
        return issuer

    def claimgate(
        self,
        config: str,
        *,
        wait: bool = True,
        name: str = "claimgate",
        grpc: int | None = None,
        **environment: str,
    ) -> Claimgate:
        """The service with this configuration, whose `server` block may use
        ${GRPC_PORT} and ${ADMIN_PORT} and whose other variables are given."""
        grpc, admin = grpc or free_port(), free_port()
        environment = {"GRPC_PORT": str(grpc), "ADMIN_PORT": str(admin), **environment}
        file = self.config_file(name, config, environment)
        command = [tools.claimgate(), "serve", "--config", file]
        program = self.start(Claimgate, name, command, environment)
        program.grpc, program.admin = f"127.0.0.1:{grpc}", f"127.0.0.1:{admin}"
        program.config = file
        if wait:
            program.wait_ready(program.ready)
        else:
            program.wait_ready(lambda: web.get(program.admin, "/livez").status == 200)
        return program

    def config_file(self, name: str, config: str, environment: dict[str, str]) -> Path:
        """A config file of Claimgate's, with this text."""
        if self._for_people:
            config = re.sub(r"\$\{(\w+)\}", lambda named: environment.get(named[1], named[0]), config)
        file = _fresh(self.folder / f"{name}.yaml")
        file.write_text(config)
        return file

    def envoy(
        self,
        config: str | dict,
        *,
        working_folder: Path | None = None,
        program: Path | None = None,
        log_level: str = "warning",
        **environment: str,
    ) -> Envoy:
        """Envoy with this configuration, as YAML text or as a dict; names of
        files in it are relative to `working_folder`. `program` is another
        Envoy than the pinned one."""
        if doors.IS_MODULE and isinstance(config, dict):
            services = {it.grpc: it for it in self.programs if isinstance(it, Claimgate)}
            files = {address: service.config for address, service in services.items()}
            config, asked = doors.inside(config, files)
            for address in asked:
                # The service that is not asked keeps its own port.
                admin = free_port()
                services[address].admin = f"127.0.0.1:{admin}"
                own = {**services[address].environment, "ADMIN_PORT": str(admin)}
                environment = {**own, **environment}
            environment = {**doors.environment(), **environment}
        text, suffix = (config, "yaml") if isinstance(config, str) else (json.dumps(config, indent=2), "json")
        file = _fresh(self.folder / f"envoy.{suffix}")
        file.write_text(text)
        admin = _fresh(self.folder / "envoy-admin.txt")
        command = [
            program or tools.envoy(),
            *("--config-path", file, "--admin-address-path", admin, "--log-level", log_level),
            # Several may run on one machine, and no hot restart is needed.
            *("--disable-hot-restart", "--concurrency", "2", "--file-flush-interval-msec", "20"),
        ]
        envoy = self.start(Envoy, "envoy", command, environment, working_folder)
        envoy.wait_ready(lambda: admin.exists() and ":" in admin.read_text())
        envoy.admin = admin.read_text().strip()
        # A control plane sends its listeners later.
        envoy.wait_ready(lambda: web.get(envoy.admin, "/ready").status == 200 and envoy.listeners())
        envoy.address = next(iter(envoy.listeners().values()))
        return envoy

    def start(
        self,
        kind: type[Program],
        name: str,
        command: list[str | Path],
        environment: dict[str, str] | None = None,
        working_folder: Path | None = None,
    ):
        """Starts a program that ends with the stack."""
        if self._for_people and shutil.which("setpriv"):
            command = ["setpriv", "--pdeathsig", "KILL", *command]
        program = kind(name, command, self.folder, environment or {}, working_folder)
        self.programs.append(program)
        return program


def _address(local: dict) -> str:
    """Parses an address as Envoy writes it."""
    socket_address = local["socket_address"]
    return f"{socket_address['address']}:{socket_address['port_value']}"


def free_port() -> int:
    """A free port, which no other call in this run of the tests gets before its
    owner has it. Ports of outgoing connections start at 32768."""
    while True:
        port = next(_ports)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def _shuffled_ports() -> Iterator[int]:
    """Those of this process, over and over; each worker of pytest-xdist has its own."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    ports = list(range(20_000 + worker, 32_000, workers))
    random.shuffle(ports)
    return itertools.cycle(ports)


_ports = _shuffled_ports()


def _fresh(path: Path) -> Path:
    """The path, or one like it if it is taken."""
    count = 1
    candidate = path
    while candidate.exists():
        count += 1
        candidate = path.with_stem(f"{path.stem}-{count}")
    return candidate
