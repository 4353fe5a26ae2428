"""The real program works with the chart's files, arguments, ports and probes."""

from __future__ import annotations

import json
import signal
import socket
import ssl
import subprocess
from pathlib import Path

import pytest
import tools
import trustme
import web
import yaml
from stack import Program, Stack, free_port

import chart
from chart import Rendered

ENVIRONMENT = {"FRONTEND_API_KEY": "from-a-secret"}
"""The variables from the Secrets of the examples."""


DEFAULT = yaml.safe_load((chart.CHART / "files" / "gateway.yaml").read_text())
"""The chart's own configuration."""


class Pod:
    """The files and variables that the pod of a rendering would have."""

    def __init__(self, folder: Path, made: Rendered):
        self.folder = folder
        self.container = made.container
        pod = made.one("Deployment")["spec"]["template"]["spec"]
        self.spec = pod
        self.mounts = {mount["mountPath"]: mount["name"] for mount in self.container["volumeMounts"]}
        self.ca = trustme.CA()
        for path, name in self.mounts.items():
            (volume,) = (volume for volume in pod["volumes"] if volume["name"] == name)
            self._fill(self.path(path), volume, made)

    def path(self, inside: str) -> Path:
        """The path on this machine for a path inside the pod."""
        return self.folder / inside.lstrip("/")

    @property
    def environment(self) -> dict[str, str]:
        own = {entry["name"]: entry["value"] for entry in self.container["env"]}
        return {**ENVIRONMENT, **own}

    @property
    def arguments(self) -> list[str]:
        """The container's arguments, with paths on this machine."""
        return [
            str(self.path(argument)) if argument.startswith("/") else argument
            for argument in self.container["args"]
        ]

    def port(self, name: str) -> int:
        """The number of one of the container's ports."""
        (port,) = (port for port in self.container["ports"] if port["name"] == name)
        return port["containerPort"]

    def probe(self, name: str) -> int:
        """The status that the kubelet would get."""
        get = self.container[name]["httpGet"]
        return web.get(f"127.0.0.1:{self.port(get['port'])}", get["path"]).status

    def start(self, stack: Stack) -> Program:
        """The container's process, once its probes say that it is ready."""
        command = [tools.claimgate(), *self.arguments]
        program = stack.start(Program, "claimgate", command, self.environment)
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            program.wait_ready(lambda: self.probe(probe) == 200)
        return program

    def _fill(self, folder: Path, volume: dict, made: Rendered) -> None:
        folder.mkdir(parents=True)
        if volume["name"] == "config":
            text = made.gateway_yaml
            for path in self.mounts:
                text = text.replace(f"{path}/", f"{self.path(path)}/")
            items = volume["configMap"]["items"]
            assert [item["key"] for item in items] == ["gateway.yaml"]
            (folder / items[0]["path"]).write_text(text)
            return
        for file in self._files(volume):
            if file == "tls.crt":
                self.certificate = self.ca.issue_cert("localhost")
                self.certificate.cert_chain_pems[0].write_to_path(folder / file)
            elif file == "tls.key":
                self.certificate.private_key_pem.write_to_path(folder / file)
            elif file == "token":
                (folder / file).write_text("token")
            else:
                self.ca.cert_pem.write_to_path(folder / file)

    @staticmethod
    def _files(volume: dict) -> list[str]:
        sources = volume.get("projected", {}).get("sources") or [volume]
        files = []
        for source in sources:
            if "serviceAccountToken" in source:
                files.append(source["serviceAccountToken"]["path"])
            listed = source.get("secret") or source.get("configMap") or {}
            files += [item["path"] for item in listed.get("items", [])]
        return files


def with_free_ports(folder: Path, values: dict) -> Rendered:
    """The chart, its configuration listening on ports of this machine."""
    grpc, admin = free_port(), free_port()
    server = {"grpc": {"address": f"0.0.0.0:{grpc}"}, "admin": {"address": f"0.0.0.0:{admin}"}}
    file = folder / "values.yaml"
    file.write_text(json.dumps({**values, "config": {**values["config"], "server": server}}))
    return chart.rendered(file)


def test_the_program_accepts_every_example(service: Rendered, tmp_path: Path):
    pod = Pod(tmp_path, service)
    (config,) = (argument for argument in pod.arguments if argument.startswith("/"))
    ran = subprocess.run(
        [tools.claimgate(), "validate", "--config", config],
        env=pod.environment,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("values", chart.MODULES, ids=lambda file: file.stem)
def test_the_program_accepts_the_file_that_envoys_pods_get(values: Path, tmp_path: Path):
    maps = [found for found in chart.rendered(values).objects if found["kind"] == "ConfigMap"]
    assert maps and len({found["data"]["gateway.yaml"] for found in maps}) == 1
    file = tmp_path / "gateway.yaml"
    file.write_text(maps[0]["data"]["gateway.yaml"])
    command = [tools.claimgate(), "validate", "--config", file]
    ran = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


def test_the_ports_are_those_of_the_program():
    """With and without settings in the file."""
    ran = subprocess.run([tools.claimgate(), "schema"], capture_output=True, text=True, check=True)
    kinds = json.loads(ran.stdout)["$defs"]
    ports = {port["name"]: port["containerPort"] for port in chart.rendered().container["ports"]}
    for name, kind in (("grpc", "Grpc"), ("admin", "Admin")):
        assert kinds[kind]["properties"]["address"]["default"] == f"0.0.0.0:{ports[name]}"


def test_the_test_pod_runs_the_program_as_the_deployment_does(service: Rendered):
    test = service.one("Pod", "claimgate-test")["spec"]
    deployment = service.one("Deployment")["spec"]["template"]["spec"]
    container = test["containers"][0]
    for key in ("image", "env", "securityContext", "volumeMounts"):
        assert container[key] == service.container[key]
    assert container["args"] == ["validate", *service.container["args"][1:]]
    assert test["securityContext"] == deployment["securityContext"]


def test_the_pod_starts_is_ready_and_stops(tmp_path: Path):
    pod = Pod(tmp_path / "pod", with_free_ports(tmp_path, {"config": DEFAULT}))
    delay = pod.container["lifecycle"]["preStop"]["sleep"]["seconds"]
    left = pod.spec["terminationGracePeriodSeconds"] - delay
    assert left > 20, "the kubelet must not kill the pod within its own grace period"
    with Stack(tmp_path) as stack:
        program = pod.start(stack)
        grpc = ("127.0.0.1", pod.port("grpc"))
        with socket.create_connection(grpc), socket.create_connection(grpc) as later:
            # An open connection keeps it from ending at once. They are accepted
            # in order: once the later one speaks HTTP/2, both are.
            later.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
            assert later.recv(9)
            program.signal(signal.SIGTERM)
            program.wait_ready(lambda: pod.probe("readinessProbe") == 503)
            assert pod.probe("livenessProbe") == 200
        assert program.wait(left) == 0


def test_the_test_pod_asks_the_running_one(tmp_path: Path):
    made = with_free_ports(tmp_path, {"config": DEFAULT})
    _, health = made.one("Pod", "claimgate-test")["spec"]["containers"]
    assert health["image"] == made.container["image"]
    assert health["securityContext"] == made.container["securityContext"]
    service = made.one("Service", "claimgate-admin")
    named = f"claimgate-admin.{chart.NAMESPACE}:{service['spec']['ports'][0]['port']}"
    assert named in health["args"]
    pod = Pod(tmp_path / "pod", made)
    here = f"127.0.0.1:{pod.port('admin')}"
    command = [
        tools.claimgate(),
        *(here if argument == named else argument for argument in health["args"]),
    ]
    assert subprocess.run(command, capture_output=True).returncode == 1
    with Stack(tmp_path) as stack:
        pod.start(stack)
        ran = subprocess.run(command, capture_output=True, text=True)
        assert (ran.returncode, ran.stdout) == (0, "ready\n"), ran.stderr


def test_mtls_works_as_rendered(tmp_path: Path):
    tls = {
        "enabled": True,
        "existingSecret": "certificate",
        "clientCA": {"existingConfigMap": "roots"},
        "allowedClientSANs": ["envoy.example.com"],
    }
    pod = Pod(tmp_path / "pod", with_free_ports(tmp_path, {"config": DEFAULT, "tls": tls}))
    with Stack(tmp_path) as stack:
        pod.start(stack)
        assert _shakes_hands(pod, "envoy.example.com")
        assert not _shakes_hands(pod, "somebody.example.com")
        assert not _shakes_hands(pod, None)


def _shakes_hands(pod: Pod, client: str | None) -> bool:
    """Whether a client of this name is served over HTTP/2 and TLS."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["h2"])
    pod.ca.configure_trust(context)
    if client:
        pod.ca.issue_cert(client).configure_cert(context)
    try:
        with socket.create_connection(("127.0.0.1", pod.port("grpc")), web.TIMEOUT) as plain:
            with context.wrap_socket(plain, server_hostname="localhost") as secure:
                secure.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
                # With TLS 1.3 a client learns only here that it was refused.
                return secure.selected_alpn_protocol() == "h2" and len(secure.recv(9)) == 9
    except (ssl.SSLError, ConnectionError):
        return False
