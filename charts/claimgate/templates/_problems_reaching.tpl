{{/* Addresses, certificates and routes: how clients reach Claimgate. */}}
{{- define "claimgate.problems.reaching" -}}
{{- include "claimgate.problems.server" . }}
{{- include "claimgate.problems.certificate" . }}
{{- include "claimgate.problems.durations" . }}
{{- include "claimgate.problems.policies" . }}
{{- end }}

{{/* The parts of the file's `server` block that the chart relies on. */}}
{{- define "claimgate.problems.server" -}}
{{- if not .Values.existingConfigMap.name }}
{{- $file := include "claimgate.gatewayYaml" . | fromYaml }}
{{- $server := get $file "server" }}
{{- if and (hasKey $file "server") (not (kindIs "map" $server)) (not (kindIs "invalid" $server)) }}
- config.server is {{ $server | toJson }}: write a mapping, such as {grpc: {address: "0.0.0.0:9001"}}, or leave it out
{{- end }}
{{- if kindIs "map" $server }}
{{- $grace := get $server "shutdown_grace_seconds" }}
{{- if and (hasKey $server "shutdown_grace_seconds") (not $.Values.shutdown.terminationGracePeriodSeconds) (not (kindIs "invalid" $grace)) (not (regexMatch "^[0-9]+(\\.0+)?$" ($grace | toString))) }}
- config.server.shutdown_grace_seconds is {{ $grace | toJson }}, from which the chart can't tell how long a pod takes to stop: write a whole number of seconds, or set shutdown.terminationGracePeriodSeconds
{{- end }}
{{- end }}
{{- $facts := include "claimgate.facts" . | fromYaml }}
{{- if and $facts.hasTls (not .Values.tls.enabled) }}
{{- $mounted := contains "${" $facts.certFile }}
{{- range include "claimgate.volumeMounts" . | fromYamlArray }}
{{- if and (ne .name "config") (hasPrefix (printf "%s/" (trimSuffix "/" .mountPath)) $facts.certFile) }}{{ $mounted = true }}{{ end }}
{{- end }}
{{- if not $mounted }}
- config.server.grpc.tls.cert_file is {{ $facts.certFile | quote }}, where nothing is mounted: set tls.enabled and tls.existingSecret, or mount it with secretFiles
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "claimgate.problems.certificate" -}}
{{- $tls := .Values.tls }}
{{- if $tls.enabled }}
{{- if eq $tls.certKey $tls.keyKey }}
- tls.certKey and tls.keyKey are both {{ $tls.certKey | quote }}: name the certificate's key and the private key's
{{- end }}
{{- if $tls.certManager.enabled }}
{{- $key := $tls.certManager.privateKey }}
{{- if and (eq $key.algorithm "ECDSA") (not (has (int $key.size) (list 256 384 521))) }}
- tls.certManager.privateKey.size is {{ int $key.size }}, which no ECDSA key has: write 256, 384 or 521
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "claimgate.problems.durations" -}}
{{- range $key := list "podMonitor" "serviceMonitor" }}
{{- $monitor := get $.Values $key }}
{{- $interval := include "claimgate.milliseconds" $monitor.interval }}
{{- $timeout := include "claimgate.milliseconds" $monitor.scrapeTimeout }}
{{- if and $interval $timeout (gt (int64 $timeout) (int64 $interval)) }}
- {{ $key }}.scrapeTimeout is {{ $monitor.scrapeTimeout }}, over {{ $key }}.interval, which is {{ $monitor.interval }}: lower the one or raise the other
{{- end }}
{{- end }}
{{- end }}

{{- define "claimgate.problems.policies" -}}
{{- $istio := .Values.istio }}
{{- $outside := eq (get .Values.podLabels "sidecar.istio.io/inject" | default "") "false" }}
{{- $labels := include "claimgate.podLabels" . | fromYaml }}
{{- range $i, $policy := $istio.authorizationPolicies }}
{{- if and $policy.selector (not $outside) (has ($policy.namespace | default (include "claimgate.namespace" $)) (list (include "claimgate.namespace" $) $istio.rootNamespace)) }}
{{- $own := true }}
{{- range $key, $value := $policy.selector }}
{{- if ne (get $labels $key) $value }}{{ $own = false }}{{ end }}
{{- end }}
{{- if $own }}
- istio.authorizationPolicies[{{ $i }}].selector selects Claimgate's own pods, which would have to check their own requests: name labels of the workloads to protect
{{- end }}
{{- end }}
{{- end }}
{{- if and $istio.peerAuthentication.enabled $outside }}
- istio.peerAuthentication.enabled is true, but podLabels keep Claimgate out of the mesh, where it has no effect: set it to false, or remove the label sidecar.istio.io/inject
{{- end }}
{{- $auth := dict }}
{{- $limit := 150 }}
{{- if not .Values.existingConfigMap.name }}
{{- $file := include "claimgate.gatewayYaml" . | fromYaml }}
{{- if kindIs "map" (get $file "auth") }}{{ $auth = $file.auth }}{{ end }}
{{- $server := get $file "server" }}
{{- if kindIs "map" $server }}
{{- with get $server "check_timeout_ms" }}{{ $limit = int64 . }}{{ end }}
{{- end }}
{{- end }}
{{- $routes := list }}
{{- if kindIs "slice" (get $auth "routes") }}
{{- range $auth.routes }}
{{- if kindIs "map" . }}{{ $routes = append $routes (get . "name") }}{{ end }}
{{- end }}
{{- end }}
{{- range $i, $policy := .Values.envoyGateway.securityPolicies }}
{{- $path := printf "envoyGateway.securityPolicies[%d]" $i }}
{{- $timeout := include "claimgate.milliseconds" ($policy.timeout | default "") }}
{{- if and $timeout (le (int64 $timeout) $limit) }}
- {{ $path }}.timeout is {{ $policy.timeout }}, but Claimgate may take {{ $limit }} ms to answer: write more, or lower config.server.check_timeout_ms
{{- end }}
{{- $route := get ($policy.contextExtensions | default dict) "claimgate_route" }}
{{- if and $route (not $.Values.existingConfigMap.name) (not (has $route $routes)) }}
- {{ $path }}.contextExtensions.claimgate_route is {{ $route | quote }}, which config does not have, so that every request would be answered 500: {{ if $routes }}write one of {{ join ", " $routes }}{{ else }}add it to config.auth.routes{{ end }}
{{- end }}
{{- $sent := list }}
{{- range $policy.headersToExtAuth }}{{ $sent = append $sent (lower .) }}{{ end }}
{{- if and $sent (not (has "authorization" $sent)) (not (hasKey $auth "token_sources")) (not $.Values.existingConfigMap.name) }}
- {{ $path }}.headersToExtAuth leaves out authorization, so that Claimgate would never see a token: add it
{{- end }}
{{- end }}
{{- end }}
