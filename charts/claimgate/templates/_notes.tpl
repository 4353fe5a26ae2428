{{/* What the notes say, in parts. */}}

{{- define "claimgate.notes.noConfig" -}}
{{- if and (not .Values.config) (not .Values.existingConfigMap.name) }}

NO CONFIGURATION IS SET. Until then every request is refused. Write a
gateway.yaml, try it with `claimgate validate --config gateway.yaml`, and

  helm --namespace {{ .Release.Namespace }} upgrade {{ .Release.Name }} CHART --reset-then-reuse-values --set-file config=gateway.yaml
{{- end }}
{{- end }}

{{/*
For a plain Envoy: docs/envoy.md without its comments, with this release's name.
*/}}
{{- define "claimgate.notes.envoy" -}}
{{- $host := include "claimgate.host" . }}
{{- $port := include "claimgate.reachedPort" . }}
{{- if .Values.headlessService.enabled }}
{{- $host = include "claimgate.headlessHost" . }}
{{- $port = (include "claimgate.facts" . | fromYaml).grpcPort }}
{{- end }}

Plain Envoy, among the HTTP connection manager's filters before the router:

  - name: envoy.filters.http.ext_authz
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz
      transport_api_version: V3
      failure_mode_allow: false
      status_on_error: {code: ServiceUnavailable}
      grpc_service:
        timeout: 0.2s
        envoy_grpc: {cluster_name: claimgate, authority: claimgate}
        retry_policy:
          retry_on: connect-failure,refused-stream,reset,unavailable
          num_retries: 3
          retry_host_predicate:
            - name: envoy.retry_host_predicates.previous_hosts
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate
          host_selection_retry_max_attempts: 10
          retry_back_off: {base_interval: 0.005s, max_interval: 0.2s}

and among the clusters:

  - name: claimgate
    type: STRICT_DNS
    connect_timeout: 0.1s
    lb_policy: ROUND_ROBIN
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config:
          http2_protocol_options:
            connection_keepalive: {interval: 5s, timeout: 1s}
    health_checks:
      - timeout: 0.5s
        interval: 1s
        no_traffic_interval: 1s
        unhealthy_threshold: 2
        healthy_threshold: 1
        grpc_health_check: {authority: claimgate}
    common_lb_config:
      healthy_panic_threshold: {value: 1}
      update_merge_window: 0s
    circuit_breakers:
      thresholds:
        - {max_requests: 10000, max_retries: 1000}
    load_assignment:
      cluster_name: claimgate
      endpoints:
        - lb_endpoints:
            - endpoint: {address: {socket_address: {address: {{ $host }}, port_value: {{ $port }}}}}
    {{- if .Values.tls.enabled }}
    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        sni: {{ include "claimgate.host" . }}
        common_tls_context:
          # The files are where you mount them.
          validation_context:
            trusted_ca: {filename: /etc/envoy/claimgate/ca.crt}
            match_typed_subject_alt_names:
              - {san_type: DNS, matcher: {exact: {{ include "claimgate.host" . }}}}
          {{- if include "claimgate.isMutual" . }}
          tls_certificates:
            - certificate_chain: {filename: /etc/envoy/claimgate/tls.crt}
              private_key: {filename: /etc/envoy/claimgate/tls.key}
          {{- end }}
    {{- end }}
{{- if or .Values.headlessService.enabled (eq (.Values.service.clusterIP | toString) "None") }}

Envoy learns of a new pod when it asks the cluster's DNS again (30 s where it
caches, and Envoy's own 5 s). shutdown.delaySeconds, which is {{ .Values.shutdown.delaySeconds }}, and the time a
pod takes to drain must together be longer, or a rollout can replace every pod
that Envoy knows. healthy_panic_threshold keeps it from asking pods that are
dead or shutting down when these are more than half.
{{- else }}

Through this Service each of Envoy's connections stays with one pod, and a new
pod gets none. Set headlessService.enabled to true, or have connections opened
again with max_connection_age_seconds: 300 under server.grpc of config.
{{- end }}
{{- end }}

{{/* IPv6 that the Services have and the program does not listen on. */}}
{{- define "claimgate.notes.families" -}}
{{- $wanted := list }}
{{- range list .Values.service .Values.adminService }}
{{- $wanted = concat $wanted (.ipFamilies | default list) (list .ipFamilyPolicy) }}
{{- end }}
{{- $facts := include "claimgate.facts" . | fromYaml }}
{{- $isIPv4 := or (hasPrefix "0.0.0.0:" $facts.grpcAddress) (hasPrefix "0.0.0.0:" $facts.adminAddress) }}
{{- if and $isIPv4 (not .Values.existingConfigMap.name) (or (has "IPv6" $wanted) (has "PreferDualStack" $wanted) (has "RequireDualStack" $wanted)) }}

The Services may have IPv6 addresses, behind which no pod answers: Claimgate
listens on {{ $facts.grpcAddress }} and {{ $facts.adminAddress }}. For both families write into config:

  server:
    grpc: {address: "[::]:{{ $facts.grpcPort }}"}
    admin: {address: "[::]:{{ $facts.adminPort }}"}
{{- end }}
{{- end }}

{{/* How Istio comes to speak TLS to Claimgate. */}}
{{- define "claimgate.notes.istioTls" -}}
{{- if not .Values.tls.enabled }}
{{- else if not (include "claimgate.hasDestinationRule" .) }}

Istio speaks plain text to Claimgate unless a DestinationRule of yours, for the
host {{ include "claimgate.host" . }}, says otherwise: tls.mode {{ ternary "MUTUAL" "SIMPLE" (ne (include "claimgate.isMutual" .) "") }}.
{{- else if not .Values.istio.destinationRule.tls }}

The DestinationRule makes Istio use TLS to Claimgate. istio.destinationRule.tls
says with which roots{{ if include "claimgate.isMutual" . }} and client certificate{{ end }}: credentialName names a Secret in the
gateway's namespace.
{{- end }}
{{- end }}

{{/* Where each EnvoyProxy of the chart has to be named. */}}
{{- define "claimgate.notes.parametersRef" }}
  # spec of a GatewayClass; for a Gateway under infrastructure, without namespace
{{- range .Values.envoyGateway.envoyProxies }}
  parametersRef: {group: gateway.envoyproxy.io, kind: EnvoyProxy, name: {{ .name }}, namespace: {{ .namespace | default (include "claimgate.namespace" $) }}}
{{- end }}
{{- end }}

{{/* Who counts, with limits that Claimgate only tells. */}}
{{- define "claimgate.notes.limits" -}}
{{- if .Values.envoyGateway.backendTrafficPolicies }}

Envoy Gateway's rate limit service counts what callers use of their plans:
{{- range .Values.envoyGateway.backendTrafficPolicies }} {{ .namespace | default (include "claimgate.namespace" $) }}/{{ .name }}{{ end }}.
Envoy Gateway's own configuration must have it, with a redis:

  # values of Envoy Gateway's chart
  config:
    envoyGateway:
      rateLimit:
        backend: {type: Redis, redis: {url: redis.redis-system.svc.{{ .Values.clusterDomain }}:6379}}
        failClosed: false    # true answers 500 while redis is away, instead of limiting none
{{- if include "claimgate.isModule" . }}

Inside an Envoy before 1.40, which takes no limits from the module, none of
these callers is limited. The EnvoyProxy names the image:

  provider: {type: Kubernetes, kubernetes: {envoyDeployment: {container: {image: "envoyproxy/envoy:distroless-v1.40-latest"}}}}
{{- end }}
{{- else if eq (get (include "claimgate.auth" . | fromYaml) "limits" | default "" | toString) "metadata" }}

auth.limits is metadata, so Claimgate counts nothing: callers are limited by
what reads its metadata, such as envoyGateway.backendTrafficPolicies.
{{- end }}
{{- end }}

{{- define "claimgate.notes.module" -}}
Claimgate {{ .Chart.AppVersion }} decides inside Envoy; its file is the ConfigMap {{ include "claimgate.configMapName" . }} in
{{- range include "claimgate.moduleNamespaces" . | fromYamlArray }} {{ . }}{{ end }}, where Envoy's pods must be.
{{- include "claimgate.notes.noConfig" . }}
{{- if .Values.envoyGateway.envoyProxies }}

Envoy Gateway loads it where a GatewayClass or a Gateway names the EnvoyProxy:
{{ include "claimgate.notes.parametersRef" . }}
{{- else if .Values.envoyGateway.extensionPolicies }}

Envoy Gateway loads it if your EnvoyProxy has this:

  # spec of the EnvoyProxy
  {{- include "claimgate.envoyProxySpec" (dict "root" . "spec" dict) | nindent 2 }}
{{- end }}
{{- include "claimgate.notes.limits" . }}
{{- if or .Values.istio.envoyFilters (not .Values.envoyGateway.extensionPolicies) }}

The pods need the module and the file. {{ ternary "Values of Istio's gateway chart:" "In their specification:" (gt (len .Values.istio.envoyFilters) 0) }}

  volumes:
    {{- include "claimgate.moduleVolumes" . | nindent 4 }}
  volumeMounts:
    {{- include "claimgate.moduleVolumeMounts" . | nindent 4 }}
  {{- with include "claimgate.moduleInitContainers" . | trim }}
  initContainers:
    {{- . | nindent 4 }}
  {{- end }}
  {{- with include "claimgate.imagePullSecrets" . }}
  imagePullSecrets:
    {{- . | nindent 4 }}
  {{- end }}
  {{- with .Values.env }}

Envoy's container needs these variables, too:

  env:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if .Values.istio.envoyFilters }}

Annotations of a pod whose sidecar decides:

  sidecar.istio.io/userVolume: '{{ include "claimgate.byName" (include "claimgate.moduleVolumes" . | fromYamlArray) }}'
  sidecar.istio.io/userVolumeMount: '{{ include "claimgate.byName" (include "claimgate.moduleVolumeMounts" . | fromYamlArray) }}'
  {{- else if not .Values.envoyGateway.envoyProxies }}

Plain Envoy, first among the HTTP connection manager's filters:
{{ list (include "claimgate.httpFilter" . | fromYaml) | toYaml | nindent 2 }}
  {{- end }}
{{- end }}
{{- end }}

{{/* A list as Istio's annotations have it: a mapping, in JSON, of names to the rest. */}}
{{- define "claimgate.byName" -}}
{{- $named := dict }}
{{- range . }}
{{- $_ := set $named .name (omit . "name") }}
{{- end }}
{{- toJson $named }}
{{- end }}
