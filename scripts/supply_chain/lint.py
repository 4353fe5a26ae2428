"""Runs the security tools on everything that builds and delivers the project.

    python3 scripts/supply_chain/lint.py            everything
    python3 scripts/supply_chain/lint.py zizmor     some of it

All tools are pinned, here or in the lists beside this file, and cached outside
the clone; the first run installs them, which takes some minutes. They run in
parallel. A finding is fixed, or explained beside the line or in
`.gitleaks.toml`. Ends with one line for each tool, and 1 if any found something.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT / "e2e"), str(ROOT / "kube")]

import go_tools  # noqa: E402
from tools import ToolMissing, cache_dir, say, venv  # noqa: E402

ACTIONLINT = ("github.com/rhysd/actionlint/cmd/actionlint", "v1.7.12")
GITLEAKS = ("github.com/zricethezav/gitleaks/v8", "v8.30.1")
CARGO_AUDIT = "0.22.2"
ADVISORIES = "https://github.com/RustSec/advisory-db"
RULES = HERE / "semgrep"
LIMIT = 600
"""Seconds that one tool may take."""


_INSTALLING = threading.Lock()


class NotHere(Exception):
    """A tool can't run on this machine; the text says why."""


@dataclass(frozen=True)
class Outcome:
    """The result of one tool."""

    name: str
    word: str
    said: str
    seconds: float

    @property
    def bad(self) -> bool:
        return self.word == "FOUND SOMETHING"


def actionlint() -> list[list[object]]:
    """The workflows' syntax and expressions, and the shell in them."""
    shellcheck = _python("light", "shellcheck")
    return [[go_tools.go_tool("actionlint", *ACTIONLINT), "-shellcheck", shellcheck, "-pyflakes="]]


def zizmor() -> list[list[object]]:
    """Vulnerabilities in the workflows."""
    return [[_python("light", "zizmor"), "--offline", "--persona", "pedantic", ".github"]]


def hadolint() -> list[list[object]]:
    """The Dockerfile."""
    return [[_python("light", "hadolint"), "Dockerfile"]]


def shellcheck() -> list[list[object]]:
    """The scripts."""
    return [[_python("light", "shellcheck"), ".ci/run", *sorted((ROOT / "scripts").rglob("*.sh"))]]


def gitleaks() -> list[list[object]]:
    """Secrets, in the history and in the files as they are."""
    tool = go_tools.go_tool("gitleaks", *GITLEAKS)
    common = ["--no-banner", "--redact", "--log-level", "warn", "--verbose"]
    return [[tool, "git", *common, "."]]


def checkov() -> list[list[object]]:
    """How the image, the chart and the workflows are configured."""
    tool = _python("checkov", "checkov")
    options = ["--compact", "--quiet", "--skip-download"]
    commands = [[tool, "--directory", ".github", "--framework", "github_actions", *options],
                [tool, "--file", "Dockerfile", "--framework", "dockerfile", *options]]
    chart = ROOT / "charts" / "claimgate"
    if chart.exists():
        path = os.pathsep.join([str(go_tools.program("helm").parent), os.environ["PATH"]])
        commands.append(["env", f"PATH={path}", tool, "--directory", chart, "--framework", "helm", *options,
                         "--config-file", HERE / "checkov-chart.yaml"])
    return commands


def semgrep() -> list[list[object]]:
    """This project's own rules: they match their examples, and nothing here."""
    tool = [_python("semgrep", "semgrep"), "scan", "--metrics", "off", "--disable-version-check"]
    return [
        [*tool, "--test", RULES],
        [*tool, "--error", "--quiet", "--config", RULES / "rules.yaml", "--exclude", RULES.name, "."],
    ]


def cargo_audit() -> list[list[object]]:
    """Known vulnerabilities of dependencies. `make deny` reads the same
    advisories; this one also reads the dependencies inside binaries."""
    reached = _run(["git", "ls-remote", "--exit-code", ADVISORIES, "HEAD"])
    if reached.returncode != 0:
        raise NotHere(f"NOT CHECKED: its database at {ADVISORIES} can't be had")
    folder = cache_dir() / f"cargo-audit-{CARGO_AUDIT}"
    program = folder / "bin" / "cargo-audit"
    if not program.exists():
        say(f"building cargo-audit {CARGO_AUDIT} (once)")
        cargo = os.environ.get("CARGO", "cargo")
        subprocess.run(
            [cargo, "install", "--quiet", "--locked", "--version", CARGO_AUDIT, "--root", folder,
             "cargo-audit"],
            check=True,
        )
    return [[program, "audit", "--deny", "warnings"]]


CHECKS: tuple[Callable[[], list[list[object]]], ...] = (
    actionlint, zizmor, hadolint, shellcheck, gitleaks, checkov, semgrep, cargo_audit,
)


def _python(packages: str, program: str) -> Path:
    """A program of the list of packages of that name."""
    with _INSTALLING:
        return venv(HERE / f"{packages}.txt") / "bin" / program


def _run(command: list[object]) -> subprocess.CompletedProcess:
    """A tool's run, with all its output as one text."""
    environment = {
        **os.environ,
        # Semgrep starts programs of its own environment.
        "PATH": os.pathsep.join([str(Path(str(command[0])).parent), os.environ["PATH"]]),
        "GIT_TERMINAL_PROMPT": "0",
    }
    return subprocess.run(
        [str(part) for part in command],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT,
    )


def check(tool: Callable[[], list[list[object]]]) -> Outcome:
    """Runs one tool."""
    name, started = tool.__name__.replace("_", "-"), time.monotonic()
    try:
        runs = [_run(command) for command in tool()]
        bad = any(run.returncode for run in runs)
        word, said = ("FOUND SOMETHING" if bad else "nothing found", "".join(run.stdout for run in runs))
    except NotHere as reason:
        word, said = str(reason), ""
    except (ToolMissing, OSError, subprocess.SubprocessError) as error:
        word, said = "FOUND SOMETHING", f"it could not run: {error}\n"
    return Outcome(name, word, said, time.monotonic() - started)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [tool.__name__.replace("_", "-") for tool in CHECKS]
    parser.add_argument("tool", nargs="*", help=f"some of {', '.join(names)}; all by default")
    wanted = parser.parse_args().tool or names
    if unknown := set(wanted) - set(names):
        parser.error(f"no such tool: {', '.join(sorted(unknown))}")
    chosen = [tool for tool, name in zip(CHECKS, names) if name in wanted]
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 2) as threads:
        outcomes = list(threads.map(check, chosen))
    for outcome in outcomes:
        if outcome.bad:
            print(f"── {outcome.name} ──\n{outcome.said}")
    for outcome in outcomes:
        print(f"{outcome.name:<12} {outcome.seconds:6.1f} s  {outcome.word}")
    return 1 if any(outcome.bad for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
