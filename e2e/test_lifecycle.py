"""Reload and shutdown while requests flow."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import standard
import web
from envoy_config import envoy_config
from stack import Claimgate, Stack


def replace(file: Path, text: str) -> None:
    """In one step, as an editor or Kubernetes would."""
    fresh = file.with_suffix(".new")
    fresh.write_text(text)
    os.replace(fresh, file)


def complaints(claimgate: Claimgate) -> int:
    """Lines in its log at warn or above."""
    lines = claimgate.log.read_text().splitlines()
    levels = (json.loads(line).get("level", "") for line in lines)
    return sum(level.upper() in ("WARN", "ERROR") for level in levels)


def test_a_reload_fails_no_request(stack: Stack):
    gateway = standard.gateway(stack)
    headers = web.bearer(gateway.token())
    changed = standard.CONFIG.replace("    claims:", "    subject: x-user\n    claims:")
    with gateway.flow("/orders", lambda: headers) as flow:
        for count, config in enumerate([changed, standard.CONFIG, changed], start=1):
            replace(gateway.claimgate.config, config)
            web.wait_until(lambda: gateway.claimgate.reloads("success") == count, "a reload")
            flow.pass_by(100)
    assert set(flow.outcomes) == {200}, flow.outcomes
    seen = gateway.get("/orders", headers).seen
    assert (seen.get("x-user"), seen.get("x-auth-subject")) == ("web", None)


def test_a_bad_file_changes_nothing(stack: Stack):
    gateway = standard.gateway(stack)
    headers = web.bearer(gateway.token())
    before = complaints(gateway.claimgate)
    with gateway.flow("/orders", lambda: headers) as flow:
        replace(gateway.claimgate.config, standard.CONFIG + "  no_such_key: 1\n")
        web.wait_until(lambda: gateway.claimgate.reloads("failure") == 1, "a failed reload")
        flow.pass_by(100)
    assert set(flow.outcomes) == {200}, flow.outcomes
    assert complaints(gateway.claimgate) == before + 1
    assert gateway.claimgate.ready()


def test_sigterm_fails_no_request(stack: Stack):
    """Envoy has a second endpoint and checks the health of both, as a mesh does."""
    issuer, upstream = stack.issuer(*standard.CLIENTS), stack.upstream()
    config = standard.CONFIG.replace("server:", "server:\n  shutdown_grace_seconds: 4")
    first, second = (stack.claimgate(config, ISSUER_URL=issuer.url) for _ in range(2))
    envoy = stack.envoy(envoy_config([first.grpc, second.grpc], upstream, health_checks=True))
    web.wait_until(
        lambda: envoy.stat("cluster.claimgate.membership_healthy") == 2, "two healthy endpoints"
    )
    headers = web.bearer(issuer.token("web", "web-secret"))
    with web.Flow(envoy.address, "/orders", lambda: headers) as flow:
        flow.pass_by(200)
        first.signal(signal.SIGTERM)
        assert first.wait() == 0
        flow.pass_by(200)
    assert set(flow.outcomes) == {200}, flow.outcomes


def test_an_idle_connection_does_not_hold_up_the_end(stack: Stack):
    """Envoy keeps its HTTP/2 connection open; the grace period is for work."""
    gateway = standard.gateway(stack)
    assert gateway.get("/public").status == 200
    gateway.claimgate.signal(signal.SIGTERM)
    assert gateway.claimgate.wait(seconds=10) == 0
