{{- define "plimsoll.labels" -}}
app.kubernetes.io/part-of: plimsoll
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "plimsoll.controllers" -}}
app.kubernetes.io/name: plimsoll-controllers
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "plimsoll.registry" -}}
app.kubernetes.io/name: plimsoll-registry
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "plimsoll.image" -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- end }}

{{- /* The security context of a pod, and of its containers: what the restricted standard wants, and more. */ -}}
{{- define "plimsoll.pod" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}
{{- define "plimsoll.container" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- /* Objects of a file of the repository, with the release's namespaces and labels. */ -}}
{{- define "plimsoll.roles" -}}
{{- $text := .text | replace "plimsoll-system" .root.Release.Namespace | replace "plimsoll-steps" .root.Values.steps.namespace -}}
{{- range splitList "\n---\n" $text }}
{{- $object := fromYaml . }}
{{- $_ := set $object.metadata "labels" (merge (default dict $object.metadata.labels) (fromYaml (include "plimsoll.labels" $.root))) }}
---
{{ toYaml $object }}
{{- end }}
{{- end }}
