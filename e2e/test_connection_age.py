"""`server.grpc.max_connection_age_seconds`, behind a balancer of connections.

As with a ClusterIP Service, the balancer (a second Envoy, which forwards TCP)
chooses an instance once for each connection. The Envoy that asks has no retries:
a request that is lost to a GOAWAY would be seen.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import standard
import web
from envoy_config import cluster, envoy_config
from stack import Claimgate, Stack, free_port

AGE = 1
"""Seconds, the shortest that can be set."""

ADDRESSES = 40
"""Each of Envoy's two threads has a connection to each of them."""

CONNECTIONS = int(os.environ.get("CONNECTIONS", 400))
"""How many must have reached their age; 10,000 take a few minutes."""

CONFIG = standard.CONFIG.replace(
    'address: "127.0.0.1:${GRPC_PORT}"',
    f'address: "127.0.0.1:${{GRPC_PORT}}", max_connection_age_seconds: {AGE}',
)


def address(text: str) -> dict:
    """An address as Envoy writes it."""
    host, port = text.rsplit(":", 1)
    return {"socket_address": {"address": host, "port_value": int(port)}}


class Balancer:
    """Connections to any of its addresses, forwarded to one instance after the
    other."""

    def __init__(self, stack: Stack, instances: list[Claimgate]):
        port = free_port()
        self.addresses = [f"127.0.40.{number + 1}:{port}" for number in range(ADDRESSES)]
        self._file = stack.folder / "instances.json"
        self._write(instances)
        tcp = {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
            "stat_prefix": "balancer",
            "cluster": "instances",
        }
        listener = {
            "address": address(self.addresses[0]),
            "additional_addresses": [{"address": address(each)} for each in self.addresses[1:]],
            "filter_chains": [{"filters": [{"name": "tcp", "typed_config": tcp}]}],
        }
        source = {"path_config_source": {"path": str(self._file)}, "resource_api_version": "V3"}
        instances_cluster = {
            "name": "instances",
            "type": "EDS",
            "connect_timeout": "5s",
            "eds_cluster_config": {"eds_config": source},
        }
        self.envoy = stack.envoy(
            {
                "node": {"id": "balancer", "cluster": "balancer"},
                "admin": {"address": address("127.0.0.1:0")},
                "static_resources": {"listeners": [listener], "clusters": [instances_cluster]},
            }
        )

    def balance(self, instances: list[Claimgate]) -> None:
        """Changes the instances; connections that there are stay where they are."""
        updates = self.envoy.stat("cluster.instances.update_success")
        self._write(instances)
        web.wait_until(
            lambda: self.envoy.stat("cluster.instances.update_success") > updates, "an update"
        )

    def _write(self, instances: list[Claimgate]) -> None:
        assignment = cluster("instances", [each.grpc for each in instances])["load_assignment"]
        kind = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
        fresh: Path = self._file.with_suffix(".new")
        fresh.write_text(json.dumps({"resources": [{"@type": kind, **assignment}]}))
        fresh.replace(self._file)


def served(instances: list[Claimgate]) -> list[float]:
    """How many checks each has answered."""
    return [each.checks("ok") for each in instances]


def test_a_new_instance_gets_its_share_and_no_request_is_lost(stack: Stack):
    issuer, upstream = stack.issuer(*standard.CLIENTS), stack.upstream()
    instances = [stack.claimgate(CONFIG, ISSUER_URL=issuer.url) for _ in range(2)]
    balancer = Balancer(stack, instances)
    envoy = stack.envoy(envoy_config(balancer.addresses, upstream))
    headers = web.bearer("job-key")

    def opened() -> int:
        return envoy.stat("cluster.claimgate.upstream_cx_total")

    with web.Flow(envoy.address, "/orders", lambda: headers, threads=8, most=10**9) as flow:
        web.wait_until(lambda: opened() > 3 * ADDRESSES, "connections to reach their age", 60)
        third = stack.claimgate(CONFIG, ISSUER_URL=issuer.url)
        instances.append(third)
        balancer.balance(instances)
        time.sleep(2 * AGE)
        before = served(instances)
        target = sum(before) + 1200
        web.wait_until(lambda: sum(served(instances)) > target, "more requests", 120)
        gained = [after - was for was, after in zip(before, served(instances), strict=True)]
        share = gained[-1] / (sum(gained) / len(gained))
        web.wait_until(lambda: opened() > CONNECTIONS, "connections to reach their age", 900)
        print(f"{opened()} connections, shares {gained}, {flow.total} requests")
    assert set(flow.outcomes) == {200}, flow.outcomes
    assert 0.8 < share < 1.2, gained
