"""Signing keys that change, disappear or never existed, while requests flow."""

from __future__ import annotations

import base64
import json
import secrets
import time

import standard
import web
from envoy_config import envoy_config
from stack import Stack, free_port

COOLDOWN = 2
"""Seconds, as in the standard configuration."""


def alternating(tokens: list[str]):
    """Headers with one of the tokens, each in turn; the list may grow."""
    turn = iter(range(10**9))
    return lambda: web.bearer(tokens[next(turn) % len(tokens)])


def test_rotation_fails_no_request_and_costs_one_fetch(stack: Stack):
    gateway = standard.gateway(stack)
    tokens = [gateway.token()]
    with gateway.flow("/orders", alternating(tokens)) as flow:
        flow.pass_by(200)
        before = gateway.issuer.jwks_fetches()
        gateway.issuer.rotate()
        flow.pass_by(200)
        tokens.append(gateway.token())
        flow.pass_by(400)
        fetches = gateway.issuer.jwks_fetches() - before
    assert set(flow.outcomes) == {200}, flow.outcomes
    assert fetches == 1


def test_a_withdrawn_key_is_forgotten(stack: Stack):
    """Its tokens are refused once the new key set is known, cached or not."""
    issuer = stack.issuer(*standard.CLIENTS, "--drop-old-keys")
    upstream = stack.upstream()
    claimgate = stack.claimgate(standard.CONFIG, ISSUER_URL=issuer.url)
    envoy = stack.envoy(envoy_config(claimgate.grpc, upstream))
    old = issuer.token("web", "web-secret")
    assert web.get(envoy.address, "/orders", web.bearer(old)).status == 200
    issuer.rotate()
    new = issuer.token("web", "web-secret")
    assert web.get(envoy.address, "/orders", web.bearer(new)).status == 200
    assert web.get(envoy.address, "/orders", web.bearer(old)).status == 401


def test_random_key_ids_cause_one_fetch_per_cooldown(stack: Stack):
    gateway = standard.gateway(stack)
    token = gateway.token()
    payload_and_signature = token.partition(".")[2]

    def forged() -> web.Headers:
        header = json.dumps({"alg": "RS256", "kid": secrets.token_hex(16)}).encode()
        encoded = base64.urlsafe_b64encode(header).rstrip(b"=").decode()
        return web.bearer(f"{encoded}.{payload_and_signature}")

    before, started = gateway.issuer.jwks_fetches(), time.monotonic()
    with gateway.flow("/orders", lambda: web.bearer(token), threads=1) as valid:
        with gateway.flow("/orders", forged, threads=4, most=10_000) as random:
            web.wait_until(lambda: random.total >= 10_000, "10,000 requests", seconds=120)
        valid.pass_by(10)
    fetches, took = gateway.issuer.jwks_fetches() - before, time.monotonic() - started
    assert set(random.outcomes) <= {401, 503}, random.outcomes
    # Requests that wait for a fetch when the machine is too busy.
    assert random.outcomes[503] <= random.threads * fetches, random.outcomes
    assert random.outcomes[503] == gateway.claimgate.checks("provider_unavailable")
    assert set(valid.outcomes) == {200}, valid.outcomes
    assert 1 <= fetches <= took / COOLDOWN + 1


def test_known_keys_serve_while_the_issuer_is_down(stack: Stack):
    config = standard.CONFIG.replace(
        "jwks_refresh_cooldown_seconds: 2", "jwks_refresh_cooldown_seconds: 2\n      jwks_cache_seconds: 1"
    )
    gateway = standard.gateway(stack, config)
    used, unused = gateway.token(), gateway.token()
    assert gateway.get("/orders", web.bearer(used)).status == 200
    gateway.issuer.stop()
    failures = 'claimgate_jwks_fetches_total{provider="machines",result="failure"}'
    web.wait_until(
        lambda: gateway.claimgate.metrics().get(failures, 0) >= 1, "a refresh that fails"
    )
    assert gateway.get("/orders", web.bearer(used)).status == 200
    assert gateway.get("/orders", web.bearer(unused)).status == 200
    assert gateway.claimgate.ready()


def test_a_cold_start_without_the_issuer_heals_itself(stack: Stack):
    address = f"127.0.0.1:{free_port()}"
    issuer = stack.issuer(*standard.CLIENTS, address=address)
    token = issuer.token("web", "web-secret")
    issuer.stop()
    claimgate = stack.claimgate(standard.CONFIG, wait=False, ISSUER_URL=issuer.url)
    envoy = stack.envoy(envoy_config(claimgate.grpc, stack.upstream()))

    assert not claimgate.ready()
    reply = web.get(envoy.address, "/orders", web.bearer(token))
    assert reply.status == 503
    assert int(reply.header("retry-after") or 0) > 0
    assert set(reply.json()) == {"error", "error_description"}  # Claimgate's, not Envoy's
    assert web.get(envoy.address, "/orders", web.bearer("job-key")).status == 200
    assert web.get(envoy.address, "/public").status == 200

    issuer = stack.issuer(*standard.CLIENTS, address=address)
    web.wait_until(claimgate.ready, "ready by itself", seconds=60)
    token = issuer.token("web", "web-secret")
    assert web.get(envoy.address, "/orders", web.bearer(token)).status == 200
