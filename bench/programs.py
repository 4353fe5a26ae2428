"""The programs of a benchmark, and how they are built or installed."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import rig
import tools
import web
from stack import Claimgate, Program, Stack, free_port

DEBIAN_PACKAGES = {"h2load": "nghttp2-client", "wrk": "wrk", "taskset": "util-linux"}


def install() -> None:
    """Gets the load generators, if they are missing, and builds everything as
    it is released, unless CLAIMGATE_PROFILE names another profile."""
    os.environ.setdefault("CLAIMGATE_PROFILE", "release")
    missing = [package for tool, package in DEBIAN_PACKAGES.items() if not shutil.which(tool)]
    if missing:
        command = f"apt-get install --yes --no-install-recommends {' '.join(missing)}"
        if not shutil.which("apt-get") or os.geteuid() != 0:
            raise tools.ToolMissing(f"{', '.join(missing)}: run as root: {command}")
        tools.say(command)
        if subprocess.run(command.split(), stdout=subprocess.DEVNULL).returncode != 0:
            raise tools.ToolMissing(f"{command} failed; see its message above")
    tools.claimgate()
    envoy_module()
    _targets()


def envoy_module() -> Path:
    """The library that Envoy loads, without what tests plant in it."""
    return tools.envoy_module(features="")


@functools.cache
def _targets() -> dict[str, Path]:
    """The benchmark targets, built as the service is."""
    names = ("empty_server", "pairs", "allocations", "mint", "load")
    tools.say("building the benchmark targets (the first time takes some minutes)")
    command = ["cargo", "bench", "--locked", "--no-run"]
    for name in names:
        command += ["--bench", name]
    built = subprocess.run(
        [*command, "--message-format", "json-render-diagnostics"],
        cwd=tools.ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    if built.returncode != 0:
        raise tools.ToolMissing("cargo bench --no-run failed; see its message above")
    artifacts = (json.loads(line) for line in built.stdout.splitlines())
    return {
        artifact["target"]["name"]: Path(artifact["executable"])
        for artifact in artifacts
        if artifact.get("executable") and artifact["target"]["name"] in names
    }


def run(target: str, *arguments: object, core: int | None = None) -> str:
    """The output of a benchmark target, pinned to a core if one is named."""
    command = [str(_targets()[target]), *map(str, arguments)]
    if core is not None:
        command = rig.pinned(core, *command)
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


@dataclass(frozen=True)
class Minted:
    """Tokens of one key."""

    folder: Path

    @property
    def jwks(self) -> Path:
        return self.folder / "jwks.json"

    @property
    def file(self) -> Path:
        return self.folder / "tokens.txt"

    @functools.cached_property
    def first(self) -> str:
        with open(self.file) as tokens:
            return tokens.readline().strip()

    def only(self, count: int) -> Path:
        """A file with the first so many of them."""
        few = self.folder / f"tokens-{count}.txt"
        with open(self.file) as tokens, open(few, "w") as out:
            out.writelines(line for line, _ in zip(tokens, range(count)))
        return few


def mint(folder: Path, algorithm: str, issuer: str, count: int) -> Minted:
    """`count` different tokens."""
    run("mint", algorithm, issuer, count, folder)
    return Minted(folder)


def listening(stack: Stack, name: str, command: list) -> tuple[Program, str]:
    """A program that ends its first message with the address it listens on."""
    program = stack.start(Program, name, command)
    program.wait_ready(lambda: "listening on" in program.log.read_text())
    return program, program.log.read_text().split()[-1]


def empty_server(stack: Stack, core: int) -> tuple[Program, str]:
    """The baseline and its address."""
    command = rig.pinned(core, _targets()["empty_server"], "127.0.0.1:0")
    return listening(stack, "empty-server", command)


def claimgate(
    stack: Stack,
    name: str,
    auth: dict,
    core: int,
    *,
    status_page: bool = False,
    tracing: dict | None = None,
) -> Claimgate:
    """The service with this `auth` block and all defaults; JSON is YAML. The
    status page is off, as it is unless the port is bound to loopback."""
    grpc, admin = (f"127.0.0.1:{free_port()}" for _ in range(2))
    server = {"grpc": {"address": grpc}, "admin": {"address": admin, "status_page": status_page}}
    if tracing:
        server["tracing"] = tracing
    file = stack.folder / f"{name}.yaml"
    file.write_text(json.dumps({"server": server, "auth": auth}, indent=2))
    command = rig.pinned(core, tools.claimgate(), "serve", "--config", file)
    program = stack.start(Claimgate, name, command)
    program.grpc, program.admin, program.config = grpc, admin, file
    program.wait_ready(lambda: web.get(admin, "/readyz").status == 200)
    return program


def provider(issuer: str, jwks: Path, name: str = "machines", **more: object) -> dict:
    """A provider for minted tokens."""
    return {
        "name": name,
        "type": "oauth2",
        "issuer": issuer,
        "jwks_file": str(jwks),
        "require_audience": False,
        **more,
    }


def auth(providers: list[dict], **more: object) -> dict:
    """The settings of all benchmarks: a scope that every request needs, and
    five identity headers."""
    return {
        "providers": providers,
        "required_scopes": ["https://gateway.internal/invoke"],
        "headers": {"claims": {"client_id": "x-auth-client-id"}},
        **more,
    }


def metric(program: Claimgate, name: str) -> Callable[[], float]:
    """Reads the sum of a metric over all its labels that `name` leaves open."""
    family, _, label = name.partition("{")
    wanted = label.rstrip("}")

    def read() -> float:
        samples = program.metrics().items()
        return sum(
            value for key, value in samples if key.split("{")[0] == family and wanted in key
        )

    return read
