"""Every Envoy configuration that we print, while Claimgate is replaced, killed,
restarted and given another file: what each request gets, compared.

All Envoys ask the same pods, so that each event is tried on all at once. The
short form is one run of it. `TRAFFIC=long` is as long as needed for figures, a
run for each event, with every limit of time as printed; it wants a quiet machine.
"""

from __future__ import annotations

import json
import os
import shutil
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

import envoy_gateway
import istio
import pages
import printed
import release
import tools
import web
from cluster import Cluster
from stack import Envoy, Stack, free_port
from traffic import Case, Deployment, Dns, Load, all_of

LONG = os.environ.get("TRAFFIC") == "long"

NAMESPACE, MESH = "claimgate-traffic", "claimgate-mesh"
"""The releases for a plain Envoy, and for Istio and Envoy Gateway."""

CONFIG = """
server:
  grpc: {address: "${POD_IP}:${GRPC_PORT}"}
  admin: {address: "127.0.0.1:${ADMIN_PORT}"}
auth:
  providers:
    - name: team-keys
      type: api_key
      keys:
        - {name: job, key: job-key, scopes: [invoke]}
        - {name: late, key: late-key, scopes: [invoke], revoked: true}
    - name: machines
      type: oauth2
      issuer: ${ISSUER_URL}
      require_audience: false
  required_scopes: [invoke]
  routes:
    - {name: admin, match: {path_prefix: /admin}, required_scopes: [admin]}
"""

CHANGED = CONFIG.replace(", revoked: true", "")

LOST_IN_ISTIO = 100 if LONG else 40
"""A pod that is gone, dead or between two lives, costs Istio what was on its way
to it and what finds out; docs/outages.md has the figure. Without the DestinationRule it is every
second request."""


class Endpoints:
    """A file of endpoints that Envoy watches, instead of the stream of a control
    plane."""

    def __init__(self, file: Path, port: int):
        self._file, self._port = file, port
        self._text = file.read_text()

    def set(self, addresses: list[str]) -> None:
        resource = json.loads(self._text)
        (assignment,) = resource["resources"]
        locality = assignment["endpoints"][0]
        (template,) = locality["lbEndpoints"][:1]
        locality["lbEndpoints"] = []
        for address in addresses:
            each = json.loads(json.dumps(template))
            each["endpoint"]["address"]["socketAddress"].update(address=address, portValue=self._port)
            locality["lbEndpoints"].append(each)
        fresh = self._file.with_suffix(".new")
        fresh.write_text(json.dumps(resource))
        fresh.replace(self._file)


class ServiceEntry:
    """The endpoints as istiod sees them."""

    def __init__(self, cluster: Cluster, port: int):
        self._cluster, self._port = cluster, port

    def set(self, addresses: list[str]) -> None:
        port = {"number": 9001, "name": "grpc", "protocol": "GRPC", "address": f"-:{self._port}"}
        entry = istio.service_entry(MESH, "claimgate", [port])
        (template,) = entry["spec"]["endpoints"]
        entry["spec"]["endpoints"] = [{**template, "address": address} for address in addresses]
        self._cluster.apply([entry], "--force-conflicts")


class Field:
    """The pods, and every Envoy that asks them."""

    def __init__(self, cluster: Cluster, stack: Stack, folder: Path, *, cached: float):
        self.cluster, self.stack, self.folder = cluster, stack, folder
        issuer = stack.issuer("--client=web:secret:invoke")
        self.upstream = stack.upstream()
        self.pods = Deployment(stack, CONFIG, ISSUER_URL=issuer.url)
        self.dns = Dns("claimgate.internal", cached)
        self.pods.discoveries.append(self.dns)
        job, token = web.bearer("job-key"), web.bearer(issuer.token("web", "secret"))
        self.cases = [
            Case("/orders", tuple(job), 200, "job"),
            Case("/orders", tuple(token), 200, "web"),
            Case("/orders", (), 401),
            Case("/orders", tuple(web.bearer("unknown")), 401),
            Case("/admin", tuple(job), 403),
        ]
        for _ in range(2):
            self.pods.add()
        self.envoys: dict[str, tuple[Envoy, Callable[[str], web.Connection]]] = {}

    def by_name(self, name: str, config: dict[str, Any]) -> None:
        """An Envoy that finds the pods by DNS."""
        folder = self.folder / name
        folder.mkdir()
        config = printed.runnable(config, self.dns, self.pods.port, self.upstream, patient=not LONG)
        connect = web.Connection
        if name == "edge.yaml":
            tools.certificate(folder / "tls")
            shutil.copy(printed.EDGE.parent / "certificate.yaml", folder)
            trusted = ssl.create_default_context(cafile=folder / "tls" / "ca.crt")

            def connect(address: str) -> web.Connection:
                return web.Connection(address, tls=trusted)

        self.envoys[name] = (self.stack.envoy(config, working_folder=folder), connect)

    def envoy_gateway(self) -> None:
        """The xDS of Envoy Gateway's translator for the release's policy."""
        folder = self.folder / "envoy-gateway"
        folder.mkdir()
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": MESH}}
        installed = self.cluster.get("services,securitypolicies", "--namespace", MESH)["items"]
        objects = [namespace, *envoy_gateway.published(MESH), *installed]
        services = {each["metadata"]["name"]: each for each in objects if each["kind"] == "Service"}
        wanted = {"claimgate", "orders"}
        objects = [each for each in objects if each["kind"] != "Service" or each["metadata"]["name"] in wanted]
        address = f"{services['claimgate']['spec']['clusterIP']}:9001"
        running = {address: f"{next(iter(self.pods.pods))}:{self.pods.port}", "10.0.255.1:80": self.upstream}
        xds = envoy_gateway.translate(folder, objects)
        if not LONG:
            xds = printed.with_patience(xds)
        envoy = envoy_gateway.envoy(self.stack, folder, xds, running)
        (file,) = (
            file
            for file in folder.glob("resource-*.json")
            if next(iter(self.pods.pods)) in file.read_text()
        )
        self.pods.discoveries.append(Endpoints(file, self.pods.port))
        self.envoys["Envoy Gateway"] = (envoy, web.Connection)

    def istio(self, mesh: dict[str, Any]) -> None:
        """A gateway of istiod's, for the release's policies."""
        text = yaml.safe_dump(mesh).replace("claimgate.claimgate.svc", f"claimgate.{MESH}.svc")
        if not LONG:
            assert "timeout: 0.2s" in text
            text = text.replace("timeout: 0.2s", f"timeout: {printed.PATIENCE}")
        self.istiod = istio.istiod(self.cluster, yaml.safe_load(text))
        self.pods.discoveries.append(ServiceEntry(self.cluster, self.pods.port))
        self.cluster.apply([istio.service_entry(MESH, "orders", [{**HTTP, "address": self.upstream}])])
        self.cluster.apply([*_istio_routes("traffic", LABELS), *_istio_routes("retries", RETRIES)])
        self.cluster.apply([_retries()])
        for name, labels in {"Istio": LABELS, "Istio with retries": RETRIES}.items():
            self.envoys[name] = (self.istiod.gateway(self.stack, MESH, labels), web.Connection)

    @contextmanager
    def traffic(self, rate: float) -> Iterator[dict[str, Load]]:
        """Requests to each Envoy, so many a second, once all of them work."""
        self.pods.announce()
        loads = {
            name: Load(envoy.address, self.cases, rate, connect=connect)
            for name, (envoy, connect) in self.envoys.items()
        }
        for name, load in loads.items():
            connection = load.connect(load.address)
            for case in self.cases:
                web.wait_until(
                    lambda: connection.send("GET", case.path, case.headers).status == case.status,
                    f"{name} to answer {case.path} with {case.status}",
                    60,
                )
            connection.close()
        with all_of(loads):
            yield loads

    def settle(self) -> None:
        """Waits until every Envoy knows the pods that run, and takes all of them
        for healthy. An instance that dies before is the only one that some know."""
        wanted = set(self.pods.pods)
        for name, (envoy, _) in self.envoys.items():
            web.wait_until(
                lambda: envoy.healthy(self.pods.port) == wanted,
                f"{name} to take all pods for healthy",
                60,
            )

    def lets_in(self, key: str) -> bool:
        """Whether an API key passes every Envoy."""
        return all(
            connect(envoy.address).send("GET", "/orders", web.bearer(key)).status == 200
            for envoy, connect in self.envoys.values()
        )


def _istio_routes(name: str, labels: dict[str, str]) -> list[dict[str, Any]]:
    networking = {"apiVersion": "networking.istio.io/v1", "metadata": {"name": name, "namespace": MESH}}
    servers = [{"port": {**HTTP, "number": free_port()}, "bind": "127.0.0.1", "hosts": ["*"]}]
    orders = {"host": f"orders.{MESH}.svc.cluster.local", "port": {"number": 80}}
    route = {"hosts": ["*"], "gateways": [name], "http": [{"route": [{"destination": orders}]}]}
    return [
        {**networking, "kind": "Gateway", "spec": {"selector": labels, "servers": servers}},
        {**networking, "kind": "VirtualService", "spec": route},
    ]


def _retries() -> dict[str, Any]:
    """The page's EnvoyFilter, for the second gateway."""
    found = pages.Page("istio.md").yaml("retries.yaml")
    found["metadata"]["namespace"] = MESH
    found["spec"]["workloadSelector"]["labels"] = RETRIES
    return found if LONG else printed.with_patience(found)


HTTP = {"number": 80, "name": "http", "protocol": "HTTP"}

LABELS, RETRIES = {"istio": "traffic"}, {"istio": "traffic-retries"}
"""Of the two gateways, which must be none that other tests configure."""

RELEASE = {
    "istio": {
        "authorizationPolicies": [
            {"name": "claimgate", "selector": LABELS},
            {"name": "claimgate-retries", "selector": RETRIES},
        ]
    },
    "envoyGateway": {
        "securityPolicies": [{"name": "claimgate", "targetRefs": [{"kind": "Gateway", "name": "public"}]}]
    },
}


@pytest.fixture(scope="module")
def notes(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the chart prints for a plain Envoy, and releases of it for all."""
    for namespace in (NAMESPACE, MESH, istio.ROOT_NAMESPACE):
        cluster.namespace(namespace)
    values = tmp_path_factory.mktemp("values") / "values.yaml"
    values.write_text(yaml.safe_dump(RELEASE))
    cluster.helm("install", "claimgate", release.CHART, "--namespace", MESH, "--values", values)
    return cluster.helm("install", "claimgate", release.CHART, "--namespace", NAMESPACE)


def test_the_notes_say_what_the_page_says(notes: str):
    """They differ in names alone, so what is shown of one holds of the other."""
    page, shown = printed.page(), printed.notes(notes)

    def parts(config: dict[str, Any]) -> list[Any]:
        listener = config["static_resources"]["listeners"][0]
        http = listener["filter_chains"][0]["filters"][0]["typed_config"]
        return [http["http_filters"], config["static_resources"]["clusters"][0]]

    name = f"claimgate-headless.{NAMESPACE}.svc.cluster.local"
    text = json.dumps(parts(shown))
    assert f'"{name}"' in text
    assert json.loads(text.replace(name, "claimgate.internal")) == parts(page)


@pytest.fixture
def field(cluster: Cluster, stack: Stack, tmp_path: Path, notes: str) -> Iterator[Callable[..., Field]]:
    """Makes the pods and all Envoys, of which some may be left out."""
    made: list[Field] = []

    def make(*, cached: float, only_dns: bool = False) -> Field:
        field = Field(cluster, stack, tmp_path, cached=cached)
        made.append(field)
        if not only_dns:
            field.istio(pages.Page("istio.md").yaml("istiod-values.yaml")["meshConfig"])
            field.envoy_gateway()
        for name, config in {
            "docs/envoy.md": printed.page(),
            "the notes": printed.notes(notes),
            "edge.yaml": printed.edge(),
        }.items():
            field.by_name(name.replace("/", "-"), config)
        return field

    yield make
    for each in made:
        each.dns.close()


def _judge(loads: dict[str, Load], *, dies: bool) -> None:
    said = "\n".join(f"{name}: {load.summary()}" for name, load in loads.items())
    print(said)
    for name, load in loads.items():
        allowed = LOST_IN_ISTIO if dies and name == "Istio" else 0
        assert len(load.wrong) <= allowed, said


def everything(field: Field) -> None:
    """The events of the long form in one run, each as short as it can be, and
    one at a time."""
    field.pods.rollout(delay=5)
    field.pods.swap(CHANGED)
    field.settle()
    field.pods.kill(absent=6)
    field.settle()
    field.pods.restart()


def files(field: Field) -> None:
    """Several swaps, since one is done within a second."""
    for config in (CHANGED, CONFIG) * 10 + (CHANGED,):
        field.pods.swap(config)


PLAYS: dict[str, Callable[[Field], None]] = (
    {
        "a rollout": lambda field: field.pods.rollout(delay=5),
        "a pod that dies": lambda field: field.pods.kill(absent=40),
        "a restart in place": lambda field: field.pods.restart(),
        "another file": files,
    }
    if LONG
    else {"everything": everything}
)

RATE = 40 if LONG else 24
"""Requests a second to each Envoy."""


# A machine that stops for longer than Envoy waits, 200 ms, loses requests
# whatever is configured; what loses them does so again.
STALLS = pytest.mark.flaky(reruns=1, only_rerun="AssertionError")


@STALLS
@pytest.mark.parametrize("play", PLAYS)
def test_nothing_is_lost(field: Callable[..., Field], play: str):
    """Each event comes right after the Envoys have started."""
    running = field(cached=5)
    with running.traffic(RATE) as loads:
        PLAYS[play](running)
        time.sleep(1)
    _judge(loads, dies=play not in ("a rollout", "another file"))
    assert running.lets_in("late-key") == (play in ("everything", "another file"))


CACHED = 30 if LONG else 4
"""Seconds; with the 5 that Envoy waits before it asks again, the longest that it
does not know of a new pod."""


@STALLS
def test_a_cache_of_dns_loses_nothing(field: Callable[..., Field]):
    """If pods wait for longer than that before they end."""
    running = field(cached=CACHED, only_dns=True)
    with running.traffic(RATE) as loads:
        running.pods.rollout(delay=CACHED + 6)
        time.sleep(CACHED + 6 if LONG else 1)
    _judge(loads, dies=False)


@STALLS
def test_a_new_pod_is_used_as_soon_as_it_is_healthy(field: Callable[..., Field]):
    """The others may die in the same moment. By default Envoy tells its workers
    of a host's health up to a second later."""
    running = field(cached=1, only_dns=True)
    gone = next(iter(running.pods.pods))
    running.pods.pods.pop(gone).kill()
    with running.traffic(RATE) as loads:
        old = next(iter(running.pods.pods))
        running.pods.add()
        running.pods.announce()
        running.settle()
        running.pods.pods[old].kill()
        time.sleep(1)
    _judge(loads, dies=True)
