{{/* What is set for the other `mode`, and would do nothing. */}}
{{- define "claimgate.problems.mode" -}}
{{- if include "claimgate.isModule" . }}
{{- include "claimgate.problems.module" . }}
{{- else }}
{{- range list "envoyGateway.envoyProxies" "envoyGateway.extensionPolicies" "istio.envoyFilters" }}
{{- $path := splitList "." . }}
{{- if and (get (get $.Values (first $path)) (last $path)) (not (and (eq . "envoyGateway.envoyProxies") $.Values.envoyGateway.backendTLS.clientCertificate)) }}
- {{ . }} is set, but mode is service: set mode to module, or remove it{{ if eq . "envoyGateway.envoyProxies" }}; for mTLS, set envoyGateway.backendTLS.clientCertificate{{ end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "claimgate.problems.module" -}}
{{- $instead := dict
  "envoyGateway.securityPolicies" "name their targets in envoyGateway.extensionPolicies"
  "istio.authorizationPolicies" "name their workloads in istio.envoyFilters"
  "istio.destinationRule.enabled" "set it to null"
  "istio.peerAuthentication.enabled" "set it to false"
  "tls.enabled" "set it to false"
  "autoscaling.enabled" "set it to false"
  "networkPolicy.enabled" "set it to false"
  "podMonitor.enabled" "set it to false, and have Envoy scraped"
  "serviceMonitor.enabled" "set it to false, and have Envoy scraped"
  "preUpgradeCheck.enabled" "set it to false, and run claimgate validate before an upgrade"
  "existingSecret" "name its keys one by one in env, with valueFrom.secretKeyRef"
  "envFrom" "name the variables one by one in env" }}
{{- range $path, $do := $instead }}
{{- $value := $.Values }}
{{- range splitList "." $path }}{{ $value = get $value . }}{{ end }}
{{- if $value }}
- {{ $path }} is set, but mode is module, which makes no service: {{ $do }}
{{- end }}
{{- end }}
{{- if eq .Values.reload "rollout" }}
- reload is rollout, but mode is module, where Envoy's pods load a new file by themselves: remove it
{{- end }}
{{- $gateway := .Values.envoyGateway }}
{{- range $i, $proxy := $gateway.envoyProxies }}
{{- range dig "dynamicModules" list ($proxy.spec | default dict) }}
{{- if eq (get . "name") "claimgate" }}
- envoyGateway.envoyProxies[{{ $i }}].spec.dynamicModules has claimgate, which the chart adds by itself: remove it
{{- end }}
{{- end }}
{{- end }}
{{- end }}
