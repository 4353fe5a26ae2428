{{/*
What Envoy's pods need with `mode: module`: the file of the module, gateway.yaml
and what it names.
*/}}

{{- define "claimgate.isModule" -}}
{{- if eq .Values.mode "module" }}true{{ end }}
{{- end }}

{{- define "claimgate.modulePath" -}}
/etc/claimgate/module/libclaimgate_envoy.so
{{- end }}

{{/* What the filter is told: a file, as another configuration would be another listener. */}}
{{- define "claimgate.moduleConfig" -}}
config_file: /etc/claimgate/config/gateway.yaml
{{- end }}

{{/* The namespaces of Envoy's pods. */}}
{{- define "claimgate.moduleNamespaces" -}}
{{- .Values.module.namespaces | default (list (include "claimgate.namespace" .)) | uniq | toYaml }}
{{- end }}

{{- define "claimgate.moduleImage" -}}
{{- $suffix := ternary "-init" "" (eq .Values.module.from "init-container") }}
{{- include "claimgate.imageName" (dict "root" . "image" .Values.module.image "tag" (printf "%s%s" .Chart.AppVersion $suffix)) }}
{{- end }}

{{- define "claimgate.moduleVolumes" -}}
- name: claimgate-module
  {{- if eq .Values.module.from "image-volume" }}
  image:
    reference: {{ include "claimgate.moduleImage" . }}
    pullPolicy: {{ .Values.module.image.pullPolicy }}
  {{- else }}
  emptyDir: {}
  {{- end }}
{{ include "claimgate.volumes" . }}
{{- end }}

{{- define "claimgate.moduleVolumeMounts" -}}
- name: claimgate-module
  mountPath: {{ include "claimgate.modulePath" . | dir }}
  readOnly: true
{{ include "claimgate.volumeMounts" . }}
{{- end }}

{{/* Envoy's pods may be allowed more than this container needs. */}}
{{- define "claimgate.copierContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* Empty where the image is mounted. */}}
{{- define "claimgate.moduleInitContainers" -}}
{{- if eq .Values.module.from "init-container" }}
- name: claimgate-module
  image: {{ include "claimgate.moduleImage" . }}
  imagePullPolicy: {{ .Values.module.image.pullPolicy }}
  command: [/cp, /libclaimgate_envoy.so, {{ include "claimgate.modulePath" . }}]
  securityContext:
    {{- merge (deepCopy (.Values.securityContext | default dict)) (include "claimgate.copierContext" . | fromYaml) | toYaml | nindent 4 }}
  resources:
    requests: {cpu: 10m, memory: 16Mi}
    limits: {memory: 64Mi}
  volumeMounts:
    - name: claimgate-module
      mountPath: {{ include "claimgate.modulePath" . | dir }}
{{- end }}
{{- end }}

{{/*
The spec of an EnvoyProxy: what the module needs, within a `spec` of the
operator's, whose lists are kept. A dict of `root` and `spec`.
*/}}
{{- define "claimgate.envoyProxySpec" -}}
{{- $root := .root }}
{{- $spec := deepCopy (.spec | default dict) }}
{{- $kubernetes := dig "provider" "kubernetes" dict $spec }}
{{- $kind := ternary "envoyDaemonSet" "envoyDeployment" (hasKey $kubernetes "envoyDaemonSet") }}
{{- $workload := get $kubernetes $kind | default dict }}
{{- $pod := get $workload "pod" | default dict }}
{{- $container := get $workload "container" | default dict }}
{{- $_ := set $pod "volumes" (concat (get $pod "volumes" | default list) (include "claimgate.moduleVolumes" $root | fromYamlArray)) }}
{{- with include "claimgate.imagePullSecrets" $root | fromYamlArray }}
{{- $_ := set $pod "imagePullSecrets" (concat (get $pod "imagePullSecrets" | default list) . | uniq) }}
{{- end }}
{{- if or $root.Values.secretFiles $root.Values.apiServerToken.enabled }}
{{- $_ := set $pod "securityContext" (merge (get $pod "securityContext" | default dict) (dict "fsGroup" 65532)) }}
{{- end }}
{{- $_ := set $container "volumeMounts" (concat (get $container "volumeMounts" | default list) (include "claimgate.moduleVolumeMounts" $root | fromYamlArray)) }}
{{- with $root.Values.env }}
{{- $_ := set $container "env" (concat (get $container "env" | default list) .) }}
{{- end }}
{{- $_ := set $workload "pod" $pod }}
{{- $_ := set $workload "container" $container }}
{{- with include "claimgate.moduleInitContainers" $root | fromYamlArray }}
{{- $_ := set $workload "initContainers" (concat (get $workload "initContainers" | default list) .) }}
{{- end }}
{{- $entry := dict
  "name" "claimgate"
  "source" (dict "type" "Local" "local" (dict "path" (include "claimgate.modulePath" $root)))
  "doNotClose" true
  "loadGlobally" false }}
{{- $_ := set $spec "dynamicModules" (append (get $spec "dynamicModules" | default list) $entry) }}
{{- $_ := set $spec "provider" (merge (get $spec "provider" | default dict) (dict "type" "Kubernetes" "kubernetes" dict)) }}
{{- $_ := set $spec.provider.kubernetes $kind $workload }}
{{- toYaml $spec }}
{{- end }}

{{/* The HTTP filter in Envoy's own words. */}}
{{- define "claimgate.httpFilter" -}}
name: claimgate
typed_config:
  "@type": type.googleapis.com/envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter
  dynamic_module_config:
    module:
      local:
        filename: {{ include "claimgate.modulePath" . }}
    # Unloading a library whose threads live on ends Envoy.
    do_not_close: true
  filter_name: claimgate
  filter_config:
    "@type": type.googleapis.com/google.protobuf.Struct
    value:
      {{- include "claimgate.moduleConfig" . | nindent 6 }}
{{- end }}
