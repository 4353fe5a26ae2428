{{/* Values of the objects and the pod that would be refused without saying which value it is, or do nothing. */}}

{{/* A block that `null` has removed; nothing else can be checked then. */}}
{{- define "claimgate.problems.blocks" -}}
{{- $paths := list "global" "image" "module" "module.image" "existingConfigMap" "shutdown" "tls" "tls.clientCA" "tls.certManager" "tls.certManager.issuerRef" "tls.certManager.privateKey" "service" "headlessService" "adminService" "serviceAccount" "apiServerToken" "livenessProbe" "readinessProbe" "startupProbe" "autoscaling" "podDisruptionBudget" "networkPolicy" "networkPolicy.dns" "networkPolicy.issuers" "podMonitor" "serviceMonitor" "prometheusRule" "dashboard" "istio" "istio.destinationRule" "istio.peerAuthentication" "envoyGateway" "envoyGateway.backendTLS" "envoyGateway.referenceGrant" "preUpgradeCheck" "tests" }}
{{- range $path := $paths }}
{{- $above := $.Values }}
{{- range initial (splitList "." $path) }}
{{- if kindIs "map" $above }}{{ $above = get $above . }}{{ end }}
{{- end }}
{{- if and (kindIs "map" $above) (not (kindIs "map" (get $above (last (splitList "." $path))))) }}
- {{ $path }} is null, which takes its defaults away: remove it, or write the keys to change under it
{{- end }}
{{- end }}
{{- /* Values that templates need; others may be null, which is the same as empty. */}}
{{- $needed := list "clusterDomain" "commonLabels" "commonAnnotations" "image.registry" "image.repository" "module.image.registry" "module.image.repository" "serviceAccount.create" "tls.clientCA.fromCertificate" "autoscaling.enabled" "prometheusRule.disabled" "prometheusRule.overrides" "prometheusRule.alertLabels" "prometheusRule.extraGroups" "istio.authorizationPolicies" "istio.envoyFilters" "istio.destinationRule.trafficPolicy" "istio.destinationRule.tls" "envoyGateway.backendSettings" "envoyGateway.referenceGrant.namespaces" "deploymentLabels" "podLabels" "podAnnotations" }}
{{- range $path := $needed }}
{{- $above := $.Values }}
{{- range initial (splitList "." $path) }}
{{- if kindIs "map" $above }}{{ $above = get $above . }}{{ end }}
{{- end }}
{{- $key := last (splitList "." $path) }}
{{- if and (kindIs "map" $above) (or (not (hasKey $above $key)) (kindIs "invalid" (get $above $key))) }}
- {{ $path }} is null, which takes its default away: remove it, or write another value
{{- end }}
{{- end }}
{{- end }}

{{- define "claimgate.problems.names" -}}
{{- $fullname := include "claimgate.fullname" . }}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $fullname) }}
- the objects would be named {{ $fullname | quote }}, which Kubernetes refuses for a Service: set fullnameOverride to lower-case letters, digits and -, with a letter first
{{- end }}
{{- range $list, $policies := dict "istio.authorizationPolicies" .Values.istio.authorizationPolicies "envoyGateway.securityPolicies" .Values.envoyGateway.securityPolicies "envoyGateway.extensionPolicies" .Values.envoyGateway.extensionPolicies "envoyGateway.envoyProxies" .Values.envoyGateway.envoyProxies "envoyGateway.backendTrafficPolicies" .Values.envoyGateway.backendTrafficPolicies "istio.envoyFilters" .Values.istio.envoyFilters }}
{{- $seen := list }}
{{- range $i, $policy := $policies }}
{{- $place := printf "%s/%s" ($policy.namespace | default (include "claimgate.namespace" $)) $policy.name }}
{{- if has $place $seen }}
- {{ $list }}[{{ $i }}] is called {{ $place }} like one before it: give it another name
{{- end }}
{{- $seen = append $seen $place }}
{{- end }}
{{- end }}
{{- $own := list "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" "app.kubernetes.io/version" "app.kubernetes.io/part-of" }}
{{- range $path := list "commonLabels" "podLabels" "deploymentLabels" }}
{{- range $key, $value := get $.Values $path }}
{{- if has $key $own }}
- {{ $path }} sets {{ $key }}, which the chart sets by itself: remove it; nameOverride changes app.kubernetes.io/name
{{- end }}
{{- end }}
{{- end }}
{{- range $path := list "podAnnotations" "commonAnnotations" }}
{{- range $key := list "claimgate.dev/restart-for" "claimgate.dev/config" }}
{{- if hasKey (get $.Values $path) $key }}
- {{ $path }} sets {{ $key }}, which the chart sets by itself: remove it
{{- end }}
{{- end }}
{{- end }}
{{- range $path, $image := dict "image" .Values.image "module.image" .Values.module.image }}
{{- if not (regexMatch "^([A-Za-z0-9.-]+(:[0-9]+)?/)?[a-z0-9]+([._/-]+[a-z0-9]+)*$" $image.repository) }}
- {{ $path }}.repository is {{ $image.repository | quote }}, which is not an image's name: write lower-case letters and digits, with the tag in {{ $path }}.tag
{{- end }}
{{- end }}
{{- if and (not .Values.serviceAccount.create) (or .Values.serviceAccount.labels .Values.serviceAccount.annotations) }}
- serviceAccount has labels or annotations, but serviceAccount.create is false: remove them, or set it to true
{{- end }}
{{- end }}

{{- define "claimgate.problems.pod" -}}
{{- range $i, $variable := .Values.env }}
{{- if eq $variable.name "RUST_LOG" }}
- env[{{ $i }}] sets RUST_LOG again: write it as logLevel
{{- end }}
{{- end }}
{{- $strategy := .Values.updateStrategy | default dict }}
{{- if and (eq (get $strategy "type" | default "") "Recreate") (get $strategy "rollingUpdate") }}
- updateStrategy.type is Recreate, which takes no rollingUpdate: set updateStrategy.rollingUpdate to null
{{- end }}
{{- $nonRoot := or (get (.Values.podSecurityContext | default dict) "runAsNonRoot") (get (.Values.securityContext | default dict) "runAsNonRoot") }}
{{- range $path := list "podSecurityContext" "securityContext" }}
{{- if and $nonRoot (eq (get (get $.Values $path | default dict) "runAsUser" | toString) "0") }}
- {{ $path }}.runAsUser is 0, which is root, but runAsNonRoot is true: write another user's number
{{- end }}
{{- end }}
{{- end }}

{{/* A duration such as 1h30m in milliseconds; empty if invalid. */}}
{{- define "claimgate.milliseconds" -}}
{{- $duration := . | default "" }}
{{- if regexMatch "^([0-9]+(\\.[0-9]+)?(w|d|h|m|s|ms))+$" $duration }}
{{- $sum := 0 }}
{{- range regexFindAll "[0-9.]+(ms|w|d|h|m|s)" $duration -1 }}
{{- $unit := get (dict "w" 604800000 "d" 86400000 "h" 3600000 "m" 60000 "s" 1000 "ms" 1) (regexFind "[a-z]+$" .) }}
{{- $sum = addf $sum (mulf (regexFind "^[0-9.]+" . | float64) $unit) }}
{{- end }}
{{- int64 $sum }}
{{- end }}
{{- end }}
