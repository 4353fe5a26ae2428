"""The pages under docs/, run as printed: tests use the files and commands that
a reader sees, not copies of them."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tools import ROOT

_FENCE = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    language: str
    text: str

    @property
    def name(self) -> str | None:
        """The file that the block is, as its first line names it: `# values.yaml`."""
        first = re.match(r"# ([\w.-]+\.ya?ml)\b", self.text)
        return first[1] if first else None


class Page:
    """One page, with some of the reader's addresses replaced by the test's."""

    def __init__(self, name: str, replaced: dict[str, str] | None = None):
        text = (ROOT / "docs" / name).read_text()
        for printed, real in (replaced or {}).items():
            assert printed in text, f"{name} no longer has {printed!r}"
            text = text.replace(printed, real)
        self.blocks = [
            Block(language, re.sub(f"^{indent}", "", body, flags=re.MULTILINE))
            for indent, language, body in _FENCE.findall(text)
        ]

    def file(self, name: str) -> str:
        """The text of the file of this name."""
        found = [block.text for block in self.blocks if block.name == name]
        assert len(found) == 1, f"{len(found)} blocks are called {name}"
        return found[0]

    def yaml(self, name: str) -> Any:
        """That file's only document."""
        return yaml.safe_load(self.file(name))

    def objects(self, name: str) -> list[dict]:
        """That file's documents."""
        return [each for each in yaml.safe_load_all(self.file(name)) if each]

    def write(self, folder: Path) -> None:
        """Writes all files that the page has, as a reader would save them."""
        for block in self.blocks:
            if block.name:
                (folder / block.name).write_text(block.text)

    def commands(self, containing: str) -> str:
        """The commands of the one console block that contains this text."""
        found = [
            block.text
            for block in self.blocks
            if block.language == "console" and containing in block.text
        ]
        assert len(found) == 1, f"{len(found)} console blocks contain {containing!r}"
        return "\n".join(_typed(found[0]))


def _typed(text: str) -> list[str]:
    """The reader's input: lines after a prompt, and their continuations."""
    typed: list[str] = []
    goes_on = False
    for line in text.splitlines():
        if goes_on or line.startswith("$ "):
            typed.append(line if goes_on else line[2:])
            goes_on = line.endswith("\\")
    return typed


def run(script: str, folder: Path, path: list[Path], **environment: str | Path) -> str:
    """The output of a reader's shell. It looks for programs in `path` first."""
    search = os.pathsep.join([*map(str, path), os.environ["PATH"]])
    more = {name: str(value) for name, value in environment.items()}
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env={**os.environ, **more, "PATH": search},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, f"{script}\n{ran.stdout}{ran.stderr}"
    return ran.stdout
