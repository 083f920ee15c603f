{{/*
Who is never stopped: the cluster's own controllers (garbage collection, deletion of a namespace),
administrators, and whom the values name. A CEL expression.
*/}}
{{- define "headgate.exempt" -}}
'system:masters' in request.userInfo.groups
|| 'system:serviceaccounts:kube-system' in request.userInfo.groups
|| request.userInfo.username in {{ concat (list "system:apiserver" "system:kube-controller-manager") .Values.policies.exemptUsers | toJson | replace "\"" "'" }}
|| request.userInfo.groups.exists(group, group in {{ .Values.policies.exemptGroups | toJson | replace "\"" "'" }})
{{- end -}}

{{- define "headgate.user" -}}
system:serviceaccount:{{ .Release.Namespace }}:{{ include "headgate.serviceAccount" . }}
{{- end -}}
