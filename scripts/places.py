#!/usr/bin/env python3
"""Where the project is published: places.env is the one place that says it.

    places.py                           checks that every file agrees with it
    places.py REGISTRY=registry.example.com REPOSITORY=acme/claimgate SOURCE=https://…
                                        changes it, in every file

Images are REGISTRY/REPOSITORY and REGISTRY/REPOSITORY-envoy; the chart is beside
them, in `charts/`; SOURCE is the repository's address. What is left out stays.
"""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SETTINGS = "places.env"

# Where registry and repository stand apart from each other.
APART = [
    "places.env",
    ".github/workflows/release.yml",
    "charts/claimgate/README.md",
    "charts/claimgate/values.schema.json",
    "charts/claimgate/values.yaml",
]

# What stands in files that must name a place: one that names another place
# altogether would not be found otherwise.
NAMING = {
    ".github/workflows/release.yml": [
        "  REGISTRY: {registry}\n",
        "  IMAGE: {image}\n",
        "  MODULE_IMAGE: {image}-envoy\n",
        "  CHARTS: oci://{charts}\n",
    ],
    "Cargo.toml": ['\nrepository = "{source}"\n'],
    "Dockerfile": ['.image.source="{source}"'],
    "charts/claimgate/Chart.yaml": ["      image: {image}:", "      image: {image}-envoy:", "\nhome: {source}\n"],
    "charts/claimgate/values.yaml": [
        "  registry: {registry}\n",
        "  repository: {repository} ",
        "    registry: {registry}\n",
        "    repository: {repository}-envoy ",
    ],
    "docs/install.md": ["docker pull {image}:", "oci://{charts}/claimgate", "git clone {source} "],
    "docs/kubernetes.md": ["oci://{charts}/claimgate"],
    "docs/operations.md": ["`{image}`", "cosign verify {image}:", "{source}/.github/workflows/release.yml"],
}

# What may stand in each of them: none of it ends a quoted text or a line.
ALLOWED = {
    "REGISTRY": r"[\w.-]+(:\d+)?",
    "REPOSITORY": r"[a-z0-9._-]+(/[a-z0-9._-]+)*",
    "SOURCE": r"https://[\w.-]+(:\d+)?(/[\w.-]+)+",
}


@dataclass(frozen=True)
class Places:
    registry: str
    repository: str
    source: str

    @property
    def image(self) -> str:
        return f"{self.registry}/{self.repository}"

    @property
    def charts(self) -> str:
        return "/".join([self.registry, *self.repository.split("/")[:-1], "charts"])

    @property
    def source_path(self) -> str:
        """The source's name on its host."""
        return self.source.split("/", 3)[3]


def main(arguments: list[str]) -> int:
    if not arguments:
        problems = check()
        for problem in problems:
            print(f"places: {problem}", file=sys.stderr)
        return 1 if problems else 0
    try:
        given = dict(argument.split("=", 1) for argument in arguments)
        for name, value in given.items():
            if not re.fullmatch(ALLOWED[name], value):
                raise ValueError(f"{name} can't be {value!r}")
    except (KeyError, ValueError) as error:
        print(f"places: {error}\n\n{__doc__}", file=sys.stderr)
        return 2
    change({name.lower(): value for name, value in given.items()})
    return 0


def settings(text: str) -> Places:
    """The settings in the file's text."""
    lines = re.findall(r"^(REGISTRY|REPOSITORY|SOURCE)=(.*)$", text, re.M)
    return Places(**{name.lower(): value for name, value in lines})


def change(given: dict[str, str]) -> None:
    """Puts other places into every file."""
    old = settings(read(SETTINGS))
    new = replace(old, **given)
    for name in tracked():
        text = read(name)
        changed = moved(name, text, old, new)
        if changed != text:
            (ROOT / name).write_bytes(changed.encode("utf-8", "surrogateescape"))
            print(name)


def moved(name: str, text: str, old: Places, new: Places) -> str:
    """The file's text with other places."""
    end = r"(?!\w)"
    pairs = [
        (re.escape(old.source) + end, new.source),
        (r"(?<=--repo )" + re.escape(old.source_path) + end, new.source_path),
        (re.escape(old.image) + end, new.image),
        (re.escape(old.charts) + end, new.charts),
    ]
    if name in APART:
        alone = r"(?<![\w./-])"
        pairs += [
            (alone + re.escape(old.registry) + r"(?![\w./:-])", new.registry),
            (alone + re.escape(old.repository) + r"(?=(-envoy)?(?![\w./:-]))", new.repository),
        ]
    # All at once, so that nothing is moved twice.
    which = re.compile("|".join(f"({pattern.replace('(-envoy)', '(?:-envoy)')})" for pattern, _ in pairs))
    return which.sub(lambda found: pairs[found.lastindex - 1][1], text)


def check() -> list[str]:
    """What does not agree: a place that is missing where it must be, and one that
    would be left behind."""
    old = settings(read(SETTINGS))
    own = {what: getattr(old, what) for what in ("registry", "repository", "source", "image", "charts")}
    problems = [
        f"{name} lacks {text.format(**own).strip()!r}"
        for name, wanted in NAMING.items()
        for text in wanted
        if text.format(**own) not in read(name)
    ]
    new = Places("registry.invalid", "other/name", "https://source.invalid/other/name")
    owner = re.escape(old.source.rsplit("/", 1)[0])
    left = re.compile(rf"{re.escape(old.registry)}/\S*|{owner}\b\S*|(?<![\w./-]){re.escape(old.source_path)}(?![\w./-])")
    for name in tracked():
        for number, line in enumerate(moved(name, read(name), old, new).splitlines(), 1):
            if found := left.search(line):
                problems.append(f"{name}:{number}: {found[0]} is not one of the places in {SETTINGS}")
    return problems


def tracked() -> list[str]:
    """The text files of the repository, except those that are about places."""
    listed = subprocess.run(
        ["git", "grep", "-Il", "--untracked", "-e", ""], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [name for name in listed.stdout.splitlines() if name not in ("scripts/places.py", "e2e/test_places.py")]


def read(name: str) -> str:
    return (ROOT / name).read_bytes().decode("utf-8", "surrogateescape")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
