"""examples/envoy/module.yaml, on every Envoy that it is for."""

from __future__ import annotations

import json
import re
import sys

import pytest

import module_example
import module_gateway
import standard
import tools
import web
from stack import Stack

sys.path.insert(0, str(tools.ROOT / "demo"))
import demo  # noqa: E402


@pytest.fixture(scope="module", params=module_gateway.VERSIONS)
def inside(module_stack: Stack, request: pytest.FixtureRequest):
    issuer = module_stack.issuer(*standard.CLIENTS)
    started = module_example.start(
        module_stack, standard.AUTH, version=request.param, ISSUER_URL=issuer.url
    )
    tokens = {name: web.bearer(issuer.token(name, f"{name}-secret")) for name in ("web", "root")}
    return started.envoy, tokens


CASES = [
    ("/orders", "", 401, "missing_token"),
    ("/orders", "web", 200, "ok"),
    ("/public", "", 200, "public"),
    ("/admin", "web", 403, "insufficient_scope"),
    ("/admin/", "web", 403, "insufficient_scope"),
    ("/%61dmin", "web", 403, "insufficient_scope"),
    ("/admin/users", "root", 200, "ok"),
]


@pytest.mark.parametrize(("path", "client", "status", "reason"), CASES)
def test_the_example_decides(inside, path: str, client: str, status: int, reason: str):
    envoy, tokens = inside
    assert web.get(envoy.address, path, tokens.get(client, [])).status == status

    def told() -> list[dict]:
        lines = map(json.loads, envoy.output.read_text().splitlines())
        read = path.replace("%61", "a")
        return [line for line in lines if (line["path"], line["reason"]) == (read, reason)]

    web.wait_until(told, f"a line about {path} in the access log")
    line = told()[-1]
    assert line["status"] == status
    if status != 200:
        assert line["details"] == f"claimgate_denied{{{reason}}}"


def test_the_identity_is_the_tokens_own(inside):
    envoy, tokens = inside
    forged = [("x-auth-subject", "root"), ("x_auth_subject", "root")]
    seen = web.get(envoy.address, "/orders", [*tokens["web"], *forged]).seen
    assert seen.get("x-auth-subject") == "web"
    assert "root" not in {value for _, value in seen.headers}


def test_metrics_have_their_usual_names_without_the_prefix(inside):
    """By the relabelling that docs/inside-envoy.md shows."""
    envoy, _ = inside
    rule = re.search(r"regex: (\S+)\n", (tools.ROOT / "docs" / "inside-envoy.md").read_text())[1]

    def names() -> set[str]:
        assert web.get(envoy.address, "/orders").status == 401
        text = web.get(envoy.admin, "/stats/prometheus").body.decode()
        series = set(re.findall(r"^(\w+){", text, re.M))
        return {found[1] for found in map(re.compile(rf"{rule}$").match, series) if found}

    usual = {"claimgate_checks_total", "claimgate_check_duration_seconds_bucket", "claimgate_jwks_keys"}
    web.wait_until(lambda: usual <= names(), "the metrics")
    assert all(name.startswith("claimgate_") for name in names())


def test_the_demo_shows_the_same_inside_envoy(stack: Stack):
    rows = list(demo.run(demo.start(stack, inside=True)))
    assert len(rows) > 10 and [row for row in rows if not row.good] == []
