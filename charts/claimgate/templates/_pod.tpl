{{/* The parts that Claimgate's pods share with those of the test and of the check before an upgrade. */}}

{{/*
Claimgate reloads its file by itself. Only what its listeners and workers are
started with needs a restart, so without `reload: rollout` only that changes an
annotation, and so replaces the pods.
*/}}
{{- define "claimgate.podAnnotations" -}}
{{- $own := dict "claimgate.dev/restart-for" (include "claimgate.facts" . | fromYaml).restart }}
{{- if eq .Values.reload "rollout" }}
{{- $_ := set $own "claimgate.dev/config" (include "claimgate.gatewayYaml" . | sha256sum | trunc 16) }}
{{- end }}
{{- merge $own .Values.podAnnotations .Values.commonAnnotations (dict "kubectl.kubernetes.io/default-container" "claimgate") | toYaml }}
{{- end }}

{{/* Where and as what the program runs: a dict of `root` and the ServiceAccount's name, `account`. */}}
{{- define "claimgate.podSettings" -}}
serviceAccountName: {{ .account }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .root.Values }}
{{- if not (kindIs "invalid" .hostUsers) }}
hostUsers: {{ .hostUsers }}
{{- end }}
{{- with include "claimgate.imagePullSecrets" $.root }}
imagePullSecrets:
  {{- . | nindent 2 }}
{{- end }}
{{- with .podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- with .schedulerName }}
schedulerName: {{ . }}
{{- end }}
{{- with .dnsPolicy }}
dnsPolicy: {{ . }}
{{- end }}
{{- with .dnsConfig }}
dnsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .hostAliases }}
hostAliases:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .initContainers }}
initContainers:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}

{{/*
The same for a pod that only loads the file. It must fit on a node that has
Claimgate's pods, so of `affinity` only what it says of nodes counts.
*/}}
{{- define "claimgate.checkSettings" -}}
restartPolicy: Never
{{ include "claimgate.podSettings" . }}
{{- with dig "nodeAffinity" dict (.root.Values.affinity | default dict) }}
affinity:
  nodeAffinity:
    {{- toYaml . | nindent 4 }}
{{- end }}
{{- end }}

{{/* The container that loads the file. */}}
{{- define "claimgate.validateContainer" -}}
name: validate
image: {{ include "claimgate.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
args: [validate, --config, /etc/claimgate/config/gateway.yaml]
env:
  {{- include "claimgate.env" . | nindent 2 }}
{{- with include "claimgate.envFrom" . | trim }}
envFrom:
  {{- . | nindent 2 }}
{{- end }}
{{- with .Values.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.securityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumeMounts:
  {{- include "claimgate.volumeMounts" . | nindent 2 }}
{{- end }}

{{- define "claimgate.env" -}}
- name: RUST_LOG
  value: {{ .Values.logLevel | quote }}
{{- with .Values.env }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "claimgate.envFrom" -}}
{{- with .Values.existingSecret }}
- secretRef:
    name: {{ . }}
{{- end }}
{{- with .Values.envFrom }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* In the pods of others it must be told from theirs. */}}
{{- define "claimgate.configVolume" -}}
{{- ternary "claimgate-config" "config" (ne (include "claimgate.isModule" .) "") }}
{{- end }}

{{/* Not by subPath, which would never see a change. */}}
{{- define "claimgate.volumeMounts" -}}
- name: {{ include "claimgate.configVolume" . }}
  mountPath: /etc/claimgate/config
  readOnly: true
{{- if .Values.tls.enabled }}
- name: tls
  mountPath: /etc/claimgate/tls
  readOnly: true
{{- if include "claimgate.isMutual" . }}
- name: client-ca
  mountPath: /etc/claimgate/client-ca
  readOnly: true
{{- end }}
{{- end }}
{{- if .Values.apiServerToken.enabled }}
- name: api-server-token
  mountPath: {{ .Values.apiServerToken.mountPath }}
  readOnly: true
{{- end }}
{{- range .Values.secretFiles }}
- name: secret-{{ .name }}
  mountPath: {{ .mountPath }}
  readOnly: true
{{- end }}
{{- with .Values.volumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Only the group can read Secrets; fsGroup makes it Claimgate's. */}}
{{- define "claimgate.volumes" -}}
- name: {{ include "claimgate.configVolume" . }}
  configMap:
    name: {{ include "claimgate.configMapName" . }}
    items:
      - key: {{ .Values.existingConfigMap.key }}
        path: gateway.yaml
{{- if .Values.tls.enabled }}
- name: tls
  secret:
    secretName: {{ include "claimgate.tlsSecretName" . }}
    defaultMode: 0440
    items:
      - key: {{ .Values.tls.certKey }}
        path: {{ .Values.tls.certKey }}
      - key: {{ .Values.tls.keyKey }}
        path: {{ .Values.tls.keyKey }}
{{- with .Values.tls.clientCA }}
{{- if or .existingSecret .fromCertificate }}
- name: client-ca
  secret:
    secretName: {{ .existingSecret | default (include "claimgate.tlsSecretName" $) }}
    defaultMode: 0440
    items:
      - key: {{ .key }}
        path: {{ .key }}
{{- else if .existingConfigMap }}
- name: client-ca
  configMap:
    name: {{ .existingConfigMap }}
    items:
      - key: {{ .key }}
        path: {{ .key }}
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.apiServerToken }}
{{- if .enabled }}
- name: api-server-token
  projected:
    defaultMode: 0440
    sources:
      - serviceAccountToken:
          path: token
          expirationSeconds: {{ .expirationSeconds }}
          {{- with .audience }}
          audience: {{ . }}
          {{- end }}
      - configMap:
          name: kube-root-ca.crt
          items:
            - key: ca.crt
              path: ca.crt
{{- end }}
{{- end }}
{{- range .Values.secretFiles }}
- name: secret-{{ .name }}
  secret:
    secretName: {{ .secret }}
    defaultMode: 0440
    {{- with .items }}
    items:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    {{- if .optional }}
    optional: true
    {{- end }}
{{- end }}
{{- with .Values.volumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Soft by default: a small cluster must still be able to run all pods. */}}
{{- define "claimgate.topologySpreadConstraints" -}}
{{- $selector := dict "matchLabels" (include "claimgate.selectorLabels" . | fromYaml) }}
{{- $constraints := .Values.topologySpreadConstraints }}
{{- if kindIs "invalid" $constraints }}
{{- $constraints = list }}
{{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
{{- $constraints = append $constraints (dict "topologyKey" . "maxSkew" 1 "whenUnsatisfiable" "ScheduleAnyway" "matchLabelKeys" (list "pod-template-hash")) }}
{{- end }}
{{- end }}
{{- $complete := list }}
{{- range $constraints }}
{{- $complete = append $complete (merge (deepCopy .) (dict "labelSelector" $selector)) }}
{{- end }}
{{- with $complete }}
{{- toYaml . }}
{{- end }}
{{- end }}
