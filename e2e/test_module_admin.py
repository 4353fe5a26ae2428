"""The admin port of Claimgate inside Envoy, and what it tells of spans."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

import doors
import module_gateway
import standard
import tools
import web
from collector import Collector
from envoy_config import cluster
from stack import DidNotStart, Program, Stack, free_port

TYPES = "type.googleapis.com/envoy"


def with_admin(port: int, config: str = module_gateway.CONFIG) -> str:
    return f'server:\n  admin: {{address: "127.0.0.1:{port}"}}\n{config}'


def test_the_port_tells_what_the_service_would(stack: Stack):
    port = free_port()
    admin = f"127.0.0.1:{port}"
    issuer = stack.issuer(*standard.CLIENTS)
    issuer.signal(signal.SIGSTOP)
    file = stack.folder / "gateway.yaml"
    file.write_text(with_admin(port))
    config = module_gateway.module_config({"config_file": str(file)}, stack.upstream())
    envoy = module_gateway.start(stack, config, ISSUER_URL=issuer.url)
    assert web.get(admin, "/livez").status == 200
    waiting = web.get(admin, "/readyz")
    assert (waiting.status, waiting.body) == (503, b"machines: no signing keys yet\n")
    issuer.signal(signal.SIGCONT)
    web.wait_until(lambda: web.get(admin, "/readyz").status == 200, "readiness")

    web.get(envoy.address, "/orders?secret=1", web.bearer("gone-key"))
    report = web.get(admin, "/status.json").json()
    assert report["state"] == "ready"
    assert report["config"]["path"] == str(file)
    (denial,) = report["denials"]
    assert (denial["reason"], denial["path"], denial["provider"]) == ("key_revoked", "/orders", "team-keys")
    assert b"key_revoked" in web.get(admin, "/").body
    metrics = web.get(admin, "/metrics").body.decode()
    assert 'claimgate_checks_total{decision="deny",provider="team-keys",reason="key_revoked"} 1' in metrics
    assert envoy.stop() == 0


def test_without_an_address_there_is_no_port(stack: Stack):
    gateway = module_gateway.gateway(stack)
    assert gateway.get("/orders", web.bearer("job-key")).status == 200
    assert gateway.logged("the admin port is open") == 0


def test_a_port_belongs_to_one_configuration(stack: Stack):
    port = free_port()
    files = [stack.folder / f"{name}.yaml" for name in ("one", "two")]
    for file in files:
        file.write_text(with_admin(port, "auth: {enabled: false}\n"))
    upstream = stack.upstream()
    both = [module_gateway.module_config({"config_file": str(file)}, upstream) for file in files]
    (second,) = both[1]["static_resources"]["listeners"]
    both[0]["static_resources"]["listeners"].append({**second, "name": "second"})
    said = rf"server.admin.address: 127.0.0.1:{port} is the admin port of {files[0]} in this Envoy"
    with pytest.raises(DidNotStart, match=said):
        module_gateway.start(stack, both[0])


def test_a_filter_can_not_move_to_another_file_with_the_same_port(stack: Stack):
    """Both would be in force for a while, so the old one stays."""
    port = free_port()
    files = [stack.folder / f"{name}.yaml" for name in ("one", "two")]
    for file in files:
        key = f"{{name: {file.stem}, key: the-key-of-both}}"
        file.write_text(with_admin(port, f"auth: {{api_keys: [{key}]}}\n"))
    filter_file = stack.folder / "filter.json"
    module_gateway.publish(filter_file, {"config_file": str(files[0])}, 0)
    config = module_gateway.module_config({"config_file": "unused"}, stack.upstream())
    envoy = module_gateway.start(stack, module_gateway.discovered(config, filter_file))
    module_gateway.publish(filter_file, {"config_file": str(files[1])}, 1)
    said = f"server.admin.address: 127.0.0.1:{port} is the admin port of {files[0]} in this Envoy"
    web.wait_until(lambda: said in envoy.log.read_text(), "the refusal")
    seen = web.get(envoy.address, "/", web.bearer("the-key-of-both")).seen
    assert seen.get("x-auth-subject") == "one"


def test_a_port_in_use_rejects_the_listener(stack: Stack):
    service = stack.claimgate(standard.SERVER + "auth: {enabled: false}\n")
    port = int(service.admin.rsplit(":", 1)[1])
    file = stack.folder / "gateway.yaml"
    file.write_text(with_admin(port, "auth: {enabled: false}\n"))
    config = module_gateway.module_config({"config_file": str(file)}, stack.upstream())
    with pytest.raises(DidNotStart, match="server.admin.address: .* is already in use"):
        module_gateway.start(stack, config)


def test_the_port_goes_over_to_the_envoy_of_a_hot_restart(stack: Stack):
    """It starts while the one before still holds the port, and loses no request."""
    issuer = stack.issuer(*standard.CLIENTS)
    port, listener, admin = free_port(), free_port(), free_port()
    file, base = stack.folder / "gateway.yaml", stack.folder / "base-id"
    file.write_text(with_admin(port))
    config = module_gateway.module_config({"config_file": str(file)}, stack.upstream())
    config["admin"]["address"]["socket_address"]["port_value"] = admin
    (first,) = config["static_resources"]["listeners"]
    first["address"]["socket_address"]["port_value"] = listener
    (stack.folder / "hot.json").write_text(json.dumps(config))
    environment = {**doors.environment(), "ISSUER_URL": issuer.url}

    def start(*options: str | Path) -> Program:
        command = [tools.envoy(), "--config-path", stack.folder / "hot.json", *options]
        times = ("--drain-time-s", "1", "--parent-shutdown-time-s", "2", "--concurrency", "1")
        return stack.start(Program, "hot", [*command, *times], environment)

    old = start("--use-dynamic-base-id", "--base-id-path", base)
    old.wait_ready(lambda: web.get(f"127.0.0.1:{admin}", "/ready").status == 200)
    with web.Flow(f"127.0.0.1:{listener}", "/orders", lambda: web.bearer("job-key")) as flow:
        new = start("--base-id", base.read_text().strip(), "--restart-epoch", "1")
        awaits = "the admin port is opened when the Envoy before this one ends"
        new.wait_ready(lambda: awaits in new.log.read_text())
        assert old.wait() == 0
        new.wait_ready(lambda: web.get(f"127.0.0.1:{port}", "/livez").status == 200)
        flow.pass_by(20)
    assert set(flow.outcomes) == {200}, flow.outcomes
    assert new.stop() == 0


def test_the_port_goes_over_to_the_configuration_that_takes_the_place(stack: Stack):
    """A configuration within Envoy's own changes by being replaced."""
    admin = f"127.0.0.1:{free_port()}"
    file = stack.folder / "filter.json"

    def publish(version: int) -> None:
        server = {"admin": {"address": admin, "status_page": True}}
        key = {"name": f"version-{version}", "key": "the-key-of-all-versions"}
        options = {"config": {"server": server, "auth": {"api_keys": [key]}}}
        module_gateway.publish(file, options, version)

    publish(0)
    config = module_gateway.module_config({"config_file": "unused"}, stack.upstream())
    envoy = module_gateway.start(stack, module_gateway.discovered(config, file))
    for version in range(4):
        publish(version)

        def has_it() -> bool:
            try:
                keys = web.get(admin, "/status.json").json()["api_keys"]
            except OSError:
                # For a moment neither has it.
                return False
            return [key["name"] for key in keys] == [f"version-{version}"]

        web.wait_until(has_it, f"version {version}")
    assert web.get(envoy.address, "/", web.bearer("the-key-of-all-versions")).status == 200


@pytest.mark.parametrize("version", module_gateway.VERSIONS)
def test_envoys_own_span_says_what_was_decided(stack: Stack, collector: Collector, version: str):
    file = stack.folder / "gateway.yaml"
    file.write_text("auth: {api_keys: [{name: job, key: job-key}]}\n")
    config = module_gateway.module_config({"config_file": str(file)}, stack.upstream())
    resources = config["static_resources"]
    address = f"127.0.0.1:{collector.server_port}"
    resources["clusters"].append(cluster("collector", [address]))
    uri = {"uri": f"http://{address}/v1/traces", "cluster": "collector", "timeout": "5s"}
    manager = resources["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    manager["tracing"] = {
        "provider": {
            "name": "envoy.tracers.opentelemetry",
            "typed_config": {
                "@type": f"{TYPES}.config.trace.v3.OpenTelemetryConfig",
                "http_service": {"http_uri": uri},
                "service_name": "edge",
            },
        }
    }
    at_once = {"name": "at once", "static_layer": {"tracing.opentelemetry.min_flush_spans": 1}}
    config["layered_runtime"] = {"layers": [at_once]}
    envoy = module_gateway.start(stack, config, version=version)
    cases = [
        ([], "deny", "missing_token"),
        (web.bearer("job-key"), "allow", "ok"),
    ]
    for headers, decision, reason in cases:
        web.get(envoy.address, f"/{reason}", headers)

        def is_told(span) -> bool:
            tags = {each.key: each.value.string_value for each in span.attributes}
            told = (tags.get("claimgate.decision"), tags.get("claimgate.reason"))
            return told == (decision, reason)

        assert len(collector.once_there(is_told)) == 1, reason
