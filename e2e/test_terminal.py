"""The commands on a real terminal, and at the end of a pipe whose reader has gone."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import socket
import subprocess
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import tools

COLUMNS = 100
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
WIPED = "\r\x1b[2K"
"""What takes a line back that was there while the command waited."""

CONFIG = """
server: {grpc: {address: "127.0.0.1:0"}, admin: {address: "127.0.0.1:0"}}
unknown_to_us: 1
auth:
  providers:
    - name: team-keys
      type: api_key
      keys: [{name: job, key: the-key-of-the-job-1234, scopes: [read]}]
    - name: people
      type: oauth2
      issuer: ISSUER
      audience: us
      allow_http: true
  required_scopes: [read]
  routes:
    - {name: people-only, match: {path_prefix: /people}, providers: [people]}
"""


class Terminal:
    """A command on a terminal of its own, which is its controlling one."""

    def __init__(
        self, *arguments: str | Path, folder: Path, program: str | None = None, **environment: str
    ):
        command = [program or str(tools.claimgate()), *map(str, arguments)]
        base = {"PATH": os.environ["PATH"], "HOME": str(folder), "TERM": "xterm-256color"}
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            os.execve(command[0], command, base | environment)
        self.shown = ""
        self._code: int | None = None

    def type(self, text: str) -> None:
        os.write(self._fd, text.encode())

    def echoes(self) -> bool:
        """Whether what is typed now is shown."""
        return bool(termios.tcgetattr(self._fd)[3] & termios.ECHO)

    def wait_for(self, holds: Callable[[str], bool], seconds: float = 20) -> str:
        """What is shown, once that holds."""
        until = time.monotonic() + seconds
        while not holds(self.shown):
            assert time.monotonic() < until, self.shown
            self._read(0.1)
        return self.shown

    def end(self, seconds: float = 60) -> tuple[int, str]:
        """Its exit code, and all that was shown, as lines."""
        until = time.monotonic() + seconds
        while self._read(0.2):
            assert time.monotonic() < until, self.shown
        _, status = os.waitpid(self.pid, 0)
        os.close(self._fd)
        return os.waitstatus_to_exitcode(status), self.shown.replace("\r\n", "\n")

    def _read(self, seconds: float) -> bool:
        """Whether there may be more."""
        if not select.select([self._fd], [], [], seconds)[0]:
            return True
        try:
            text = os.read(self._fd, 65536)
        except OSError:
            return False
        self.shown += text.decode()
        return bool(text)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return config(tmp_path, "http://127.0.0.1:9")


def config(folder: Path, issuer: str) -> Path:
    (folder / "gateway.yaml").write_text(CONFIG.replace("ISSUER", issuer))
    (folder / "key").write_text("the-key-of-the-job-1234\n")
    return folder


DENIED = ("explain", "--path", "/people/1", "--token-file", "key")


def test_the_verdict_stands_first_and_nothing_else_interferes(folder: Path):
    code, shown = Terminal(*DENIED, folder=folder).end()
    assert code == 3
    # The keys of `people` can't be fetched, and a key of the file is unknown.
    assert "WARN" not in shown and "{" not in shown.split("the client gets")[0], shown
    lines = COLOUR.sub("", shown).splitlines()
    assert lines[0] == "deny: malformed_token (the token is malformed)"
    assert lines[1] == "why: it is not a JWT, and no provider of other tokens is asked"
    assert lines[2].startswith("next: if it is an API key: route people-only asks no provider of API keys")
    assert any(line.startswith("see: https://") and line.endswith("reasons.md#malformed_token") for line in lines)
    assert all(len(line) <= COLUMNS for line in lines), shown
    assert lines[-1] == "config: 1 warning, see `claimgate validate --config gateway.yaml`"


def test_colour_is_for_terminals_that_want_it(folder: Path):
    assert "\x1b[1m\x1b[31mdeny: malformed_token\x1b[0m" in Terminal(*DENIED, folder=folder).end()[1]
    for variables in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        for command in (DENIED, ("--help",), ("explain", "--help"), ("explain",), ("explain", "--config", "none", "--path", "/")):
            code, shown = Terminal(*command, folder=folder, **variables).end()
            assert "\x1b[" not in shown, (variables, command, shown)
    assert "\x1b[" in Terminal("--help", folder=folder).end()[1]
    piped = subprocess.run([tools.claimgate(), *DENIED], cwd=folder, capture_output=True, text=True)
    assert "\x1b" not in piped.stdout + piped.stderr


def test_it_says_for_whom_it_waits(tmp_path: Path):
    # Takes connections and never answers.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        folder = config(tmp_path, f"http://127.0.0.1:{silent.getsockname()[1]}")
        began = time.monotonic()
        terminal = Terminal(*DENIED, folder=folder)
        terminal.wait_for(lambda shown: "waiting up to 5 s for the keys of people" in shown, 4)
        assert time.monotonic() - began < 4
        _, shown = terminal.end()
        waited, told = shown.split(WIPED)
        assert "\n" not in waited and COLOUR.sub("", told).startswith("deny: "), shown
        piped = subprocess.run([tools.claimgate(), *DENIED], cwd=folder, capture_output=True, text=True)
        assert "\nwaiting up to 5 s for the keys of people\n" in piped.stderr, piped.stderr
        assert piped.stdout.startswith("deny: ")


def test_a_key_that_is_typed_is_not_shown(folder: Path):
    terminal = Terminal("hash-key", folder=folder)
    terminal.wait_for(lambda shown: "not shown" in shown)
    assert not terminal.echoes()
    terminal.type("abcx\x7f\n")
    code, shown = terminal.end()
    digest = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert code == 0 and shown.splitlines()[-1] == digest
    assert "abc" not in shown.replace(digest, "")


def test_ctrl_c_leaves_the_terminal_as_it_was(folder: Path):
    # In a shell, which keeps the terminal open.
    command = f"{tools.claimgate()} hash-key; echo ended with $?; stty -a"
    terminal = Terminal("-c", command, folder=folder, program="/bin/bash")
    terminal.wait_for(lambda shown: "not shown" in shown)
    terminal.type("abc\x03")
    _, shown = terminal.end()
    assert "ended with 130" in shown and "abc" not in shown, shown
    assert {"echo", "icanon", "isig"} <= set(shown.split()), shown


def test_the_log_of_a_service_can_be_read(folder: Path):
    terminal = Terminal("serve", folder=folder, RUST_LOG="info")
    terminal.wait_for(lambda shown: "listening" in shown)
    text = (folder / "gateway.yaml").read_text()
    fresh = folder / "fresh"
    fresh.write_text(text.replace("name: job,", "name: task,") + "  forward_token: false\n")
    fresh.rename(folder / "gateway.yaml")
    terminal.wait_for(lambda shown: "reloaded" in shown)
    fresh.write_text(text + "  no_such_key: " + "x" * 300)
    fresh.rename(folder / "gateway.yaml")
    shown = terminal.wait_for(lambda shown: "not reloaded" in shown)
    os.kill(terminal.pid, signal.SIGTERM)
    code, shown = terminal.end()
    plain = COLOUR.sub("", shown)
    assert code == 0
    assert all(len(line) < 200 for line in plain.splitlines()), plain
    assert "claimgate::" not in plain
    [reloaded] = [line for line in plain.splitlines() if "configuration reloaded" in line]
    changes = 'changes="providers: ~team-keys; keys of team-keys: +task, -job; forward_token"'
    assert reloaded.endswith(f" INFO configuration reloaded {changes}"), plain


COMMANDS = [
    ("--help",),
    ("--version",),
    ("serve", "--help"),
    ("schema",),
    ("completions", "bash"),
    ("new-key", "--name", "a"),
    ("explain", "--path", "/"),
    ("validate", "--config", "gateway.yaml"),
    ("validate", "--config", "none.yaml"),
    ("explain", "--config", "none.yaml", "--path", "/"),
    ("test", "none.yaml"),
    ("issuer", "--address", "127.0.0.1:0"),
    ("hash-key",),
    ("health", "--address", "127.0.0.1:9"),
    ("token",),
    ("no-such-command",),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("closed", ["stdout", "both"])
def test_a_closed_pipe_ends_it_silently(folder: Path, command: tuple[str, ...], closed: str):
    reader, writer = os.pipe()
    os.close(reader)
    streams = {"stdout": writer, "stderr": writer if closed == "both" else subprocess.PIPE}
    program = subprocess.Popen([tools.claimgate(), *command], cwd=folder, stdin=subprocess.PIPE, **streams)
    os.close(writer)
    _, errors = program.communicate(b"the-key\n", timeout=60)
    # 101 is a panic.
    assert program.returncode in (0, 1, 3, 141), program.returncode
    for word in ("panicked", "roken pipe", "os error 32"):
        assert word not in (errors or b"").decode()


@pytest.mark.parametrize(
    ("command", "error"),
    [
        (("explain", "--config", "none.yaml", "--path", "/"), "none.yaml: "),
        (("explain", "--path", "/", "--token-file", "none"), "cannot read the token from none: "),
        (("health", "--address", "127.0.0.1:9"), "no answer from http://127.0.0.1:9/readyz: "),
        (("man", "key"), "cannot make key: "),
        (("new-key", "--name", ""), "name: must not be empty"),
        (("import-alb", "none.json"), "none.json"),
    ],
)
def test_errors_are_plain_text(folder: Path, command: tuple[str, ...], error: str):
    done = subprocess.run([tools.claimgate(), *command], cwd=folder, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, ""), done
    assert done.stderr.startswith("error: ") and error in done.stderr, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.count("http://") <= 1, done.stderr


def test_a_new_key_works_with_its_entry(folder: Path):
    command = ["new-key", "--name", "anna", "--scope", "read", "--expires-in", "90d"]
    made = subprocess.run([tools.claimgate(), *command], capture_output=True, text=True)
    assert made.returncode == 0
    key = made.stdout.strip()
    assert re.fullmatch("cg_[0-9a-f]{72}", key) and key not in made.stderr
    entry = "".join(f"    {line}\n" for line in made.stderr.splitlines())
    (folder / "gateway.yaml").write_text(f"auth:\n  required_scopes: [read]\n  api_keys:\n{entry}")
    (folder / "key").write_text(key)
    allowed = subprocess.run(
        [tools.claimgate(), "explain", "--path", "/", "--token-file", "key"],
        cwd=folder, capture_output=True, text=True,
    )
    assert allowed.returncode == 0 and "x-auth-subject: anna" in allowed.stdout, allowed


def test_completions_and_manual_pages(tmp_path: Path):
    for shell in ("bash", "zsh", "fish", "elvish", "powershell"):
        made = subprocess.run([tools.claimgate(), "completions", shell], capture_output=True, text=True)
        assert made.returncode == 0 and "explain" in made.stdout, shell
    # bash offers the commands.
    script = (
        "source <(claimgate completions bash); COMP_WORDS=(claimgate expl); COMP_CWORD=1; "
        "_claimgate claimgate expl claimgate; echo ${COMPREPLY[@]}"
    )
    path = f"{tools.claimgate().parent}:{os.environ['PATH']}"
    offered = subprocess.run(["bash", "-c", script], env={"PATH": path}, capture_output=True, text=True)
    assert offered.stdout.split() == ["explain"], offered
    folder = tmp_path / "man" / "man1"
    assert subprocess.run([tools.claimgate(), "man", folder]).returncode == 0
    pages = {page.name for page in folder.iterdir()}
    assert {"claimgate.1", "claimgate-explain.1", "claimgate-new-key.1"} <= pages
    assert "Examples" in (folder / "claimgate-explain.1").read_text()


def test_the_version_names_revision_and_build(folder: Path):
    told = subprocess.run([tools.claimgate(), "--version"], capture_output=True, text=True).stdout
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=tools.ROOT, capture_output=True, text=True)
    assert re.fullmatch(r"claimgate \d+\.\d+\.\d+ \(revision [0-9a-f]{40}, build \w+, [\w-]+\)\n", told), told
    if head.returncode == 0 and "CLAIMGATE_BIN" not in os.environ:
        assert head.stdout.strip() in told
