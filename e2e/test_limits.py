"""Limits for each caller through a real Envoy: what clients get over their
limit, and that the SDKs of the LLM APIs wait as long as they are told."""

from __future__ import annotations

import json
import sys

import pytest

import llm
import standard
import tools
import web
from envoy_config import envoy_config
from stack import Program, Stack
from test_sdks import ask

SDKS = [(sdk, language) for sdk in ("openai", "anthropic") for language in ("python", "node")]

CONFIG = (
    standard.SERVER
    + """
auth:
  plans:
    hourly: {requests: {per_hour: 3}}
    steady: {requests: {per_second: 1}}
  default_plan: hourly
  providers:
    - name: keys
      type: api_key
      keys:
        - {name: slow, key: key-of-slow-in-plain-text}
        - {name: other, key: key-of-other-in-plain-text}
        - {name: caller, key: key-of-caller-in-plain-text}
"""
    + "".join(
        f"        - {{name: {'-'.join(sdk)}, key: key-of-{'-'.join(sdk)}-in-plain-text, plan: steady}}\n"
        for sdk in SDKS
    )
    + """
  token_sources:
    - {header: authorization, scheme: Bearer}
    - {header: x-api-key}
  routes:
    - {name: openai, match: {path_prefix: /v1/chat}, error_format: openai}
    - {name: anthropic, match: {path_prefix: /v1/messages}, error_format: anthropic}
"""
)


@pytest.fixture(scope="module")
def gateway(module_stack: Stack):
    claimgate = module_stack.claimgate(CONFIG)
    double = module_stack.start(Program, "llm", [sys.executable, tools.HERE / "llm.py"])
    return claimgate, module_stack.envoy(envoy_config(claimgate.grpc, double.first_line()))


def key_of(name: str) -> str:
    return f"key-of-{name}-in-plain-text"


def test_over_the_limit_is_429_with_what_clients_want_to_know(gateway):
    claimgate, envoy = gateway
    ask = ("POST", "/v1/chat/completions", web.bearer(key_of("slow")))
    assert [web.send(envoy.address, *ask).status for _ in range(3)] == [200] * 3
    for _ in range(2):
        reply = web.send(envoy.address, *ask)
        assert reply.status == 429
        wait = int(reply.header("retry-after"))
        assert 1190 <= wait <= 1200
        assert reply.header("ratelimit-policy") == '"requests";q=3;w=3600'
        assert reply.header("ratelimit") == f'"requests";r=0;t={wait}'
        assert reply.header("www-authenticate") is None
        assert json.loads(reply.body)["error"]["code"] == "rate_limit_exceeded"
    other = web.bearer(key_of("other"))
    assert web.send(envoy.address, "POST", "/v1/chat/completions", other).status == 200
    assert claimgate.checks("rate_limited") == 2


def test_a_grpc_caller_is_told_to_come_back(gateway):
    _, envoy = gateway
    headers = [("content-type", "application/grpc"), *web.bearer(key_of("caller"))]
    replies = [web.send(envoy.address, "POST", "/pkg.Service/Method", headers) for _ in range(4)]
    reply = replies[-1]
    assert (reply.status, reply.header("grpc-status")) == (200, "14")
    assert "too many requests" in reply.header("grpc-message")
    assert int(reply.header("retry-after")) > 1000
    assert replies[0].header("grpc-message") is None


@pytest.mark.parametrize(("sdk", "language"), SDKS, ids=["-".join(sdk) for sdk in SDKS])
def test_an_sdk_waits_and_succeeds(gateway, sdk: str, language: str):
    claimgate, envoy = gateway
    before = claimgate.checks("rate_limited")
    case = {"base_url": f"http://{envoy.address}", "max_retries": 2, "token": key_of(f"{sdk}-{language}")}
    answers = ask(sdk, language, [case, case, case])
    assert [answer["text"] for answer in answers] == [llm.TEXT] * 3
    assert claimgate.checks("rate_limited") > before
