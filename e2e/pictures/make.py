"""Makes the book's pictures of the running program: `make pictures`.

The status page is photographed in Chromium, `explain` as a terminal shows it,
and the dashboard is drawn from its own queries to a real Prometheus, since
Grafana is in no package registry. All show one gateway with traffic of many
kinds, each for light and for dark pages.
"""

from __future__ import annotations

import io
import os
import pty
import random
import re
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
E2E = HERE.parent
sys.path[:0] = [str(E2E), str(E2E.parent / "charts" / "tests")]

import standard  # noqa: E402
import tools  # noqa: E402
import web  # noqa: E402
from stack import Program, Stack  # noqa: E402

PICTURES = tools.ROOT / "docs" / "pictures"
SECONDS = 40
"""How long traffic flows, which is what the dashboard shows."""
EXPIRED = "        - {name: old, key: old-key, expires_at: 2020-01-01T00:00:00Z}"
LONG = "-of-more-than-twenty-characters"
"""What the tests' short keys lack, for a configuration without warnings."""
PLANS = """  plans:
    team: {requests: {per_minute: 6000}}
    batch: {requests: {per_minute: 900, burst: 30}}
  default_plan: team
"""
"""The job asks for more than its plan has."""
DOWN = "    - {name: partner, type: oauth2, issuer: 'http://127.0.0.1:9', audience: gateway}"
COLUMNS = 100


def main() -> int:
    with Stack() as stack:
        config = standard.CONFIG.replace("      keys:", f"      keys:\n{EXPIRED}")
        config = config.replace("  required_scopes: [invoke]", f"{DOWN}\n  required_scopes: [invoke]")
        config = config.replace("name: job,", "name: job, plan: batch,").replace("  routes:", f"{PLANS}  routes:")
        config = re.sub(r"key: (\w+-key)", rf"key: \1{LONG}", config)
        config = config.replace("require_audience: false", "require_audience: false\n      client_ids: [web, root]")
        gateway = standard.gateway(stack, standard.CONFIG)
        change(gateway.claimgate.config, config)
        web.wait_until(lambda: gateway.claimgate.reloads("success") == 1, "a reload")
        import dashboard
        import prometheus

        rules = stack.folder / "rules.yaml"
        rules.write_text("groups: []\n")
        watched = prometheus.start(stack, gateway.claimgate.admin, {"namespace": "gateway"}, rules)
        begin = time.time()
        traffic(gateway)
        dashboard.draw(watched.address, begin, time.time(), PICTURES)
        status_page(stack, gateway)
        explain(gateway)
    stack.discard()
    return 0


def change(file: Path, text: str) -> None:
    fresh = file.with_suffix(".new")
    fresh.write_text(text)
    os.replace(fresh, file)


def traffic(gateway: standard.Gateway) -> None:
    """Requests of many kinds, most of them allowed; in the middle, many come
    with an expired token."""
    tokens = [web.bearer(gateway.token()) for _ in range(5)]
    expired = web.bearer(gateway.token(lifetime=-600))
    kinds = {
        "ok": lambda: ("/v1/chat/completions", pick.choice(tokens)),
        "key": lambda: ("/v1/models", web.bearer(f"job-key{LONG}")),
        "expired": lambda: ("/v1/chat/completions", expired),
        "scope": lambda: ("/admin/users", tokens[0]),
        "revoked": lambda: ("/v1/models", web.bearer(f"gone-key{LONG}")),
        "missing": lambda: ("/v1/models", ()),
        "path": lambda: ("/admin//../users", tokens[0]),
    }
    pick = random.Random(7)
    usual = [60, 25, 2, 5, 1, 4, 2]
    flood = [60, 25, 30, 5, 1, 4, 2]
    begin = time.monotonic()
    number = 0
    while (passed := time.monotonic() - begin) < SECONDS:
        middle = 0.4 < passed / SECONDS < 0.7
        [kind] = pick.choices(list(kinds), flood if middle else usual)
        path, headers = kinds[kind]()
        number += 1
        gateway.get(path, [*headers, ("x-request-id", f"req-{number:05}")])
        time.sleep(pick.uniform(0.002, 0.012))


def status_page(stack: Stack, gateway: standard.Gateway) -> None:
    from PIL import Image

    command = ["node", tools.browser(), "look", f"http://{gateway.claimgate.admin}/", stack.folder]
    look = stack.start(Program, "look", command, {"CLAIMGATE_CHROMIUM": str(tools.chromium())})
    if look.wait(seconds=120) != 0:
        sys.exit(look.tail())
    for look in ("light", "dark"):
        shot = Image.open(stack.folder / f"desktop-{look}.png").convert("RGB")
        top = shot.crop((0, 0, shot.width, min(shot.height, 1000)))
        top.quantize(128).save(PICTURES / f"status-page-{look}.png", optimize=True)
        plans = Image.open(stack.folder / f"desktop-{look}-plans.png").convert("RGB")
        plans.quantize(128).save(PICTURES / f"plans-{look}.png", optimize=True)


def explain(gateway: standard.Gateway) -> None:
    """As a terminal of this width shows it, in its colours."""
    from rich.console import Console
    from rich.terminal_theme import MONOKAI, DEFAULT_TERMINAL_THEME
    from rich.text import Text

    (gateway.stack.folder / "token").write_text(gateway.token(lifetime=-600))
    shown = "claimgate explain --config gateway.yaml --path /v1/models --token-file token"
    name = gateway.stack.folder / "gateway.yaml"
    name.write_text(gateway.claimgate.config.read_text())
    printed = on_a_terminal(shown, gateway)
    for look, theme in (("light", DEFAULT_TERMINAL_THEME), ("dark", MONOKAI)):
        console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
        console.print(Text.from_ansi(f"$ {shown}\n{printed}"))
        file = PICTURES / f"explain-{look}.svg"
        text = console.export_svg(title="claimgate explain", theme=theme, unique_id="explain")
        file.write_text(finished(text))


def on_a_terminal(command: str, gateway: standard.Gateway) -> str:
    main, other = pty.openpty()
    environment = {**os.environ, **gateway.claimgate.environment, "COLUMNS": str(COLUMNS), "TERM": "xterm-256color"}
    run = subprocess.Popen(
        [tools.claimgate(), *command.split()[1:]],
        cwd=gateway.stack.folder, env=environment, stdin=other, stdout=other, stderr=subprocess.DEVNULL,
    )
    os.close(other)
    parts = []
    while True:
        try:
            part = os.read(main, 4096)
        except OSError:
            break
        if not part:
            break
        parts.append(part)
    os.close(main)
    run.wait(timeout=60)
    return b"".join(parts).decode().replace("\r\n", "\n")


def finished(svg: str) -> str:
    """With a size of its own, and without the fonts that it would fetch from
    elsewhere."""
    svg = re.sub(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', r'width="\1" height="\2" \g<0>', svg, count=1)
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    return re.sub(r"Fira Code, monospace|Fira Code", "ui-monospace, Menlo, Consolas, monospace", svg)


def again() -> int:
    """Runs this file with the packages that it needs; its exit status."""
    python = tools.venv(HERE / "requirements.txt") / "bin" / "python"
    return subprocess.run([python, __file__]).returncode


if __name__ == "__main__":
    try:
        import rich  # noqa: F401
        import yaml  # noqa: F401

        run = main
    except ImportError:
        run = again
    try:
        sys.exit(run())
    except tools.ToolMissing as missing:
        sys.exit(f"{missing}")
