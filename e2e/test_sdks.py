"""The official SDKs of the LLM APIs through a real Envoy: the errors that their
users see when Claimgate denies a request."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
import time

import pytest

import llm
import standard
import tools
import web
from envoy_config import envoy_config
from stack import Claimgate, Program, Stack

AUTH = """
auth:
  providers:
    - name: machines
      type: oauth2
      issuer: ${ISSUER_URL}
      require_audience: false
    - name: out-of-reach
      type: oauth2
      issuer: ${GONE_URL}
      require_audience: false
  required_scopes: [invoke]
  token_sources:
    - {header: authorization, scheme: Bearer}
    - {header: x-api-key}
  routes:
    - {name: openai, match: {path_prefix: /v1/chat}, error_format: openai}
    - {name: anthropic, match: {path_prefix: /v1/messages}, error_format: anthropic}
    - {name: problem, match: {path_prefix: /problem}, error_format: problem}
    - {name: crossed-openai, match: {path_prefix: /crossed/v1/chat}, error_format: anthropic}
    - {name: crossed-anthropic, match: {path_prefix: /crossed/v1/messages}, error_format: openai}
"""

# What comes before the API's path selects the format of an error: its own, or
# another one. Where no route matches, it is the default.
FORMATS = {"own": "", "oauth2": "/plain", "problem": "/problem", "crossed": "/crossed"}

RETRIES = 2

SENTENCES = {
    "expired": "the token has expired",
    "powerless": "the token does not grant the required scope",
    "unavailable": "the token can't be checked right now",
}


def unsigned(issuer: str) -> str:
    """A token whose signature can't be checked while its issuer is down."""
    claims = {"iss": issuer, "exp": time.time() + 600}
    parts = [{"alg": "RS256", "kid": "k"}, claims]
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()) for part in parts]
    return ".".join(part.decode().rstrip("=") for part in [*encoded, b"c2lnbmF0dXJl"])


class Asked:
    """One SDK's result for each token, and the number of its requests."""

    def __init__(self, claimgate: Claimgate, sdk: str, language: str, base_url: str, tokens: dict):
        case = {"base_url": base_url, "max_retries": RETRIES}
        expired = [
            {"base_url": base_url + before, "token": tokens["expired"], "max_retries": 0}
            for before in FORMATS.values()
        ]
        before = self._checks(claimgate)
        asked = ask(sdk, language, [{**case, "token": token} for token in tokens.values()])
        self.outcomes = dict(zip(tokens, asked, strict=True))
        after = self._checks(claimgate)
        self.expired = dict(zip(FORMATS, ask(sdk, language, expired), strict=True))
        self.sdk, self.language = sdk, language
        self.checks = {reason: after[reason] - before[reason] for reason in after}

    @staticmethod
    def _checks(claimgate: Claimgate) -> dict[str, float]:
        reasons = ("ok", "expired", "insufficient_scope", "provider_unavailable")
        return {reason: claimgate.checks(reason) for reason in reasons}


def ask(sdk: str, language: str, cases: list[dict]) -> list[dict]:
    """The SDK's result for each case."""
    command = [*tools.sdk_clients(language), sdk]
    run = subprocess.run(
        command, input=json.dumps(cases), capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.fixture(scope="module")
def gateway(module_stack: Stack):
    """A gateway before the double, and a token for each case."""
    clients = ("--client=web:web-secret:invoke", "--client=reader:reader-secret:read")
    issuer = module_stack.issuer(*clients)
    gone = module_stack.issuer()
    gone.stop()
    claimgate = module_stack.claimgate(
        standard.SERVER + AUTH, wait=False, ISSUER_URL=issuer.url, GONE_URL=gone.url
    )
    double = module_stack.start(Program, "llm", [sys.executable, tools.HERE / "llm.py"])
    envoy = module_stack.envoy(envoy_config(claimgate.grpc, double.first_line()))
    tokens = {
        "good": issuer.token("web", "web-secret"),
        "expired": issuer.token("web", "web-secret", lifetime=-600),
        "powerless": issuer.token("reader", "reader-secret"),
        "unavailable": unsigned(gone.url),
    }
    ask = ("POST", "/v1/messages", web.bearer(tokens["good"]))
    web.wait_until(lambda: web.send(envoy.address, *ask).status == 200, "the issuer's keys")
    return claimgate, f"http://{envoy.address}", tokens


@pytest.fixture(
    scope="module",
    params=[(sdk, language) for sdk in ("openai", "anthropic") for language in ("python", "node")],
    ids="-".join,
)
def asked(request: pytest.FixtureRequest, gateway) -> Asked:
    claimgate, url, tokens = gateway
    return Asked(claimgate, *request.param, url, tokens)


def test_a_good_token_gets_the_upstreams_answer(asked: Asked):
    assert asked.outcomes["good"]["text"] == llm.TEXT
    assert asked.checks["ok"] == 1


@pytest.mark.parametrize(
    "token, status, raised, reason",
    [
        ("expired", 401, "AuthenticationError", "expired"),
        ("powerless", 403, "PermissionDeniedError", "insufficient_scope"),
    ],
)
def test_a_refusal_is_raised_with_its_sentence(
    asked: Asked, token: str, status: int, raised: str, reason: str
):
    outcome = asked.outcomes[token]
    assert (outcome["raised"], outcome["status"]) == (raised, status)
    assert outcome["message"] == SENTENCES[token]
    assert SENTENCES[token] in outcome["shown"]
    assert outcome["type"] and outcome["type"].endswith("_error")
    assert asked.checks[reason] == 1, "a refusal is not retried"


def test_an_outage_is_retried_and_then_raised(asked: Asked):
    outcome = asked.outcomes["unavailable"]
    assert outcome["status"] == 503
    assert outcome["raised"] in ("InternalServerError", "ServiceUnavailableError")
    assert outcome["message"] == SENTENCES["unavailable"]
    assert asked.checks["provider_unavailable"] == 1 + RETRIES
    # `retry-after: 1` is waited for each time.
    assert outcome["seconds"] >= RETRIES * 0.9


def test_what_is_shown_of_each_format_is_on_the_page(asked: Asked):
    """In the table of errors.md, where `{…}` stands for the body."""
    name = {"openai": "OpenAI", "anthropic": "Anthropic"}[asked.sdk]
    language = {"python": "Python", "node": "TypeScript"}[asked.language]
    page = (tools.ROOT / "docs" / "errors.md").read_text()
    [row] = re.findall(rf"^\| {name}, {language} \| `(.+)` \| `(.+)` \|$", page, re.M)
    shown = {name: outcome["shown"] for name, outcome in asked.expired.items()}
    for format, told in zip(("own", "crossed", "oauth2", "problem"), (row[0], row[0], row[1], row[1])):
        pattern = re.escape(told).replace(re.escape("{…}"), rf"\{{.*{SENTENCES['expired']}.*\}}")
        assert re.fullmatch(pattern, shown[format]), (format, told, shown[format])
