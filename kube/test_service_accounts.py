"""docs/kubernetes-service-accounts.md, with tokens of a real API server."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

import pages
import release
import web
from cluster import Cluster
from envoy_config import envoy_config
from stack import Claimgate, Envoy, Stack

NAMESPACE = "claimgate-sa"
REFUSALS = ("wrong_audience", "lifetime_too_long")
MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


@dataclass
class Gateway:
    """What the page sets up, with an Envoy in front."""

    cluster: Cluster
    page: pages.Page
    folder: Path
    path: Path
    claimgate: Claimgate
    envoy: Envoy

    def run(self, script: str) -> str:
        """The output of the reader's shell."""
        environment = {"KUBECONFIG": self.cluster.kubeconfig, "GATEWAY": self.envoy.address}
        return pages.run(script, self.folder, [self.path], **environment)

    def token(self, account: str, namespace: str, *options: str) -> str:
        create = ("create", "token", account, "--namespace", namespace)
        return self.cluster.kubectl(*create, *options).strip()

    def get(self, path: str, token: str) -> web.Reply:
        """A GET through Envoy with this token."""
        return web.get(self.envoy.address, path, web.bearer(token))


@pytest.fixture(scope="module")
def gateway(
    cluster: Cluster, module_stack: Stack, tmp_path_factory: pytest.TempPathFactory
) -> Gateway:
    """The page, up to Claimgate's start."""
    folder = tmp_path_factory.mktemp("service-accounts")
    mount = folder / "mount"
    mount.mkdir()
    replaced = {
        # A name that the cluster's DNS would resolve.
        "https://kubernetes.default.svc/": f"https://{cluster.address}/",
        MOUNT: str(mount),
        release.PUBLISHED: str(release.CHART),
        "--namespace claimgate ": f"--namespace {NAMESPACE} ",
    }
    page = pages.Page("kubernetes-service-accounts.md", replaced)
    page.write(folder)
    path = release.programs(folder, "helm", "kubectl")
    pages.run(page.commands("helm install"), folder, [path], KUBECONFIG=cluster.kubeconfig)
    # The kubelet's files in the pod.
    account = _pod_spec(cluster)["serviceAccountName"]
    token = cluster.kubectl("create", "token", account, "--namespace", NAMESPACE)
    (mount / "token").write_text(token)
    (mount / "ca.crt").write_bytes(cluster.ca_file.read_bytes())
    claimgate = release.serve(module_stack, release.installed_config(cluster, NAMESPACE))
    envoy = module_stack.envoy(envoy_config(claimgate.grpc, module_stack.upstream()))
    return Gateway(cluster, page, folder, path, claimgate, envoy)


def _pod_spec(cluster: Cluster) -> dict:
    deployments = cluster.get("deployments", "--namespace", NAMESPACE)["items"]
    assert len(deployments) == 1
    return deployments[0]["spec"]["template"]["spec"]


def test_the_chart_mounts_what_the_config_names(cluster: Cluster, gateway: Gateway):
    spec = _pod_spec(cluster)
    mounts = {
        mount["mountPath"]: mount["name"] for mount in spec["containers"][0]["volumeMounts"]
    }
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    paths = []
    for source in volumes[mounts[MOUNT]]["projected"]["sources"]:
        if "serviceAccountToken" in source:
            paths.append(source["serviceAccountToken"]["path"])
        paths += [item["path"] for item in source.get("configMap", {}).get("items", [])]
    assert sorted(paths) == ["ca.crt", "token"]


def test_the_cluster_says_what_the_page_says(gateway: Gateway):
    printed = gateway.run(gateway.page.commands("/.well-known/openid-configuration"))
    assert '"issuer":"https://kubernetes.default.svc.cluster.local"' in printed
    assert '"keys":[' in printed


def test_a_token_of_the_cluster_is_verified(gateway: Gateway):
    """The page's own commands, curl included."""
    printed = gateway.run(gateway.page.commands("kubectl create token"))
    assert " 200 OK" in printed
    assert '"x-auth-subject",\n      "system:serviceaccount:batch:nightly"' in printed
    assert '"x-auth-namespace",\n      "batch"' in printed
    assert '"x-auth-service-account",\n      "nightly"' in printed


def test_other_tokens_of_the_cluster_are_refused(gateway: Gateway):
    gateway.cluster.namespace("elsewhere")
    audience = ("--audience", "llm-gateway")
    good = gateway.token("default", "elsewhere", *audience)
    assert gateway.get("/v1/models", good).seen.get("x-auth-namespace") == "elsewhere"
    wrong, long = (gateway.claimgate.checks(each) for each in REFUSALS)
    cases = [
        ("another namespace", "/v1/batches", good, 403),
        ("made for the API server", "/v1/models", gateway.token("default", "elsewhere"), 401),
        (
            "made for another service",
            "/v1/models",
            gateway.token("default", "elsewhere", "--audience", "vault"),
            401,
        ),
        (
            "lives too long",
            "/v1/models",
            gateway.token("default", "elsewhere", *audience, "--duration", "48h"),
            401,
        ),
    ]
    for what, path, token, status in cases:
        assert gateway.get(path, token).status == status, what
    assert [gateway.claimgate.checks(each) for each in REFUSALS] == [wrong + 2, long + 1]


def test_the_keys_are_for_authenticated_callers(gateway: Gateway, stack: Stack):
    """So a config without `fetch_token_file` never becomes ready."""
    config = release.installed_config(gateway.cluster, NAMESPACE)
    for provider in config["auth"]["providers"]:
        del provider["fetch_token_file"]
    claimgate = release.serve(stack, config, wait=False)
    fetched = 'claimgate_jwks_fetches_total{provider="cluster",result="failure"}'
    web.wait_until(lambda: claimgate.metrics().get(fetched, 0) > 0, "a failed fetch")
    assert not claimgate.ready()


def test_the_api_server_takes_the_clients_pod(gateway: Gateway):
    restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
    namespace = gateway.cluster.namespace("pods", **restricted)
    gateway.cluster.kubectl("create", "serviceaccount", "nightly", "--namespace", namespace)
    pod = gateway.page.yaml("client-pod.yaml")
    pod["metadata"]["namespace"] = namespace
    gateway.cluster.apply([pod])
