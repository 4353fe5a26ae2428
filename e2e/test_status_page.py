"""The status page in a real browser."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import standard
import tools
import web
from envoy_config import envoy_config
from stack import Program, Stack
from standard import Gateway

HOSTILE = "<img/src=x/onerror=alert(1)>"
SHOTS = os.environ.get("CLAIMGATE_SCREENSHOTS")
"""The folder to keep screenshots in."""


class Browser(Program):
    """A run of `browser/status_page.mjs`."""

    def result(self) -> dict:
        """Its output."""
        status = self.wait(seconds=180)
        assert status == 0, self.tail()
        return json.loads(self.output.read_text().splitlines()[-1])

    def wait_for(self, line: str) -> None:
        """Waits until it has printed this."""
        web.wait_until(
            lambda: line in self.output.read_text().splitlines() or not self.running, line, 90
        )
        assert self.running, self.tail()


def browse(stack: Stack, *arguments: str | Path) -> Browser:
    command = [tools.node(), tools.browser(), *arguments]
    environment = {"CLAIMGATE_CHROMIUM": str(tools.chromium())}
    return stack.start(Browser, "browser", command, environment)


EXPIRED = "        - {name: old, key: old-key, expires_at: 2020-01-01T00:00:00Z}"
DOWN = "    - {name: down, type: oauth2, issuer: 'http://127.0.0.1:9', audience: none}"
TROUBLES = ("no_such_key", "down has no signing keys", "1 API key expired")


@pytest.fixture(scope="module")
def busy(module_stack: Stack) -> Gateway:
    """A service with denials of all kinds, and with problems."""
    gateway = standard.gateway(module_stack)
    claimgate, get = gateway.claimgate, gateway.get
    config = standard.CONFIG.replace("      keys:", f"      keys:\n{EXPIRED}")
    config = config.replace("  required_scopes: [invoke]", f"{DOWN}\n  required_scopes: [invoke]")
    replace(claimgate.config, config)
    web.wait_until(lambda: claimgate.reloads("success") == 1, "a reload")
    replace(claimgate.config, config + "  no_such_key: 1\n")
    web.wait_until(lambda: claimgate.reloads("failure") == 1, "a failed reload")
    for _ in range(40):
        get("/orders", web.bearer(gateway.token()))
    for number in range(30):
        get(f"/orders/{number}?secret=1", [("x-request-id", f"id-{number}")])
    get("/admin/users", web.bearer(gateway.token()))
    get("/orders", web.bearer("gone-key"))
    get("/orders", web.bearer("a.b.c"))
    get(f"/{HOSTILE}/{'long' * 100}", [("x-request-id", "<script>alert(2)</script>"), *web.bearer("x")])
    return gateway


def replace(file: Path, text: str) -> None:
    """In one step, as an editor would."""
    fresh = file.with_suffix(".new")
    fresh.write_text(text)
    os.replace(fresh, file)


def test_it_can_be_read_everywhere(busy: Gateway, module_stack: Stack, tmp_path: Path):
    folder = Path(SHOTS or tmp_path)
    url = f"http://{busy.claimgate.admin}/"
    seen = browse(module_stack, "look", url, folder).result()
    assert set(seen) == {"phone-light", "phone-dark", "desktop-light", "desktop-dark"}
    for name, facts in seen.items():
        assert facts["trouble"] == [], name
        assert facts["overflow"] <= 0, f"{name} is too wide"
        assert facts["wrapped"] == [], name
        assert not {"img", "iframe", "object"} & set(facts["elements"]), name
        assert facts["handlers"] == [], name
        for word in ("insufficient_scope", "key_revoked", "missing_token", HOSTILE, "machines", *TROUBLES):
            assert word in facts["text"], f"{name} lacks {word}"
        assert "secret" not in facts["text"], name
        assert (folder / f"{name}.png").stat().st_size > 10_000
    assert seen["phone-light"]["back"] != seen["phone-dark"]["back"]


THREE_ISSUERS = standard.SERVER + """
auth:
  providers:
    - {name: people, type: oauth2, issuer: "${ISSUER_URL}", require_audience: false}
    - {name: machines, type: oauth2, issuer: "${ISSUER_URL}", client_ids: [web, root], require_audience: false}
    - {name: partners, type: oauth2, issuer: "http://127.0.0.1:9", audience: none}
  routes:
    - {name: admin, match: {path_prefix: /admin}, required_scopes: [admin]}
"""


def look(stack: Stack, name: str, url: str, tmp_path: Path) -> dict:
    """What is on the page, in every size and colour."""
    folder = (Path(SHOTS) if SHOTS else tmp_path) / name
    folder.mkdir(parents=True, exist_ok=True)
    seen = browse(stack, "look", url, folder).result()
    for facts in seen.values():
        assert facts["trouble"] == [] and facts["overflow"] <= 0, facts
    return seen["desktop-light"]


def test_not_ready_names_the_issuer_that_is_down(stack: Stack, tmp_path: Path):
    issuer = stack.issuer(*standard.CLIENTS)
    claimgate = stack.claimgate(THREE_ISSUERS, wait=False, ISSUER_URL=issuer.url)
    url = f"http://{claimgate.admin}/"
    fetched = lambda: "Connection refused" in web.get(claimgate.admin, "/status.json").body.decode()
    web.wait_until(fetched, "a failed fetch")
    text = look(stack, "three-issuers", url, tmp_path)["text"]
    assert "not ready" in text
    assert "this instance is not ready, it waits for partners: no signing keys yet" in text
    assert f'"url":"{url}"' in claimgate.log.read_text(), "the log has the address"


def test_authentication_that_is_off_is_told_right(stack: Stack, tmp_path: Path):
    claimgate = stack.claimgate(standard.SERVER + "auth: {enabled: false}\n")
    text = look(stack, "off", f"http://{claimgate.admin}/", tmp_path)["text"]
    assert "every request is allowed" in text
    assert "every token is refused" not in text


def test_a_flood_hides_no_other_denial(stack: Stack, tmp_path: Path):
    gateway = standard.gateway(stack)
    admin = gateway.claimgate.admin
    gateway.get("/admin/users", [("x-request-id", "rare"), *web.bearer(gateway.token())])
    with gateway.flow("/orders", lambda: web.bearer("no-such-key")):
        web.wait_until(lambda: gateway.claimgate.checks("unknown_key") > 500, "a flood")
    text = look(stack, "flood", f"http://{admin}/", tmp_path)["text"]
    assert "missing scope admin, granted: invoke" in text
    narrowed = web.get(admin, "/status.json?reason=insufficient_scope&route=admin&subject=web").json()
    assert [it["reason"] for it in narrowed["denials"]] == ["insufficient_scope"]
    assert [(it["subject"], it["count"]) for it in narrowed["causes"]] == [("web", 1)]
    counts = {it["reason"]: it["count"] for it in web.get(admin, "/status.json").json()["causes"]}
    assert counts["unknown_key"] > 500
    page = web.get(admin, "/?reason=insufficient_scope&by=subject").body.decode()
    assert "missing scope admin" in page and "no-such-key" not in page
    assert "not known to team-keys" not in page


PLANS = standard.SERVER + """
auth:
  plans: {small: {requests: {per_hour: 1}}, PLAN: {requests: {per_minute: 600, burst: 20}}}
  default_plan: small
  limits: local
  providers:
    - name: team-keys
      type: api_key
      keys:
        - {name: search, key: search-key-in-plain-text}
        - {name: KEY, key: other-key-in-plain-text}
""".replace("PLAN", "a-plan-with-a-long-name-" * 2 + "end").replace("KEY", "k" * 200)


def test_who_is_limited_can_be_read_everywhere(stack: Stack, tmp_path: Path):
    claimgate = stack.claimgate(PLANS)
    envoy = stack.envoy(envoy_config(claimgate.grpc, stack.upstream()))
    keys = [web.bearer(f"{name}-key-in-plain-text") for name in ("search", "other")]
    statuses = [web.get(envoy.address, "/", key).status for key in keys for _ in range(3)]
    assert statuses == [200, 429, 429] * 2
    replace(claimgate.config, claimgate.config.read_text().replace("limits: local", "limits: shadow"))
    web.wait_until(lambda: claimgate.reloads("success") == 1, "a reload")
    assert [web.get(envoy.address, "/", keys[0]).status for _ in range(3)] == [200] * 3
    text = look(stack, "plans", f"http://{claimgate.admin}/", tmp_path)["text"]
    for words in ("team-keys/search", "team-keys/kkkk", "1 an hour", "allowed: limits are only tried out"):
        assert words in text, words
    limits = web.get(claimgate.admin, "/status.json").json()["limits"]
    found = [(it["limit_key"][:16], it["over"], it["would_be_over"]) for it in limits["limited"]]
    assert found == [("team-keys/search", 2, 3), ("team-keys/kkkkkk", 2, 0)]


def test_it_works_without_javascript(busy: Gateway, module_stack: Stack):
    url = f"http://{busy.claimgate.admin}/"
    seen = browse(module_stack, "plain", url, "id-7").result()
    assert seen["trouble"] == []
    assert "missing_token" in seen["first"]
    assert "/orders/7" in seen["found"] and "/orders/8" not in seen["found"]
    assert seen["address"].endswith("/?request_id=id-7")


def test_it_keeps_itself_up_to_date(stack: Stack):
    gateway = standard.gateway(stack)
    url = f"http://{gateway.claimgate.admin}/"
    browser = browse(stack, "watch", url, "/orders/later")
    browser.wait_for("open")
    gateway.get("/orders/later")
    browser.wait_for("seen")
    gateway.claimgate.stop()
    seen = browser.result()
    assert (seen["typed"], seen["unfolded"], seen["trouble"]) == ("half-typed", False, [])
    assert seen["told"].startswith("no answer; this is as of ")
