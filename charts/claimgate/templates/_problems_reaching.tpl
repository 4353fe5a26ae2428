{{/* Addresses, ports, durations and routes: how clients reach Claimgate. */}}
{{- define "claimgate.problems.reaching" -}}
{{- include "claimgate.problems.server" . }}
{{- include "claimgate.problems.certificate" . }}
{{- include "claimgate.problems.services" . }}
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
{{- range $key, $port := dict "grpc" $facts.grpcPort "admin" $facts.adminPort }}
{{- if gt (int64 $port) 65535 }}
- config.server.{{ $key }}.address has the port {{ int64 $port }}: write one up to 65535
{{- end }}
{{- end }}
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
{{- $valid := include "claimgate.milliseconds" $tls.certManager.duration }}
{{- $before := include "claimgate.milliseconds" $tls.certManager.renewBefore }}
{{- range $key, $length := dict "duration" $valid "renewBefore" $before }}
{{- if not $length }}
- tls.certManager.{{ $key }} is {{ get $tls.certManager $key | quote }}: write a length of time, such as 720h
{{- end }}
{{- end }}
{{- if and $valid $before (ge (int64 $before) (int64 $valid)) }}
- tls.certManager.renewBefore is {{ $tls.certManager.renewBefore }}, but a certificate is valid for {{ $tls.certManager.duration }} only: lower the one or raise tls.certManager.duration
{{- end }}
{{- $key := $tls.certManager.privateKey }}
{{- if and (eq $key.algorithm "ECDSA") (not (has (int $key.size) (list 256 384 521))) }}
- tls.certManager.privateKey.size is {{ int $key.size }}, which no ECDSA key has: write 256, 384 or 521
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "claimgate.problems.services" -}}
{{- $service := .Values.service }}
{{- if and $service.clusterIP (ne $service.clusterIP "None") (not (regexMatch "^([0-9]{1,3}(\\.[0-9]{1,3}){3}|[0-9a-fA-F:]*:[0-9a-fA-F:.]*)$" $service.clusterIP)) }}
- service.clusterIP is {{ $service.clusterIP | quote }}: write an IP address, or None for a headless Service
{{- end }}
{{- range $service.loadBalancerSourceRanges }}
{{- if not (regexMatch "^[0-9a-fA-F:.]+/[0-9]{1,3}$" .) }}
- service.loadBalancerSourceRanges has {{ . | quote }}: write an address range, such as 192.0.2.0/24
{{- end }}
{{- end }}
{{- if not (has $service.trafficDistribution (list "" "PreferClose" "PreferSameZone" "PreferSameNode")) }}
- service.trafficDistribution is {{ $service.trafficDistribution | quote }}: write PreferSameZone, PreferSameNode or PreferClose
{{- end }}
{{- if ne (len $service.ipFamilies) (len (uniq $service.ipFamilies)) }}
- service.ipFamilies names a family twice: remove one of the two
{{- else if and (gt (len $service.ipFamilies) 1) (eq $service.ipFamilyPolicy "SingleStack") }}
- service.ipFamilies names two families, but service.ipFamilyPolicy is SingleStack: remove one, or set it to PreferDualStack
{{- end }}
{{- if not (regexMatch "^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$|^$" $service.appProtocol) }}
- service.appProtocol is {{ $service.appProtocol | quote }}: write one word, such as grpc
{{- end }}
{{- range $key := list "dns" "issuers" }}
{{- range (get $.Values.networkPolicy $key).ports }}
{{- if or (lt (int .) 1) (gt (int .) 65535) }}
- networkPolicy.{{ $key }}.ports has {{ int . }}: write ports from 1 to 65535
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "claimgate.problems.durations" -}}
{{- range $key := list "podMonitor" "serviceMonitor" }}
{{- $monitor := get $.Values $key }}
{{- range $which := list "interval" "scrapeTimeout" }}
{{- if and (get $monitor $which) (not (include "claimgate.milliseconds" (get $monitor $which))) }}
- {{ $key }}.{{ $which }} is {{ get $monitor $which | quote }}: write a length of time, such as 30s
{{- end }}
{{- end }}
{{- $interval := include "claimgate.milliseconds" $monitor.interval }}
{{- $timeout := include "claimgate.milliseconds" $monitor.scrapeTimeout }}
{{- if and $interval $timeout (gt (int64 $timeout) (int64 $interval)) }}
- {{ $key }}.scrapeTimeout is {{ $monitor.scrapeTimeout }}, over {{ $key }}.interval, which is {{ $monitor.interval }}: lower the one or raise the other
{{- end }}
{{- end }}
{{- range $alert, $override := .Values.prometheusRule.overrides }}
{{- range $which := list "for" "keep_firing_for" }}
{{- $length := get $override $which }}
{{- if and $length (not (include "claimgate.milliseconds" $length)) }}
- prometheusRule.overrides.{{ $alert }}.{{ $which }} is {{ $length | quote }}: write a length of time, such as 5m
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "claimgate.problems.policies" -}}
{{- $istio := .Values.istio }}
{{- $outside := eq (get .Values.podLabels "sidecar.istio.io/inject" | default "") "false" }}
{{- $labels := include "claimgate.podLabels" . | fromYaml }}
{{- range $i, $policy := $istio.authorizationPolicies }}
{{- if and $policy.selector (not $outside) (has ($policy.namespace | default $.Release.Namespace) (list $.Release.Namespace $istio.rootNamespace)) }}
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
