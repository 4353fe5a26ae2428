"""Installs the programs that the demo and the end-to-end tests run.

Everything that is downloaded lives in a cache folder outside the clone, under
a name that changes with the versions pinned here, so that a second run finds
it and an upgrade never uses an old copy.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
REQUIREMENTS = HERE / "requirements.txt"
OIDC_PROVIDER = HERE / "oidc_provider"
BROWSER = HERE / "browser"
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
    done = folder / "complete"
    if done.exists():
        return folder
    say(f"getting the packages of {requirements.relative_to(ROOT)} into {folder} (once)")
    shutil.rmtree(folder, ignore_errors=True)
    made = subprocess.run(
        [sys.executable, "-m", "venv", folder], capture_output=True, text=True
    )
    if made.returncode != 0:
        shutil.rmtree(folder, ignore_errors=True)
        raise ToolMissing(
            "Python can't make a virtual environment here; "
            "on Debian and Ubuntu run: apt-get install python3-venv"
        )
    pip = [folder / "bin" / "python", "-m", "pip", "--disable-pip-version-check"]
    installed = subprocess.run([*pip, "install", "--quiet", "--requirement", requirements])
    if installed.returncode != 0:
        raise ToolMissing(f"pip can't install {requirements.relative_to(ROOT)}; see its message above")
    done.touch()
    return folder


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
    built = subprocess.run(
        [*command, "--message-format", "json-render-diagnostics"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    if built.returncode != 0:
        raise ToolMissing("cargo build failed; see its message above")
    messages = map(json.loads, built.stdout.splitlines())
    return [message for message in messages if message.get("reason") == "compiler-artifact"]


@functools.cache
def oidc_provider() -> Path:
    """A copy of the oidc-provider server with its packages; the file for node."""
    return _node(OIDC_PROVIDER, "server.mjs")


@functools.cache
def browser() -> Path:
    """A copy of the browser's driver, with its packages; the file for node."""
    return _node(BROWSER, "status_page.mjs")


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
        return ["node", sdk_program("clients.mjs")]
    return [venv(SDKS / "requirements.txt") / "bin" / "python", SDKS / "clients.py"]


def _node(source: Path, main: str) -> Path:
    """A copy of the program `main` of a folder, beside its locked packages."""
    if not shutil.which("npm"):
        raise ToolMissing("node and npm are not installed; Debian has both in the package npm")
    folder = cache_dir() / f"{source.name}-{_digest(source / 'package-lock.json')}"
    done = folder / "complete"
    if not done.exists():
        say(f"getting the packages of {source.name} into {folder} (once)")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name in ("package.json", "package-lock.json"):
            shutil.copy(source / name, folder)
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
        if subprocess.run(command, cwd=folder).returncode != 0:
            raise ToolMissing("npm ci failed; see its message above")
        done.touch()
    # Node looks up packages from the file's folder, so it is beside them.
    return Path(shutil.copy(source / main, folder))


@functools.cache
def servlet_containers() -> list[Path | str]:
    """The command that starts the Java servers of path_servers/, without its
    argument. Java compiles the one source file at each start."""
    for command, package in [("mvn", "maven"), ("javac", "default-jdk-headless")]:
        if not shutil.which(command):
            raise ToolMissing(f"{command} is not installed; Debian has it in the package {package}")
    source = PATH_SERVERS / "java"
    folder = cache_dir() / f"servlet-containers-{_digest(source / 'jars.sha256')}"
    if not folder.exists():
        say(f"getting Tomcat, Jetty and Undertow into {folder} (once)")
        fetched = folder.with_suffix(".fetched")
        shutil.rmtree(fetched, ignore_errors=True)
        plugin = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
        options = ["--batch-mode", "--quiet", "--file", source / "pom.xml", f"-DoutputDirectory={fetched}"]
        if subprocess.run(["mvn", *options, plugin]).returncode != 0:
            raise ToolMissing("mvn can't get the servlet containers; see its message above")
        jars = sorted(fetched.glob("*.jar"))
        found = [f"{hashlib.sha256(jar.read_bytes()).hexdigest()}  {jar.name}" for jar in jars]
        if found != (source / "jars.sha256").read_text().splitlines():
            raise ToolMissing(f"what mvn got into {fetched} differs from {source / 'jars.sha256'}")
        fetched.rename(folder)
    return ["java", "-cp", f"{folder}/*", source / "Servers.java"]


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
def debian_server(name: str) -> str:
    """nginx or lighttpd, which Debian installs outside some users' PATH."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    if not found:
        raise ToolMissing(f"{name} is not installed; Debian has it in the package {name}")
    return found


@functools.cache
def keycloak() -> Path:
    """Keycloak's archive, from Maven."""
    for command, package in [("mvn", "maven"), ("java", "default-jre-headless"), ("unzip", "unzip")]:
        if not shutil.which(command):
            raise ToolMissing(f"{command} is not installed; Debian has it in the package {package}")
    archive = cache_dir() / f"keycloak-{KEYCLOAK}" / f"keycloak-{KEYCLOAK}.zip"
    if not archive.exists():
        say(f"getting Keycloak into {archive.parent} (once)")
        fetched = archive.with_name("fetched")
        plugin = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"
        artifact = f"org.keycloak:keycloak-quarkus-dist:{KEYCLOAK}:zip"
        command = ["mvn", "--batch-mode", "--quiet", plugin, f"-Dartifact={artifact}", f"-DoutputDirectory={fetched}"]
        if subprocess.run(command).returncode != 0:
            raise ToolMissing("mvn can't get Keycloak; see its message above")
        found = fetched / f"keycloak-quarkus-dist-{KEYCLOAK}.zip"
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
