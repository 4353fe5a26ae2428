"""Limits that Envoy counts, for each caller by its plan: examples/envoy/plans.yaml
with the real envoyproxy/ratelimit and a real redis, and plans-local.yaml.

The service counts whole windows, and no test may depend on when one ends: what
is counted is counted within one, or again (`in_one_window`).
"""

from __future__ import annotations

import json
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

import llm
import mint
import shared_limits
import standard
import tools
import web
from envoy_config import envoy_config
from shared_limits import LOCAL, SHARED, RateLimit, Redis
from stack import Claimgate, DidNotStart, Envoy, Program, Stack
from test_sdks import ask

SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
CALLERS = 60
"""API keys on each plan: a test takes some that no other has used."""

ISSUER = "https://id.example.com"

PLANS = {
    # What a caller may ask for; each test's own.
    **{unit: f"{{requests: {{per_{unit}: 3}}}}" for unit in SECONDS},
    "crowd": "{requests: {per_hour: 25}}",
    "steady": "{requests: {per_second: 1}}",
    "dozen": "{requests: {per_hour: 12}}",
    # Three answers of llm.USED tokens, of which the third is over.
    "tokens": f"{{tokens: {{per_hour: {2 * llm.USED}}}}}",
    "both": "{requests: {per_day: 50}, tokens: {per_hour: 4}}",
    # As examples/envoy/plans-local.yaml has it.
    "free": "{requests: {per_minute: 60}}",
}

COSTLY = ("dozen", "free")
"""Plans for a route that costs more than some others have."""


def auth(limits: str, plans: dict[str, str], routes: str = "") -> str:
    """Claimgate's configuration, with API keys and tokens of callers on the plans."""
    listed = "".join(f"    {name}: {plan}\n" for name, plan in plans.items())
    keys = "".join(
        f"        - {{name: {plan}-{number}, key: {key_of(f'{plan}-{number}')}, plan: {plan}}}\n"
        for plan in plans
        for number in range(CALLERS)
    )
    return f"""
auth:
  limits: {limits}
  plans:
{listed}
  required_scopes: [invoke]
  providers:
    - name: machines
      type: oauth2
      issuer: {ISSUER}
      jwks_file: ${{JWKS_FILE}}
      algorithms: [ES256]
      require_audience: false
    - name: keys
      type: api_key
      keys:
        - {{name: unplanned, key: {key_of("unplanned")}}}
        - {{name: powerless, key: {key_of("powerless")}, scopes: [], plan: {next(iter(plans))}}}
{keys}
  token_sources:
    - {{header: authorization, scheme: Bearer}}
    - {{header: x-api-key}}
  routes:
{routes}
    - {{name: models, match: {{path: /v1/models}}, limits: none}}
    - {{name: anthropic, match: {{path_prefix: /v1/messages}}, error_format: anthropic}}
    - {{name: openai, match: {{path_prefix: /v1}}, error_format: openai}}
"""


CHAT, RESPONSES, MESSAGES = llm.ANSWERS
NUMBERS = {plan: count() for plan in PLANS}


@dataclass
class Shared:
    """Everything that counts, and the two Envoys that ask it."""

    claimgate: Claimgate
    redis: Redis
    ratelimit: RateLimit
    envoy: Envoy
    """The example as it is."""
    closed: Envoy
    """With `failure_mode_deny: true`."""
    key: mint.Key


def start(stack: Stack) -> Shared:
    redis = shared_limits.redis(stack)
    ratelimit = shared_limits.ratelimit(stack, redis.address)
    claimgate, key = start_claimgate(stack, "metadata")
    gateway = start_llm(stack)
    mode = "failure_mode_deny: {}".format
    envoys = (
        shared_limits.envoy(stack, SHARED, claimgate, gateway, ratelimit.grpc, changes)
        for changes in ({}, {mode("false"): mode("true")})
    )
    return Shared(claimgate, redis, ratelimit, *envoys, key)


def start_claimgate(
    stack: Stack, limits: str, plans: dict[str, str] = PLANS, routes: str = ""
) -> tuple[Claimgate, mint.Key]:
    key = mint.Key("k")
    jwks = stack.folder / f"{limits}.json"
    jwks.write_text(key.jwks())
    config = standard.SERVER + auth(limits, plans, routes)
    return stack.claimgate(config, name=limits, JWKS_FILE=str(jwks)), key


def start_costly(stack: Stack) -> Claimgate:
    """With a route on which each request is worth five."""
    route = "    - {name: batches, match: {path: /v1/batches}, cost: 5}"
    return start_claimgate(stack, "metadata", {name: PLANS[name] for name in COSTLY}, route)[0]


def start_llm(stack: Stack) -> str:
    return stack.start(Program, "llm", [sys.executable, tools.HERE / "llm.py"]).first_line()


@pytest.fixture(scope="module")
def shared(module_stack: Stack) -> Shared:
    return start(module_stack)


@pytest.fixture(scope="module")
def local(shared: Shared, module_stack: Stack) -> list[Envoy]:
    """Two that count for themselves."""
    gateway = start_llm(module_stack)
    return [shared_limits.envoy(module_stack, LOCAL, shared.claimgate, gateway) for _ in range(2)]


def caller(plan: str) -> str:
    """An API key's name on this plan that has used nothing."""
    return f"{plan}-{next(NUMBERS[plan])}"


def key_of(name: str) -> str:
    return f"key-of-{name}-in-plain-text"


def post(envoy: Envoy, token: str, path: str = CHAT, headers: web.Headers = (), **body: object) -> web.Reply:
    sent = [*web.bearer(token), ("content-type", "application/json"), *headers]
    return web.send(envoy.address, "POST", path, sent, json.dumps({"model": "double", **body}).encode())


def statuses(envoy: Envoy, name: str, times: int, path: str = CHAT) -> list[int]:
    return [post(envoy, key_of(name), path).status for _ in range(times)]


def in_one_window(unit: str, plan: str, attempt: Callable[[str], object]) -> object:
    """What `attempt` returns with a new caller on the plan, all of it within one
    window. An attempt during which one ends tells nothing and is made again."""
    for _ in range(5):
        window, who = time.time() // SECONDS[unit], caller(plan)
        result = attempt(who)
        if time.time() // SECONDS[unit] == window:
            return result
    raise AssertionError(f"5 attempts all took longer than what was left of the {unit}")


@pytest.mark.parametrize("unit", SECONDS)
def test_a_caller_gets_its_plans_amount_in_each_unit(shared: Shared, unit: str):
    def exhaust(who: str) -> tuple[list[int], web.Reply, float]:
        within = statuses(shared.envoy, who, 3)
        over = post(shared.envoy, key_of(who))
        return within, over, SECONDS[unit] - time.time() % SECONDS[unit]

    within, over, left = in_one_window(unit, unit, exhaust)
    assert within == [200] * 3 and over.status == 429
    wait = int(over.header("retry-after"))
    assert left <= wait <= left + 5
    assert over.header("x-ratelimit-reset") == str(wait)
    assert over.header("x-ratelimit-remaining") == "0"
    assert over.header("x-ratelimit-limit") == f"3, 3;w={SECONDS[unit]}"
    assert over.header("www-authenticate") is None
    # Another caller on the same plan has its own.
    assert post(shared.envoy, key_of(caller(unit))).status == 200


def test_the_next_window_has_a_new_budget(shared: Shared):
    who = key_of(caller("second"))
    web.wait_until(lambda: post(shared.envoy, who).status == 429, "a caller over its limit")
    web.wait_until(lambda: post(shared.envoy, who).status == 200, "the next second")


def test_a_token_names_its_plan_and_is_a_caller_of_its_own(shared: Shared):
    def attempt(who: str) -> list[int]:
        # Its subject is an API key's name.
        claims = {"iss": ISSUER, "sub": who, "scope": "invoke", "plan": "hour", "exp": mint.now() + 600}
        tokens = [shared.key.token(**claims, jti=str(number)) for number in range(4)]
        return [post(shared.envoy, token).status for token in tokens] + statuses(shared.envoy, who, 1)

    assert in_one_window("hour", "hour", attempt) == [200, 200, 200, 429, 200]


def test_two_envoys_share_a_callers_budget(shared: Shared):
    def alternate(who: str) -> list[int]:
        return [post(envoy, key_of(who)).status for envoy in (shared.envoy, shared.closed) * 3]

    assert in_one_window("hour", "hour", alternate) == [200] * 3 + [429] * 3


def test_ten_callers_at_once_get_exactly_their_amount(shared: Shared):
    """Forty requests of each, through both Envoys, in one burst."""

    def burst(_: str) -> dict[str, Counter]:
        names = [caller("crowd") for _ in range(9)]
        asked = [(name, envoy) for _ in range(20) for name in names for envoy in (shared.envoy, shared.closed)]
        got = {name: Counter() for name in names}
        with ThreadPoolExecutor(8) as threads:
            for name, status in threads.map(
                lambda one: (one[0], post(one[1], key_of(one[0])).status), asked
            ):
                got[name][status] += 1
        return got

    got = in_one_window("hour", "crowd", burst)
    assert {name: dict(seen) for name, seen in got.items()} == {name: {200: 25, 429: 15} for name in got}


def test_what_has_no_limit_is_not_asked_about(shared: Shared):
    """A caller without a plan, and a route with `limits: none`."""
    who, asked = caller("hour"), shared.envoy.stat("cluster.gateway.ratelimit.ok")
    assert statuses(shared.envoy, "unplanned", 10) == [200] * 10
    # The double has no such path.
    assert statuses(shared.envoy, who, 10, "/v1/models") == [404] * 10
    assert shared.redis.counted("requests", f"keys/{who}") == []
    assert shared.redis.counted("*", "keys/unplanned") == []
    assert shared.envoy.stat("cluster.gateway.ratelimit.ok") == asked


def test_a_route_costs_more_than_one(shared: Shared, stack: Stack):
    gateway = start_llm(stack)
    envoy = shared_limits.envoy(stack, SHARED, start_costly(stack), gateway, shared.ratelimit.grpc)

    def attempt(who: str) -> list[int]:
        # The double has no such path.
        return statuses(envoy, who, 2, "/v1/batches") + statuses(envoy, who, 3)

    assert in_one_window("hour", "dozen", attempt) == [404, 404, 200, 200, 429]


def test_denied_and_forged_requests_use_no_budget(shared: Shared):
    def attempt(who: str) -> list[int]:
        claims = {"iss": ISSUER, "sub": who, "scope": "invoke", "plan": "hour", "exp": mint.now() + 600}
        good = shared.key.token(**claims)
        bad = [
            mint.Key("k").token(**claims),
            good[:-4] + "AAAA",
            shared.key.token(**{**claims, "exp": mint.now() - 600}),
            shared.key.token(**{**claims, "scope": "other"}),
        ]
        denied = [post(shared.envoy, token).status for token in bad for _ in range(3)]
        assert denied == [401] * 9 + [403] * 3
        return [post(shared.envoy, good).status for _ in range(4)]

    assert in_one_window("hour", "hour", attempt) == [200] * 3 + [429]
    assert statuses(shared.envoy, "powerless", 5) == [403] * 5
    assert shared.redis.counted("*", "keys/powerless") == []


USAGE = {"include_usage": True}
UNSAID = 1000
"""What a stream counts for that tells no usage."""

ANSWERS = {
    "chat": (CHAT, {}, llm.USED),
    "responses": (RESPONSES, {}, llm.USED),
    "messages": (MESSAGES, {}, llm.USED),
    "chat-streamed": (CHAT, {"stream": True, "stream_options": USAGE}, llm.USED),
    "responses-streamed": (RESPONSES, {"stream": True}, llm.USED),
    "messages-streamed": (MESSAGES, {"stream": True}, llm.USED),
    "streamed-without-usage": (CHAT, {"stream": True}, UNSAID),
    "larger-than-a-buffer": (CHAT, {"model": "double-large"}, llm.USED),
    "an-error": (CHAT, {"model": "double-failing"}, 0),
    "not-found": ("/v1/nothing", {}, 0),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answers_tokens_are_charged(shared: Shared, answer: str):
    path, body, used = ANSWERS[answer]
    status = {"an-error": 500, "not-found": 404}.get(answer, 200)

    def attempt(who: str) -> None:
        reply = post(shared.envoy, key_of(who), path, **body)
        assert reply.status == status
        charged = lambda: shared.redis.counted("tokens", f"keys/{who}")  # noqa: E731
        web.wait_until(lambda: charged() == [used], f"{used} tokens of {who}")

    in_one_window("hour", "tokens", attempt)


SSE, JSON = "Text/Event-Stream", "Application/JSON"
"""In letters that no server must write in small ones."""


def used(prompt: object, completion: object) -> dict:
    return {"prompt_tokens": prompt, "completion_tokens": completion}


ODD = {
    "capitals": (JSON, used(2, 3), 5),
    "capitals-streamed": (SSE, used(2, 3), 5),
    "capitals-streamed-without": (SSE, None, UNSAID),
    "nothing-used": (JSON, used(0, 0), 0),
    "nothing-used-streamed": (SSE, used(0, 0), 0),
    "texts": (JSON, used("2", "3"), 5),
    "texts-streamed": (SSE, used("2", "3"), 5),
    "fractions": (JSON, used(2.9, 3.0), 5),
    "fractions-streamed": (SSE, used(2.9, 3.0), 5),
    # As docs/plans.md says: each of the two numbers for itself.
    "half-null": (JSON, used(None, 3), 3),
    "negative": (JSON, used(-2, 3), 3),
    "negative-streamed": (SSE, used(-2, 3), 3),
    "absurd": (JSON, used(2**53, 3), 3),
    "absurd-streamed": (SSE, used(10**9 + 1, 3), 3),
    "no-numbers": (JSON, used("many", {"a": 1}), 0),
    "no-numbers-streamed": (SSE, used("many", [1]), UNSAID),
    "no-usage": (JSON, [1, 2], 0),
    "no-usage-streamed": (SSE, "5", UNSAID),
}


@pytest.mark.parametrize("answer", ODD)
def test_an_odd_usage_is_charged_as_far_as_it_goes(shared: Shared, answer: str):
    kind, usage, charged = ODD[answer]

    def attempt(who: str) -> None:
        reply = post(shared.envoy, key_of(who), model="double-told", content_type=kind, usage=usage)
        assert reply.status == 200
        counted = lambda: shared.redis.counted("tokens", f"keys/{who}")  # noqa: E731
        web.wait_until(lambda: counted() == [charged], f"{charged} tokens of {who}")

    in_one_window("hour", "tokens", attempt)


def test_a_client_that_asks_for_compression_pays_too(shared: Shared):
    def attempt(who: str) -> None:
        reply = post(shared.envoy, key_of(who), headers=[("accept-encoding", "gzip")])
        assert reply.header("content-encoding") is None
        web.wait_until(
            lambda: shared.redis.counted("tokens", f"keys/{who}") == [llm.USED], "its tokens"
        )

    in_one_window("hour", "tokens", attempt)


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
def test_a_client_that_leaves_early_pays_too(shared: Shared, path: str):
    def attempt(who: str) -> None:
        body = json.dumps({"model": "double-endless", "stream": True})
        host, port = shared.envoy.address.rsplit(":", 1)
        with socket.create_connection((host, int(port)), timeout=web.TIMEOUT) as client:
            client.sendall(
                f"POST {path} HTTP/1.1\r\nhost: x\r\nx-api-key: {key_of(who)}\r\n"
                f"content-length: {len(body)}\r\n\r\n{body}".encode()
            )
            received = b""
            while b"ping" not in received:
                received += client.recv(4096)
        charged = lambda: sum(shared.redis.counted("tokens", f"keys/{who}"))  # noqa: E731
        web.wait_until(lambda: charged() >= UNSAID, "the tokens of what it got")

    in_one_window("hour", "tokens", attempt)


@pytest.mark.parametrize("body", [{}, {"stream": True, "stream_options": USAGE}], ids=["json", "stream"])
def test_a_caller_that_has_used_its_tokens_gets_no_more(shared: Shared, body: dict):
    def attempt(who: str) -> list[int]:
        got = []
        for answered in range(1, 4):
            got.append(post(shared.envoy, key_of(who), **body).status)
            web.wait_until(
                lambda: shared.redis.counted("tokens", f"keys/{who}") == [answered * llm.USED],
                f"the tokens of answer {answered}",
            )
        # On any path and through any Envoy.
        return got + [post(shared.envoy, key_of(who), MESSAGES).status, post(shared.closed, key_of(who)).status]

    assert in_one_window("hour", "tokens", attempt) == [200, 200, 200, 429, 429]


def test_being_out_of_tokens_uses_no_requests(shared: Shared):
    def attempt(who: str) -> list[int]:
        assert post(shared.envoy, key_of(who)).status == 200
        web.wait_until(lambda: shared.redis.counted("tokens", f"keys/{who}") == [llm.USED], "its tokens")
        assert statuses(shared.envoy, who, 10) == [429] * 10
        return shared.redis.counted("requests", f"keys/{who}")

    assert in_one_window("hour", "both", attempt) == [1]


FORMATS = [CHAT, RESPONSES, MESSAGES, "/v1/messages/count_tokens?beta=true", "/other"]


@pytest.mark.parametrize("example", [SHARED, LOCAL], ids=lambda example: example.stem)
def test_a_429_is_what_claimgate_would_write(shared: Shared, stack: Stack, example: Path):
    """Body and content type, in the format of the path."""
    gateway = start_llm(stack)
    local, _ = start_claimgate(stack, "local", {"hour": PLANS["hour"]})
    plain = stack.envoy(envoy_config(local.grpc, gateway))
    if example == SHARED:
        envoy, plan = shared.envoy, "hour"
    else:
        envoy, plan = shared_limits.envoy(stack, LOCAL, shared.claimgate, gateway), "free"

    def over_limit(envoy: Envoy, plan: str) -> list[web.Reply]:
        def attempt(who: str) -> list[web.Reply]:
            # A few more than it has, as some buckets refill meanwhile.
            statuses(envoy, who, 3 if plan == "hour" else 30)
            return [post(envoy, key_of(who), path) for path in FORMATS]

        return in_one_window("hour", plan, attempt)

    for path, own, envoys in zip(FORMATS, over_limit(plain, "hour"), over_limit(envoy, plan), strict=True):
        assert (own.status, envoys.status) == (429, 429), path
        assert envoys.body == own.body, path
        for name in ("content-type", "cache-control"):
            assert envoys.header(name) == own.header(name), (path, name)
        assert int(envoys.header("retry-after")) >= 1


@pytest.mark.parametrize("language", ["python", "node"])
@pytest.mark.parametrize("sdk", ["openai", "anthropic"])
def test_an_sdk_understands_it_waits_and_succeeds(shared: Shared, sdk: str, language: str):
    def attempt(exhausted: str) -> list[dict]:
        statuses(shared.envoy, exhausted, 3)
        common = {"base_url": f"http://{shared.envoy.address}"}
        waits = {**common, "token": key_of(caller("steady")), "max_retries": 2}
        fails = {**common, "token": key_of(exhausted), "max_retries": 0}
        return ask(sdk, language, [fails, waits, waits, waits])

    over = shared.envoy.stat("cluster.gateway.ratelimit.over_limit")
    failed, *waited = in_one_window("hour", "hour", attempt)
    assert (failed["raised"], failed["status"]) == ("RateLimitError", 429)
    assert failed["message"] == "too many requests, try again later"
    assert failed["type"] == {"openai": "rate_limit_exceeded", "anthropic": "rate_limit_error"}[sdk]
    assert [answer["text"] for answer in waited] == [llm.TEXT] * 3
    # The one that fails, and those that wait.
    assert shared.envoy.stat("cluster.gateway.ratelimit.over_limit") >= over + 2


def test_the_access_log_has_caller_plan_and_usage(shared: Shared):
    who = caller("tokens")
    assert post(shared.envoy, key_of(who)).status == 200

    def told() -> list[dict]:
        lines = map(json.loads, shared.envoy.output.read_text().splitlines())
        return [line for line in lines if line["caller"] == f"keys/{who}"]

    web.wait_until(told, "its line")
    assert told()[0]["plan"] == "tokens"
    assert told()[0]["usage"] == {"input": 1, "output": 4}


def test_envoy_says_nothing_of_ordinary_requests(shared: Shared, local: list[Envoy]):
    """No warning for each request without a limit, without usage or over its limit."""
    for envoy, plan in ((shared.envoy, "hour"), (local[0], "free")):
        written, who = len(envoy.log.read_text()), caller(plan)
        statuses(envoy, who, 25)
        statuses(envoy, who, 1, "/v1/models")
        statuses(envoy, "unplanned", 1, "/v1/nothing")
        post(envoy, key_of("unplanned"), stream=True)
        assert envoy.log.read_text()[written:] == ""


BODIES = {
    CHAT: {"error": {"message": "the limit can't be checked right now", "type": "server_error",
                     "param": None, "code": "service_unavailable"}},
    MESSAGES: {"type": "error", "error": {"type": "api_error",
                                          "message": "the limit can't be checked right now"}},
    "/other": {"error": "temporarily_unavailable",
               "error_description": "the limit can't be checked right now"},
}


@pytest.mark.parametrize("gone", ["redis", "ratelimit"])
def test_what_counts_is_killed_and_back(stack: Stack, gone: str):
    running = start(stack)
    limited = caller("hour")

    def both_modes() -> None:
        """More than its plan has, or nothing."""
        assert statuses(running.envoy, limited, 5) == [200] * 5
        for path, body in BODIES.items():
            reply = post(running.closed, key_of(limited), path)
            assert (reply.status, reply.json()) == (503, body)
            assert reply.header("retry-after") == "1"
            assert reply.header("content-type") == "application/json"
        # What has no limit is not asked about, and an unknown caller stays out.
        assert post(running.closed, key_of("unplanned")).status == 200
        assert post(running.envoy, "forged").status == 401

    program = getattr(running, gone)
    program.kill()
    both_modes()
    for envoy in (running.envoy, running.closed):
        web.wait_until(
            lambda envoy=envoy: envoy.stat("cluster.ratelimit.membership_healthy") == 0,
            "a health check that fails",
        )
    both_modes()
    # What to alert on.
    assert running.envoy.stat("cluster.gateway.ratelimit.failure_mode_allowed") >= 10
    assert running.closed.stat("cluster.gateway.ratelimit.error") >= 6
    program.start()
    for envoy in (running.envoy, running.closed):
        web.wait_until(
            lambda envoy=envoy: post(envoy, key_of(limited)).header("x-ratelimit-limit"),
            "an answer that was counted",
        )

    def alternate(who: str) -> list[int]:
        return [post(envoy, key_of(who)).status for envoy in (running.envoy, running.closed) * 2]

    assert in_one_window("hour", "hour", alternate) == [200] * 3 + [429]


def test_a_redis_with_tls_and_a_password(stack: Stack):
    secured = shared_limits.Secured(stack.folder)
    redis = shared_limits.redis(stack, secured)
    ratelimit = shared_limits.ratelimit(stack, redis.address, secured.settings())
    claimgate, _ = start_claimgate(stack, "metadata", {"hour": PLANS["hour"]})
    envoy = shared_limits.envoy(stack, SHARED, claimgate, start_llm(stack), ratelimit.grpc)

    def attempt(who: str) -> list[int]:
        got = statuses(envoy, who, 4)
        assert redis.counted("requests", f"keys/{who}") == [4]
        return got

    assert in_one_window("hour", "hour", attempt) == [200, 200, 200, 429]
    assert shared_limits.PASSWORD not in ratelimit.log.read_text()
    # It ends at once where redis does not let it in, or is not the one it trusts.
    wrong = {"wrong-password": {"REDIS_AUTH": "default:guess"}, "wrong-authority": {"REDIS_TLS_CACERT": ""}}
    for setting in wrong.values():
        with pytest.raises(DidNotStart):
            shared_limits.ratelimit(stack, redis.address, secured.settings() | setting)


def test_each_envoy_counts_for_itself(local: list[Envoy]):
    """A bucket of 20 that refills by one each second."""
    who, started = caller("free"), time.monotonic()
    got = [Counter(statuses(envoy, who, 40)) for envoy in local]
    refilled = time.monotonic() - started + 1
    for seen in got:
        assert 20 <= seen[200] <= 20 + refilled
    assert Counter(statuses(local[0], caller("free"), 5)) == {200: 5}


def test_each_envoy_counts_what_a_route_costs(stack: Stack):
    envoy = shared_limits.envoy(stack, LOCAL, start_costly(stack), start_llm(stack))
    who, started = caller("free"), time.monotonic()
    got = Counter(statuses(envoy, who, 10, "/v1/batches"))
    assert 4 <= got[404] <= 4 + (time.monotonic() - started + 1) / 5


def test_each_envoy_limits_what_it_has_a_bucket_for(local: list[Envoy]):
    """No plan, a route without limits, and a plan that the file does not have."""
    assert statuses(local[0], "unplanned", 30) == [200] * 30
    assert statuses(local[0], caller("free"), 30, "/v1/models") == [404] * 30
    assert statuses(local[0], caller("hour"), 30) == [200] * 30


def test_a_bucket_has_room_for_one_more_after_the_wait_it_told(local: list[Envoy]):
    who = caller("free")
    statuses(local[0], who, 20)
    web.wait_until(lambda: post(local[0], key_of(who)).status == 429, "an empty bucket")
    assert post(local[0], key_of(who)).header("retry-after") == "1"
    web.wait_until(lambda: post(local[0], key_of(who)).status == 200, "a bucket that refills")
