"""The chart on a real API server."""

from __future__ import annotations

import concurrent.futures
import itertools
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import kubelet
import pages
import release
import tools
import web
from cluster import Cluster, CommandFailed
from release import CHART

EXAMPLES = sorted((CHART / "examples").glob("*.yaml"))
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


def documents(text: str) -> list[dict]:
    """The objects of a manifest."""
    return [each for each in yaml.load_all(text, yaml.CSafeLoader) if each]


def make_what_it_expects(cluster: Cluster, objects: list[dict]) -> None:
    """Objects that the values name and the chart does not make: namespaces, and
    priority and runtime classes."""
    spaces = {each["metadata"].get("namespace") for each in objects} - {None}
    for name in sorted(spaces - cluster.names("namespaces")):
        cluster.namespace(name)
    pods = [each["spec"]["template"]["spec"] for each in objects if each["kind"] == "Deployment"]
    priorities = {pod.get("priorityClassName") for pod in pods} - {None}
    for name in sorted(priorities - cluster.names("priorityclasses")):
        cluster.kubectl("create", "priorityclass", name, "--value=1")
    runtimes = {pod.get("runtimeClassName") for pod in pods} - {None}
    for name in sorted(runtimes - cluster.names("runtimeclasses")):
        kind = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "handler": name}
        cluster.apply([{**kind, "metadata": {"name": name}}])


def in_own_namespaces(text: str, namespace: str) -> str:
    """A manifest whose objects in other namespaces than the release's are in ones
    that no other test uses."""

    def own(found: re.Match[str]) -> str:
        return found[0] if found[1] == namespace else f"  namespace: {namespace}-{found[1]}"

    return re.sub(r"^  namespace: (\S+)$", own, text, flags=re.MULTILINE)


def pod_of(deployment: dict) -> dict:
    """The Pod that a controller would make from it."""
    template = deployment["spec"]["template"]
    metadata = {**template["metadata"], "name": "made-by-hand"}
    metadata["namespace"] = deployment["metadata"]["namespace"]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def test_there_are_examples():
    assert len(EXAMPLES) > 3


@pytest.mark.parametrize("values", EXAMPLES, ids=lambda file: file.stem)
def test_every_object_is_accepted(cluster: Cluster, values: Path):
    """With unknown and repeated fields refused, by the real definitions, and
    with the Pod of the template admitted under `restricted`."""
    namespace = cluster.namespace(f"accepted-{values.stem}", **RESTRICTED)
    options = ("--namespace", namespace, "--values", values)
    text = in_own_namespaces(cluster.helm("template", "claimgate", CHART, *options), namespace)
    objects = documents(text)
    make_what_it_expects(cluster, objects)
    deployments = [each for each in objects if each["kind"] == "Deployment"]
    # With Claimgate inside Envoy the pods are of others.
    assert len(deployments) == (0 if values.stem.startswith("module-") else 1)
    pod = yaml.safe_dump_all([pod_of(each) for each in deployments])
    try:
        cluster.apply(text)
        if deployments:
            cluster.apply(pod)
    finally:
        everything = f"{text}\n---\n{pod}"
        cluster.kubectl("delete", "--ignore-not-found", "--filename", "-", stdin=everything)


def test_other_pods_are_not_admitted(cluster: Cluster):
    """The test above can fail."""
    namespace = cluster.namespace("strict", **RESTRICTED)
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "lax", "namespace": namespace},
        "spec": {"containers": [{"name": "lax", "image": "lax"}]},
    }
    with pytest.raises(CommandFailed, match='violates PodSecurity "restricted:latest"'):
        cluster.apply([pod])
    pod["spec"]["containers"][0]["colour"] = "red"
    with pytest.raises(CommandFailed, match="colour"):
        cluster.apply([pod])


def test_install_upgrade_rollback_uninstall(cluster: Cluster):
    everything = next(file for file in EXAMPLES if file.stem.startswith("every"))
    namespace = cluster.namespace("lifecycle", **RESTRICTED)
    here = ("--namespace", namespace)
    text = cluster.helm("template", "claimgate", CHART, *here, "--values", everything)
    make_what_it_expects(cluster, documents(text))
    before = cluster.everything()

    printed = cluster.helm("install", "claimgate", CHART, *here)
    assert "STATUS: deployed" in printed
    installed = cluster.everything() - before
    first = cluster.get("deployment", "claimgate", *here)

    cluster.helm("upgrade", "claimgate", CHART, *here, "--values", everything)
    released = [each for each in documents(text) if not _is_hook(each)]
    for each in released:
        each["metadata"].setdefault("namespace", namespace)
    manifest = yaml.safe_dump_all(released)
    cluster.kubectl("get", "--filename", "-", stdin=manifest)
    assert len(cluster.everything() - before) > len(installed)
    assert cluster.get("deployment", "claimgate", *here)["spec"] != first["spec"]

    cluster.helm("rollback", "claimgate", "1", *here)
    rolled_back = cluster.everything() - before
    assert _made_by_the_chart(rolled_back) == _made_by_the_chart(installed)
    assert cluster.get("deployment", "claimgate", *here)["spec"] == first["spec"]

    cluster.helm("uninstall", "claimgate", *here)
    assert cluster.everything() == before


def _is_hook(manifest: dict) -> bool:
    return "helm.sh/hook" in manifest["metadata"].get("annotations", {})


def _made_by_the_chart(objects: set[str]) -> set[str]:
    """Without the Secret that Helm keeps for each revision, and the second
    address that the API server leaves to a Service which once had two."""
    others = ("sh.helm.release", "/registry/ipaddresses/")
    return {each for each in objects if not any(other in each for other in others)}


def pairs(count: int) -> Iterator[tuple[int, int]]:
    """A way through all of these: each once, or with UPGRADES=all from each to
    each other, without repeating one."""
    if os.environ.get("UPGRADES") != "all":
        yield from itertools.pairwise(range(count))
        return
    for first, second in itertools.combinations(range(count), 2):
        yield first, second
        yield second, first


def test_upgrades_between_the_examples(cluster: Cluster):
    """Helm and the API server accept each change, and what the release has then
    is what the values say."""
    namespace = cluster.namespace("upgrades", **RESTRICTED)
    here = ("--namespace", namespace)
    texts = [cluster.helm("template", "claimgate", CHART, *here, "--values", file) for file in EXAMPLES]
    for text in texts:
        make_what_it_expects(cluster, documents(text))
    now = None
    for first, second in pairs(len(EXAMPLES)):
        for wanted in (first, second):
            if now != wanted:
                options = (*here, "--install", "--no-hooks", "--values", EXAMPLES[wanted])
                cluster.helm("upgrade", "claimgate", CHART, *options)
                now = wanted
        released = [each for each in documents(texts[second]) if not _is_hook(each)]
        for each in released:
            each["metadata"].setdefault("namespace", namespace)
        cluster.kubectl("get", "--filename", "-", stdin=yaml.safe_dump_all(released))
    cluster.helm("uninstall", "claimgate", *here)


def test_the_autoscaler_takes_over_the_pods_that_there_are(cluster: Cluster):
    here = ("--namespace", cluster.namespace("autoscaled"))
    scaled = ("--set", "autoscaling.enabled=true")

    def replicas() -> int:
        return cluster.get("deployment", "claimgate", *here)["spec"]["replicas"]

    cluster.helm("install", "claimgate", CHART, *here, "--set", "replicas=6")
    assert replicas() == 6
    cluster.helm("upgrade", "claimgate", CHART, *here, *scaled)
    assert replicas() == 6
    # Later the autoscaler's number stays, too.
    cluster.kubectl("scale", "deployment", "claimgate", "--replicas=9", *here)
    cluster.helm("upgrade", "claimgate", CHART, *here, *scaled, "--set", "logLevel=debug")
    assert replicas() == 9
    # None runs: the autoscaler leaves that alone, and so does an upgrade.
    cluster.kubectl("scale", "deployment", "claimgate", "--replicas=0", *here)
    cluster.helm("upgrade", "claimgate", CHART, *here, *scaled)
    assert replicas() == 0
    cluster.helm("uninstall", "claimgate", *here)


HANDED_OVER = {"edit-last-applied": [], "--field-manager autoscaler": ["--server-side"]}
"""The page's two commands, and how the manifests are applied to which each belongs."""


@pytest.mark.parametrize("command", HANDED_OVER)
def test_the_autoscaler_takes_over_without_helm_too(cluster: Cluster, tmp_path: Path, command: str):
    """As docs/kubernetes.md says, where manifests are applied."""
    namespace = cluster.namespace(f"applied-{len(command)}")
    how = HANDED_OVER[command]

    def replicas(*options: str) -> int:
        text = cluster.helm("template", "claimgate", CHART, "--namespace", namespace, "--no-hooks", *options)
        cluster.kubectl("apply", *how, "--filename", "-", stdin=text)
        return cluster.get("deployment", "claimgate", "--namespace", namespace)["spec"]["replicas"]

    scaled = ("--set", "autoscaling.enabled=true")
    assert replicas("--set", "replicas=6") == 6
    page = pages.Page("kubernetes.md", {"--namespace claimgate ": f"--namespace {namespace} "})
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\nexec sed --in-place '/^  replicas: /d' \"$1\"\n")
    editor.chmod(0o755)
    path = release.programs(tmp_path, "kubectl")
    pages.run(page.commands(command), tmp_path, [path], KUBECONFIG=cluster.kubeconfig, KUBE_EDITOR=editor)
    assert replicas(*scaled) == 6
    cluster.kubectl("scale", "deployment", "claimgate", "--replicas=9", "--namespace", namespace)
    assert replicas(*scaled, "--set", "logLevel=debug") == 9
    # Without the command there would be one pod, so the test can fail.
    cluster.kubectl("delete", "deployment", "claimgate", "--namespace", namespace)
    assert replicas("--set", "replicas=6") == 6
    assert replicas(*scaled) == 1


def test_both_address_families(cluster: Cluster):
    here = ("--namespace", cluster.namespace("families"))
    families = ("service.ipFamilyPolicy=RequireDualStack", "adminService.ipFamilyPolicy=RequireDualStack")
    cluster.helm("install", "claimgate", CHART, *here, "--set", ",".join(families))
    for name in ("claimgate", "claimgate-headless", "claimgate-admin"):
        spec = cluster.get("service", name, *here)["spec"]
        assert sorted(spec["ipFamilies"]) == ["IPv4", "IPv6"], name
        assert (spec["clusterIP"] == "None") == (name == "claimgate-headless")
    cluster.helm("uninstall", "claimgate", *here)


PROVIDER = "{name: a, type: api_key, keys: [{name: k, key: '%s'}]}"
GOOD = "config: {auth: {providers: [" + PROVIDER % "${FRONTEND}" + "]}}\nexistingSecret: keys\n"
MUTUAL = "tls: {enabled: true, existingSecret: certificate, clientCA: {fromCertificate: true}}\n"

NEW_FILES = [
    # The values of the upgrade, and what its check says if it stops it.
    pytest.param(GOOD, None, id="good"),
    pytest.param(GOOD + MUTUAL, None, id="good, with files"),
    pytest.param("existingConfigMap: {name: own, key: good.yaml}", None, id="good, of one's own"),
    pytest.param("existingConfigMap: {name: own, key: bad.yaml}", "auth.required_scope: unknown key", id="bad, of one's own"),
    pytest.param("config: {auth: {required_scope: [a]}}", "auth.required_scope: unknown key", id="a key that does not exist"),
    pytest.param(GOOD.replace("FRONTEND", "BACKEND"), "BACKEND", id="a variable that the Secret lacks"),
    pytest.param("config: {auth: {providers: [{name: a, type: oauth2, issuer: 'ftp://x', audience: b}]}}", "auth.providers[0].issuer", id="an issuer that is no address"),
]


@pytest.mark.parametrize(("values", "complaint"), NEW_FILES)
def test_a_file_that_cannot_be_used_stops_the_upgrade(
    cluster: Cluster, tmp_path: Path, values: str, complaint: str | None
):
    """Helm waits for the Job of `preUpgradeCheck`, which is run here."""
    here = ("--namespace", cluster.namespace("checked", **RESTRICTED))
    tools.certificate(tmp_path / "certificate", "claimgate")
    files = {each.name: each.read_text() for each in (tmp_path / "certificate").iterdir()}
    own = {"good.yaml": "auth: {enabled: false}", "bad.yaml": "auth: {required_scope: [a]}"}
    cluster.apply(
        [
            {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": here[1]}, data: held}
            for kind, name, data, held in (
                ("Secret", "keys", "stringData", {"FRONTEND": "from-a-secret"}),
                ("Secret", "certificate", "stringData", files),
                ("ConfigMap", "own", "data", own),
            )
        ]
    )
    file = tmp_path / "values.yaml"
    file.write_text(values + "\npreUpgradeCheck: {enabled: true}\n")
    cluster.helm("install", "claimgate", CHART, *here, "--set", "config.auth.enabled=false")
    before = cluster.get("configmap", "claimgate", *here)["data"]
    try:
        with concurrent.futures.ThreadPoolExecutor() as beside:
            options = (*here, "--reset-values", "--values", file, "--timeout", "60s")
            upgrade = beside.submit(cluster.helm, "upgrade", "claimgate", CHART, *options)
            web.wait_until(lambda: upgrade.done() or _jobs(cluster, here), "the Job", 60)
            (job,) = _jobs(cluster, here)
            # It exists, and a pod of the Job may be made with it.
            assert job["spec"]["template"]["spec"]["serviceAccountName"] == "claimgate"
            ended = kubelet.run(cluster, job, tmp_path / "pod")
            if complaint is None:
                assert (ended.status, "STATUS: deployed" in upgrade.result()) == (0, True), ended.output
                assert not _jobs(cluster, here)
            else:
                with pytest.raises(CommandFailed, match="pre-upgrade hooks failed"):
                    upgrade.result()
                assert ended.status != 0
                assert complaint in ended.output
                # The Job stays, for its log, and nothing else has changed.
                assert _jobs(cluster, here)
                assert cluster.get("configmap", "claimgate", *here)["data"] == before
    finally:
        cluster.helm("uninstall", "claimgate", *here)
        cluster.kubectl("delete", "job,configmap", "--all", *here)


def _jobs(cluster: Cluster, here: tuple[str, str]) -> list[dict]:
    return cluster.get("jobs", *here)["items"]


LEFT_TO_THE_API_SERVER = [
    ("commonLabels: {a: b c}", "a valid label must be"),
    ("commonLabels: {a b: c}", "name part must consist of"),
    ("existingSecret: my secret", 'Invalid value: "my secret"'),
    ("volumes: [{name: config, emptyDir: {}}]", 'duplicate entries for key [name="config"]'),
    ("secretFiles: [{name: a, secret: b, mountPath: /etc/claimgate/config}]", 'duplicate entries for key [mountPath="/etc/claimgate/config"]'),
    ("volumeMounts: [{name: a, mountPath: /b}]", 'Not found: "a"'),
    ("initContainers: [{name: claimgate, image: a}]", 'Duplicate value: "claimgate"'),
    ("updateStrategy: {rollingUpdate: {maxSurge: 0}}", "may not be 0 when `maxSurge` is 0"),
    ("resources: {requests: {memory: 1Gi}}", "must be less than or equal to memory limit"),
    ("resources: {limits: {cpu: lots}}", "quantities must match"),
    ("dnsPolicy: None", "must provide `dnsConfig` when `dnsPolicy` is None"),
    ("minReadySeconds: 100\nprogressDeadlineSeconds: 50", "must be greater than minReadySeconds"),
    ("config: {auth: {enabled: false}, server: {grpc: {address: '0.0.0.0:99999'}}}", "must be between 1 and 65535"),
    ("autoscaling: {enabled: true, minReplicas: 11}", "greater than or equal to `minReplicas`"),
    ("podDisruptionBudget: {minAvailable: some}", "a valid percent string"),
    ("service: {clusterIP: here}", "must be a valid IP address"),
    ("service: {type: LoadBalancer, loadBalancerSourceRanges: [10.0.0.1]}", "must be a valid CIDR value"),
    ("service: {ipFamilies: [IPv4, IPv4]}", "Duplicate value"),
    ("service: {ipFamilies: [IPv4, IPv6], ipFamilyPolicy: SingleStack}", "when multiple IP families are specified"),
    ("service: {appProtocol: a b}", "service.spec.ports[0].appProtocol|spec.ports[0].appProtocol"),
    ("service: {nodePort: 30000}", "may not be used when `type` is 'ClusterIP'"),
    ("service: {clusterIP: None, type: NodePort}", "may not be set to 'None' for NodePort"),
    ("service: {externalTrafficPolicy: Local}", "may only be set for externally-accessible services"),
    ("service: {loadBalancerClass: a, type: NodePort}", "may only be used when `type` is 'LoadBalancer'"),
    ("podMonitor: {enabled: true, interval: often}", "spec.podMetricsEndpoints[0].interval"),
    ("prometheusRule: {enabled: true, overrides: {ClaimgateIsSlow: {for: long}}}", ".for: Invalid value"),
    ("istio: {authorizationPolicies: [{name: a, selector: {a: b}, targetRefs: [{kind: Gateway, name: g}]}]}", "only one of targetRefs or selector can be set"),
    ("envoyGateway: {securityPolicies: [{name: a}]}", "either targetRef or targetRefs must be used|targetSelectors"),
    ("envoyGateway: {securityPolicies: [{name: A, targetRefs: [{kind: HTTPRoute, name: r}]}]}", "RFC 1123"),
    ("envoyGateway: {backendTrafficPolicies: [{name: a}]}\nconfig: {auth: {limits: metadata, plans: {a: {requests: {per_minute: 9}}}}}", "either targetRef or targetRefs must be used|targetSelectors"),
    ("mode: module\nenvoyGateway: {extensionPolicies: [{name: a}]}", "either targetRef or targetRefs must be used|targetSelectors"),
    ("mode: module\nistio: {envoyFilters: [{name: a, context: GATEWAY, selector: {a: b}, targetRefs: [{kind: Gateway, name: g}]}]}", "only one of targetRefs or"),
]
"""Values that the chart renders, and the API server's own words about them."""


def test_the_api_server_refuses_what_the_chart_leaves_to_it(cluster: Cluster, tmp_path: Path):
    namespace = cluster.namespace("refused")
    wrong = []
    for values, words in LEFT_TO_THE_API_SERVER:
        file = tmp_path / "values.yaml"
        file.write_text(values)
        text = cluster.helm("template", "claimgate", CHART, "--namespace", namespace, "--values", file)
        try:
            cluster.apply(text, "--dry-run=server")
            wrong.append(f"{values}: accepted")
        except CommandFailed as refused:
            if not any(each in str(refused) for each in words.split("|")):
                wrong.append(f"{values}: {refused}")
    assert not wrong, "\n".join(wrong)
