"""`make test`: it names or installs what is missing before anything runs, and
counts what ran."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

import tools

BASICS = ["awk", "bash", "cat", "chmod", "dirname", "env", "head", "ln", "mktemp", "printf", "rm", "sed", "sort", "tee", "tr"]


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder that is the whole PATH, with hardly anything in it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in BASICS:
        (folder / name).symlink_to(shutil.which(name))
    return folder


def script(folder: Path, name: str, text: str) -> None:
    """Puts a program there."""
    (folder / name).write_text(f"#!{shutil.which('bash')}\n{text}\n")
    (folder / name).chmod(0o755)


def run(script: Path, *arguments: str, path: Path, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [shutil.which("bash"), script, *arguments],
        env={"PATH": str(path), "HOME": str(path.parent), **environment},
        capture_output=True,
        text=True,
    )


SETUP = tools.ROOT / "scripts" / "setup.sh"


@pytest.mark.parametrize("what", ["test", "demo"])
def test_all_that_is_missing_is_named_at_once(programs: Path, what: str):
    """Without apt-get even root may not install."""
    asked = run(SETUP, what, path=programs)
    assert asked.returncode == 1
    assert f"make {what} needs what is not here" in asked.stderr
    wanted = ["gcc", "libc6-dev", "make", "python3", "python3-venv", "Rust 1.", "https://rustup.rs"]
    if what == "test":
        wanted += ["busybox", "original-awk", "chromium", "default-jdk-headless", "maven", "unzip", "redis-server"]
    assert [name for name in wanted if name not in asked.stderr] == []


def test_an_old_python_and_an_old_rust_are_named(programs: Path):
    for name in ("cc", "make"):
        script(programs, name, "")
    script(programs, "python3", '[[ $* == --version ]] && echo "Python 3.9.2"; [[ $* != *version_info* ]]')
    script(programs, "cargo", "echo cargo 1.70.0")
    asked = run(SETUP, "demo", path=programs)
    assert asked.returncode == 1 and "apt-get" not in asked.stderr
    assert "Python 3.11 or newer, not Python 3.9.2" in asked.stderr
    assert "newer than cargo 1.70.0" in asked.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root installs")
def test_root_installs_it_in_one_go(programs: Path, tmp_path: Path):
    called = tmp_path / "called"
    # Each package brings one program, under whatever name.
    names = "cc c++ make curl openssl git update-ca-certificates chromium busybox original-awk unzip javac mvn nginx lighttpd redis-server python3 cargo"
    script(programs, "apt-get", f"""
        echo "$*" >> {called}
        [[ $1 == update ]] && exit
        for name in {names}; do printf '#!%s\\necho cargo 99.0.0\\n' "$BASH" > {programs}/$name; chmod 755 {programs}/$name; done""")
    asked = run(SETUP, "test", path=programs)
    assert asked.returncode == 0, asked.stderr
    update, install = called.read_text().splitlines()
    assert update.startswith("update") and "--no-install-recommends" in install
    assert {"busybox", "original-awk", "chromium", "python3-venv"} <= set(install.split())


MAKE = """
case $2 in
    unit) echo "test result: ok. 3 passed; 0 failed; 1 ignored"; echo "test result: ok. 4 passed; 0 failed" ;;
    e2e) echo "===== 2 failed, 5 passed, 1 skipped in 1.50s (0:00:01) ====="; exit 2 ;;
    docs) echo "no test, and an error"; exit 2 ;;
esac
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The script beside a set-up that finds everything."""
    folder = tmp_path / "clone" / "scripts"
    folder.mkdir(parents=True)
    shutil.copy(tools.ROOT / "scripts" / "test.sh", folder)
    script(folder, "setup.sh", "exit 0")
    return folder


@pytest.mark.parametrize(
    ("checks", "last", "status"),
    [
        (["unit"], "7 passed, 0 failed", 0),
        (["unit", "lint"], "7 passed, 0 failed", 0),
        (["unit", "e2e"], "12 passed, 2 failed", 1),
        (["docs", "unit"], "7 passed, 1 failed", 1),
        ([], "12 passed, 3 failed", 1),
    ],
)
def test_it_counts(clone: Path, programs: Path, checks: list[str], last: str, status: int):
    script(programs, "make", MAKE)
    ran = run(clone / "test.sh", *checks, path=programs)
    assert (ran.stdout.splitlines()[-1], ran.returncode) == (last, status), ran.stdout + ran.stderr
    if "e2e" in checks:
        assert "FAILED" in next(line for line in ran.stdout.splitlines() if line.startswith("e2e  "))


def test_it_runs_nothing_where_something_is_missing(clone: Path, programs: Path):
    script(programs, "make", "echo test result: ok. 1 passed; 0 failed")
    script(clone, "setup.sh", "exit 1")
    ran = run(clone / "test.sh", path=programs)
    assert (ran.stdout.split("\n")[-2], ran.returncode) == ("0 passed, 1 failed", 1)


def test_an_unknown_check_is_named(clone: Path, programs: Path):
    ran = run(clone / "test.sh", "units", path=programs)
    assert ran.returncode == 2 and "no check 'units'" in ran.stderr


def test_ci_runs_the_same():
    """`.ci/run` adds where builds are kept, and no check of its own."""
    ci = (tools.ROOT / ".ci" / "run").read_text()
    assert ci.rstrip().endswith("make --no-print-directory test")
    assert "step" not in ci
