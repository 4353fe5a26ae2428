"""`helm template` refuses values that can't work, with a sentence that says
what to change."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import chart

AUTH = "config: {auth: {enabled: false}}\n"
GRPC = "config: {auth: {enabled: false}, server: {grpc: {address: %s}}}\n"
KEYS = "config: {auth: {providers: [{name: a, type: api_key, keys: [{name: k, key: %s}]}]}}\n"
PLANS = "envoyGateway: {backendTrafficPolicies: [{name: a, targetRefs: [{kind: Gateway, name: g}]%s}]}\nconfig: {auth: {%s}}\n"
FREE = "plans: {free: {requests: {per_minute: 60}}}"
ROUTE = "envoyGateway: {securityPolicies: [{%s, targetRefs: [{kind: HTTPRoute, name: r}]}]}\n"

NONSENSE = [
    # Unknown keys and wrong types, which the schema finds.
    ("replica: 3", "additional properties 'replica' not allowed"),
    ("replica: 3", "'a mapping of no other keys than adminService, affinity,"),
    ("tls: {secret: x}", "at '/tls': additional properties 'secret' not allowed"),
    ("serviceMonitor: {intervall: 1m}", "no other keys than annotations, enabled, honorLabels, interval, labels, metricRelabelings, namespace, relabelings, scrapeTimeout"),
    ("resources: {limit: {cpu: 1}}", "no other keys than claims, limits, requests"),
    ("tls: null", "tls is null, which takes its defaults away: remove it"),
    ("networkPolicy: {dns: null}", "networkPolicy.dns is null"),
    ("podLabels: null", "podLabels is null, which takes its default away: remove it"),
    ("resources: {limit: {cpu: 1}}", "at '/resources': additional properties 'limit' not allowed"),
    ("tolerations: [{kee: a}]", "at '/tolerations/0': additional properties 'kee' not allowed"),
    ("affinity: {nodeAfinity: {}}", "at '/affinity': additional properties 'nodeAfinity' not allowed"),
    ("env: [{nme: a}]", "missing property 'name'"),
    ("replicas: many", "at '/replicas': got string, want integer"),
    ("replicas: -1", "at '/replicas': minimum: got -1, want 0"),
    ("service: {port: 70000}", "at '/service/port': maximum"),
    ("service: {type: Loadbalancer}", "at '/service/type': value must be one of 'ClusterIP'"),
    ("image: {digest: latest}", "at '/image/digest': 'latest' does not match pattern"),
    ("image: {pullPolicy: always}", "value must be one of 'Always', 'IfNotPresent', 'Never'"),
    ("config: [a]", "at '/config': got array, want null or string or object"),
    ("istio: {authorizationPolicies: [{}]}", "missing property 'name'"),
    ("istio: {authorizationPolicies: [{name: a, selector: {app: b}, rules: [{to: [{operation: {path: [/c]}}]}]}]}", "no other keys than hosts, methods, notHosts, notMethods, notPaths, notPorts, paths, ports"),
    ("prometheusRule: {overrides: {ClaimgateIsSlow: {four: 1m}}}", "additional properties 'four'"),
    ("secretFiles: [{name: a, secret: b}]", "missing property 'mountPath'"),
    # The file.
    ("config: 'auth: ['", "config is not a YAML mapping"),
    ("config: {server: {}}", "config has no auth block: write what is required of requests"),
    (AUTH + "existingConfigMap: {name: x}", "config and existingConfigMap.name are both set"),
    (GRPC % "'unix:/run/a.sock'", "in which the chart finds no port: write it as 0.0.0.0:9001"),
    (GRPC % "'0.0.0.0:${PORT}'", "in which the chart finds no port: write it as 0.0.0.0:9001"),
    (GRPC % "'0.0.0.0:9003'", "have the same port 9003: give one of them another"),
    (GRPC % "'127.0.0.1:9001'", "which can't be reached from outside the pod: listen on 0.0.0.0"),
    (KEYS % "plain", "config.auth.providers[0].keys[0].key holds an API key in plain text"),
    ("config: 'auth: {api_keys: [{name: k, key: plain}]}'", "config.auth.api_keys[0].key holds an API key in plain text"),
    (KEYS % "'${KEY:-plain}'", "config.auth.providers[0].keys[0].key holds an API key in plain text"),
    ("config: ''", "config is empty: give it the contents of a gateway.yaml, or remove it"),
    (r'config: "auth: {}\n---\nauth: {}\n"', "config holds several YAML documents"),
    ("reload: rollout\nexistingConfigMap: {name: x}", "reload is rollout, but the chart can't see a change of the ConfigMap"),
    ("existingConfigMap: {key: other.yaml}", "existingConfigMap.name is not: name the ConfigMap, or remove the key"),
    ("config: {auth: {}, server: 3}", "config.server is 3: write a mapping"),
    ("config: {auth: {}, server: {shutdown_grace_seconds: soon}}", "write a whole number of seconds"),
    # TLS.
    ("config: {auth: {}, server: {grpc: {tls: {cert_file: /a/b, key_file: /a/c}}}}", 'cert_file is "/a/b", where nothing is mounted: set tls.enabled and tls.existingSecret'),
    ("tls: {enabled: true, existingSecret: x}\nconfig: '{auth: {enabled: false}}'\n", "config is written in braces or indented as a whole"),
    ("tls: {enabled: true, existingSecret: x, certKey: a, keyKey: a}", "name the certificate's key and the private key's"),
    ("tls: {enabled: true, certManager: {enabled: true, issuerRef: {name: x}, privateKey: {size: 2048}}}", "write 256, 384 or 521"),
    ("tls: {enabled: true}", "set tls.existingSecret to the name of a Secret"),
    ("tls: {enabled: true, certManager: {enabled: true}}", "set tls.certManager.issuerRef.name"),
    ("tls: {enabled: true, existingSecret: x, certManager: {enabled: true, issuerRef: {name: x}}}", "tls.existingSecret and tls.certManager.enabled are both set"),
    ("tls: {enabled: true, certManager: {enabled: true, issuerRef: {name: x}, privateKey: {algorithm: RSA}}}", "too small for RSA: set it to 2048 or more"),
    ("tls: {enabled: true, existingSecret: x, allowedClientSANs: [a]}", "set tls.clientCA.existingSecret"),
    ("tls: {enabled: true, existingSecret: x, clientCA: {existingSecret: a, existingConfigMap: b}}", "not all needed: leave one"),
    ("tls: {enabled: true, existingSecret: x}\nconfig: |\n  auth: {enabled: false}\n  server: {workers: 2}\n", "config has a server block without it: add"),
    ("tls: {enabled: true, existingSecret: x}\nconfig: {auth: {}, server: {grpc: {tls: {cert_file: /a, key_file: /b}}}}\n", "write /etc/claimgate/tls/tls.crt"),
    ("tls: {enabled: true, existingSecret: x}\n" + ROUTE % "name: a", "plain text to a port that expects TLS: name the roots"),
    ("envoyGateway: {backendTLS: {clientCertificate: a}}", "no EnvoyProxy would show it: name one in envoyGateway.envoyProxies"),
    # Names and labels.
    ("fullnameOverride: Bad_Name", "set fullnameOverride to lower-case letters, digits and -, with a letter first"),
    ("podLabels: {app.kubernetes.io/name: a}", "which the chart sets by itself: remove it; nameOverride"),
    ("podAnnotations: {claimgate.dev/restart-for: a}", "which the chart sets by itself: remove it"),
    ("commonAnnotations: {claimgate.dev/config: a}", "commonAnnotations sets claimgate.dev/config, which the chart sets by itself"),
    ("global: {imageRegistry: 'https://mirror.example.com'}", "at '/global/imageRegistry': 'https://mirror.example.com' does not match pattern"),
    ("global: {imagePullSecrets: ['']}", "at '/global/imagePullSecrets/0': minLength: got 0, want 1"),
    ("clusterDomain: cluster.local.", "at '/clusterDomain': 'cluster.local.' does not match pattern"),
    ("image: {repository: 'claimgate:1.0'}", "with the tag in image.tag"),
    ("serviceAccount: {create: false, annotations: {a: b}}", "serviceAccount.create is false: remove them, or set it to true"),
    # The pod.
    ("env: [{name: RUST_LOG, value: debug}]", "env[0] sets RUST_LOG again: write it as logLevel"),
    ("updateStrategy: {type: Recreate}", "set updateStrategy.rollingUpdate to null"),
    ("podSecurityContext: {runAsUser: 0}", "podSecurityContext.runAsUser is 0, which is root"),
    # Running.
    ("shutdown: {terminationGracePeriodSeconds: 25}", "a pod may take 25 seconds to stop"),
    ("shutdown: {terminationGracePeriodSeconds: 60}\nconfig: {auth: {}, server: {shutdown_grace_seconds: 60}}\n", "set it to more than 65"),
    ("autoscaling: {enabled: true, targetCPUUtilizationPercentage: null}", "without a target"),
    ("autoscaling: {enabled: true}\nresources: {requests: {cpu: null}}", "set resources.requests.cpu"),
    ("podDisruptionBudget: {minAvailable: 1, maxUnavailable: 1}", "remove one of them"),
    ("podDisruptionBudget: {minAvailable: 2}", "no node can ever be drained: lower it, or run more pods"),
    ("podDisruptionBudget: {minAvailable: 100%}", "no node can ever be drained"),
    ("podDisruptionBudget: {maxUnavailable: 0}", "no node can ever be drained: set it to 1 or more"),
    ("networkPolicy: {dns: {ports: [99999]}}", "at '/networkPolicy/dns/ports/0': maximum: got 99,999, want 65,535"),
    ("service: {trafficDistribution: Near}", "value must be one of '', 'PreferSameZone', 'PreferSameNode', 'PreferClose'"),
    ("networkPolicy: {enabled: true}", "name Envoy's namespaces in networkPolicy.envoyNamespaces"),
    ("serviceAccount: {create: false}\napiServerToken: {enabled: true}", "set serviceAccount.create to true"),
    # Monitoring.
    ("podMonitor: {enabled: true}\nserviceMonitor: {enabled: true}", "every pod would be scraped twice"),
    ("serviceMonitor: {enabled: true}\nadminService: {enabled: false}", "set adminService.enabled to true"),
    ("serviceMonitor: {interval: 30s, scrapeTimeout: 1m}", "scrapeTimeout is 1m, over serviceMonitor.interval, which is 30s"),
    ("prometheusRule: {disabled: [Nothing]}", "names an alert Nothing that the chart does not have: write one of Claimgate"),
    ("prometheusRule: {overrides: {Nothing: {for: 1m}}}", "names an alert Nothing"),
    # Meshes.
    ("istio: {authorizationPolicies: [{name: a}]}", "Claimgate itself, which would have to check its own requests"),
    ("istio: {authorizationPolicies: [{name: a, namespace: istio-system}]}", "every workload of the mesh"),
    ("istio: {authorizationPolicies: [{name: a, selector: {app.kubernetes.io/name: claimgate}}]}", "selects Claimgate's own pods"),
    ("istio: {authorizationPolicies: [{name: a, selector: {a: b}}, {name: a, selector: {c: d}}]}", "authorizationPolicies[1] is called gateway/a like one before it"),
    ("istio: {peerAuthentication: {enabled: true}}\npodLabels: {sidecar.istio.io/inject: 'false'}", "keep Claimgate out of the mesh"),
    ("istio: {envoyFilters: [{name: a, context: GATEWAY}]}", "istio.envoyFilters is set, but mode is service: set mode to module"),
    ("envoyGateway: {envoyProxies: [{name: a}]}", "envoyGateway.envoyProxies is set, but mode is service"),
    ("mode: module\ntls: {enabled: true, existingSecret: a}", "tls.enabled is set, but mode is module, which makes no service: set it to false"),
    ("mode: module\npreUpgradeCheck: {enabled: true}", "preUpgradeCheck.enabled is set, but mode is module"),
    ("mode: module\nreload: rollout", "reload is rollout, but mode is module"),
    ("mode: module\nistio: {destinationRule: {enabled: true}}", "istio.destinationRule.enabled is set, but mode is module"),
    ("extraObjects: [3]", "at '/extraObjects/0': got number, want null or string or object"),
    ("mode: module\nexistingSecret: a", "name its keys one by one in env"),
    ("mode: module\n" + ROUTE % "name: a", "envoyGateway.securityPolicies is set, but mode is module, which makes no service"),
    ("mode: module\nenvoyGateway: {envoyProxies: [{name: a, spec: {dynamicModules: [{name: claimgate}]}}]}", "has claimgate, which the chart adds by itself"),
    ("mode: module\nenvoyGateway: {envoyProxies: [{name: a}, {name: a}]}", "envoyProxies[1] is called gateway/a like one before it"),
    ("mode: module\nmodule: {image: {repository: 'claimgate:1.0'}}", "with the tag in module.image.tag"),
    ("mode: inside", "mode"),
    # Plans.
    (PLANS % ("", FREE), "config.auth.limits is local, with which Claimgate counts by itself and tells Envoy no limits: set it to metadata"),
    (PLANS % ("", "limits: shadow, " + FREE), "config.auth.limits is shadow"),
    (PLANS % ("", "limits: metadata"), "config has no plans: write them in config.auth.plans"),
    (PLANS % ("", "limits: metadata, plans: {gold: {tokens: {per_day: 9}}}"), "limits the tokens of gold, but no policy counts them"),
    (PLANS % (", tokens: {namespace: ai, key: total}", "limits: metadata, " + FREE), "counts tokens, which no plan in config.auth.plans limits"),
    (PLANS % (", tokens: {key: total}", "limits: metadata, " + FREE), "missing property 'namespace'"),
    (PLANS % ("", "limits: metadata, headers: {subject: null}, " + FREE), "config.auth.headers.subject is null: name one"),
    (PLANS % ("", "limits: metadata, headers: {provider: null}, " + FREE), "config.auth.headers.provider is null: name one"),
    (PLANS % ("", "limits: metadata, limit_by: client_id, " + FREE), 'needs a header with "client_id", by which config.auth.limit_by tells callers apart: give that claim one'),
    (PLANS % (", spec: {rateLimit: {type: Local}}", "limits: metadata, " + FREE), "is Local, with which Envoy Gateway leaves the plans out"),
    (ROUTE % "name: a, timeout: 100ms", "timeout is 100ms, but Claimgate may take 150 ms to answer"),
    (ROUTE % "name: a, contextExtensions: {claimgate_route: admin}", "which config does not have, so that every request would be answered 500"),
    (ROUTE % "name: a, headersToExtAuth: [x-api-key]", "leaves out authorization, so that Claimgate would never see a token: add it"),
]


@pytest.mark.parametrize(("values", "sentence"), NONSENSE, ids=[case[1][:60] for case in NONSENSE])
def test_nonsense_is_refused(tmp_path: Path, values: str, sentence: str):
    file = tmp_path / "values.yaml"
    file.write_text(values)
    assert sentence in chart.refusal(file)


DEFAULTS = yaml.safe_load((chart.CHART / "values.yaml").read_text())


def _leaves(values: dict, above: str = "") -> Iterator[str]:
    """The path of every value that is not a block."""
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{above}{key}.")
        elif not isinstance(value, bool):
            yield f"{above}{key}"


@pytest.mark.parametrize("block", DEFAULTS)
def test_null_is_refused_or_the_same_as_empty(block: str):
    """None fails in the middle of a template. Those that a refusal names are left
    out until the others are accepted."""
    everything = chart.CHART / "examples" / "everything.yaml"
    left = set(_leaves({block: DEFAULTS[block]}))
    while left:
        nothing = ",".join(f"{path}=null" for path in left)
        ran = chart.template("--values", everything, "--set", nothing)
        if ran.returncode == 0:
            assert not re.search("<nil>|<no value>|%!", ran.stdout)
            return
        pointers = re.findall(r"at '/(\S+)': (?:got null|missing)", ran.stderr)
        named = {*re.findall(r"^- (\S+) is null", ran.stderr, re.M), *(at.replace("/", ".") for at in pointers)}
        if not named & left:
            clear = ("these values can't work", "don't meet the specifications")
            assert any(words in ran.stderr for words in clear), ran.stderr
            return
        left -= named


SENSE = [
    "image: {registry: '', repository: 'localhost:5000/gate'}",
    "global: {imageRegistry: 'mirror.example.com:5000/ghcr', imagePullSecrets: [a, {name: b}]}",
    # What is left of TLS while it is off.
    "tls: {existingSecret: a, allowedClientSANs: [b], clientCA: {existingSecret: c}, certManager: {issuerRef: {name: d}}}",
    "envoyGateway: {backendTLS: {caCertificateRefs: [{name: a}], clientCertificate: b}, envoyProxies: [{name: c}]}\nistio: {destinationRule: {tls: {credentialName: d}}}",
    "resources: {requests: {cpu: 1, memory: 1Gi}, limits: {cpu: 1500m, memory: 2G, ephemeral-storage: 1Pi}}",
    "resources: null",
    r'config: "# Ours.\n---\nauth: {}\n"',
    "updateStrategy: {type: Recreate, rollingUpdate: null}",
    "secretFiles: [{name: own, secret: own.tls, mountPath: /tls}]\nconfig: {auth: {}, server: {grpc: {tls: {cert_file: /tls/a, key_file: /tls/b}}}}",
    "config: {auth: {}, server: {shutdown_grace_seconds: '${GRACE}'}}\nshutdown: {terminationGracePeriodSeconds: 90}",
    "config: {auth: {routes: [{name: admin}]}}\n" + ROUTE % "name: a, contextExtensions: {claimgate_route: admin}",
    "config: {auth: {token_sources: [{header: x-api-key}]}}\n" + ROUTE % "name: a, headersToExtAuth: [x-api-key]",
    "istio: {authorizationPolicies: [{name: a, selector: {app: b}}, {name: a, namespace: shop}]}",
    "extraObjects:\n- |\n  apiVersion: v1\n  kind: A\n  metadata: {name: a}\n  ---\n  apiVersion: v1\n  kind: B\n  metadata: {name: b}\n- '{{ if false }}x{{ end }}'\n",
    "service: {clusterIP: 'fd00::1', ipFamilies: [IPv6, IPv4]}",
]


@pytest.mark.parametrize("values", SENSE)
def test_unusual_values_are_accepted(tmp_path: Path, values: str):
    """Values that none of the sentences above applies to."""
    file = tmp_path / "values.yaml"
    file.write_text(values)
    assert chart.rendered(file).one("Deployment")


PAGE = (chart.CHART.parents[1] / "docs" / "kubernetes.md").read_text()
PRINTED = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("values", PRINTED, ids=[text.splitlines()[0] for text in PRINTED])
def test_values_on_the_page_are_accepted(tmp_path: Path, values: str):
    file = tmp_path / "values.yaml"
    file.write_text(values)
    assert chart.rendered(file).one("Deployment")


def test_the_page_names_every_alert():
    alerts = yaml.safe_load((chart.CHART / "files" / "alerts.yaml").read_text())
    named = {rule["alert"] for group in alerts["groups"] for rule in group["rules"]}
    assert set(re.findall(r"^\| `(Claimgate\w+)` \|", PAGE, re.MULTILINE)) == named


def test_all_mistakes_are_named_at_once(tmp_path: Path):
    file = tmp_path / "values.yaml"
    file.write_text("tls: {enabled: true}\nautoscaling: {enabled: true, targetCPUUtilizationPercentage: null}\n")
    said = chart.refusal(file)
    assert "tls.existingSecret" in said and "autoscaling.metrics" in said


def test_a_file_can_be_given_as_it_is():
    """`--set-file config=gateway.yaml`, verbatim."""
    file = chart.CHART.parents[1] / "examples" / "many-providers.yaml"
    tls = ("--set", "tls.enabled=true", "--set", "tls.existingSecret=claimgate-tls")
    ran = chart.template("--set-file", f"config={file}", *tls)
    if ran.returncode:
        pytest.fail(ran.stderr)
    assert chart.Rendered(ran.stdout).gateway_yaml == file.read_text()
