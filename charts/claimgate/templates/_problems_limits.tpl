{{/* Limits that the file and Envoy Gateway's policies would not agree on. */}}
{{- define "claimgate.problems.limits" -}}
{{- $policies := .Values.envoyGateway.backendTrafficPolicies }}
{{- if $policies }}
{{- $auth := include "claimgate.auth" . | fromYaml }}
{{- if not .Values.existingConfigMap.name }}
{{- $limits := get $auth "limits" | default "local" | toString }}
{{- $plans := get $auth "plans" }}
{{- if not $plans }}
- envoyGateway.backendTrafficPolicies is set, but config has no plans: write them in config.auth.plans, or remove the policies
{{- else if and (ne $limits "metadata") (not (contains "${" $limits)) }}
- envoyGateway.backendTrafficPolicies is set, but config.auth.limits is {{ $limits }}, with which Claimgate counts by itself and tells Envoy no limits: set it to metadata, or remove the policies
{{- end }}
{{- $withTokens := list }}
{{- if kindIs "map" $plans }}
{{- range $name, $plan := $plans }}
{{- if and (kindIs "map" $plan) (get $plan "tokens") }}{{ $withTokens = append $withTokens $name }}{{ end }}
{{- end }}
{{- end }}
{{- $charging := list }}
{{- range $policies }}
{{- if .tokens }}{{ $charging = append $charging .name }}{{ end }}
{{- end }}
{{- if and $withTokens (not $charging) }}
- config.auth.plans limits the tokens of {{ join ", " $withTokens }}, but no policy counts them: say in envoyGateway.backendTrafficPolicies[].tokens which metadata has the number of a response, or remove tokens from the plans
{{- else if and $charging (not $withTokens) (kindIs "map" $plans) }}
- envoyGateway.backendTrafficPolicies counts tokens, which no plan in config.auth.plans limits: remove tokens there, or add them to a plan
{{- end }}
{{- end }}
{{- $by := get $auth "limit_by" | default "subject" }}
{{- range $i, $policy := $policies }}
{{- $path := printf "envoyGateway.backendTrafficPolicies[%d]" $i }}
{{- $headers := include "claimgate.callerHeaders" (dict "root" $ "policy" $policy) | fromYaml }}
{{- if not $headers.provider }}
- {{ $path }} needs a header with the caller's provider, but config.auth.headers.provider is null: name one, or remove it there
{{- end }}
{{- if $headers.caller }}
{{- else if eq (toJson $by) "\"subject\"" }}
- {{ $path }} needs a header with the caller's subject, but config.auth.headers.subject is null: name one, or remove it there
{{- else }}
- {{ $path }} needs a header with {{ toJson $by }}, by which config.auth.limit_by tells callers apart: give that claim one in config.auth.headers.claims, or name the header in {{ $path }}.callerHeader
{{- end }}
{{- if eq (dig "rateLimit" "type" "" ($policy.spec | default dict) | toString) "Local" }}
- {{ $path }}.spec.rateLimit.type is Local, with which Envoy Gateway leaves the plans out: remove it
{{- end }}
{{- end }}
{{- end }}
{{- end }}
