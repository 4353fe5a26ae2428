"""Usage plans of docs/envoy-gateway.md: the chart's BackendTrafficPolicy through
Envoy Gateway's translator, and counted by the real rate limit service."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

import envoy_gateway
import pages
import rate_limits
import release
import web
from cluster import Cluster
from stack import Envoy, Stack

NAMESPACES = ("claimgate", "edge", "shop")
ADDRESSES = {"claimgate": "10.0.255.2", "orders": "10.0.255.1"}

def key(name: str) -> str:
    return f"an-api-key-that-is-of-{name}"


def keys(*names: str, **claims: str) -> list[dict[str, Any]]:
    """API keys of these names; what comes before a `-` is the plan, if it is one."""
    return [
        {
            "name": name,
            "key": key(name),
            "scopes": ["invoke", "reports"],
            "claims": claims,
            **({"plan": plan} if (plan := name.split("-")[0]) in PLANS else {}),
        }
        for name in names
    ]


# A day's windows don't end within a test.
PLANS = {
    "free": {"requests": {"per_day": 5}},
    "gold": {"requests": {"per_day": 9}},
    "wordy": {"tokens": {"per_day": 100}},
}

WRITES_TOKENS = """
function envoy_on_response(handle)
  local body = handle:body()
  local tokens = string.match(body:getBytes(0, body:length()), '"x%-tokens",%s*"(%d+)"')
  if tokens ~= nil then
    handle:streamInfo():dynamicMetadata():set("io.envoy.ai_gateway", "llm_total_token", tonumber(tokens))
  end
end
"""
"""In place of Envoy AI Gateway: the upstream shows the request's headers."""


@dataclass
class Gateway:
    """The page's plans, running."""

    policy: dict[str, Any]
    xds: dict[str, list[dict[str, Any]]]
    limits: rate_limits.RateLimits
    envoy: Envoy
    start: Callable[..., Envoy]
    token: str

    def get(self, caller: str, path: str = "/orders", envoy: Envoy | None = None, **more: str) -> web.Reply:
        """A GET with the API key of this caller, or with any other token."""
        token = key(caller) if "." not in caller else caller
        headers = [*web.bearer(token), *((name.replace("_", "-"), value) for name, value in more.items())]
        return web.get((envoy or self.envoy).address, path, headers)

    def allowed(self, caller: str, count: int, path: str = "/orders", **more: Any) -> int:
        """How many of `count` requests are."""
        statuses = [self.get(caller, path, **more).status for _ in range(count)]
        assert set(statuses) <= {200, 429}, statuses
        return statuses.count(200)


@pytest.fixture(scope="module")
def gateway(
    cluster: Cluster, module_stack: Stack, tmp_path_factory: pytest.TempPathFactory
) -> Gateway:
    return _run(cluster, module_stack, tmp_path_factory.mktemp("plans"))


def _run(cluster: Cluster, stack: Stack, folder: Path, **auth: Any) -> Gateway:
    """The page's values, with amounts that a test can use up, callers, routes, and
    more of the `auth` block."""
    issuer = stack.issuer("--client=shipping:secret:invoke reports")
    page = pages.Page("envoy-gateway.md", {"https://auth.example.com": issuer.url})
    page.write(folder)
    more = folder / "more-values.yaml"
    more.write_text(yaml.safe_dump({"config": {"auth": auth}}))
    files = (folder / "claimgate-values.yaml", folder / "plans-values.yaml", more)
    values = [option for file in files for option in ("--values", file)]
    text = cluster.helm("template", "claimgate", release.CHART, "--namespace", "claimgate", *values)
    rendered = [each for each in yaml.safe_load_all(text) if each]
    (policy,) = (each for each in rendered if each["kind"] == "BackendTrafficPolicy")
    (config,) = (
        yaml.safe_load(each["data"]["gateway.yaml"])
        for each in rendered
        if each["kind"] == "ConfigMap"
    )
    claimgate = release.serve(stack, _for_the_test(config))
    xds = envoy_gateway.translate(folder, [*_around(page), *_watched(rendered)])
    limits = rate_limits.start(stack, rate_limits.configuration(xds))
    running = {
        f"{ADDRESSES['claimgate']}:9001": claimgate.grpc,
        f"{ADDRESSES['orders']}:80": stack.upstream(),
    }

    def envoy(name: str, fail_closed: bool = False) -> Envoy:
        (folder / name).mkdir()
        own = copy.deepcopy(xds)
        rate_limits.points_to(own, limits.address)
        if fail_closed:
            rate_limits.fail_closed(own)
        return envoy_gateway.envoy(stack, folder / name, own, running)

    token = issuer.token("shipping", "secret")
    return Gateway(policy, xds, limits, envoy("one"), envoy, token)


def _for_the_test(config: dict[str, Any]) -> dict[str, Any]:
    auth = config["auth"]
    assert set(auth["plans"]) <= set(PLANS)
    auth["plans"] = PLANS
    named = [f"{plan}-{number}" for plan in PLANS for number in range(20)]
    of_one = keys("one-of-acme", "two-of-acme", org="acme")
    every = [*keys(*named, "shipping"), *of_one]
    auth["providers"].append({"name": "keys", "type": "api_key", "keys": every})
    auth["routes"] += [
        {"name": "dear", "match": {"path_prefix": "/dear"}, "cost": 3},
        {"name": "gratis", "match": {"path_prefix": "/gratis"}, "limits": "none"},
    ]
    return config


def _around(page: pages.Page) -> list[dict[str, Any]]:
    """What the page expects, and what writes the number of tokens."""
    spaces = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in NAMESPACES
    ]
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "orders", "namespace": "shop"},
        "spec": {"clusterIP": ADDRESSES["orders"], "ports": [{"name": "http", "port": 80}]},
    }
    public = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "public"}
    tokens = {
        "apiVersion": "gateway.envoyproxy.io/v1alpha1",
        "kind": "EnvoyExtensionPolicy",
        "metadata": {"name": "tokens", "namespace": "edge"},
        "spec": {"targetRefs": [public], "lua": [{"type": "Inline", "inline": WRITES_TOKENS}]},
    }
    return [*spaces, service, tokens, *page.objects("routes.yaml")]


def _watched(rendered: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The release's objects that Envoy Gateway reads, with the address that the API
    server would give its Service."""
    kinds = ("Service", "SecurityPolicy", "ReferenceGrant", "BackendTrafficPolicy")
    objects = copy.deepcopy([each for each in rendered if each["kind"] in kinds])
    services = [each for each in objects if each["kind"] == "Service"]
    (asked,) = (each for each in services if each["metadata"]["name"] == "claimgate")
    asked["spec"]["clusterIP"] = ADDRESSES["claimgate"]
    return [each for each in objects if each["kind"] != "Service" or each is asked]


def test_the_api_server_takes_the_policy(cluster: Cluster, gateway: Gateway):
    if "edge" not in cluster.names("namespaces"):
        cluster.namespace("edge")
    cluster.apply([gateway.policy], "--dry-run=server")


def test_envoy_gateway_reads_what_claimgate_writes(gateway: Gateway):
    """From one segment below the namespace: it could not read a part of `limits`.
    One domain is one budget for all routes."""
    ((domain, limits),) = rate_limits.actions(gateway.xds).items()
    assert domain == "edge/plans"
    paths = [each["limit"]["dynamicMetadata"]["metadataKey"] for each in limits]
    assert {each["key"] for each in paths} == {"envoy.filters.http.ext_authz"}
    read = [[part["key"] for part in each["path"]] for each in paths]
    assert read == [["limit_requests"], ["limit_tokens"], ["limit_tokens"]] * 2
    assert [each["hitsAddend"] for each in limits[:3]] == [
        {"format": "%DYNAMIC_METADATA(envoy.filters.http.ext_authz:limit_cost)%"},
        {"number": "0"},
        {"format": "%DYNAMIC_METADATA(io.envoy.ai_gateway:llm_total_token)%"},
    ]
    assert [each.get("applyOnStreamDone", False) for each in limits[:3]] == [False, False, True]


def test_each_caller_gets_what_its_plan_says(gateway: Gateway):
    assert gateway.allowed("free-0", 8) == 5
    assert gateway.allowed("gold-0", 12) == 9
    assert gateway.allowed("free-1", 8) == 5
    # The same name at another provider, on the default plan.
    assert gateway.allowed("shipping", 8) == 5
    assert gateway.allowed(gateway.token, 8) == 5


def test_routes_and_envoys_share_a_budget(gateway: Gateway):
    assert gateway.allowed("free-2", 2) == 2
    assert gateway.allowed("free-2", 2, "/reports") == 2
    assert gateway.allowed("free-2", 5, envoy=gateway.start("another")) == 1


def test_a_caller_over_its_limit_is_told(gateway: Gateway):
    assert gateway.allowed("free-3", 5) == 5
    refused = gateway.get("free-3")
    assert refused.status == 429
    assert refused.header("content-type") == "application/json"
    error = refused.json()["error"]
    assert error["type"] == "rate_limit_exceeded"
    assert re.fullmatch(r"rate limit exceeded, try again in [1-9]\d* s", error["message"])
    names = {name for name, _ in refused.headers}
    assert not {"retry-after", "x-ratelimit-reset"} & names, "the page says that these are gone"
    within = gateway.get("free-8")
    assert within.header("x-ratelimit-remaining") == "4"


def test_routes_cost_what_they_say(gateway: Gateway):
    assert gateway.allowed("free-4", 3, "/dear") == 1
    assert gateway.allowed("free-5", 8, "/gratis") == 8
    assert gateway.allowed("free-5", 8) == 5


def test_only_a_callers_own_requests_use_its_budget(gateway: Gateway):
    """Not those that are denied, nor those of others that claim to be it."""
    victim = {"x_auth_provider": "keys", "x_auth_subject": "free-6"}
    for path, status in (("/orders", 401), ("/status", 200)):
        for _ in range(8):
            assert gateway.get("nobody", path, **victim).status == status
    assert gateway.allowed("free-7", 8, **victim) == 5
    assert gateway.allowed("free-6", 8) == 5


def test_tokens_are_charged_when_the_answer_is_done(gateway: Gateway):
    assert gateway.allowed("wordy-0", 20) == 20
    assert gateway.allowed("wordy-0", 1, x_tokens="60") == 1
    # The answer that exceeds the budget is still given.
    assert gateway.allowed("wordy-0", 1, x_tokens="60") == 1
    web.wait_until(lambda: gateway.get("wordy-0").status == 429, "the charge")
    assert gateway.allowed("wordy-1", 5) == 5


def test_callers_can_share_by_a_claim(cluster: Cluster, stack: Stack, tmp_path: Path):
    """Those without the claim share one budget, as where Claimgate counts."""
    headers = {"claims": {"client_id": "x-auth-client-id", "org": "x-auth-org"}}
    shared = _run(cluster, stack, tmp_path, limit_by="org", headers=headers)
    assert shared.allowed("one-of-acme", 3) == 3
    assert shared.allowed("two-of-acme", 5) == 2
    assert shared.allowed("free-0", 3) == 3
    assert shared.allowed("free-1", 5) == 2
    # Another provider's have their own.
    assert shared.allowed(shared.token, 8) == 5


def test_without_redis_no_caller_is_limited(cluster: Cluster, stack: Stack, tmp_path: Path):
    """With `failClosed: false`, and limits hold again when it is back."""
    running = _run(cluster, stack, tmp_path)
    strict = running.start("strict", fail_closed=True)
    assert running.get("gold-0", envoy=strict).status == 200
    assert running.allowed("free-0", 6) == 5
    running.limits.redis.stop()
    assert running.allowed("free-0", 10) == 10
    assert running.get("gold-0", envoy=strict).status == 500
    running.limits.redis.start()
    web.wait_until(lambda: running.get("free-0").status == 429, "limits to hold again", 60)
