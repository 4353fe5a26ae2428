"""Runs the pages that need nothing else as they are printed; bash parses the
shell of all others."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
from pathlib import Path

import pytest

import own_network
import token_clients as clients
import tools
from stack import free_port

DOCS = tools.ROOT / "docs"
PAGES = sorted([tools.ROOT / "README.md", *DOCS.rglob("*.md")])

# Run here, from the first command to the last.
FOLLOWED = ["tutorial.md", "api-keys.md", "key-rotation.md", "outages.md", "many-clients.md"]

# Of these pages, only the sections that need nothing else are.
FOLLOWED_SECTIONS = {"issuers/cognito.md": ["gateway.yaml", "Check it without AWS"]}

# Not run here, and why.
ELSEWHERE = {
    "README.md": "make demo: test_demo.py; make test, which runs this",
    "clients.md": "test_clients.py",
    "install.md": "clones, builds and installs; charts/tests/test_install.py has its values",
    "your-service.md": "followed below, with another issuer",
    "issuers/keycloak.md": "test_keycloak.py",
    "istio.md": "kube/",
    "envoy-gateway.md": "kube/",
    "inside-envoy.md": "kube/; test_module_example.py runs the file that the envoy commands name",
    "kubernetes-service-accounts.md": "kube/",
    "kubernetes.md": "helm needs a cluster; the chart's commands run in charts/ and kube/",
    "plans.md": "test_shared_limits.py runs the files that the commands name",
    "edge.md": "test_edge.py runs the files, on the page's ports only when free",
    "envoy.md": "the curl commands need the reader's Envoy; test_envoy_configs.py loads the snippets",
    "configuration.md": "a command line on a file of the reader's",
    "operations.md": "command lines on files of the reader's",
    "why-denied.md": "command lines on files of the reader's; tests/program/explain.rs has the output",
    "policy-tests.md": "command lines on files of the reader's; tests/program/policy_tests.rs",
    "leaving-alb.md": "needs an AWS account; tests of import-alb have its files",
    "corporate-proxies.md": "needs the reader's proxy; tests/program/proxies.rs has one",
    "mcp.md": "command lines on files of the reader's",
    "errors.md": "command lines on files of the reader's",
    "tracing.md": "needs a collector",
    "providers.md": "needs the reader's own service",
    "issuers/cognito.md": "the rest needs an AWS account; tests/it/docs/issuers.rs has its tokens",
    "issuers/entra.md": "needs an Entra tenant; tests/it/docs/issuers.rs has its tokens",
    "issuers/okta.md": "needs an Okta organisation; tests/it/docs/issuers.rs has its tokens",
    "issuers/auth0.md": "needs an Auth0 tenant; tests/it/docs/issuers.rs has its tokens",
}

FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
WRITE = re.compile(r"Write `([\w./-]+)`")


def name_of(page: Path) -> str:
    """The page's name in the lists above."""
    return str(page.relative_to(DOCS if page.is_relative_to(DOCS) else tools.ROOT))


def typed(block: str) -> list[str]:
    """The commands of a console block; a backslash continues one."""
    commands = clients.commands(re.sub(r"\\\n\s*", "", block))
    return [command for command, _ in commands]


def steps(page: str) -> list[tuple[str, list[str]]]:
    """The reader's steps, as shell commands, each with the output shown.
    A block after "Write `name`" is that file."""
    found: list[tuple[str, list[str]]] = []
    end = 0
    for fence in FENCE.finditer(page):
        language, text = fence.groups()
        between = page[end : fence.start()]
        end = fence.end()
        if language == "console":
            found += clients.commands(re.sub(r"\\\n\s*", "", text))
        elif named := WRITE.findall(between):
            found.append((f"cat > {named[-1]} <<'END OF FILE'\n{text}END OF FILE", []))
    return found


def followed(name: str) -> str:
    """What is to be run of a page."""
    page = (DOCS / name).read_text()
    titles = FOLLOWED_SECTIONS.get(name)
    if titles is None:
        return page
    sections = dict(section.split("\n", 1) for section in re.split(r"^## ", page, flags=re.M)[1:])
    return "".join(sections[title] for title in titles)


@pytest.mark.parametrize("name", [*FOLLOWED, *FOLLOWED_SECTIONS])
def test_the_page_works_as_printed(tmp_path: Path, name: str):
    page = followed(name)
    if not own_network.available():
        page = with_other_ports(page, tmp_path)
    follow(page, tmp_path)


# A token's issuer for the page that is written for the reader's own.
OWN_ISSUER = {
    "https://issuer.example.com": "http://127.0.0.1:4400",
    "# Your service behind it\n": """
```console
$ "$NODE" "$OIDC_PROVIDER" 4400 &
$ curl --silent --retry 60 --retry-delay 1 --retry-all-errors --output up http://127.0.0.1:4400/jwks
```
""",
}


@pytest.mark.skipif(not own_network.available(), reason="needs a network of its own for the page's ports")
def test_your_service_works_as_printed_with_another_issuer(tmp_path: Path):
    """With npm's oidc-provider as the reader's issuer."""
    page = (DOCS / "your-service.md").read_text()
    for old, new in OWN_ISSUER.items():
        assert old in page
        page = page.replace(old, new)
    follow(page, tmp_path, NODE=str(tools.node()), OIDC_PROVIDER=str(tools.oidc_provider()))


def with_other_ports(page: str, folder: Path) -> str:
    """The page, and the example that it names, with ports that are free."""
    example = tools.ROOT / "examples" / "envoy" / "minimal.yaml"
    text = example.read_text()
    for printed in set(re.findall(r"127\.0\.0\.1:(\d+)|--port (\d+)", page)):
        [port] = filter(None, printed)
        new = str(free_port())
        page = re.sub(rf"(127\.0\.0\.1:|--port ){port}\b", rf"\g<1>{new}", page)
        text = text.replace(f"port_value: {port}}}", f"port_value: {new}}}")
    (folder / "minimal.yaml").write_text(text)
    return page.replace("--config-path examples/envoy/minimal.yaml", "--config-path minimal.yaml")


def follow(page: str, folder: Path, **environment: str) -> None:
    """Runs the page's commands in a folder that has what a clone has, and
    compares what they print."""
    todo = steps(page)
    assert len(todo) >= 4
    script = "".join(
        f"{{ {command}\n}} > out.{number} || {{ echo failed: step {number} >&2; exit 1; }}\n"
        for number, (command, _) in enumerate(todo)
    )
    own = folder / "bin"
    own.mkdir()
    (own / "claimgate").symlink_to(tools.claimgate())
    (own / "envoy").symlink_to(tools.envoy())
    for name in ("examples", "e2e"):
        (folder / name).symlink_to(tools.ROOT / name)
    command = ["bash", "-c", script]
    shell = subprocess.Popen(
        own_network.command(*command) if own_network.available() else command,
        cwd=folder,
        env={"PATH": f"{own}:/usr/bin:/bin", "HOME": str(folder), **environment},
        stdout=subprocess.DEVNULL,
        stderr=(folder / "errors").open("wb"),
        start_new_session=True,
    )
    try:
        status = shell.wait(timeout=4 * clients.SECONDS)
    finally:
        # The page's background processes.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)
    assert status == 0, (folder / "errors").read_text()
    for number, (command, shown) in enumerate(todo):
        lines = (folder / f"out.{number}").read_text().splitlines()
        for expected in shown:
            pattern = re.escape(expected).replace("…", ".+")
            assert any(re.fullmatch(pattern, line) for line in lines), (command, expected, lines)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_shell_on_the_page_is_shell(page: Path):
    text = page.read_text()
    scripts = ["\n".join(typed(block)) for block in clients.blocks(text, "console")]
    scripts += [*clients.blocks(text, "sh"), *clients.blocks(text, "bash")]
    if scripts:
        assert name_of(page) in [*FOLLOWED, *ELSEWHERE], "follow the page, or say why not"
    for script in scripts:
        read = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True)
        assert read.returncode == 0, f"{script}\n{read.stderr}"


def calls(command: str) -> list[list[str]]:
    """The calls of claimgate in a shell command, with their arguments alone."""
    words = shlex.shlex(command, posix=True, punctuation_chars="|&;<>()")
    words.whitespace_split = True
    found: list[list[str]] = []
    arguments: list[str] | None = None
    begins = True
    for word in words:
        operator = set(word) <= set("|&;<>()")
        if begins and word == "claimgate":
            found.append(arguments := [])
        elif operator:
            arguments = None
        elif arguments is not None:
            arguments.append(word)
        begins = operator or (begins and "=" in word)
    return found


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_claimgate_knows_the_arguments(page: Path):
    """An unknown command or option ends with an error even before --help."""
    for block in clients.blocks(page.read_text(), "console"):
        for arguments in (call for command in typed(block) for call in calls(command)):
            command = [tools.claimgate(), *arguments, "--help"]
            asked = subprocess.run(command, capture_output=True, text=True, timeout=60)
            assert asked.returncode == 0, f"{arguments}\n{asked.stderr}"


def test_calls_are_found():
    assert calls("X=1 claimgate token --a > f | claimgate hash-key && ls") == [["token", "--a"], ["hash-key"]]
    assert calls("helm install claimgate --a; echo $(claimgate token) 'claimgate x'") == [["token"]]


def test_every_listed_page_is_there_once():
    assert not set(FOLLOWED) & set(ELSEWHERE)
    later = {"tracing.md"}
    assert {*FOLLOWED, *ELSEWHERE} - later <= {name_of(page) for page in PAGES}
