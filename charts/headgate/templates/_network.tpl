{{/* Who may call the part's one port; nobody named: anybody. */}}
{{- define "headgate.ingress" -}}
- ports:
  - port: http
  {{- with .from }}
  from:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{/* Where the part may go: to some peers, or anywhere, on these ports. */}}
{{- define "headgate.egress" -}}
- ports:
  {{- range .ports }}
  - port: {{ . }}
  {{- end }}
  {{- with .to }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{- define "headgate.dns" -}}
- ports:
  - {port: 53, protocol: UDP}
  - {port: 53, protocol: TCP}
{{- end -}}
