"""A Kubernetes API without machines: a real kube-apiserver on a real etcd.

Nothing runs the pods or fills the endpoints, so a test creates the ones it
needs. Admission, validation, RBAC, service-account tokens and custom
resources are all real.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

import go_tools
from stack import Program, Stack, free_port

ISSUER = "https://kubernetes.default.svc.cluster.local"
"""The `iss` of service-account tokens, as most clusters have it."""

START_SECONDS = 120
"""Seconds; the machine may be busy."""

CUSTOM_RESOURCES = {
    "cert-manager": ["deploy/crds/cert-manager.io_*.yaml"],
    "envoy-gateway": ["charts/gateway-helm/charts/crds/crds/generated/*.yaml"],
    "gateway-api": ["config/crd/standard/*.yaml"],
    "istio": ["manifests/charts/base/files/crd-all.gen.yaml"],
    # The others are large, and the API server needs time for each.
    "prometheus-operator": [
        "example/prometheus-operator-crd/*_podmonitors.yaml",
        "example/prometheus-operator-crd/*_prometheusrules.yaml",
        "example/prometheus-operator-crd/*_servicemonitors.yaml",
    ],
}
"""The folder of the definitions in each of `go_tools.MODULES`."""


class CommandFailed(Exception):
    """kubectl or helm failed; the text is its output."""


class Cluster:
    """The API server, and the tools that talk to it."""

    def __init__(self, stack: Stack):
        self.stack = stack
        self.folder = stack.folder / "cluster"
        self.folder.mkdir()
        self._token = secrets.token_hex(16)
        self._etcd = self._start_etcd()
        self.address = f"127.0.0.1:{free_port()}"
        self._start_api_server()
        self.kubeconfig = self._write_kubeconfig()

    @property
    def ca_file(self) -> Path:
        """The roots of the API server's certificate, which every pod gets."""
        return self.folder / "certificates" / "apiserver.crt"

    def kubectl(self, *arguments: str | Path, stdin: str | None = None) -> str:
        """kubectl's output."""
        command = [go_tools.program("kubectl"), "--kubeconfig", self.kubeconfig, *arguments]
        return _run(command, stdin)

    def helm(self, *arguments: str | Path) -> str:
        """helm's output."""
        home = self.folder / "helm"
        command = [go_tools.program("helm"), "--kubeconfig", self.kubeconfig, *arguments]
        return _run(command, HELM_CACHE_HOME=home, HELM_CONFIG_HOME=home, HELM_DATA_HOME=home)

    def apply(self, objects: str | Iterable[dict], *options: str) -> str:
        """Applies objects as the API server takes them, unknown fields refused."""
        text = objects if isinstance(objects, str) else yaml.safe_dump_all(objects)
        server_side = ["apply", "--server-side", "--validate=strict", *options]
        return self.kubectl(*server_side, "--filename", "-", stdin=text)

    def get(self, *arguments: str) -> dict[str, Any]:
        """One object, or a list of them."""
        return json.loads(self.kubectl("get", "--output", "json", *arguments))

    def names(self, kind: str) -> set[str]:
        """The names of all objects of a kind that has no namespaces."""
        return {each["metadata"]["name"] for each in self.get(kind)["items"]}

    def namespace(self, name: str, **labels: str) -> str:
        """A new namespace, with the ServiceAccount that a controller would make."""
        metadata = {"name": name, "labels": labels}
        account = {"name": "default", "namespace": name}
        self.apply(
            [
                {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata},
                {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account},
            ]
        )
        return name

    def everything(self) -> set[str]:
        """Every object, by its key in etcd, except those that controllers make
        and remove."""
        passing = ("/registry/events/", "/registry/leases/", "/registry/masterleases/")
        prefix, end = (base64.b64encode(key).decode() for key in (b"/registry/", b"/registry0"))
        question = json.dumps({"key": prefix, "range_end": end, "keys_only": True}).encode()
        with urllib.request.urlopen(f"{self._etcd}/v3/kv/range", question, timeout=30) as reply:
            entries = json.load(reply)["kvs"]
        keys = {base64.b64decode(entry["key"]).decode() for entry in entries}
        return {key for key in keys if not key.startswith(passing)}

    def install_custom_resources(self) -> None:
        """The definitions of everything that the chart has templates for."""
        files = [
            file
            for module, patterns in CUSTOM_RESOURCES.items()
            for pattern in patterns
            for file in sorted(go_tools.module(module).glob(pattern))
        ]
        self.kubectl("create", *(f"--filename={file}" for file in files))
        established = ("--for=condition=Established", f"--timeout={START_SECONDS}s")
        self.kubectl("wait", *established, "--all", "customresourcedefinitions")

    def _start_etcd(self) -> str:
        client, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        command = [
            go_tools.program("etcd"),
            *("--data-dir", self.folder / "etcd", "--unsafe-no-fsync", "--log-level", "warn"),
            *("--listen-client-urls", client, "--advertise-client-urls", client),
            *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
            *("--initial-cluster", f"default={peer}"),
        ]
        etcd = self.stack.start(Program, "etcd", command)
        etcd.wait_ready(lambda: _get(f"{client}/health"), START_SECONDS)
        return client

    def _start_api_server(self) -> None:
        signing_key = self.folder / "service-account.key"
        _run(["openssl", "genrsa", "-out", signing_key, "2048"])
        tokens = self.folder / "tokens.csv"
        tokens.write_text(f"{self._token},admin,admin,system:masters\n")
        host, port = self.address.split(":")
        options = {
            "etcd-servers": self._etcd,
            "bind-address": host,
            "secure-port": port,
            "cert-dir": self.folder / "certificates",
            "service-account-issuer": ISSUER,
            "service-account-key-file": signing_key,
            "service-account-signing-key-file": signing_key,
            "token-auth-file": tokens,
            "authorization-mode": "RBAC",
            "service-cluster-ip-range": "10.0.0.0/16,fd00:10::/112",
            # Otherwise it would wait for the lease of this only member.
            "endpoint-reconciler-type": "none",
        }
        command = [f"--{name}={value}" for name, value in options.items()]
        server = self.stack.start(
            Program, "kube-apiserver", [go_tools.program("kube-apiserver"), *command]
        )
        server.wait_ready(
            lambda: self.ca_file.exists()
            and _get(f"https://{self.address}/readyz", self.ca_file, self._token),
            START_SECONDS,
        )

    def _write_kubeconfig(self) -> Path:
        server = {
            "server": f"https://{self.address}",
            "certificate-authority": str(self.ca_file),
        }
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": server}],
            "users": [{"name": "admin", "user": {"token": self._token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
            "current-context": "test",
        }
        file = self.folder / "kubeconfig.yaml"
        file.write_text(yaml.safe_dump(config))
        return file


def _run(command: list[str | Path], stdin: str | None = None, **environment: str | Path) -> str:
    ran = subprocess.run(
        [str(part) for part in command],
        input=stdin,
        capture_output=True,
        text=True,
        env={**os.environ, **{name: str(value) for name, value in environment.items()}},
    )
    if ran.returncode != 0:
        raise CommandFailed(f"{Path(command[0]).name} {command[3:]}: {ran.stderr}{ran.stdout}")
    return ran.stdout


def _get(url: str, ca_file: Path | None = None, token: str | None = None) -> bool:
    """Whether the address reports that it is healthy."""
    request = urllib.request.Request(url)
    if token:
        request.add_header("authorization", f"Bearer {token}")
    context = ssl.create_default_context(cafile=str(ca_file)) if ca_file else None
    try:
        with urllib.request.urlopen(request, timeout=5, context=context) as reply:
            return reply.status == 200
    except urllib.error.HTTPError:
        return False
