{{/* What no schema says in words: combinations of values that cannot be meant. */}}
{{- define "headgate.check" -}}
{{- $secret := .Values.prometheus.secret -}}
{{- if and .Values.gatewayNamespaces (not .Values.namespaces) -}}
{{- fail "gatewayNamespaces: wanted only with namespaces; without them Gateways of all are read" -}}
{{- end -}}
{{- if and .Values.writeback.enabled .Values.namespaces -}}
{{- fail "writeback.enabled: wanted without namespaces; ReleasePolicies belong to the cluster" -}}
{{- end -}}
{{- range $key, $value := $secret -}}
{{- if and $value (ne $key "name") (not $secret.name) -}}
{{- fail (printf "prometheus.secret.name: wanted with a key of it, found only %s" $key) -}}
{{- end -}}
{{- end -}}
{{- if ne (empty $secret.userKey) (empty $secret.passwordKey) -}}
{{- fail "prometheus.secret: wanted userKey and passwordKey, or none" -}}
{{- end -}}
{{- if and $secret.userKey $secret.bearerTokenKey -}}
{{- fail "prometheus.secret: wanted bearerTokenKey or userKey, found both" -}}
{{- end -}}
{{- if ne (empty $secret.certKey) (empty $secret.keyKey) -}}
{{- fail "prometheus.secret: wanted certKey and keyKey, or none" -}}
{{- end -}}
{{- end -}}
