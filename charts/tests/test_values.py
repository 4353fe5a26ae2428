"""Values that make no sense are refused by `helm template`, with a sentence
that says what to change."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

import chart

AUTH = "config: {auth: {enabled: false}}\n"
GRPC = "config: {auth: {enabled: false}, server: {grpc: {address: %s}}}\n"
KEYS = "config: {auth: {providers: [{name: a, type: api_key, keys: [{name: k, key: %s}]}]}}\n"

NONSENSE = [
    # Unknown keys and wrong types, which the schema finds.
    ("replica: 3", "additional properties 'replica' not allowed"),
    ("tls: {secret: x}", "at '/tls': additional properties 'secret' not allowed"),
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
    ("prometheusRule: {overrides: {ClaimgateIsSlow: {four: 1m}}}", "additional properties 'four'"),
    ("secretFiles: [{name: a, secret: b}]", "missing property 'mountPath'"),
    # The file.
    ("config: 'auth: ['", "config is no YAML mapping"),
    ("config: {server: {}}", "config has no auth block: write what is required of requests"),
    (AUTH + "existingConfigMap: {name: x}", "config and existingConfigMap.name are both set"),
    (GRPC % "'unix:/run/a.sock'", "in which the chart finds no port: write it as 0.0.0.0:9001"),
    (GRPC % "'0.0.0.0:${PORT}'", "in which the chart finds no port: write it as 0.0.0.0:9001"),
    (GRPC % "'0.0.0.0:9003'", "have the same port 9003: give one of them another"),
    (GRPC % "'127.0.0.1:9001'", "which nobody outside of the pod can reach: listen on 0.0.0.0"),
    (KEYS % "plain", "config.auth.providers[0].keys[0].key holds an API key in plain text"),
    ("config: 'auth: {api_keys: [{name: k, key: plain}]}'", "config.auth.api_keys[0].key holds an API key in plain text"),
    # TLS.
    ("tls: {enabled: true}", "set tls.existingSecret to the name of a Secret"),
    ("tls: {existingSecret: x}", "tls.enabled is false: set it to true"),
    ("tls: {certManager: {enabled: true, issuerRef: {name: x}}}", "tls.enabled is false: set it to true"),
    ("tls: {enabled: true, certManager: {enabled: true}}", "set tls.certManager.issuerRef.name"),
    ("tls: {enabled: true, existingSecret: x, certManager: {enabled: true, issuerRef: {name: x}}}", "tls.existingSecret and tls.certManager.enabled are both set"),
    ("tls: {enabled: true, certManager: {enabled: true, issuerRef: {name: x}, privateKey: {algorithm: RSA}}}", "too small for RSA: set it to 2048 or more"),
    ("tls: {enabled: true, existingSecret: x, allowedClientSANs: [a]}", "set tls.clientCA.existingSecret"),
    ("tls: {enabled: true, existingSecret: x, clientCA: {existingSecret: a, existingConfigMap: b}}", "both set: remove one of them"),
    ("tls: {enabled: true, existingSecret: x}\nconfig: |\n  auth: {enabled: false}\n  server: {workers: 2}\n", "config has a server block that says nothing of it: add"),
    ("tls: {enabled: true, existingSecret: x}\nconfig: {auth: {}, server: {grpc: {tls: {cert_file: /a, key_file: /b}}}}\n", "write /etc/claimgate/tls/tls.crt"),
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
    ("networkPolicy: {enabled: true}", "name Envoy's namespaces in networkPolicy.envoyNamespaces"),
    ("service: {nodePort: 30000}", "set service.type to NodePort"),
    ("service: {clusterIP: None, type: NodePort}", "only a Service of type ClusterIP can be headless"),
    ("service: {externalTrafficPolicy: Local}", "set service.type to NodePort or LoadBalancer"),
    ("service: {loadBalancerClass: a, type: NodePort}", "set service.type to LoadBalancer"),
    ("serviceAccount: {create: false}\napiServerToken: {enabled: true}", "set serviceAccount.create to true"),
    # Monitoring.
    ("podMonitor: {enabled: true}\nserviceMonitor: {enabled: true}", "every pod would be scraped twice"),
    ("serviceMonitor: {enabled: true}\nadminService: {enabled: false}", "set adminService.enabled to true"),
    ("prometheusRule: {disabled: [Nothing]}", "names an alert Nothing that the chart does not have: write one of Claimgate"),
    ("prometheusRule: {overrides: {Nothing: {for: 1m}}}", "names an alert Nothing"),
    # Meshes.
    ("istio: {authorizationPolicies: [{name: a}]}", "Claimgate itself, which would have to ask itself"),
    ("istio: {authorizationPolicies: [{name: a, namespace: istio-system}]}", "every workload of the mesh"),
    ("istio: {authorizationPolicies: [{name: a, selector: {a: b}, targetRefs: [{kind: Gateway, name: g}]}]}", "has both selector and targetRefs"),
    ("envoyGateway: {securityPolicies: [{name: a}]}", "name routes or gateways in its targetRefs"),
]


@pytest.mark.parametrize(("values", "sentence"), NONSENSE, ids=[case[1][:60] for case in NONSENSE])
def test_nonsense_is_refused(tmp_path: Path, values: str, sentence: str):
    file = tmp_path / "values.yaml"
    file.write_text(values)
    assert sentence in chart.refusal(file)


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
    """`--set-file config=gateway.yaml`, to the letter."""
    file = chart.CHART.parents[1] / "examples" / "many-providers.yaml"
    ran = chart.template("--set-file", f"config={file}")
    if ran.returncode:
        pytest.fail(ran.stderr)
    assert chart.Rendered(ran.stdout).gateway_yaml == file.read_text()
