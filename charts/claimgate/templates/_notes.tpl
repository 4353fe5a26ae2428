{{/* What the notes say, in parts. */}}

{{- define "claimgate.notes.noConfig" -}}
{{- if and (not .Values.config) (not .Values.existingConfigMap.name) }}

NO CONFIGURATION IS SET. Until then every request is refused. Write a
gateway.yaml, try it with `claimgate validate --config gateway.yaml`, and

  helm --namespace {{ .Release.Namespace }} upgrade {{ .Release.Name }} CHART --reset-then-reuse-values --set-file config=gateway.yaml
{{- end }}
{{- end }}

{{- define "claimgate.notes.module" -}}
Claimgate {{ .Chart.AppVersion }} decides inside Envoy; its file is the ConfigMap {{ include "claimgate.configMapName" . }} in
{{- range include "claimgate.moduleNamespaces" . | fromYamlArray }} {{ . }}{{ end }}, where Envoy's pods must be.
{{- include "claimgate.notes.noConfig" . }}
{{- with .Values.envoyGateway.envoyProxies }}

Envoy Gateway loads it where a GatewayClass or a Gateway names the EnvoyProxy:

  # spec of a GatewayClass; for a Gateway under infrastructure, without namespace
  parametersRef: {group: gateway.envoyproxy.io, kind: EnvoyProxy, name: {{ (first .).name }}, namespace: {{ (first .).namespace | default $.Release.Namespace }}}
{{- end }}
{{- if or .Values.istio.envoyFilters (not .Values.envoyGateway.extensionPolicies) }}

The pods need the module and the file. {{ ternary "Values of Istio's gateway chart:" "In their specification:" (gt (len .Values.istio.envoyFilters) 0) }}

  volumes:
    {{- include "claimgate.moduleVolumes" . | nindent 4 }}
  volumeMounts:
    {{- include "claimgate.moduleVolumeMounts" . | nindent 4 }}
  {{- with include "claimgate.moduleInitContainers" . }}
  initContainers:
    {{- . | nindent 4 }}
  {{- end }}
  {{- if .Values.istio.envoyFilters }}

Annotations of a pod whose sidecar decides:

  sidecar.istio.io/userVolume: '{{ include "claimgate.byName" (include "claimgate.moduleVolumes" . | fromYamlArray) }}'
  sidecar.istio.io/userVolumeMount: '{{ include "claimgate.byName" (include "claimgate.moduleVolumeMounts" . | fromYamlArray) }}'
  {{- else if not .Values.envoyGateway.envoyProxies }}

Plain Envoy, first among the HTTP connection manager's filters:

  {{- list (include "claimgate.httpFilter" . | fromYaml) | toYaml | nindent 2 }}
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
