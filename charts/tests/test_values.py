"""`helm template` refuses values that can't work, with a sentence that says
what to change."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

import chart

AUTH = "config: {auth: {enabled: false}}\n"
GRPC = "config: {auth: {enabled: false}, server: {grpc: {address: %s}}}\n"
KEYS = "config: {auth: {providers: [{name: a, type: api_key, keys: [{name: k, key: %s}]}]}}\n"
ROUTE = "envoyGateway: {securityPolicies: [{%s, targetRefs: [{kind: HTTPRoute, name: r}]}]}\n"

NONSENSE = [
    # Unknown keys and wrong types, which the schema finds.
    ("replica: 3", "additional properties 'replica' not allowed"),
    ("replica: 3", "'a mapping of no other keys than adminService, affinity,"),
    ("tls: {secret: x}", "at '/tls': additional properties 'secret' not allowed"),
    ("serviceMonitor: {intervall: 1m}", "no other keys than enabled, interval, labels, metricRelabelings, relabelings, scrapeTimeout"),
    ("resources: {limit: {cpu: 1}}", "no other keys than claims, limits, requests"),
    ("tls: null", "tls is null, which takes its defaults away: remove it"),
    ("networkPolicy: {dns: null}", "networkPolicy.dns is null"),
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
    ("existingConfigMap: {key: other.yaml}", "existingConfigMap.name is not: name the ConfigMap, or remove the key"),
    ("config: {auth: {}, server: 3}", "config.server is 3: write a mapping"),
    ("config: {auth: {}, server: {shutdown_grace_seconds: soon}}", "write a whole number of seconds"),
    (GRPC % "'0.0.0.0:99999'", "config.server.grpc.address has the port 99999: write one up to 65535"),
    # TLS.
    ("config: {auth: {}, server: {grpc: {tls: {cert_file: /a/b, key_file: /a/c}}}}", 'cert_file is "/a/b", where nothing is mounted: set tls.enabled and tls.existingSecret'),
    ("tls: {enabled: true, existingSecret: x}\nconfig: '{auth: {enabled: false}}'\n", "config is written in braces or indented as a whole"),
    ("tls: {enabled: true, existingSecret: x, certKey: a, keyKey: a}", "name the certificate's key and the private key's"),
    ("tls: {enabled: true, certManager: {enabled: true, issuerRef: {name: x}, duration: soon}}", 'duration is "soon": write a length of time'),
    ("tls: {enabled: true, certManager: {enabled: true, issuerRef: {name: x}, duration: 1.5h, renewBefore: 90m}}", "lower the one or raise tls.certManager.duration"),
    ("tls: {enabled: true, certManager: {enabled: true, issuerRef: {name: x}, privateKey: {size: 2048}}}", "write 256, 384 or 521"),
    ("tls: {enabled: true}", "set tls.existingSecret to the name of a Secret"),
    ("tls: {existingSecret: x}", "tls.enabled is false: set it to true"),
    ("tls: {certManager: {enabled: true, issuerRef: {name: x}}}", "tls.enabled is false: set it to true"),
    ("tls: {enabled: true, certManager: {enabled: true}}", "set tls.certManager.issuerRef.name"),
    ("tls: {enabled: true, existingSecret: x, certManager: {enabled: true, issuerRef: {name: x}}}", "tls.existingSecret and tls.certManager.enabled are both set"),
    ("tls: {enabled: true, certManager: {enabled: true, issuerRef: {name: x}, privateKey: {algorithm: RSA}}}", "too small for RSA: set it to 2048 or more"),
    ("tls: {enabled: true, existingSecret: x, allowedClientSANs: [a]}", "set tls.clientCA.existingSecret"),
    ("tls: {enabled: true, existingSecret: x, clientCA: {existingSecret: a, existingConfigMap: b}}", "both set: remove one of them"),
    ("tls: {enabled: true, existingSecret: x}\nconfig: |\n  auth: {enabled: false}\n  server: {workers: 2}\n", "config has a server block without it: add"),
    ("tls: {enabled: true, existingSecret: x}\nconfig: {auth: {}, server: {grpc: {tls: {cert_file: /a, key_file: /b}}}}\n", "write /etc/claimgate/tls/tls.crt"),
    # Names and labels.
    ("fullnameOverride: Bad_Name", "set fullnameOverride to lower-case letters, digits and -, with a letter first"),
    ("existingSecret: my secret", 'existingSecret is "my secret", which is not a valid name in Kubernetes'),
    ("secretFiles: [{name: a, secret: B, mountPath: /c}]", 'secretFiles[0].secret is "B", which is not a valid name'),
    ("commonLabels: {a: b c}", 'commonLabels.a is "b c", which Kubernetes refuses as a label'),
    ("commonLabels: {a b: c}", 'commonLabels has a label "a b"'),
    ("podLabels: {app.kubernetes.io/name: a}", "which the chart sets by itself: remove it; nameOverride"),
    ("podAnnotations: {claimgate.dev/restart-for: a}", "which the chart sets by itself: remove it"),
    ("image: {repository: 'claimgate:1.0'}", "with the tag in image.tag"),
    ("image: {tag: a b}", "which is not a tag"),
    ("serviceAccount: {create: false, annotations: {a: b}}", "serviceAccount.create is false: remove them, or set it to true"),
    # The pod.
    ("secretFiles: [{name: a, secret: b, mountPath: /c}, {name: a, secret: d, mountPath: /e}]", "two volumes are called secret-a"),
    ("volumes: [{name: config, emptyDir: {}}]", "two volumes are called config"),
    ("secretFiles: [{name: a, secret: b, mountPath: /etc/claimgate/config/}]", "two volumes are mounted at /etc/claimgate/config"),
    ("volumeMounts: [{name: a, mountPath: /b}]", "volumeMounts names a volume a that does not exist: add it to volumes"),
    ("env: [{name: RUST_LOG, value: debug}]", "env[0] sets RUST_LOG again: write it as logLevel"),
    ("env: [{name: A, value: b}, {name: A, value: c}]", "env[1] sets A again: remove one of the two"),
    ("initContainers: [{name: claimgate, image: a}]", "is called claimgate like another one of the pod"),
    ("updateStrategy: {type: Recreate}", "set updateStrategy.rollingUpdate to null"),
    ("updateStrategy: {rollingUpdate: {maxSurge: 0}}", "set maxSurge or maxUnavailable to 1"),
    ("resources: {requests: {memory: 1Gi}}", "resources.requests.memory is 1Gi, over resources.limits.memory, which is 512Mi"),
    ("resources: {requests: {cpu: 600m}, limits: {cpu: 0.5}}", "resources.requests.cpu is 600m, over"),
    ("resources: {limits: {cpu: lots}}", 'resources.limits.cpu is "lots": write a quantity, such as 100m'),
    ("podSecurityContext: {runAsUser: 0}", "podSecurityContext.runAsUser is 0, which is root"),
    ("dnsPolicy: None", "set dnsConfig.nameservers"),
    ("extraObjects: [{kind: ConfigMap}]", "extraObjects[0] is not a Kubernetes object: write a mapping with apiVersion and kind"),
    ("extraObjects: ['a: [']", "extraObjects[0] is not a Kubernetes object"),
    # Running.
    ("shutdown: {terminationGracePeriodSeconds: 25}", "a pod may take 25 seconds to stop"),
    ("shutdown: {terminationGracePeriodSeconds: 60}\nconfig: {auth: {}, server: {shutdown_grace_seconds: 60}}\n", "set it to more than 65"),
    ("autoscaling: {enabled: true, minReplicas: 11}", "autoscaling.minReplicas is 11, over autoscaling.maxReplicas, which is 10: raise the one or lower the other"),
    ("autoscaling: {enabled: true, targetCPUUtilizationPercentage: null}", "without a target"),
    ("autoscaling: {enabled: true}\nresources: {requests: {cpu: null}}", "set resources.requests.cpu"),
    ("podDisruptionBudget: {minAvailable: 1, maxUnavailable: 1}", "remove one of them"),
    ("podDisruptionBudget: {minAvailable: 2}", "no node can ever be drained: lower it, or run more pods"),
    ("podDisruptionBudget: {minAvailable: 100%}", "no node can ever be drained"),
    ("podDisruptionBudget: {maxUnavailable: 0}", "no node can ever be drained: set it to 1 or more"),
    ("podDisruptionBudget: {minAvailable: some}", "write a number or a percentage"),
    ("podDisruptionBudget: {minAvailable: 200%}", "write a number or a percentage"),
    ("networkPolicy: {dns: {ports: [99999]}}", "networkPolicy.dns.ports has 99999: write ports from 1 to 65535"),
    ("service: {clusterIP: here}", "write an IP address, or None for a headless Service"),
    ("service: {type: LoadBalancer, loadBalancerSourceRanges: [10.0.0.1]}", "write an address range, such as 192.0.2.0/24"),
    ("service: {trafficDistribution: Near}", "write PreferSameZone, PreferSameNode or PreferClose"),
    ("service: {ipFamilies: [IPv4, IPv4]}", "names a family twice"),
    ("service: {ipFamilies: [IPv4, IPv6], ipFamilyPolicy: SingleStack}", "set it to PreferDualStack"),
    ("service: {appProtocol: a b}", "write one word, such as grpc"),
    ("networkPolicy: {enabled: true}", "name Envoy's namespaces in networkPolicy.envoyNamespaces"),
    ("service: {nodePort: 30000}", "set service.type to NodePort"),
    ("service: {clusterIP: None, type: NodePort}", "only a Service of type ClusterIP can be headless"),
    ("service: {externalTrafficPolicy: Local}", "set service.type to NodePort or LoadBalancer"),
    ("service: {loadBalancerClass: a, type: NodePort}", "set service.type to LoadBalancer"),
    ("serviceAccount: {create: false}\napiServerToken: {enabled: true}", "set serviceAccount.create to true"),
    # Monitoring.
    ("podMonitor: {enabled: true}\nserviceMonitor: {enabled: true}", "every pod would be scraped twice"),
    ("serviceMonitor: {enabled: true}\nadminService: {enabled: false}", "set adminService.enabled to true"),
    ("podMonitor: {interval: often}", 'podMonitor.interval is "often": write a length of time, such as 30s'),
    ("serviceMonitor: {interval: 30s, scrapeTimeout: 1m}", "scrapeTimeout is 1m, over serviceMonitor.interval, which is 30s"),
    ("prometheusRule: {overrides: {ClaimgateIsSlow: {for: long}}}", 'for is "long": write a length of time'),
    ("prometheusRule: {disabled: [Nothing]}", "names an alert Nothing that the chart does not have: write one of Claimgate"),
    ("prometheusRule: {overrides: {Nothing: {for: 1m}}}", "names an alert Nothing"),
    # Meshes.
    ("istio: {authorizationPolicies: [{name: a}]}", "Claimgate itself, which would have to check its own requests"),
    ("istio: {authorizationPolicies: [{name: a, namespace: istio-system}]}", "every workload of the mesh"),
    ("istio: {authorizationPolicies: [{name: a, selector: {a: b}, targetRefs: [{kind: Gateway, name: g}]}]}", "has both selector and targetRefs"),
    ("istio: {authorizationPolicies: [{name: a, selector: {app.kubernetes.io/name: claimgate}}]}", "selects Claimgate's own pods"),
    ("istio: {authorizationPolicies: [{name: a, selector: {a: b}}, {name: a, selector: {c: d}}]}", "authorizationPolicies[1] is called gateway/a like one before it"),
    ("istio: {peerAuthentication: {enabled: true}}\npodLabels: {sidecar.istio.io/inject: 'false'}", "keep Claimgate out of the mesh"),
    ("istio: {envoyFilters: [{name: a, context: GATEWAY}]}", "istio.envoyFilters is set, but mode is service: set mode to module"),
    ("envoyGateway: {envoyProxies: [{name: a}]}", "envoyGateway.envoyProxies is set, but mode is service"),
    ("mode: module\ntls: {enabled: true, existingSecret: a}", "tls.enabled is set, but mode is module, which makes no service: set it to false"),
    ("mode: module\nexistingSecret: a", "name its keys one by one in env"),
    ("mode: module\n" + ROUTE % "name: a", "envoyGateway.securityPolicies is set, but mode is module, which makes no service"),
    ("mode: module\nenvoyGateway: {extensionPolicies: [{name: a}]}", "extensionPolicies[0] is for no route"),
    ("mode: module\nenvoyGateway: {envoyProxies: [{name: a, spec: {dynamicModules: [{name: claimgate}]}}]}", "has claimgate, which the chart adds by itself"),
    ("mode: module\nenvoyGateway: {envoyProxies: [{name: a}, {name: a}]}", "envoyProxies[1] is called gateway/a like one before it"),
    ("mode: module\nistio: {envoyFilters: [{name: a, context: GATEWAY, selector: {a: b}, targetRefs: [{kind: Gateway, name: g}]}]}", "has both selector and targetRefs"),
    ("mode: module\nmodule: {namespaces: [A]}", 'module.namespaces[0] is "A", which is not a valid name'),
    ("mode: module\nmodule: {image: {repository: 'claimgate:1.0'}}", "with the tag in module.image.tag"),
    ("mode: inside", "mode"),
    ("envoyGateway: {securityPolicies: [{name: a}]}", "name routes or gateways in its targetRefs"),
    (ROUTE % "name: A", 'securityPolicies[0].name is "A", which is not a valid name'),
    (ROUTE % "name: a, timeout: 100ms", "timeout is 100ms, but Claimgate may take 150 ms to answer"),
    (ROUTE % "name: a, contextExtensions: {claimgate_route: admin}", "which config does not have, so that every request would be answered 500"),
    (ROUTE % "name: a, headersToExtAuth: [x-api-key]", "leaves out authorization, so that Claimgate would never see a token: add it"),
]


@pytest.mark.parametrize(("values", "sentence"), NONSENSE, ids=[case[1][:60] for case in NONSENSE])
def test_nonsense_is_refused(tmp_path: Path, values: str, sentence: str):
    file = tmp_path / "values.yaml"
    file.write_text(values)
    assert sentence in chart.refusal(file)


SENSE = [
    "image: {registry: '', repository: 'localhost:5000/gate'}",
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
    file.write_text("tls: {enabled: true}\nautoscaling: {enabled: true, minReplicas: 11}\n")
    said = chart.refusal(file)
    assert "tls.existingSecret" in said and "autoscaling.maxReplicas" in said


def test_a_file_can_be_given_as_it_is():
    """`--set-file config=gateway.yaml`, verbatim."""
    file = chart.CHART.parents[1] / "examples" / "many-providers.yaml"
    tls = ("--set", "tls.enabled=true", "--set", "tls.existingSecret=claimgate-tls")
    ran = chart.template("--set-file", f"config={file}", *tls)
    if ran.returncode:
        pytest.fail(ran.stderr)
    assert chart.Rendered(ran.stdout).gateway_yaml == file.read_text()
