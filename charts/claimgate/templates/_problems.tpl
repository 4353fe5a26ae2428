{{/*
Values that can't work, one sentence a line, each with what to change. The
schema has already found unknown keys and wrong types; what the API server says
as clearly is left to it.
*/}}
{{- define "claimgate.problems" -}}
{{- include "claimgate.problems.mode" . }}
{{- include "claimgate.problems.config" . }}
{{- include "claimgate.problems.monitoring" . }}
{{- include "claimgate.problems.names" . }}
{{- include "claimgate.problems.pod" . }}
{{- include "claimgate.problems.limits" . }}
{{- if not (include "claimgate.isModule" .) }}
{{- include "claimgate.problems.addresses" . }}
{{- include "claimgate.problems.tls" . }}
{{- include "claimgate.problems.running" . }}
{{- include "claimgate.problems.mesh" . }}
{{- include "claimgate.problems.reaching" . }}
{{- end }}
{{- end }}

{{- define "claimgate.problems.config" -}}
{{- $config := .Values.config }}
{{- if .Values.existingConfigMap.name }}
{{- if eq .Values.reload "rollout" }}
- reload is rollout, but the chart can't see a change of the ConfigMap that existingConfigMap.name names: remove reload, or restart the Deployment after each change
{{- end }}
{{- if $config }}
- config and existingConfigMap.name are both set: remove one of them
{{- end }}
{{- else if ne .Values.existingConfigMap.key "gateway.yaml" }}
- existingConfigMap.key is set, but existingConfigMap.name is not: name the ConfigMap, or remove the key
{{- else if and (kindIs "string" $config) (not (trim $config)) }}
- config is empty: give it the contents of a gateway.yaml, or remove it
{{- else if $config }}
{{- $file := $config }}
{{- $isText := kindIs "string" $config }}
{{- if $isText }}{{ $file = $config | fromYaml }}{{ end }}
{{- if and $isText (hasKey $file "Error") (eq (len $file) 1) }}
- config is not a YAML mapping ({{ $file.Error | replace "\n" " " }}): give it the contents of a gateway.yaml
{{- else if and $isText (regexMatch "(?s)\\S.*\n---(\\s|$)" (regexReplaceAll "(?m)^#.*$" $config "")) }}
- config holds several YAML documents, of which Claimgate reads none: leave one
{{- else if not (kindIs "map" (get $file "auth")) }}
- config has no auth block: write what is required of requests, or auth: {enabled: false} to let all of them pass
{{- else }}
{{- include "claimgate.problems.plainKeys" (dict "keys" (get $file.auth "api_keys") "path" "config.auth.api_keys") }}
{{- $providers := get $file.auth "providers" }}
{{- if kindIs "slice" $providers }}
{{- range $i, $provider := $providers }}
{{- if kindIs "map" $provider }}
{{- include "claimgate.problems.plainKeys" (dict "keys" (get $provider "keys") "path" (printf "config.auth.providers[%d].keys" $i)) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* Where the service listens. */}}
{{- define "claimgate.problems.addresses" -}}
{{- $facts := include "claimgate.facts" . | fromYaml }}
{{- if not $facts.grpcPort }}
- config.server.grpc.address is {{ $facts.grpcAddress | quote }}, in which the chart finds no port: write it as 0.0.0.0:9001
{{- end }}
{{- if not $facts.adminPort }}
- config.server.admin.address is {{ $facts.adminAddress | quote }}, in which the chart finds no port: write it as 0.0.0.0:9003
{{- end }}
{{- if and $facts.grpcPort (eq (int $facts.grpcPort) (int $facts.adminPort)) }}
- config.server.grpc.address and config.server.admin.address have the same port {{ $facts.grpcPort }}: give one of them another
{{- end }}
{{- range $key, $address := dict "grpc" $facts.grpcAddress "admin" $facts.adminAddress }}
{{- if regexMatch "^(127\\.|localhost:|\\[::1\\]:)" $address }}
- config.server.{{ $key }}.address is {{ $address | quote }}, which can't be reached from outside the pod: listen on 0.0.0.0
{{- end }}
{{- end }}
{{- end }}

{{/* A ConfigMap must not contain a secret. */}}
{{- define "claimgate.problems.plainKeys" -}}
{{- $path := .path }}
{{- if kindIs "slice" .keys }}
{{- range $i, $key := .keys }}
{{- if and (kindIs "map" $key) (get $key "key") (or (not (contains "${" (get $key "key" | toString))) (regexMatch "\\$\\{[^}]*:-[^}]" (get $key "key" | toString))) }}
- {{ $path }}[{{ $i }}].key holds an API key in plain text, which a ConfigMap does not protect: write key_hash (claimgate hash-key makes one), or key: "${NAME}" with the key in existingSecret
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "claimgate.problems.tls" -}}
{{- $tls := .Values.tls }}
{{- $facts := include "claimgate.facts" . | fromYaml }}
{{- if $tls.enabled }}
{{- if and (not $tls.existingSecret) (not $tls.certManager.enabled) }}
- tls.enabled is true without a certificate: set tls.existingSecret to the name of a Secret of type kubernetes.io/tls, or tls.certManager.enabled to true
{{- end }}
{{- if and $tls.existingSecret $tls.certManager.enabled }}
- tls.existingSecret and tls.certManager.enabled are both set: remove one of them
{{- end }}
{{- if and $tls.certManager.enabled (not $tls.certManager.issuerRef.name) }}
- tls.certManager.enabled is true without an issuer: set tls.certManager.issuerRef.name to the name of an Issuer, or of a ClusterIssuer together with tls.certManager.issuerRef.kind
{{- end }}
{{- if and (eq $tls.certManager.privateKey.algorithm "RSA") (lt (int $tls.certManager.privateKey.size) 2048) }}
- tls.certManager.privateKey.size is {{ $tls.certManager.privateKey.size }}, too small for RSA: set it to 2048 or more
{{- end }}
{{- if gt (len (compact (list $tls.clientCA.existingSecret $tls.clientCA.existingConfigMap (ternary "true" "" $tls.clientCA.fromCertificate)))) 1 }}
- tls.clientCA.existingSecret, tls.clientCA.existingConfigMap and tls.clientCA.fromCertificate are not all needed: leave one
{{- end }}
{{- if and $tls.allowedClientSANs (not (include "claimgate.isMutual" .)) }}
- tls.allowedClientSANs needs roots to check clients' certificates by: set tls.clientCA.existingSecret or tls.clientCA.existingConfigMap
{{- end }}
{{- if .Values.existingConfigMap.name }}
{{- else if and (not $facts.hasTls) (kindIs "string" .Values.config) (not (hasKey (.Values.config | fromYaml) "server")) }}
- tls.enabled is true, but config is written in braces or indented as a whole, where the chart can't add to it: add {{ include "claimgate.tlsBlock" . | fromYaml | toJson }} to it, or write it as plain YAML
{{- else if not $facts.hasTls }}
- tls.enabled is true, but config has a server block without it: add {{ include "claimgate.tlsBlock" . | fromYaml | toJson }} to config, or leave server out of it
{{- else if ne $facts.certFile (printf "/etc/claimgate/tls/%s" $tls.certKey) }}
- tls.enabled is true, but config.server.grpc.tls.cert_file is {{ $facts.certFile | quote }}: write /etc/claimgate/tls/{{ $tls.certKey }}, where the chart mounts the certificate
{{- end }}
{{- end }}
{{- end }}

{{- define "claimgate.problems.running" -}}
{{- $facts := include "claimgate.facts" . | fromYaml }}
{{- $needed := add .Values.shutdown.delaySeconds $facts.graceSeconds }}
{{- with .Values.shutdown.terminationGracePeriodSeconds }}
{{- if le (int .) (int $needed) }}
- shutdown.terminationGracePeriodSeconds is {{ . }}, but a pod may take {{ $needed }} seconds to stop (shutdown.delaySeconds and config.server.shutdown_grace_seconds together): set it to more than {{ $needed }}, or remove it
{{- end }}
{{- end }}
{{- $hpa := .Values.autoscaling }}
{{- if $hpa.enabled }}
{{- if not (or $hpa.targetCPUUtilizationPercentage $hpa.targetMemoryUtilizationPercentage $hpa.metrics) }}
- autoscaling.enabled is true without a target: set autoscaling.targetCPUUtilizationPercentage or autoscaling.metrics
{{- end }}
{{- range list "cpu" "memory" }}
{{- $target := ternary $hpa.targetCPUUtilizationPercentage $hpa.targetMemoryUtilizationPercentage (eq . "cpu") }}
{{- if and $target (not (dig "requests" . "" ($.Values.resources | default dict))) (not (dig "limits" . "" ($.Values.resources | default dict))) }}
- autoscaling aims at a share of the requested {{ . }}, but none is requested: set resources.requests.{{ . }}
{{- end }}
{{- end }}
{{- end }}
{{- $pdb := .Values.podDisruptionBudget }}
{{- if $pdb.enabled }}
{{- $pods := ternary (int $hpa.minReplicas) (int .Values.replicas) $hpa.enabled }}
{{- if and (not (kindIs "invalid" $pdb.minAvailable)) (not (kindIs "invalid" $pdb.maxUnavailable)) }}
- podDisruptionBudget.minAvailable and podDisruptionBudget.maxUnavailable are both set: remove one of them
{{- end }}
{{- $min := $pdb.minAvailable | toString }}
{{- $max := $pdb.maxUnavailable | toString }}
{{- if or (eq $min "100%") (and (regexMatch "^[0-9]+$" $min) (ge (int $min) $pods) (gt $pods 0)) }}
- podDisruptionBudget.minAvailable is {{ $min }} of {{ $pods }} pods, so that no node can ever be drained: lower it, or run more pods
{{- else if has $max (list "0" "0%") }}
- podDisruptionBudget.maxUnavailable is {{ $max }}, so that no node can ever be drained: set it to 1 or more
{{- end }}
{{- end }}
{{- $policy := .Values.networkPolicy }}
{{- if and $policy.enabled (not $policy.envoyNamespaces) (not $policy.envoyPeers) }}
- networkPolicy.enabled is true, but no peer may reach the gRPC port: name Envoy's namespaces in networkPolicy.envoyNamespaces, or its pods in networkPolicy.envoyPeers
{{- end }}
{{- if and (not .Values.serviceAccount.create) .Values.apiServerToken.enabled (not .Values.serviceAccount.name) }}
- apiServerToken.enabled is true without a ServiceAccount of its own: set serviceAccount.create to true, or serviceAccount.name
{{- end }}
{{- end }}

{{- define "claimgate.problems.monitoring" -}}
{{- if and .Values.podMonitor.enabled .Values.serviceMonitor.enabled }}
- podMonitor.enabled and serviceMonitor.enabled are both true, so every pod would be scraped twice: set one of them to false
{{- end }}
{{- if and .Values.serviceMonitor.enabled (not .Values.adminService.enabled) }}
- serviceMonitor.enabled is true, but there is no Service for the admin port: set adminService.enabled to true, or use podMonitor
{{- end }}
{{- $known := list }}
{{- range (.Files.Get "files/alerts.yaml" | fromYaml).groups }}
{{- range .rules }}{{ $known = append $known .alert }}{{ end }}
{{- end }}
{{- range concat .Values.prometheusRule.disabled (keys .Values.prometheusRule.overrides | sortAlpha) }}
{{- if not (has . $known) }}
- prometheusRule names an alert {{ . }} that the chart does not have: write one of {{ join ", " $known }}
{{- end }}
{{- end }}
{{- end }}

{{- define "claimgate.problems.mesh" -}}
{{- $root := . }}
{{- $istio := .Values.istio }}
{{- $outside := eq (get .Values.podLabels "sidecar.istio.io/inject" | default "") "false" }}
{{- range $i, $policy := $istio.authorizationPolicies }}
{{- $namespace := $policy.namespace | default (include "claimgate.namespace" $root) }}
{{- if and (not $policy.selector) (not $policy.targetRefs) (has $namespace (list (include "claimgate.namespace" $root) $istio.rootNamespace)) (not $outside) }}
- istio.authorizationPolicies[{{ $i }}] holds for every workload of {{ ternary "the mesh" (printf "namespace %s" $namespace) (eq $namespace $istio.rootNamespace) }}, and so for Claimgate itself, which would have to check its own requests: give it a selector or targetRefs, or keep Claimgate out of the mesh with podLabels: {sidecar.istio.io/inject: "false"}
{{- end }}
{{- end }}
{{- $tls := .Values.envoyGateway.backendTLS }}
{{- if and .Values.envoyGateway.securityPolicies .Values.tls.enabled $tls.enabled (not $tls.caCertificateRefs) (not $tls.wellKnownCACertificates) }}
- envoyGateway.securityPolicies would have Envoy speak plain text to a port that expects TLS: name the roots of Claimgate's certificate in envoyGateway.backendTLS.caCertificateRefs, or set envoyGateway.backendTLS.enabled to false and make a BackendTLSPolicy of your own
{{- end }}
{{- if and $tls.clientCertificate (not .Values.envoyGateway.envoyProxies) }}
- envoyGateway.backendTLS.clientCertificate is set, but no EnvoyProxy would show it: name one in envoyGateway.envoyProxies, or write it into yours as spec.backendTLS.clientCertificateRef
{{- end }}
{{- end }}
