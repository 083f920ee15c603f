{{/*
The pod of one part, as the PodSecurity standard `restricted` wants it:
(dict "root" $ "component" "operator" "account" … "part" VALUES "env" LIST "volumes" LIST "mounts" LIST), and
maybe "grace" (seconds to stop, default 15) and "tmp" (what its emptyDir says).
VALUES are the part's own: replicas, resources, placement, labels, extras, and maybe an image.
*/}}
{{- define "headgate.pod" -}}
{{- $root := .root -}}
{{- $part := .part -}}
metadata:
  labels:
    {{- include "headgate.selector" (list $root .component) | nindent 4 }}
    {{- with $part.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with $part.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ .account }}
  automountServiceAccountToken: true
  # A kubelet would set variables such as HEADGATE_METRICS_SERVICE_HOST, which are no settings.
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ default 15 .grace }}
  {{- with $root.Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $part.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with $part.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $part.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $part.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if $part.topologySpreadConstraints }}
  topologySpreadConstraints:
    {{- toYaml $part.topologySpreadConstraints | nindent 4 }}
  {{- else if gt (int $part.replicas) 1 }}
  topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "headgate.selector" (list $root .component) | nindent 8 }}
  {{- end }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    fsGroup: 65532
    seccompProfile:
      type: RuntimeDefault
  containers:
  - name: {{ .component }}
    image: {{ include "headgate.image" (list $root (default $root.Values.image $part.image)) | quote }}
    {{- with $root.Values.image.pullPolicy }}
    imagePullPolicy: {{ . }}
    {{- end }}
    args: [{{ .component }}]
    {{- with concat .env $part.extraEnv }}
    env:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    ports:
    - name: http
      containerPort: 8080
    startupProbe:
      httpGet: {path: /livez, port: http}
      periodSeconds: 1
      failureThreshold: 30
    livenessProbe:
      httpGet: {path: /livez, port: http}
      periodSeconds: 10
      timeoutSeconds: 5
      failureThreshold: 3
    readinessProbe:
      httpGet: {path: /readyz, port: http}
      periodSeconds: 5
    resources:
      {{- toYaml $part.resources | nindent 6 }}
    securityContext:
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities:
        drop: [ALL]
    volumeMounts:
    - name: tmp
      mountPath: /tmp
    {{- with concat .mounts $part.extraVolumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  volumes:
  - name: tmp
    emptyDir: {{ default dict .tmp | toJson }}
  {{- with concat .volumes $part.extraVolumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}
