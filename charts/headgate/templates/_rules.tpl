{{/* What the operator may do in a namespace it serves; "cluster" adds what no Role can grant. */}}
{{- define "headgate.rules" -}}
# What people write: read, never changed; only its status is ours.
- apiGroups: [headgate.dev]
  resources: [modeldeployments]
  verbs: [get, list, watch]
- apiGroups: [headgate.dev]
  resources: [modeldeployments/status]
  verbs: [patch]
# What we write.
- apiGroups: [headgate.dev]
  resources: [modelrevisions]
  verbs: [get, list, watch, create, delete]
- apiGroups: [headgate.dev]
  resources: [modelrollouts]
  verbs: [get, list, create, delete]
- apiGroups: [headgate.dev]
  resources: [modelrevisions/status, modelrollouts/status]
  verbs: [patch]
- apiGroups: [serving.kserve.io]
  resources: [inferenceservices]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes]
  verbs: [get, list, watch, create, patch]
- apiGroups: [""]
  resources: [events]
  verbs: [create]
# What KServe and the platform write: whether a revision is ready, and what it is made of.
- apiGroups: [apps]
  resources: [deployments]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [pods]
  verbs: [list]
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get]
- apiGroups: [serving.kserve.io]
  resources: [servingruntimes{{ if .cluster }}, clusterservingruntimes{{ end }}]
  verbs: [get]
- apiGroups: [gateway.networking.k8s.io]
  resources: [gateways]
  verbs: [get]
{{- if .root.Values.ownerReferencesPermissionEnforcement }}
# Owner references that block deletion, where OwnerReferencesPermissionEnforcement is on (OpenShift).
- apiGroups: [headgate.dev]
  resources: [modeldeployments/finalizers]
  verbs: [update]
{{- end }}
{{- end -}}

{{- define "headgate.collectorRules" -}}
- apiGroups: [headgate.dev]
  resources: [modelrevisions]
  verbs: [get]
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get]
{{- end -}}

{{/*
Rights of one account, for the whole cluster or for each of some namespaces:
(dict "root" $ "name" … "account" … "rules" TEXT "namespaces" LIST); no namespaces: the whole cluster.
*/}}
{{- define "headgate.grant" -}}
{{- $grant := . -}}
{{- if .namespaces }}
{{- range .namespaces }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  {{- include "headgate.metadata" (dict "root" $grant.root "name" $grant.name "namespace" .) | nindent 2 }}
rules:
{{ $grant.rules }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  {{- include "headgate.metadata" (dict "root" $grant.root "name" $grant.name "namespace" .) | nindent 2 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: {{ $grant.name }}
subjects:
- kind: ServiceAccount
  name: {{ $grant.account }}
  namespace: {{ $grant.root.Release.Namespace }}
{{- end }}
{{- else }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  {{- include "headgate.metadata" (dict "root" .root "name" .name) | nindent 2 }}
rules:
{{ .rules }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  {{- include "headgate.metadata" (dict "root" .root "name" .name) | nindent 2 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: {{ .name }}
subjects:
- kind: ServiceAccount
  name: {{ .account }}
  namespace: {{ .root.Release.Namespace }}
{{- end }}
{{- end -}}

{{/* Its own Lease only; `create` cannot be limited to a name. */}}
{{- define "headgate.leaseRules" -}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [{{ include "headgate.fullname" . }}]
  verbs: [get, update]
{{- end -}}

{{- define "headgate.argocdRules" -}}
- apiGroups: [argoproj.io]
  resources: [applications]
  verbs: [get]
{{- end -}}

{{- define "headgate.fluxRules" -}}
- apiGroups: [kustomize.toolkit.fluxcd.io]
  resources: [kustomizations]
  verbs: [get]
- apiGroups: [helm.toolkit.fluxcd.io]
  resources: [helmreleases]
  verbs: [get]
- apiGroups: [source.toolkit.fluxcd.io]
  resources: [gitrepositories, ocirepositories]
  verbs: [get]
{{- end -}}

{{/* Policies belong to the cluster, records to namespaces; the rest is in its own namespace. */}}
{{- define "headgate.writebackPolicyRules" -}}
- apiGroups: [headgate.dev]
  resources: [releasepolicies]
  verbs: [list]
- apiGroups: [headgate.dev]
  resources: [releasepolicies/status]
  verbs: [patch]
{{- end -}}

{{- define "headgate.writebackRecordRules" -}}
- apiGroups: [headgate.dev]
  resources: [modelrollouts]
  verbs: [get, list]
- apiGroups: [headgate.dev]
  resources: [modeldeployments, modelrevisions]
  verbs: [get]
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- end -}}

{{/* What it did, and the credentials that policies name: no other Secret can be read. */}}
{{- define "headgate.writebackOwnRules" -}}
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, create, patch, delete]
{{- with .Values.writeback.secrets }}
- apiGroups: [""]
  resources: [secrets]
  resourceNames: {{ toJson . }}
  verbs: [get]
{{- end }}
{{- end -}}
