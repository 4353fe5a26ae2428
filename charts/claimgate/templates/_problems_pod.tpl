{{/* Values of the pod that the API server or the kubelet would refuse. */}}

{{/* A block that `null` has removed; nothing else can be checked then. */}}
{{- define "claimgate.problems.blocks" -}}
{{- $paths := list "image" "module" "module.image" "existingConfigMap" "shutdown" "tls" "tls.clientCA" "tls.certManager" "tls.certManager.issuerRef" "tls.certManager.privateKey" "service" "adminService" "serviceAccount" "apiServerToken" "livenessProbe" "readinessProbe" "startupProbe" "autoscaling" "podDisruptionBudget" "networkPolicy" "networkPolicy.dns" "networkPolicy.issuers" "podMonitor" "serviceMonitor" "prometheusRule" "dashboard" "istio" "istio.peerAuthentication" "envoyGateway" "envoyGateway.referenceGrant" "tests" }}
{{- range $path := $paths }}
{{- $above := $.Values }}
{{- range initial (splitList "." $path) }}
{{- if kindIs "map" $above }}{{ $above = get $above . }}{{ end }}
{{- end }}
{{- if and (kindIs "map" $above) (not (kindIs "map" (get $above (last (splitList "." $path))))) }}
- {{ $path }} is null, which takes its defaults away: remove it, or write the keys to change under it
{{- end }}
{{- end }}
{{- end }}

{{- define "claimgate.problems.names" -}}
{{- $fullname := include "claimgate.fullname" . }}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $fullname) }}
- the objects would be named {{ $fullname | quote }}, which Kubernetes refuses for a Service: set fullnameOverride to lower-case letters, digits and -, with a letter first
{{- end }}
{{- $names := dict
  "existingConfigMap.name" .Values.existingConfigMap.name
  "existingSecret" .Values.existingSecret
  "tls.existingSecret" .Values.tls.existingSecret
  "tls.clientCA.existingSecret" .Values.tls.clientCA.existingSecret
  "tls.clientCA.existingConfigMap" .Values.tls.clientCA.existingConfigMap
  "tls.certManager.issuerRef.name" .Values.tls.certManager.issuerRef.name
  "serviceAccount.name" .Values.serviceAccount.name
  "priorityClassName" .Values.priorityClassName
  "runtimeClassName" .Values.runtimeClassName
  "dashboard.namespace" .Values.dashboard.namespace
  "istio.rootNamespace" .Values.istio.rootNamespace }}
{{- range $i, $namespace := .Values.module.namespaces }}
{{- $_ := set $names (printf "module.namespaces[%d]" $i) $namespace }}
{{- end }}
{{- range $i, $file := .Values.secretFiles }}
{{- $_ := set $names (printf "secretFiles[%d].secret" $i) $file.secret }}
{{- end }}
{{- range $list, $policies := dict "istio.authorizationPolicies" .Values.istio.authorizationPolicies "envoyGateway.securityPolicies" .Values.envoyGateway.securityPolicies "envoyGateway.extensionPolicies" .Values.envoyGateway.extensionPolicies "envoyGateway.envoyProxies" .Values.envoyGateway.envoyProxies "istio.envoyFilters" .Values.istio.envoyFilters }}
{{- $seen := list }}
{{- range $i, $policy := $policies }}
{{- $_ := set $names (printf "%s[%d].name" $list $i) $policy.name }}
{{- $_ := set $names (printf "%s[%d].namespace" $list $i) $policy.namespace }}
{{- $place := printf "%s/%s" ($policy.namespace | default $.Release.Namespace) $policy.name }}
{{- if has $place $seen }}
- {{ $list }}[{{ $i }}] is called {{ $place }} like one before it: give it another name
{{- end }}
{{- $seen = append $seen $place }}
{{- end }}
{{- end }}
{{- range $path, $name := $names }}
{{- if and $name (not (regexMatch "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$" $name)) }}
- {{ $path }} is {{ $name | quote }}, which is not a valid name in Kubernetes: write lower-case letters, digits, - and . only
{{- end }}
{{- end }}
{{- $own := list "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" "app.kubernetes.io/version" "app.kubernetes.io/part-of" }}
{{- range $path := list "commonLabels" "podLabels" "deploymentLabels" }}
{{- range $key, $value := get $.Values $path }}
{{- if has $key $own }}
- {{ $path }} sets {{ $key }}, which the chart sets by itself: remove it; nameOverride changes app.kubernetes.io/name
{{- end }}
{{- if not (regexMatch "^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$" $key) }}
- {{ $path }} has a label {{ $key | quote }}, which Kubernetes refuses as a label's name: write letters, digits, -, _ and ., optionally with a domain and / before them
{{- end }}
{{- if not (regexMatch "^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$" $value) }}
- {{ $path }}.{{ $key }} is {{ $value | quote }}, which Kubernetes refuses as a label: write at most 63 letters, digits, -, _ and .
{{- end }}
{{- end }}
{{- end }}
{{- if hasKey .Values.podAnnotations "claimgate.dev/restart-for" }}
- podAnnotations sets claimgate.dev/restart-for, which the chart sets by itself: remove it
{{- end }}
{{- range $path, $image := dict "image" .Values.image "module.image" .Values.module.image }}
{{- if not (regexMatch "^([A-Za-z0-9.-]+(:[0-9]+)?/)?[a-z0-9]+([._/-]+[a-z0-9]+)*$" $image.repository) }}
- {{ $path }}.repository is {{ $image.repository | quote }}, which is not an image's name: write lower-case letters and digits, with the tag in {{ $path }}.tag
{{- end }}
{{- if not (regexMatch "^([A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?$" $image.tag) }}
- {{ $path }}.tag is {{ $image.tag | quote }}, which is not a tag: write letters, digits, _, . and - only, and a digest as {{ $path }}.digest
{{- end }}
{{- end }}
{{- if and (not .Values.serviceAccount.create) (or .Values.serviceAccount.labels .Values.serviceAccount.annotations) }}
- serviceAccount has labels or annotations, but serviceAccount.create is false: remove them, or set it to true
{{- end }}
{{- end }}

{{- define "claimgate.problems.pod" -}}
{{- $volumes := list }}
{{- range include "claimgate.volumes" . | fromYamlArray }}
{{- if has .name $volumes }}
- two volumes are called {{ .name }}: give the one in volumes or secretFiles another name
{{- end }}
{{- $volumes = append $volumes .name }}
{{- end }}
{{- $places := list }}
{{- range include "claimgate.volumeMounts" . | fromYamlArray }}
{{- $place := trimSuffix "/" .mountPath }}
{{- if has $place $places }}
- two volumes are mounted at {{ $place }}: give the one in secretFiles, volumeMounts or apiServerToken another mountPath
{{- end }}
{{- $places = append $places $place }}
{{- if not (has .name $volumes) }}
- volumeMounts names a volume {{ .name }} that does not exist: add it to volumes
{{- end }}
{{- end }}
{{- $variables := list "RUST_LOG" }}
{{- range $i, $variable := .Values.env }}
{{- if has $variable.name $variables }}
- env[{{ $i }}] sets {{ $variable.name }} again: {{ ternary "write it as logLevel" "remove one of the two" (eq $variable.name "RUST_LOG") }}
{{- end }}
{{- $variables = append $variables $variable.name }}
{{- end }}
{{- $containers := list "claimgate" }}
{{- range concat .Values.initContainers .Values.extraContainers }}
{{- if has .name $containers }}
- a container in initContainers or extraContainers is called {{ .name }} like another one of the pod: give it another name
{{- end }}
{{- $containers = append $containers .name }}
{{- end }}
{{- $strategy := .Values.updateStrategy | default dict }}
{{- $rolling := get $strategy "rollingUpdate" | default dict }}
{{- if and (eq (get $strategy "type" | default "") "Recreate") $rolling }}
- updateStrategy.type is Recreate, which takes no rollingUpdate: set updateStrategy.rollingUpdate to null
{{- else if and (has (get $rolling "maxSurge" | toString) (list "0" "0%")) (has (get $rolling "maxUnavailable" | toString) (list "0" "0%")) }}
- updateStrategy.rollingUpdate allows neither an extra pod nor a missing one: set maxSurge or maxUnavailable to 1
{{- end }}
{{- $resources := .Values.resources | default dict }}
{{- range $kind := list "cpu" "memory" }}
{{- $request := dig "requests" $kind "" $resources | toString }}
{{- $limit := dig "limits" $kind "" $resources | toString }}
{{- range $which, $amount := dict "requests" $request "limits" $limit }}
{{- if and $amount (ne $amount "<nil>") (not (include "claimgate.quantity" $amount)) }}
- resources.{{ $which }}.{{ $kind }} is {{ $amount | quote }}: write a quantity, such as {{ ternary "100m" "64Mi" (eq $kind "cpu") }}
{{- end }}
{{- end }}
{{- $least := include "claimgate.quantity" $request }}
{{- $most := include "claimgate.quantity" $limit }}
{{- if and $least $most (gt (float64 $least) (float64 $most)) }}
- resources.requests.{{ $kind }} is {{ $request }}, over resources.limits.{{ $kind }}, which is {{ $limit }}: raise the limit or lower the request
{{- end }}
{{- end }}
{{- $nonRoot := or (get (.Values.podSecurityContext | default dict) "runAsNonRoot") (get (.Values.securityContext | default dict) "runAsNonRoot") }}
{{- range $path := list "podSecurityContext" "securityContext" }}
{{- if and $nonRoot (eq (get (get $.Values $path | default dict) "runAsUser" | toString) "0") }}
- {{ $path }}.runAsUser is 0, which is root, but runAsNonRoot is true: write another user's number
{{- end }}
{{- end }}
{{- if and (eq .Values.dnsPolicy "None") (not (get (.Values.dnsConfig | default dict) "nameservers")) }}
- dnsPolicy is None without a name server: set dnsConfig.nameservers
{{- end }}
{{- range $i, $object := .Values.extraObjects }}
{{- $text := tpl (kindIs "string" $object | ternary $object (toYaml $object)) $ }}
{{- range regexSplit "(?m)^---.*$" $text -1 }}
{{- $read := fromYaml . }}
{{- if and (trim .) (not (and (get $read "kind") (get $read "apiVersion"))) }}
- extraObjects[{{ $i }}] is not a Kubernetes object: write a mapping with apiVersion and kind
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* A Kubernetes quantity as a number; empty if invalid. */}}
{{- define "claimgate.quantity" -}}
{{- if regexMatch "^[0-9]+(\\.[0-9]+)?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$" . }}
{{- $units := dict "" 1 "m" 0.001 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "P" 1e15 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 "Pi" 1125899906842624 }}
{{- mulf (regexFind "^[0-9.]+" . | float64) (get $units (regexFind "[A-Za-z]*$" .)) }}
{{- end }}
{{- end }}

{{/* A duration such as 1h30m in milliseconds; empty if invalid. */}}
{{- define "claimgate.milliseconds" -}}
{{- if regexMatch "^([0-9]+(\\.[0-9]+)?(w|d|h|m|s|ms))+$" . }}
{{- $sum := 0 }}
{{- range regexFindAll "[0-9.]+(ms|w|d|h|m|s)" . -1 }}
{{- $unit := get (dict "w" 604800000 "d" 86400000 "h" 3600000 "m" 60000 "s" 1000 "ms" 1) (regexFind "[a-z]+$" .) }}
{{- $sum = addf $sum (mulf (regexFind "^[0-9.]+" . | float64) $unit) }}
{{- end }}
{{- int64 $sum }}
{{- end }}
{{- end }}
