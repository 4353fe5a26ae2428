{{/*
What Envoy Gateway's global rate limit needs to give each caller its plan's
limit. It tells callers apart by headers only, so by those that Claimgate sets.
*/}}

{{/* The `auth` block of the file, as YAML; empty where the chart can't read it. */}}
{{- define "claimgate.auth" -}}
{{- $auth := dict }}
{{- if not .Values.existingConfigMap.name }}
{{- $file := include "claimgate.gatewayYaml" . | fromYaml }}
{{- if kindIs "map" (get $file "auth") }}{{ $auth = $file.auth }}{{ end }}
{{- end }}
{{- toYaml $auth }}
{{- end }}

{{/* The header of one of `auth.headers`; empty where it is turned off. A dict of `headers` and `name`. */}}
{{- define "claimgate.identityHeader" -}}
{{- if hasKey .headers .name }}
{{- get .headers .name | default "" }}
{{- else }}
{{- printf "x-auth-%s" .name }}
{{- end }}
{{- end }}

{{/*
The headers that tell callers apart as `auth.limit_by` says, as YAML: `provider`
and `caller`, each empty where there is none. A dict of `root` and `policy`.
*/}}
{{- define "claimgate.callerHeaders" -}}
{{- $auth := include "claimgate.auth" .root | fromYaml }}
{{- $headers := ternary (get $auth "headers") dict (kindIs "map" (get $auth "headers")) }}
{{- $by := get $auth "limit_by" | default "subject" }}
{{- $caller := "" }}
{{- if eq (toJson $by) "\"subject\"" }}
{{- $caller = include "claimgate.identityHeader" (dict "headers" $headers "name" "subject") }}
{{- else if kindIs "map" (get $headers "claims") }}
{{- $caller = get $headers.claims (toString $by) }}
{{- else if kindIs "slice" (get $headers "claims") }}
{{- range $headers.claims }}
{{- if and (kindIs "map" .) (eq (get . "claim" | toJson) (toJson $by)) }}{{ $caller = get . "header" }}{{ end }}
{{- end }}
{{- end }}
provider: {{ .policy.providerHeader | default (include "claimgate.identityHeader" (dict "headers" $headers "name" "provider")) | toString | quote }}
caller: {{ .policy.callerHeader | default $caller | toString | quote }}
{{- end }}

{{/*
One rule: a dict of `callers`, the headers that select them, `limit`, the
metadata's member with the limit, and `cost`. Without a limit there, because the
caller has no plan or its plan no such limit, the largest number holds. It is
shared: one budget for all routes of the policy, instead of one for each.
*/}}
{{- define "claimgate.limitRule" -}}
- clientSelectors:
    - headers: {{ toJson .callers }}
  limit:
    requests: 4294967295
    unit: Second
    fromMetadata: {namespace: envoy.filters.http.ext_authz, key: {{ .limit }}}
  cost: {{ toJson .cost }}
  shared: true
{{- end }}

{{/* All rules of a policy: a dict of `root` and `policy`. */}}
{{- define "claimgate.limitRules" -}}
{{- $headers := include "claimgate.callerHeaders" . | fromYaml }}
{{- $provider := dict "name" $headers.provider "type" "Distinct" }}
{{- $each := list $provider (dict "name" $headers.caller "type" "Distinct") }}
{{- /* Callers without it share a budget, as where Claimgate counts. */}}
{{- $others := list $provider (dict "name" $headers.caller "type" "RegularExpression" "value" ".*" "invert" true) }}
{{- $requests := dict "request" (dict "from" "Metadata" "metadata" (dict "namespace" "envoy.filters.http.ext_authz" "key" "limit_cost")) }}
{{- range $callers := list $each $others }}
{{ include "claimgate.limitRule" (dict "callers" $callers "limit" "limit_requests" "cost" $requests) }}
{{- with $.policy.tokens }}
{{- /* Looked at before, charged when the response is done. */}}
{{- $tokens := dict "request" (dict "from" "Number" "number" 0) "response" (dict "from" "Metadata" "metadata" .) }}
{{ include "claimgate.limitRule" (dict "callers" $callers "limit" "limit_tokens" "cost" $tokens) }}
{{- end }}
{{- end }}
{{- end }}

{{/* The spec of a policy without its targets: what the operator wrote, and these rules first. */}}
{{- define "claimgate.limitSpec" -}}
{{- $spec := deepCopy (.policy.spec | default dict) }}
{{- $limit := get $spec "rateLimit" | default dict }}
{{- $global := get $limit "global" | default dict }}
{{- $rules := concat (include "claimgate.limitRules" . | fromYamlArray) (get $global "rules" | default list) }}
{{- $_ := set $global "rules" $rules }}
{{- $_ := set $limit "global" $global }}
{{- $_ := set $spec "rateLimit" $limit }}
{{- toYaml $spec }}
{{- end }}
