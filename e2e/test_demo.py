"""`make demo`: what it prints works as printed, and it leaves nothing running."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import edge
import tools
import web
from stack import Stack

sys.path.insert(0, str(tools.ROOT / "demo"))
import demo  # noqa: E402

# Runs a command, whose id it writes into a file, and fails if anything that the
# command started lives for ten seconds longer: it becomes the parent of that.
WATCH = """
import ctypes, os, subprocess, sys, time
PR_SET_CHILD_SUBREAPER = 36
ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
file, *command = sys.argv[1:]
started = subprocess.Popen(command, start_new_session=True)
with open(file, "w") as pid:
    pid.write(str(started.pid))
status = started.wait()
end = time.monotonic() + 10
while True:
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        sys.exit(0)
    if time.monotonic() > end:
        os.system("ps -o pid,args --ppid %d >&2" % os.getpid())
        sys.exit("it left something running")
    time.sleep(0.05)
"""


class Kept:
    """A demo that stays up."""

    def __init__(self, folder: Path, *before: str, options: tuple[str, ...] = ()):
        self._pid = folder / "pid"
        demo = ["make", "-C", tools.ROOT, "demo", "KEEP=1"] if "make" in options else [
            sys.executable, tools.ROOT / "demo" / "demo.py", "--keep", *options]
        command = [*before, *demo]
        self.process = subprocess.Popen(
            [sys.executable, "-c", WATCH, self._pid, *map(str, command)],
            env={**os.environ, "CLAIMGATE_BIN": str(tools.claimgate()), "TMPDIR": str(folder)},
            stdout=subprocess.PIPE,
            stderr=(folder / "errors").open("wb"),
            text=True,
        )
        self.errors = folder / "errors"
        self.printed = ""
        for line in self.process.stdout:
            self.printed += line
            if "Ctrl-C ends it all" in line:
                return
        pytest.fail(f"the demo ended:\n{self.printed}\n{self.errors.read_text()}")

    def signal(self, number: int) -> None:
        os.kill(int(self._pid.read_text()), number)

    def ended(self) -> None:
        """Fails if anything is left."""
        assert self.process.wait(60) == 0, self.errors.read_text()


@pytest.fixture(scope="module", params=[(), ("--module",)], ids=["service", "module"])
def kept(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Kept]:
    kept = Kept(tmp_path_factory.mktemp("demo"), options=request.param)
    yield kept
    with contextlib.suppress(ProcessLookupError):
        kept.signal(signal.SIGTERM)
    kept.ended()


def test_its_table_fits_120_columns(kept: Kept):
    table = kept.printed.partition("as expected")[0]
    assert "✓  a valid token" in table and "✗" not in table
    assert max(map(len, table.splitlines())) <= 120


def test_any_table_fits_120_columns():
    long = "scopes=" + " ".join(f"https://gateway.internal/{number}" for number in range(20))
    rows = [demo.Row("request", "200", "200", f"subject=someone  {long}  method=oauth2", True),
            demo.Row("request", "200", "200", "x" * 300, True)]
    table = demo.table(rows)
    assert max(map(len, table.splitlines())) <= 120
    assert table.count("https://gateway.internal/") == 20 and table.count("x") >= 300


def test_it_prints_the_address_of_the_status_page(kept: Kept):
    [page] = re.findall(r"^  (http://127\.0\.0\.1:\d+/)$", kept.printed, re.M)
    shown = web.get(page.split("/")[2], "/")
    assert shown.status == 200 and shown.header("content-type").startswith("text/html")


def commands(printed: str) -> list[str]:
    """The printed commands, those over several lines in one."""
    after = printed.partition("Try, in another terminal:")[2]
    shell = re.sub(r"(\\|\|)\n\s+", lambda end: "| " if end[1] == "|" else "", after)
    return re.findall(r"^  ((?:TOKEN=|curl |echo ).+)$", shell, re.M)


def test_its_commands_work_as_printed(kept: Kept):
    get_token, *others = commands(kept.printed)
    shown = []
    for command in others:
        script = f"set -o pipefail\n{get_token}\n{command}\n"
        ran = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60)
        assert ran.returncode == 0, (command, ran.stderr)
        shown.append(ran.stdout)
    statuses = [re.match(r"HTTP/1\.1 (\d+)", text) for text in shown]
    assert [int(status[1]) for status in statuses if status] == [401, 200, 200, 200]
    *_, metrics, explained = shown
    assert 'claimgate_checks_total{decision="allow"' in metrics
    assert re.search(r"^allow: ok", explained, re.M) and "x-auth-subject: platform" in explained


def test_its_config_file_works_as_it_is(kept: Kept):
    [config] = re.findall(r"^  (/\S+\.yaml)$", kept.printed, re.M)
    assert "${" not in re.sub(r"#.*", "", Path(config).read_text())
    command = [tools.claimgate(), "validate", "--config", config]
    read = subprocess.run(command, env={}, capture_output=True, text=True)
    assert read.returncode == 0, read.stderr


ENDS = {
    "ctrl-c, twice": ([], [signal.SIGINT, signal.SIGINT]),
    "SIGTERM, twice": ([], [signal.SIGTERM, signal.SIGTERM]),
    "SIGHUP, twice": ([], [signal.SIGHUP, signal.SIGHUP]),
    "all of them": ([], [signal.SIGHUP, signal.SIGTERM, signal.SIGINT]),
    "timeout": (["timeout", "600"], [signal.SIGTERM]),
    "make under timeout": (["timeout", "600"], [signal.SIGTERM]),
    "make, twice": ([], [signal.SIGTERM, signal.SIGTERM]),
    "timeout, impatient": (["timeout", "--kill-after", "0.01", "600"], [signal.SIGTERM]),
    "SIGKILL": ([], [signal.SIGKILL]),
}


@pytest.mark.parametrize("way", ENDS)
def test_nothing_is_left_when_it_ends(tmp_path: Path, way: str):
    before, signals = ENDS[way]
    kills = way in ("SIGKILL", "timeout, impatient")
    if kills and not shutil.which("setpriv"):
        pytest.skip("only Linux ends the programs of one that was killed")
    kept = Kept(tmp_path, *before, options=("make",) if way.startswith("make") else ())
    for number in signals:
        with contextlib.suppress(ProcessLookupError):
            kept.signal(number)
    kept.ended()


def test_it_says_who_answers_envoys_own_health(stack: Stack):
    issuer = stack.issuer(*(f"--client={id}:{secret}:{scopes}" for id, (secret, scopes) in demo.CLIENTS.items()))
    config = (demo.HERE / "gateway.yaml").read_text()
    started = edge.start(stack, config, ISSUER_URL=issuer.url, **demo.API_KEYS)
    claimgate = started.claimgates[0]
    gateway = demo.Gateway(issuer, claimgate.config, started.envoy, claimgate, edge=started)
    rows = {row.request: row for row in demo.run(gateway)}
    assert all(row.good for row in rows.values()), demo.table(list(rows.values()))
    assert "Envoy answers by itself" in rows["Envoy's own health"].upstream
