{{- define "redis-operator.selector" -}}
app.kubernetes.io/name: redis-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "redis-operator.labels" -}}
{{ include "redis-operator.selector" . }}
app.kubernetes.io/component: operator
app.kubernetes.io/part-of: slotkeeper
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "redis-operator.serviceAccount" -}}
{{ .Values.serviceAccount.name | default .Release.Name }}
{{- end }}

{{- /* Of what is not in a namespace: two releases of one name must not share it. */ -}}
{{- define "redis-operator.clusterWideName" -}}
{{ printf "%s-%s" .Release.Namespace .Release.Name }}
{{- end }}
