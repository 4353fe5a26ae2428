"""docs/waf.md: its IP lists on a real Envoy, as printed but for the addresses."""

from __future__ import annotations

import os
import re
import textwrap
from pathlib import Path

import pytest

import edge
import standard
import tools
import web
from stack import DidNotStart, Envoy, Stack

BLOCKED, ALLOWED, OTHER = "127.0.7.1", "127.0.8.1", "127.0.9.1"
"""Clients, one in each of the page's networks and one in neither."""

NETWORKS = {"203.0.113.0": "127.0.7.0", "198.51.100.0": "127.0.8.0"}

AROUND = """
node: {id: edge, cluster: edge}
admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}
static_resources:
  listeners:
    - name: http
      address: {socket_address: {address: 127.0.0.1, port_value: 0}}
      filter_chains:
        - filters:
            - name: envoy.filters.network.http_connection_manager
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: edge
                use_remote_address: true
%s
%s
                  - name: envoy.filters.http.router
                    typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
  clusters:
    - name: gateway
      type: STATIC
      load_assignment:
        cluster_name: gateway
        endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: %s}}}}]}]
"""
DENIED = (403, b"RBAC: access denied")


def blocks(start: str) -> list[str]:
    """The page's YAML blocks that begin so, with the test's networks."""
    page = (tools.ROOT / "docs" / "waf.md").read_text()
    found = [block for block in re.findall(r"^```yaml\n(.*?)^```", page, re.M | re.S) if block.startswith(start)]
    for printed, ours in NETWORKS.items():
        found = [block.replace(printed, ours) for block in found]
    return found


FIXED, CHANGING, CORAZA = blocks("http_filters:")
[LIST] = blocks("resources:")
[ROUTES] = blocks("route_config:")


def start(stack: Stack, filters: str) -> Envoy:
    port = stack.upstream().rpartition(":")[2]
    inner = (textwrap.indent(part.rstrip(), " " * 16) for part in (ROUTES, filters))
    return stack.envoy(AROUND % (*inner, port))


def ask(envoy: Envoy, source: str, headers: web.Headers = ()) -> tuple[int, bytes]:
    connection = web.Connection(envoy.address, source=source)
    try:
        reply = connection.send("GET", "/", headers)
        return reply.status, reply.body if reply.status != 200 else b""
    finally:
        connection.close()


def host(name: str) -> web.Headers:
    return [("host", name)]


def test_a_blocked_address_is_denied_and_can_t_say_it_is_another(stack: Stack):
    envoy = start(stack, FIXED)
    assert ask(envoy, BLOCKED) == DENIED
    assert ask(envoy, BLOCKED, [("x-forwarded-for", OTHER)]) == DENIED
    assert ask(envoy, OTHER) == (200, b"")
    assert ask(envoy, OTHER, [("x-forwarded-for", BLOCKED)]) == (200, b"")


def test_a_host_is_for_some_addresses_alone(stack: Stack):
    envoy = start(stack, FIXED)
    assert ask(envoy, ALLOWED, host("admin.example.com")) == (200, b"")
    for source in (OTHER, BLOCKED):
        assert ask(envoy, source, host("admin.example.com")) == DENIED
        assert ask(envoy, source, [*host("Admin.Example.com:443"), ("x-forwarded-for", ALLOWED)]) == DENIED
    assert ask(envoy, OTHER, host("www.example.com")) == (200, b"")


def test_a_list_in_a_file_changes_without_a_restart(stack: Stack, tmp_path: Path):
    file = tmp_path / "blocked.yaml"
    file.write_text(LIST)
    envoy = start(stack, CHANGING.replace("./blocked.yaml", str(file)))
    assert ask(envoy, BLOCKED) == DENIED
    assert ask(envoy, OTHER) == (200, b"")

    move(file, LIST.replace("127.0.7.0", "127.0.9.0"))
    web.wait_until(lambda: ask(envoy, OTHER) == DENIED, "the new list")
    assert ask(envoy, BLOCKED) == (200, b"")

    move(file, LIST.replace("prefix_len: 24", "prefix_len: many"))
    failed = "extension_config_discovery.http_filter.blocked.update_failure"
    web.wait_until(lambda: envoy.stat(failed) > 0, "the refusal of a bad list")
    assert ask(envoy, OTHER) == DENIED, "the list before stays"


def move(file: Path, text: str) -> None:
    fresh = file.with_suffix(".new")
    fresh.write_text(text)
    os.replace(fresh, file)


def test_without_its_list_nothing_passes(stack: Stack, tmp_path: Path):
    file = tmp_path / "blocked.yaml"
    filters = CHANGING.replace("./blocked.yaml", str(file))
    with pytest.raises(DidNotStart, match="does not exist"):
        start(stack, filters)
    file.write_text(LIST.replace("prefix_len: 24", "prefix_len: many"))
    envoy = start(stack, filters)
    assert ask(envoy, OTHER)[0] == 500


def test_shadow_rules_only_count(stack: Stack):
    envoy = start(stack, FIXED.replace(" rules:", " shadow_rules:"))
    assert ask(envoy, BLOCKED) == (200, b"")
    assert envoy.stat("http.edge.rbac.shadow_denied") == 1


def test_claimgate_is_not_asked_about_a_blocked_address(stack: Stack):
    issuer = stack.issuer(*standard.CLIENTS)
    filters = textwrap.indent(FIXED, " " * 16)
    started = edge.start(
        stack, standard.CONFIG, ISSUER_URL=issuer.url, changes={f"{' ' * 16}http_filters:\n": filters}
    )
    bearer = web.bearer(issuer.token("web", "web-secret"))
    assert started.get("/orders", bearer, source=BLOCKED).status == 403
    assert sum(claimgate.checks("ok") for claimgate in started.claimgates) == 0
    assert started.get("/orders", bearer, source=OTHER).status == 200
    assert sum(claimgate.checks("ok") for claimgate in started.claimgates) == 1
    line = re.search(r'.*"client":"127\.0\.7\.1".*', started.envoy.output.read_text())
    assert line and "rbac_access_denied_matched_policy[blocked-addresses]" in line[0]


@pytest.mark.parametrize("word", ["untested", "DetectionOnly"])
def test_coraza_is_said_to_be_untested(word: str):
    page = (tools.ROOT / "docs" / "waf.md").read_text().partition("## Coraza")[2]
    assert word in page and "coraza-proxy-wasm.wasm" in CORAZA
