{{/* The parts that Claimgate's container and the test's share. */}}

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
