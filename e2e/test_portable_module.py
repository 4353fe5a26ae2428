"""The module as a release has it, `make module-portable`: what it asks of the
system that Envoy runs on. Nothing is built here; CLAIMGATE_MODULE names the
file, or it lies where that target puts it."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

import tools

BUILT = tools.ROOT / "target" / "portable" / "libclaimgate_envoy.so"
FILE = Path(os.environ.get("CLAIMGATE_MODULE", BUILT))
SCRIPT = tools.ROOT / "scripts" / "portable_module.sh"

ITS_LIBRARIES = {
    "libc.so.6",
    "libm.so.6",
    "libdl.so.2",
    "libpthread.so.0",
    "ld-linux-x86-64.so.2",
    "ld-linux-aarch64.so.1",
}
"""All parts of glibc."""


def read(*options: str | Path) -> str:
    return subprocess.run(["objdump", *options, FILE], capture_output=True, text=True, check=True).stdout


def promised() -> tuple[int, ...]:
    """The glibc that must do, as the script has it."""
    return version(re.search(r"^glibc=(\S+)$", SCRIPT.read_text(), re.M)[1])


def version(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(".")))


@pytest.fixture(scope="module", autouse=True)
def portable() -> None:
    """Skips all without such a file. A plain build links to this machine's own
    libraries, and names them."""
    if not FILE.exists():
        pytest.skip("make module-portable was not run")
    if "libgcc_s" in read("--private-headers"):
        pytest.skip(f"{FILE} is a plain build")


def test_an_old_c_library_is_enough():
    needed = set(map(version, re.findall(r"GLIBC_([\d.]+)", read("--dynamic-syms"))))
    assert needed and max(needed) <= promised() <= (2, 31)


def test_it_links_to_nothing_else():
    assert set(re.findall(r"NEEDED +(\S+)", read("--private-headers"))) <= ITS_LIBRARIES


def test_the_page_says_which():
    page = (tools.ROOT / "docs" / "inside-envoy.md").read_text()
    assert f"glibc {'.'.join(map(str, promised()))} or newer" in page


def test_it_exports_hooks_alone():
    """What it had else could be taken for Envoy's own, and be used in its place."""
    command = ["nm", "-D", "--defined-only", FILE]
    listed = subprocess.run(command, capture_output=True, text=True, check=True)
    names = {line.split()[-1] for line in listed.stdout.splitlines()}
    assert names and all(name.startswith("envoy_dynamic_module_on_") for name in names), names
