"""The dashboard and the alerts against the metrics of the running service."""

from __future__ import annotations

import base64
import json
import math
import re
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import module_gateway
import prometheus
import pytest
import standard
import web
import yaml
from envoy_config import envoy_config
from stack import Envoy, Stack, free_port

import chart

RULES = chart.CHART / "files" / "alerts.yaml"
DASHBOARD = json.loads((chart.CHART / "dashboards" / "claimgate.json").read_text())

QUERIES = sorted({target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])})
ALERTS = {rule["alert"]: rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]}

WITHOUT_SERIES = {
    # Counted for a header with a value over 8192 bytes; no series without one.
    'sum by (header) (rate(claimgate_identity_headers_dropped_total{namespace=~"$namespace"}[$__rate_interval]))',
}

DOWN = "http://127.0.0.1:{port}"

RULES_OF_A_CONFIG = standard.AUTH.replace(
    "        - {name: gone,",
    "        - {name: ending, key: ending-key, expires_at: 2099-01-01T00:00:00Z}\n        - {name: gone,",
).replace(
    "  required_scopes:",
    "    - {name: down, type: oauth2, issuer: '${DOWN_URL}', audience: api}\n  required_scopes:",
    1,
)
RULES_OF_A_CONFIG += """
  plans: {free: {requests: {per_second: 1}}}
  default_plan: free
  # Denies nothing. The callers with a JWT name plans that there are none of.
  limits: shadow
  plan_claim: client_id
"""

ABSENT_INSIDE_ENVOY = {query for query in QUERIES if "process_" in query}
"""Envoy has metrics of its own about its process."""


@pytest.fixture(scope="module", params=["service", "module"])
def door(request: pytest.FixtureRequest) -> str:
    """Where Claimgate runs."""
    return request.param


@pytest.fixture(scope="module")
def watched(door: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[prometheus.Prometheus]:
    """Prometheus beside Claimgate with traffic of every kind: allowed and denied
    requests, an issuer that is down, successful and failed reloads."""
    with Stack(tmp_path_factory.mktemp("monitoring")) as stack:
        issuer = stack.issuer(*standard.CLIENTS)
        down = DOWN.format(port=free_port())
        start = _inside_envoy if door == "module" else _as_a_service
        labels = {"namespace": "claimgate", "pod": "claimgate-0"}
        envoy, config, running = start(stack, labels, ISSUER_URL=issuer.url, DOWN_URL=down)

        def reloaded(result: str) -> bool:
            return bool(running.query(f'claimgate_config_reloads_total{{result="{result}"}} > 0'))

        # An increase needs two scrapes.
        web.wait_until(lambda: running.query("claimgate_config_reloads_total"), "the first scrape", 60)
        good = config.read_text()
        config.write_text("auth: [")
        web.wait_until(lambda: reloaded("failure"), "the bad reload", 60)
        config.write_text(good)
        web.wait_until(lambda: reloaded("success"), "the good reload", 60)
        token = issuer.token("web", "web-secret")
        elsewhere = _of_issuer(down)
        turn = iter(range(10**9))
        kinds = [web.bearer(token), web.bearer("job-key"), web.bearer("gone-key"), web.bearer(elsewhere), []]

        def next_headers() -> web.Headers:
            time.sleep(0.02)  # Fifty requests a second are enough.
            return kinds[next(turn) % len(kinds)]

        with web.Flow(envoy.address, "/orders", next_headers, threads=1):
            yield running


Watched = tuple[Envoy, Path, prometheus.Prometheus]


def _as_a_service(stack: Stack, labels: dict[str, str], **environment: str) -> Watched:
    claimgate = stack.claimgate(standard.SERVER + RULES_OF_A_CONFIG, wait=False, **environment)
    envoy = stack.envoy(envoy_config(claimgate.grpc, stack.upstream()))
    return envoy, claimgate.config, prometheus.start(stack, claimgate.admin, labels, RULES)


def _inside_envoy(stack: Stack, labels: dict[str, str], **environment: str) -> Watched:
    """With the metrics' usual names, as the page says."""
    config = stack.config_file("claimgate", RULES_OF_A_CONFIG, environment)
    envoy_side = module_gateway.module_config({"config_file": str(config)}, stack.upstream())
    envoy = module_gateway.start(stack, envoy_side, **environment)
    page = (chart.CHART.parents[1] / "docs" / "inside-envoy.md").read_text()
    relabel = textwrap.dedent(re.search(r"```yaml\n( +# relabel.yaml\n.*?)```", page, re.DOTALL)[1])
    more = {"metrics_path": "/stats/prometheus", **yaml.safe_load(relabel)}
    return envoy, config, prometheus.start(stack, envoy.admin, labels, RULES, **more)


def _of_issuer(issuer: str) -> str:
    """A token with this issuer's `iss`; its signature is never checked."""
    parts = ({"alg": "RS256", "kid": "any"}, {"iss": issuer, "exp": 4_000_000_000})
    encoded = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode() for part in parts)
    return ".".join([*(part.rstrip("=") for part in encoded), "AA"])


def _filled_in(query: str) -> str:
    """A query of the dashboard as Grafana sends it, for all namespaces."""
    return query.replace("$namespace", ".*").replace("$__rate_interval", "10s")


def _has_values(series: list[dict]) -> bool:
    return any(math.isfinite(float(one["value"][1])) for one in series)


def test_every_query_of_the_dashboard_returns_something(door: str, watched: prometheus.Prometheus):
    assert WITHOUT_SERIES <= set(QUERIES)
    missing = set(QUERIES) - WITHOUT_SERIES - (ABSENT_INSIDE_ENVOY if door == "module" else set())

    def all_answered() -> bool:
        missing.difference_update([query for query in missing if _has_values(watched.query(_filled_in(query)))])
        return not missing

    try:
        web.wait_until(all_answered, "every query returns a series", 90)
    except AssertionError as error:
        raise AssertionError("\n".join(sorted(missing))) from error
    for query in WITHOUT_SERIES:
        watched.query(_filled_in(query))


def test_every_alert_looks_at_series_that_exist(watched: prometheus.Prometheus):
    selectors = {
        selector for rule in ALERTS.values() for selector in re.findall(r"claimgate_\w+\{[^}]*\}", rule["expr"])
    }
    assert len(selectors) >= len(ALERTS) - 1
    web.wait_until(lambda: all(map(watched.query, selectors)), f"series of {selectors}", 60)
    web.wait_until(lambda: all(rule["health"] == "ok" for rule in watched.rules()), "sound rules", 60)
    assert {rule["name"] for rule in watched.rules()} == set(ALERTS)


def test_an_issuer_that_is_down_is_noticed(watched: prometheus.Prometheus):
    def noticed() -> bool:
        active = {rule["name"] for rule in watched.rules() if rule["state"] in ("pending", "firing")}
        return {"ClaimgateHasNoKeys", "ClaimgateCannotDecide", "ClaimgateReloadFailed"} <= active

    try:
        web.wait_until(noticed, "alerts about the issuer and the reload", 90)
    except AssertionError as error:
        states = {rule["name"]: rule["state"] for rule in watched.rules()}
        raise AssertionError(str(states)) from error


BUCKETS = "claimgate_check_duration_seconds_bucket"

CASES = {
    # alert: (series that raise it, series that don't, minutes, labels, summary)
    "ClaimgateHasNoReadyPod": (
        {'kube_deployment_status_replicas_ready{deployment="claimgate"}': "0x30", "claimgate_build_info": "1x30"},
        {'kube_deployment_status_replicas_ready{deployment="claimgate"}': "1x30", "claimgate_build_info": "1x30"},
        5,
        {"deployment": "claimgate"},
        "No pod of Claimgate is ready",
    ),
    "ClaimgateIssuerUnreachable": (
        {'claimgate_jwks_fetches_total{provider="p",result="failure"}': "0+1x30"},
        {
            'claimgate_jwks_fetches_total{provider="p",result="failure"}': "0+1x30",
            'claimgate_jwks_fetches_total{provider="p",result="not_modified"}': "0+1x30",
        },
        20,
        {"provider": "p"},
        "Keys of p can't be fetched",
    ),
    "ClaimgateKeysGrowStale": (
        {'claimgate_jwks_last_success_timestamp_seconds{provider="p"}': "60x300"},
        # A file of keys is never fetched.
        {'claimgate_jwks_last_success_timestamp_seconds{provider="p"}': "0x300"},
        241,
        {"provider": "p"},
        "Keys of p were not refreshed for 4h 0m 0s",
    ),
    "ClaimgateHasNoKeys": (
        {'claimgate_jwks_keys{provider="p"}': "0x30"},
        {'claimgate_jwks_keys{provider="p"}': "1x30"},
        10,
        {"provider": "p"},
        "There is no usable key of p",
    ),
    "ClaimgateCannotDecide": (
        {'claimgate_checks_total{decision="deny",reason="provider_unavailable",provider="p"}': "0+6x30"},
        {'claimgate_checks_total{decision="deny",reason="expired",provider="p"}': "0+6x30"},
        15,
        {"provider": "p"},
        "Requests get 503 because p is unavailable",
    ),
    "ClaimgateDeniesMore": (
        {
            'claimgate_checks_total{decision="deny",reason="expired"}': "0+75x60",
            'claimgate_checks_total{decision="allow",reason="ok"}': "0+25x60",
        },
        {
            'claimgate_checks_total{decision="deny",reason="expired"}': "0+25x60",
            'claimgate_checks_total{decision="allow",reason="ok"}': "0+75x60",
        },
        50,
        {},
        "75% of the requests are denied",
    ),
    "ClaimgateIsSetUpWrongly": (
        {'claimgate_checks_total{decision="deny",reason="unknown_route"}': "0+1x30"},
        {'claimgate_checks_total{decision="deny",reason="internal"}': "0x30"},
        10,
        {"reason": "unknown_route"},
        "Requests were answered as unknown_route",
    ),
    "ClaimgateReloadFailed": (
        {'claimgate_config_reloads_total{result="failure"}': "0 0 1x30"},
        {'claimgate_config_reloads_total{result="success"}': "0+1x30"},
        10,
        {},
        "A changed configuration could not be loaded",
    ),
    "ClaimgateApiKeyExpires": (
        {'claimgate_api_key_expiry_timestamp_seconds{provider="p",key="k"}': "864600x30"},
        {'claimgate_api_key_expiry_timestamp_seconds{provider="p",key="k"}': "2592000x30"},
        10,
        {"provider": "p", "key": "k"},
        "API key k of p expires in 10d 0h 0m 0s",
    ),
    "ClaimgateLimitsPlan": (
        {
            'claimgate_limits_total{plan="free",result="within"}': "0+75x60",
            'claimgate_limits_total{plan="free",result="over"}': "0+25x60",
            'claimgate_limits_total{plan="gold",result="within"}': "0+99x60",
        },
        {
            'claimgate_limits_total{plan="free",result="within"}': "0+90x60",
            'claimgate_limits_total{plan="free",result="over"}': "0+10x60",
            # Says nothing of limits, however many there are.
            'claimgate_limits_total{plan="free",result="unknown_plan"}': "0+90x60",
        },
        40,
        {"plan": "free"},
        "25% of the requests of plan free are over its limit",
    ),
    "ClaimgateLimitsNearlyReached": (
        {
            'claimgate_limits_total{plan="free",result="within"}': "0+100x60",
            'claimgate_limits_nearly_total{plan="free"}': "0+60x60",
        },
        {
            'claimgate_limits_total{plan="free",result="within"}': "0+100x60",
            'claimgate_limits_nearly_total{plan="free"}': "0+40x60",
        },
        40,
        {"plan": "free"},
        "60% of the requests of plan free leave little of its limit",
    ),
    "ClaimgateLimitsWouldDeny": (
        {
            'claimgate_limits_total{plan="free",result="within"}': "0+90x60",
            'claimgate_limits_total{plan="free",result="would_be_over"}': "0+10x60",
        },
        {
            'claimgate_limits_total{plan="free",result="within"}': "0+98x60",
            'claimgate_limits_total{plan="free",result="would_be_over"}': "0+2x60",
        },
        40,
        {"plan": "free"},
        "With limits: local, 10% of the requests of plan free would be denied",
    ),
    "ClaimgateUnknownPlan": (
        {'claimgate_limits_total{plan="",result="unknown_plan"}': "0+1x30"},
        {'claimgate_limits_total{plan="free",result="over"}': "0+1x30"},
        10,
        {},
        "Callers name a plan that the configuration does not have",
    ),
    "ClaimgateCountsTooManyCallers": (
        {"claimgate_limited_callers": "90x30", "claimgate_max_limited_callers": "100x30"},
        # Without plans both are 0.
        {"claimgate_limited_callers": "0x30", "claimgate_max_limited_callers": "0x30"},
        20,
        {},
        "90% of the counters for callers are in use",
    ),
    "ClaimgateIsSlow": (
        {f'{BUCKETS}{{le="0.05"}}': "0x60", f'{BUCKETS}{{le="0.1"}}': "0+60x60", f'{BUCKETS}{{le="+Inf"}}': "0+60x60"},
        {f'{BUCKETS}{{le="0.01"}}': "0+60x60", f'{BUCKETS}{{le="0.1"}}': "0+60x60", f'{BUCKETS}{{le="+Inf"}}': "0+60x60"},
        30,
        {},
        "One percent of decisions take longer than 99.5ms",
    ),
}


def _in_namespace(series: str) -> str:
    name, _, labels = series.partition("{")
    return f'{name}{{namespace="claimgate",{labels or "}"}'


def _promtool_case(alert: str, fires: bool) -> dict:
    raising, quiet, minutes, labels, summary = CASES[alert]
    rule = ALERTS[alert]
    expected = {
        "exp_labels": {"namespace": "claimgate", **rule["labels"], **labels},
        "exp_annotations": {"description": rule["annotations"]["description"], "summary": summary},
    }
    return {
        "interval": "1m",
        "input_series": [
            {"series": _in_namespace(series), "values": values}
            for series, values in (raising if fires else quiet).items()
        ],
        "alert_rule_test": [
            {"eval_time": f"{minutes}m", "alertname": alert, "exp_alerts": [expected] if fires else []}
        ],
    }


def test_every_alert_has_cases():
    assert set(CASES) == set(ALERTS)


@pytest.mark.parametrize("alert", sorted(CASES))
@pytest.mark.parametrize("fires", [True, False], ids=["fires", "is quiet"])
def test_alert(alert: str, fires: bool, tmp_path: Path):
    file = tmp_path / "alert_test.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "tests": [_promtool_case(alert, fires)]}))
    ran = prometheus.promtool("test", "rules", file)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_inside_envoy_the_alerts_are_about_envoys_pods():
    """Whose names the chart does not know."""
    values = chart.CHART / "examples" / "module-envoy-gateway.yaml"
    options = ("--set", "prometheusRule.enabled=true,module.namespaces={edge,shop}")
    groups = chart.rendered(values, *options).one("PrometheusRule")["spec"]["groups"]
    expressions = " ".join(rule["expr"] for group in groups for rule in group["rules"])
    selectors = set(re.findall(r"claimgate_\w+\{([^,}]*)[,}]", expressions))
    assert selectors == {'namespace=~"edge|shop"'}
    assert "pod=~" not in expressions


def test_two_releases_in_one_namespace_are_told_apart(tmp_path: Path):
    """By the names of their pods; one release's name begins with the other's."""
    values = tmp_path / "values.yaml"
    values.write_text("prometheusRule: {enabled: true}\n")
    groups = chart.rendered(values).one("PrometheusRule")["spec"]["groups"]
    rules = tmp_path / "rules.yaml"
    rules.write_text(yaml.safe_dump({"groups": groups}))

    def case(pod: str, alerts: list[dict]) -> dict:
        series = f'claimgate_jwks_keys{{namespace="{chart.NAMESPACE}",pod="{pod}",provider="p"}}'
        asked = {"eval_time": "10m", "alertname": "ClaimgateHasNoKeys", "exp_alerts": alerts}
        return {
            "interval": "1m",
            "input_series": [{"series": series, "values": "0x30"}],
            "alert_rule_test": [asked],
        }

    rule = ALERTS["ClaimgateHasNoKeys"]
    own = "claimgate-7d9f8b6c5-abcde"
    labels = {"namespace": chart.NAMESPACE, "pod": own, "provider": "p", "deployment": chart.RELEASE}
    expected = {
        "exp_labels": {**rule["labels"], **labels},
        "exp_annotations": {
            "description": rule["annotations"]["description"],
            "summary": "There is no usable key of p",
        },
    }
    file = tmp_path / "test.yaml"
    cases = [case(own, [expected]), case("claimgate-b-7d9f8b6c5-abcde", [])]
    file.write_text(yaml.safe_dump({"rule_files": [str(rules)], "tests": cases}))
    ran = prometheus.promtool("test", "rules", file)
    assert ran.returncode == 0, ran.stdout + ran.stderr
