{{- define "slidekin.name" -}}
{{- if contains "slidekin" .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-slidekin" .Release.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "slidekin.selector" -}}
app.kubernetes.io/name: slidekin
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "slidekin.labels" -}}
{{ include "slidekin.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "slidekin.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "slidekin.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "slidekin.serviceImage" -}}
{{ .Values.service.image.repository }}:{{ .Values.service.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "slidekin.tritonImage" -}}
{{- $usual := ternary "slidekin/triton" "slidekin/triton-cpu" (eq .Values.triton.device "gpu") -}}
{{ .Values.triton.image.repository | default $usual }}:{{ .Values.triton.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* The service's settings: the chart's own, and the values of service.config over them. */}}
{{- define "slidekin.settings" -}}
{{- if not (or .Values.tls.existingSecret .Values.insecure) }}
{{- fail "tls.existingSecret: name a secret with tls.crt and tls.key; or set insecure to true, where something else closes the network" }}
{{- end }}
{{- if not (or .Values.access.required .Values.insecure) }}
{{- fail "access.required is false: everybody who reaches the service could do everything; set insecure to true to allow that" }}
{{- end }}
listen: {host: 0.0.0.0, port: {{ .Values.service.port }}}
insecure: {{ .Values.insecure }}
{{- if .Values.tls.existingSecret }}
tls:
  certificate_file: /etc/slidekin/tls/tls.crt
  key_file: /etc/slidekin/tls/tls.key
  {{- with .Values.tls.clientCaKey }}
  client_ca_file: /etc/slidekin/tls/{{ . }}
  {{- end }}
{{- end }}
access:
  required: {{ .Values.access.required }}
  path: /var/lib/slidekin/access
  grants: {{ toJson .Values.access.grants }}
  {{- with .Values.access.oidc }}
  oidc: {{ toJson . }}
  {{- end }}
metrics: {host: 0.0.0.0, port: {{ .Values.service.metricsPort }}}
storage: {path: /var/lib/slidekin/store, snapshots: /var/lib/slidekin-snapshots/snapshots}
# Not on the store's disk: a full one must not end the log.
audit: {path: /var/lib/slidekin-snapshots/audit/audit.jsonl}
model: {bundle: /models/{{ .Values.models.bundle }}}
triton: {url: "{{ include "slidekin.name" . }}-triton.{{ .Release.Namespace }}.svc:8001"}
{{- end }}

{{/* Health: asked by the kubelet itself where it can, which is where calls are not encrypted. */}}
{{- define "slidekin.probe" -}}
{{- if .root.Values.tls.existingSecret }}
exec: {command: [slidekin-server, health{{ if .live }}, --live{{ end }}]}
{{- else }}
grpc: {port: {{ .root.Values.service.port }}{{ if not .live }}, service: slidekin.v1.SearchService{{ end }}}
{{- end }}
{{- end }}
