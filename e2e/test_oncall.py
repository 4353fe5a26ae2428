"""The on-call engineer's question, for every reason: who was denied, where, and
for which value? One script provokes each denial through a real Envoy and knows
the cause; `oncall.py` names it from the log and from the status page."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import doors
import mint
import oncall
import pytest
import web
from envoy_config import envoy_config
from stack import Stack, free_port

CONFIG = """
server:
  grpc: {address: "127.0.0.1:${GRPC_PORT}"}
  admin: {address: "127.0.0.1:${ADMIN_PORT}"}
auth:
  providers:
    - name: team-keys
      type: api_key
      keys:
        - {name: reader, key: reader-key-in-plain-text, scopes: [read]}
        - {name: busy, key: busy-key-in-plain-text, plan: small, scopes: [read]}
        - {name: old, key: old-key-in-plain-text, expires_at: 2020-01-01T00:00:00Z}
        - {name: early, key: early-key-in-plain-text, not_before: 2100-01-01T00:00:00Z}
        - {name: stolen, key: stolen-key-in-plain-text, revoked: true}
    - name: machines
      type: oauth2
      issuer: https://issuer.example.com
      jwks_file: JWKS
      algorithms: [ES256]
      audience: search
      client_ids: [web]
      required_claims: {use: access}
      max_token_lifetime_seconds: 7200
    - name: down
      type: oauth2
      issuer: http://127.0.0.1:UNREACHABLE
      audience: search
  required_scopes: [read]
  max_token_bytes: 4000
  public_paths: [/health]
  plans: {small: {requests: {per_hour: 2, burst: 1}}}
  routes:
    - {name: orders, match: {path_prefix: /orders}}
    - {name: admin, match: {path_prefix: /admin}, required_scopes: [admin]}
    - {name: team, match: {path_prefix: /team}, required_claims: {team: search}}
"""

NOT_PROVOKED = {"internal": "needs a defect; tests/it/check_service.rs has a provider that panics"}


@dataclass
class Case:
    """A request and its cause; `value` is a regular expression."""

    reason: str
    value: str
    token: str | None = None
    caller: str | None = None
    path: str = "/orders/7"
    route: str | None = "orders"
    headers: list[tuple[str, str]] = field(default_factory=list)


def cases(key: mint.Key, unreachable: int) -> list[Case]:
    """One for every reason, and more where a reason has several causes."""
    now = mint.now()

    def token(header: dict | None = None, **claims: object) -> str:
        usual = {"iss": "https://issuer.example.com", "sub": "ada", "aud": "search", "client_id": "web",
                 "use": "access", "scope": "read", "iat": now, "exp": now + 3600}
        return key.token(header, **{**usual, **claims})

    forged = mint.Key(key.kid).token(iss="https://issuer.example.com", sub="mallory", exp=now + 60)
    down = f"http://127.0.0.1:{unreachable}"
    basic = [("authorization", "Basic dXNlcjpwYXNzd29yZA==")]
    return [
        Case("missing_token", "not sent"),
        Case("missing_token", "sent, but with another scheme", headers=basic),
        Case("malformed_request", "a comma, so two credentials in one header", "one-token,another-token"),
        Case("malformed_token", "its header is not base64url without padding", "not-a.readable.token"),
        Case("malformed_token", 'exp is "soon"', token(sub="bea", exp="soon"), "bea"),
        Case("malformed_token", "sub is 7", token(sub=7), "web"),
        Case("token_too_large", "5000", "x" * 5000),
        Case("unknown_key", "not known to team-keys", "a-key-that-was-never-issued"),
        Case("unknown_issuer", "https://elsewhere.example.com", token(iss="https://elsewhere.example.com")),
        Case("unknown_kid", "key-9", token({"kid": "key-9"})),
        Case("wrong_token_type", r"dpop\+jwt", token({"typ": "dpop+jwt"})),
        Case("algorithm_not_allowed", "HS256", token({"alg": "HS256"})),
        Case("bad_signature", "key-1", forged),
        Case("bad_signature", "key-1", forged),
        Case("expired", "64[6-9] s", token(sub="cleo", exp=now - 646), "cleo"),
        Case("expired", "2 days", token(sub=None, exp=now - 200_000), "web"),
        Case("not_yet_valid", "(600|59.) s", token(sub="dora", nbf=now + 600), "dora"),
        Case("issued_in_future", "(600|59.) s", token(sub="emil", iat=now + 600), "emil"),
        Case("lifetime_too_long", "9000 s", token(sub="fay", exp=now + 9000), "fay"),
        Case("missing_claim", "exp", token(sub="gus", exp=None), "gus"),
        Case("missing_claim", "aud", token(sub="hal", aud=None), "hal"),
        Case("missing_claim", "client_id", token(sub="ida", client_id=None), "ida"),
        Case("missing_claim", "team", token(sub="jo"), "jo", "/team", "team"),
        Case("wrong_audience", r'\["billing","mail"\]', token(sub="kim", aud=["billing", "mail"]), "kim"),
        Case("wrong_client", "batch", token(sub="lou", client_id="batch"), "lou"),
        Case("wrong_claim", 'use is "id"', token(sub="max", use="id"), "max"),
        Case("wrong_claim", 'team is "ads"', token(sub="ned", team="ads"), "ned", "/team", "team"),
        Case("key_expired", r"\d+ days", "old-key-in-plain-text", "old"),
        Case("key_not_yet_valid", r"\d+ days", "early-key-in-plain-text", "early"),
        Case("key_revoked", "revoked", "stolen-key-in-plain-text", "stolen"),
        Case("insufficient_scope", "admin", token(sub="oda"), "oda", "/admin/users", "admin"),
        Case("insufficient_scope", "admin", "reader-key-in-plain-text", "reader", "/admin", "admin"),
        Case("rate_limited", "plan small for team-keys/busy", "busy-key-in-plain-text", "busy"),
        Case("ambiguous_path", ".*leads to route admin.*", token(), None, "/%2561dmin", None),
        Case("unknown_route", "nowhere", token(), None, "/by-name", "nowhere"),
        Case("provider_unavailable", f".*{down}/.*", token(iss=down)),
    ]


def test_log_and_status_page_name_the_cause_of_every_denial(stack: Stack):
    key = mint.Key("key-1")
    jwks, unreachable = stack.folder / "jwks.json", free_port()
    jwks.write_text(key.jwks())
    config = CONFIG.replace("JWKS", str(jwks)).replace("UNREACHABLE", str(unreachable))
    claimgate = stack.claimgate(config, wait=False)
    named = {"/by-name": "nowhere"}
    config = envoy_config(claimgate.grpc, stack.upstream(), named_routes=named)
    envoy = stack.envoy(config, log_level="info")

    sent: dict[str, Case] = {}
    for number, case in enumerate(cases(key, unreachable)):
        headers = [*case.headers, *(web.bearer(case.token) if case.token else [])]
        # Envoy makes request ids of its own, so the path names the case.
        if case.reason == "rate_limited":
            assert web.get(envoy.address, case.path, headers).status == 200
        reply = web.get(envoy.address, f"{case.path}?hidden-query={number}", headers)
        assert reply.status >= 400, case
        log = Path((envoy if doors.IS_MODULE else claimgate).log)
        web.wait_until(lambda: len(list(oncall.denials_in_log(log.read_text()))) > number, f"a line about {case}")
        told = list(oncall.denials_in_log(log.read_text()))[number]
        sent[told["request_id"]] = case

    status = web.get(claimgate.admin, "/status.json").json()
    by_log = oncall.findings(oncall.denials_in_log(log.read_text()))
    by_status = oncall.findings(status["denials"])
    assert by_log == by_status
    assert set(by_log) == set(sent)
    for request, case in sent.items():
        found = by_log[request]
        assert (found.reason, found.caller, found.route) == (case.reason, case.caller, case.route), found
        assert re.fullmatch(case.value, found.value), (case, found)

    limits = status["limits"]
    assert [(it["plan"], it["limit_key"], it["over"]) for it in limits["limited"]] == [("small", "team-keys/busy", 1)]
    assert limits["would_be_denials"] == []

    every = {word for word in reasons_of_the_docs() if word not in ("ok", "public", "disabled")}
    assert every - {case.reason for case in sent.values()} == set(NOT_PROVOKED)
    page = web.get(claimgate.admin, "/").body.decode()
    for text in (log.read_text(), str(status), page):
        assert "hidden-query" not in text and "in-plain-text" not in text
        for case in sent.values():
            assert case.token is None or case.token not in text


def reasons_of_the_docs() -> list[str]:
    """The sections of docs/reasons.md."""
    text = (Path(__file__).parents[1] / "docs" / "reasons.md").read_text()
    return re.findall(r"^### ([a-z_]+)$", text, re.MULTILINE)


@pytest.mark.parametrize("reason", oncall.VALUES)
def test_the_examples_of_the_docs_are_read(reason: str):
    text = (Path(__file__).parents[1] / "docs" / "reasons.md").read_text()
    row = re.search(rf"^\| `{reason}` \| (.+) \| [^|]*\|$", text, re.MULTILINE)
    examples = re.findall(r"`([^`]+)`", row.group(1))
    for example in examples:
        assert oncall.Finding.of({"reason": reason, "detail": example}).value, example
