{{/*
The file gateway.yaml, and what the chart reads from it.

The file belongs to the operator: the chart reads it, and writes into it only
where `tls` is on and the file does not configure it.
*/}}

{{/* The `server` block for `tls`. */}}
{{- define "claimgate.tlsBlock" -}}
server:
  grpc:
    tls:
      cert_file: /etc/claimgate/tls/{{ .Values.tls.certKey }}
      key_file: /etc/claimgate/tls/{{ .Values.tls.keyKey }}
      {{- if include "claimgate.isMutual" . }}
      client_ca_file: /etc/claimgate/client-ca/{{ .Values.tls.clientCA.key }}
      {{- end }}
      {{- with .Values.tls.allowedClientSANs }}
      allowed_client_sans:
        {{- toYaml . | nindent 8 }}
      {{- end }}
{{- end }}

{{/* Not empty where clients must present a certificate. */}}
{{- define "claimgate.isMutual" -}}
{{- with .Values.tls.clientCA }}
{{- if or .existingSecret .existingConfigMap .fromCertificate }}true{{ end }}
{{- end }}
{{- end }}

{{/* The file as text. */}}
{{- define "claimgate.gatewayYaml" -}}
{{- $config := .Values.config | default (.Files.Get "files/gateway.yaml") }}
{{- if kindIs "map" $config }}
{{- if .Values.tls.enabled }}
{{- $config = merge (deepCopy $config) (include "claimgate.tlsBlock" . | fromYaml) }}
{{- end }}
{{- toYaml $config }}
{{- else }}
{{- $config | trimSuffix "\n" }}
{{- if and .Values.tls.enabled (not (hasKey ($config | fromYaml) "server")) }}
{{ include "claimgate.tlsBlock" . }}
{{- end }}
{{- end }}
{{- end }}

{{/*
The file's settings of the server, as YAML: `grpcPort`, `adminPort` (0 where
they can't be read), `graceSeconds`, `hasTls`, `certFile`, `grpcAddress`,
`adminAddress`, and `restart`, a hash of the settings that need a restart.
*/}}
{{- define "claimgate.facts" -}}
{{- $file := dict }}
{{- if not .Values.existingConfigMap.name }}
{{- $file = include "claimgate.gatewayYaml" . | fromYaml }}
{{- end }}
{{- $server := get $file "server" | default dict }}
{{- if not (kindIs "map" $server) }}{{ $server = dict }}{{ end }}
{{- $grpc := get $server "grpc" | default dict }}
{{- if not (kindIs "map" $grpc) }}{{ $grpc = dict }}{{ end }}
{{- $admin := get $server "admin" | default dict }}
{{- if not (kindIs "map" $admin) }}{{ $admin = dict }}{{ end }}
{{- $grpcAddress := get $grpc "address" | default "0.0.0.0:9001" | toString }}
{{- $adminAddress := get $admin "address" | default "0.0.0.0:9003" | toString }}
{{- $tls := get $grpc "tls" | default dict }}
{{- if not (kindIs "map" $tls) }}{{ $tls = dict }}{{ end }}
{{- $grace := get $server "shutdown_grace_seconds" }}
{{- $restart := list $grpcAddress $adminAddress (get $server "workers") }}
{{- range $key := list "max_connections" "max_connection_age_seconds" }}
{{- if get $grpc $key }}{{ $restart = append $restart (dict $key (get $grpc $key)) }}{{ end }}
{{- end }}
grpcAddress: {{ $grpcAddress | quote }}
adminAddress: {{ $adminAddress | quote }}
grpcPort: {{ include "claimgate.port" $grpcAddress }}
adminPort: {{ include "claimgate.port" $adminAddress }}
graceSeconds: {{ ternary (int64 $grace) 20 (or (kindIs "float64" $grace) (kindIs "int64" $grace)) }}
hasTls: {{ gt (len $tls) 0 }}
certFile: {{ get $tls "cert_file" | default "" | toString | quote }}
restart: {{ $restart | toJson | sha256sum | trunc 16 | quote }}
{{- end }}

{{/* The port at the end of `host:port`; 0 if missing. */}}
{{- define "claimgate.port" -}}
{{- $port := regexFind ":[0-9]+$" . | trimPrefix ":" }}
{{- if hasPrefix "unix:" . }}{{ $port = "" }}{{ end }}
{{- $port | default "0" }}
{{- end }}

{{/* How long the kubelet waits after a pod is told to stop. */}}
{{- define "claimgate.terminationGracePeriodSeconds" -}}
{{- $facts := include "claimgate.facts" . | fromYaml }}
{{- .Values.shutdown.terminationGracePeriodSeconds | default (add .Values.shutdown.delaySeconds $facts.graceSeconds 5) }}
{{- end }}
