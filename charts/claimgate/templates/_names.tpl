{{/* The chart's name, or its override. */}}
{{- define "claimgate.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* The name of all objects. Cut so that suffixes such as -admin still fit. */}}
{{- define "claimgate.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride }}
{{- else }}
{{- $name := include "claimgate.name" . }}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* Not empty unless a chart that depends on this one has turned it off. */}}
{{- define "claimgate.isEnabled" -}}
{{- if ne (toString .Values.enabled) "false" }}true{{ end }}
{{- end }}

{{- define "claimgate.namespace" -}}
{{- .Values.namespaceOverride | default .Release.Namespace }}
{{- end }}

{{/* The gRPC Service's whole name in DNS. */}}
{{- define "claimgate.host" -}}
{{- printf "%s.%s.svc.%s" (include "claimgate.fullname" .) (include "claimgate.namespace" .) .Values.clusterDomain }}
{{- end }}

{{/* The whole name that has an address for each pod. */}}
{{- define "claimgate.headlessHost" -}}
{{- printf "%s-headless.%s.svc.%s" (include "claimgate.fullname" .) (include "claimgate.namespace" .) .Values.clusterDomain }}
{{- end }}

{{/* The port behind that name: a Service without an address of its own leads to the pods' own. */}}
{{- define "claimgate.reachedPort" -}}
{{- ternary (include "claimgate.facts" . | fromYaml).grpcPort .Values.service.port (eq (.Values.service.clusterIP | toString) "None") }}
{{- end }}

{{/* Not empty where the chart makes the DestinationRule. */}}
{{- define "claimgate.hasDestinationRule" -}}
{{- with .Values.istio.destinationRule }}
{{- if and (ternary (gt (len $.Values.istio.authorizationPolicies) 0) .enabled (kindIs "invalid" .enabled)) (not (include "claimgate.isModule" $)) }}true{{ end }}
{{- end }}
{{- end }}

{{/* The pods' selector; must never change. */}}
{{- define "claimgate.selectorLabels" -}}
app.kubernetes.io/name: {{ include "claimgate.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: server
{{- end }}

{{/*
Labels of the pods. Without the chart's version: a new chart that changes
nothing about the pods must not replace them.
*/}}
{{- define "claimgate.podLabels" -}}
{{- $labels := include "claimgate.selectorLabels" . | fromYaml }}
{{- $_ := set $labels "app.kubernetes.io/version" (.Chart.AppVersion | toString) }}
{{- $_ := set $labels "app.kubernetes.io/part-of" "claimgate" }}
{{- toYaml (merge $labels .Values.podLabels .Values.commonLabels) }}
{{- end }}

{{/*
Labels of all objects; `component` and `extra` are optional, and so is `selected`:
labels by which others find the object, which win over the chart's.
*/}}
{{- define "claimgate.labels" -}}
{{- $root := .root | default . }}
{{- $labels := dict
  "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-")
  "app.kubernetes.io/name" (include "claimgate.name" $root)
  "app.kubernetes.io/instance" $root.Release.Name
  "app.kubernetes.io/version" ($root.Chart.AppVersion | toString)
  "app.kubernetes.io/component" (.component | default "server")
  "app.kubernetes.io/part-of" "claimgate"
  "app.kubernetes.io/managed-by" $root.Release.Service }}
{{- toYaml (merge (dict) (.selected | default dict) $labels (.extra | default dict) $root.Values.commonLabels) }}
{{- end }}

{{/*
The metadata of an object: a dict of `root` and, where it applies, `name`,
`namespace`, `component`, `labels`, `selected` and `annotations`.
*/}}
{{- define "claimgate.metadata" -}}
name: {{ .name | default (include "claimgate.fullname" .root) }}
namespace: {{ .namespace | default (include "claimgate.namespace" .root) }}
labels:
  {{- include "claimgate.labels" (dict "root" .root "component" .component "extra" .labels "selected" .selected) | nindent 2 }}
{{- with merge (dict) (.annotations | default dict) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "claimgate.serviceAccountName" -}}
{{- if .Values.serviceAccount.name }}
{{- .Values.serviceAccount.name }}
{{- else }}
{{- ternary (include "claimgate.fullname" .) "default" .Values.serviceAccount.create }}
{{- end }}
{{- end }}

{{- define "claimgate.configMapName" -}}
{{- .Values.existingConfigMap.name | default (include "claimgate.fullname" .) }}
{{- end }}

{{/* The Secret with the certificate, existing or from cert-manager. */}}
{{- define "claimgate.tlsSecretName" -}}
{{- .Values.tls.existingSecret | default (printf "%s-tls" (include "claimgate.fullname" .)) }}
{{- end }}

{{- define "claimgate.image" -}}
{{- include "claimgate.imageName" (dict "root" . "image" .Values.image "tag" .Chart.AppVersion) }}
{{- end }}

{{/* An image's whole name: a dict of `root`, `image`, as in the values, and the default `tag`. */}}
{{- define "claimgate.imageName" -}}
{{- $image := .image }}
{{- $registry := .root.Values.global.imageRegistry | default $image.registry }}
{{- $name := ternary (printf "%s/%s" $registry $image.repository) $image.repository (ne $registry "") }}
{{- if $image.digest }}
{{- $name = printf "%s%s@%s" $name (ternary (printf ":%s" $image.tag) "" (ne $image.tag "")) $image.digest }}
{{- else }}
{{- $name = printf "%s:%s" $name ($image.tag | default .tag) }}
{{- end }}
{{- $name }}
{{- end }}

{{/* Secrets to pull images with; the global ones may be names alone. */}}
{{- define "claimgate.imagePullSecrets" -}}
{{- $secrets := .Values.image.pullSecrets | default list }}
{{- range .Values.global.imagePullSecrets }}
{{- $secrets = append $secrets (ternary (dict "name" .) . (kindIs "string" .)) }}
{{- end }}
{{- with $secrets | uniq }}
{{- toYaml . }}
{{- end }}
{{- end }}

{{/*
A name that another release of the same name, in another namespace, does not
have: for objects in a namespace that several share. A dict of `root`,
`namespace` and `suffix`.
*/}}
{{- define "claimgate.nameIn" -}}
{{- $own := include "claimgate.namespace" .root }}
{{- $name := printf "%s%s" (include "claimgate.fullname" .root) (.suffix | default "") }}
{{- ternary $name (printf "%s-%s" $own $name) (has .namespace (list "" $own)) }}
{{- end }}
