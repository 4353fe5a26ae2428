"""Claimgate inside Envoy while keys, files, listeners and clients come and go."""

from __future__ import annotations

import http.server
import json
import os
import signal
import socket
import subprocess
import threading
from pathlib import Path

import pytest

import doors
import module_gateway
import standard
import tools
import web
from module_gateway import ModuleGateway
from stack import Envoy, Issuer, Stack

SLOW = "server:\n  check_timeout_ms: 1000\n" + module_gateway.CONFIG


def unknown(gateway: ModuleGateway) -> web.Headers:
    """A token whose key the issuer has and Claimgate has not seen yet."""
    gateway.issuer.rotate()
    return web.bearer(gateway.token())


def replace(file: Path, text: str) -> None:
    """In one step, as an editor or Kubernetes would."""
    fresh = file.with_suffix(".new")
    fresh.write_text(text)
    os.replace(fresh, file)


def alive(gateway: ModuleGateway) -> None:
    """It decides as ever, with nothing in the log that should not be."""
    assert gateway.get("/orders", web.bearer("job-key")).status == 200
    assert gateway.get("/orders").status == 401


def test_a_check_that_waits_stops_no_other(stack: Stack):
    gateway = module_gateway.gateway(stack, SLOW)
    alive(gateway)
    headers = unknown(gateway)
    gateway.issuer.signal(signal.SIGSTOP)
    with gateway.flow("/orders", lambda: web.bearer("job-key")) as flow:
        reply = gateway.get("/orders", headers)
        assert (reply.status, reply.header("retry-after")) == (503, "1")
    assert set(flow.outcomes) == {200}, flow.outcomes
    gateway.issuer.signal(signal.SIGCONT)
    web.wait_until(lambda: gateway.get("/orders", headers).status == 200, "the new key")


def test_a_request_goes_on_with_its_body_when_the_key_is_there(stack: Stack):
    gateway = module_gateway.gateway(stack, SLOW)
    headers = unknown(gateway)
    reply = web.send(gateway.envoy.address, "POST", "/orders", headers, b"b" * 200_000)
    assert reply.seen.get("x-auth-subject") == "web"


def test_clients_that_leave_while_their_check_waits(stack: Stack):
    gateway = module_gateway.gateway(stack, SLOW)
    ((_, authorization),) = unknown(gateway)
    gateway.issuer.signal(signal.SIGSTOP)
    host, port = gateway.envoy.address.rsplit(":", 1)
    request = f"GET /orders HTTP/1.1\r\nhost: a\r\nauthorization: {authorization}\r\n\r\n".encode()
    for _ in range(10):
        clients = [socket.create_connection((host, int(port))) for _ in range(100)]
        for client in clients:
            client.sendall(request)
        for client in clients:
            client.close()
    web.wait_until(
        lambda: gateway.envoy.stat("http.e2e.downstream_rq_active") == 0, "all requests gone"
    )
    gateway.issuer.signal(signal.SIGCONT)
    alive(gateway)


def test_the_end_in_the_middle_of_a_wait(stack: Stack):
    gateway = module_gateway.gateway(stack, SLOW)
    ((_, authorization),) = unknown(gateway)
    gateway.issuer.signal(signal.SIGSTOP)
    host, port = gateway.envoy.address.rsplit(":", 1)
    with socket.create_connection((host, int(port))) as client:
        client.sendall(f"GET / HTTP/1.1\r\nhost: a\r\nauthorization: {authorization}\r\n\r\n".encode())
        web.wait_until(
            lambda: gateway.envoy.stat("http.e2e.downstream_rq_active") == 1, "a request that waits"
        )
        assert gateway.envoy.stop() == 0
    gateway.issuer.signal(signal.SIGCONT)


def test_rotation_fails_no_request(stack: Stack):
    gateway = module_gateway.gateway(stack, SLOW)
    tokens = [gateway.token()]
    turn = iter(range(10**9))
    with gateway.flow("/orders", lambda: web.bearer(tokens[next(turn) % len(tokens)])) as flow:
        flow.pass_by(200)
        before = gateway.issuer.jwks_fetches()
        gateway.issuer.rotate()
        tokens.append(gateway.token())
        flow.pass_by(400)
        fetches = gateway.issuer.jwks_fetches() - before
    assert set(flow.outcomes) == {200}, flow.outcomes
    assert fetches == 1


def test_reloads_good_and_bad(stack: Stack):
    gateway = module_gateway.gateway(stack)
    headers = web.bearer(gateway.token())
    changed = module_gateway.CONFIG.replace("    claims:", "    subject: x-user\n    claims:")
    with gateway.flow("/orders", lambda: headers) as flow:
        for count, text in enumerate([changed, module_gateway.CONFIG, changed], start=1):
            replace(gateway.config, text)
            web.wait_until(lambda: gateway.logged("configuration reloaded") == count, "a reload")
            flow.pass_by(100)
        replace(gateway.config, changed + "  no_such_key: 1\n")
        web.wait_until(lambda: gateway.logged("configuration not reloaded") == 1, "a failure")
        flow.pass_by(100)
    assert set(flow.outcomes) == {200}, flow.outcomes
    seen = gateway.get("/orders", headers).seen
    assert (seen.get("x-user"), seen.get("x-auth-subject")) == ("web", None)
    assert gateway.issuer.jwks_fetches() == 1
    # The log says what each of them changed.
    assert gateway.logged('"changes":"headers"') == 3


class SlowKeys(http.server.ThreadingHTTPServer):
    """Serves another issuer's keys once `open` is set."""

    def __init__(self, issuer: Issuer):
        self.asked, self.open = threading.Event(), threading.Event()
        slow = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                slow.asked.set()
                slow.open.wait(web.TIMEOUT)
                keys = web.get(issuer.address, "/.well-known/jwks.json").body
                self.send_response(200)
                self.end_headers()
                self.wfile.write(keys)

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


def test_a_reload_waits_for_the_keys_of_a_new_issuer(stack: Stack):
    """Until then the old configuration decides."""
    gateway = module_gateway.gateway(stack, SLOW.replace("1000", "50"))
    other = stack.issuer(*standard.CLIENTS)
    headers = web.bearer(other.token("web", "web-secret"))
    with SlowKeys(other) as keys:
        place = f"http://127.0.0.1:{keys.server_port}/jwks"
        added = {"name": "new", "type": "oauth2", "issuer": other.url, "require_audience": False}
        provider = json.dumps({**added, "jwks_uri": place})
        with gateway.flow("/orders", lambda: headers) as flow:
            text = gateway.config.read_text()
            replace(gateway.config, text.replace("  required_scopes", f"    - {provider}\n  required_scopes", 1))
            assert keys.asked.wait(web.TIMEOUT)
            flow.pass_by(100)
            keys.open.set()
            web.wait_until(lambda: gateway.logged("configuration reloaded") == 1, "the reload")
            flow.pass_by(50)
        keys.shutdown()
    assert set(flow.outcomes) == {401, 200}, flow.outcomes


def test_listeners_share_a_configuration(stack: Stack):
    gateway = module_gateway.gateway(stack, listeners=3)
    headers = web.bearer(gateway.token())
    addresses = gateway.envoy.listeners().values()
    assert len(addresses) == 3
    assert [web.get(address, "/orders", headers).status for address in addresses] == [200] * 3
    assert gateway.issuer.jwks_fetches() == 1


def test_a_listener_update_fails_no_request_and_fetches_nothing(stack: Stack):
    """Listeners come from a file, as from a control plane."""
    issuer, upstream = stack.issuer(*standard.CLIENTS), stack.upstream()
    rules = stack.folder / "gateway.yaml"
    rules.write_text(module_gateway.CONFIG)
    config = module_gateway.module_config({"config_file": str(rules)}, upstream)
    (listener,) = config["static_resources"].pop("listeners")
    listener["name"] = "edge"
    listener["drain_type"] = "DEFAULT"
    file = stack.folder / "lds.json"

    def publish(version: int) -> None:
        typed = {"@type": "type.googleapis.com/envoy.config.listener.v3.Listener", **listener}
        # A change that makes Envoy build all filters of the listener again.
        typed["filter_chains"][0]["filters"][0]["typed_config"]["stat_prefix"] = f"v{version}"
        replace(file, json.dumps({"version_info": str(version), "resources": [typed]}))

    publish(0)
    config["dynamic_resources"] = {
        "lds_config": {"path_config_source": {"path": str(file)}, "resource_api_version": "V3"}
    }
    config["node"] = {"id": "test", "cluster": "test"}
    envoy = module_gateway.start(stack, config, ISSUER_URL=issuer.url)
    headers = web.bearer(issuer.token("web", "web-secret"))
    # Connections of a listener that drains are closed between two requests.
    with web.Flow(envoy.address, "/orders", lambda: headers) as flow:
        for version in range(1, 6):
            publish(version)
            web.wait_until(
                lambda: envoy.stat("listener_manager.lds.update_success") > version, "an update"
            )
            flow.pass_by(50)
    assert set(flow.outcomes) == {200}, flow.outcomes
    assert issuer.jwks_fetches() == 1

    web.wait_until(lambda: counted(envoy, "ok") == flow.total, "every request in Envoy's statistics")


def counted(envoy: Envoy, reason: str) -> int:
    """How many checks with this reason Envoy's statistics have."""
    text = web.get(envoy.admin, "/stats/prometheus").body.decode().splitlines()
    lines = [line for line in text if "claimgate_checks_total{" in line and f'reason="{reason}"' in line]
    return sum(int(line.rsplit(" ", 1)[1]) for line in lines)


def resident(process: int) -> int:
    """How much memory a process and its children have, in bytes."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") + sum(resident(int(child)) for child in children)


def test_memory_does_not_grow_with_configuration_changes(stack: Stack):
    """CLAIMGATE_CHANGES makes it more of them."""
    changes = int(os.environ.get("CLAIMGATE_CHANGES", "2000"))
    file = stack.folder / "filter.json"

    def publish(version: int) -> None:
        keys = [{"name": f"k{version}-{number}", "key": f"key-{number}-of-all"} for number in range(20)]
        module_gateway.publish(file, {"config": {"auth": {"api_keys": keys}}}, version)

    publish(0)
    config = module_gateway.module_config({"config_file": "unused"}, stack.upstream())
    envoy = module_gateway.start(stack, module_gateway.discovered(config, file))
    taken = f"extension_config_discovery.http_filter.{doors.EXT_AUTHZ}.config_reload"
    sizes = []
    with web.Flow(envoy.address, "/", lambda: web.bearer("key-7-of-all"), threads=1, most=10**9) as flow:
        for version in range(1, changes + 1):
            publish(version)
            web.wait_until(lambda: envoy.stat(taken) > version, "the change")
            if version % (changes // 10) == 0:
                sizes.append(resident(envoy.process.pid))
    assert set(flow.outcomes) == {200}, flow.outcomes
    # What is remembered for good is there by then.
    assert sizes[-1] - sizes[2] < 6 * 2**20, sizes


def test_configurations_behind_one_name_share_its_gauges(stack: Stack):
    """Each listener has its own configuration; Envoy has one gauge for both."""
    issuer, upstream = stack.issuer(*standard.CLIENTS), stack.upstream()
    files = [stack.folder / f"{name}.yaml" for name in ("one", "two")]
    for file in files:
        file.write_text(module_gateway.CONFIG)
    both = [module_gateway.module_config({"config_file": str(file)}, upstream) for file in files]
    (second,) = both[1]["static_resources"]["listeners"]
    both[0]["static_resources"]["listeners"].append({**second, "name": "second"})
    envoy = module_gateway.start(stack, both[0], ISSUER_URL=issuer.url)
    tokens = [issuer.token("web", "web-secret") for _ in range(3)]
    for address, own in zip(envoy.listeners().values(), [tokens[:1], tokens[1:]]):
        for token in own:
            assert web.get(address, "/orders", web.bearer(token)).status == 200

    def gauge(name: str) -> float:
        text = web.get(envoy.admin, "/stats/prometheus").body.decode().splitlines()
        (value,) = [float(line.rsplit(" ", 1)[1]) for line in text if f"_{name}{{" in line]
        return value

    web.wait_until(lambda: gauge("claimgate_token_cache_entries") == 3, "the sum of both")
    assert gauge("claimgate_jwks_keys") == 1


@pytest.mark.parametrize("place", ["scheduled", "later"])
def test_a_panic_is_a_500_and_envoy_lives_on(stack: Stack, place: str):
    """In the hook of the headers, in that of a request that waited, and where
    it is decided for the latter."""
    gateway = module_gateway.gateway(stack, SLOW)
    planted = [*web.bearer("job-key"), ("x-planted-panic", "headers")]
    reply = gateway.get("/orders", planted)
    assert (reply.status, reply.json()["error"]) == (500, "server_error")
    alive(gateway)
    waiting = [*unknown(gateway), ("x-planted-panic", place)]
    assert gateway.get("/orders", waiting).status == 500
    alive(gateway)
    assert gateway.logged("panicked, please report this") == 2
    assert gateway.logged('"planted"') == 0
    web.wait_until(lambda: counted(gateway.envoy, "internal") == 2, "the count of both")


def test_validation_starts_nothing_and_fetches_nothing(stack: Stack):
    issuer = stack.issuer(*standard.CLIENTS)
    rules = stack.folder / "gateway.yaml"
    rules.write_text(module_gateway.CONFIG)
    config = module_gateway.module_config({"config_file": str(rules)}, "127.0.0.1:9")
    file = stack.folder / "envoy.json"
    environment = {
        **os.environ,
        "ISSUER_URL": issuer.url,
        "ENVOY_DYNAMIC_MODULES_SEARCH_PATH": str(tools.envoy_module().parent),
    }

    def validate() -> subprocess.CompletedProcess:
        file.write_text(json.dumps(config))
        command = [tools.envoy(), "--mode", "validate", "--config-path", file]
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    good = validate()
    assert good.returncode == 0, good.stderr
    assert issuer.jwks_fetches() == 0
    rules.write_text(module_gateway.CONFIG + "  no_such_key: 1\n")
    bad = validate()
    assert bad.returncode == 1
    assert "auth.no_such_key" in bad.stderr
