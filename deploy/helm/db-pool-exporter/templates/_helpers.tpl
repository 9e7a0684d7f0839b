{{- define "db-pool-exporter.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "db-pool-exporter.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "db-pool-exporter.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "db-pool-exporter.selector" -}}
app.kubernetes.io/name: {{ include "db-pool-exporter.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "db-pool-exporter.labels" -}}
{{ include "db-pool-exporter.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: metrics
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "db-pool-exporter.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "db-pool-exporter.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "db-pool-exporter.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end -}}

{{- /* The Secret that holds the URL or the password: "existing", "own" (made by this chart) or "" (none). */ -}}
{{- define "db-pool-exporter.urlFrom" -}}
{{- if and .Values.database.existingSecret.name .Values.database.existingSecret.urlKey -}}existing
{{- else if .Values.database.url -}}own
{{- end -}}
{{- end -}}

{{- define "db-pool-exporter.passwordFrom" -}}
{{- if and .Values.database.existingSecret.name .Values.database.existingSecret.passwordKey -}}existing
{{- else if .Values.database.password -}}own
{{- end -}}
{{- end -}}

{{- /* The sources of the projected volume with URL and password; empty without either. */ -}}
{{- define "db-pool-exporter.secretSources" -}}
{{- $url := include "db-pool-exporter.urlFrom" . -}}
{{- $password := include "db-pool-exporter.passwordFrom" . -}}
{{- if or (eq $url "own") (eq $password "own") }}
- secret:
    name: {{ include "db-pool-exporter.fullname" . }}
    items:
      {{- if eq $url "own" }}
      - { key: url, path: url }
      {{- end }}
      {{- if eq $password "own" }}
      - { key: password, path: password }
      {{- end }}
{{- end }}
{{- if or (eq $url "existing") (eq $password "existing") }}
- secret:
    name: {{ .Values.database.existingSecret.name }}
    items:
      {{- if eq $url "existing" }}
      - { key: {{ .Values.database.existingSecret.urlKey | quote }}, path: url }
      {{- end }}
      {{- if eq $password "existing" }}
      - { key: {{ .Values.database.existingSecret.passwordKey | quote }}, path: password }
      {{- end }}
{{- end }}
{{- end -}}

{{- /* The container, for this chart's Deployment, and for other charts as a sidecar. */ -}}
{{- define "db-pool-exporter.container" -}}
name: db-pool-exporter
image: {{ include "db-pool-exporter.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- with .Values.extraArgs }}
args:
  {{- toYaml (prepend . "serve") | nindent 2 }}
{{- end }}
env:
  - { name: APP_ENV, value: {{ .Values.appEnv | quote }} }
  - { name: DB_POOL_EXPORTER_WEB_LISTEN_ADDRESS, value: {{ printf ":%v" .Values.web.port | quote }} }
  {{- if include "db-pool-exporter.urlFrom" . }}
  - { name: DATABASE_URL_FILE, value: /run/secrets/db_pool_exporter/url }
  {{- end }}
  {{- if include "db-pool-exporter.passwordFrom" . }}
  - { name: DB_PASSWORD_FILE, value: /run/secrets/db_pool_exporter/password }
  {{- end }}
  {{- if .Values.config }}
  - { name: DB_POOL_EXPORTER_CONFIG_FILE, value: /etc/db_pool_exporter/config.yml }
  - { name: DB_POOL_EXPORTER_CONFIG_ENABLE_AUTO_RELOAD, value: "true" }
  {{- end }}
  {{- if .Values.web.configSecret }}
  - { name: DB_POOL_EXPORTER_WEB_CONFIG_FILE, value: /etc/db_pool_exporter_web/web.yml }
  {{- end }}
  {{- range $name, $value := .Values.env }}
  - { name: {{ $name }}, value: {{ $value | toString | quote }} }
  {{- end }}
  {{- with .Values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .Values.envFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
ports:
  - { name: {{ include "db-pool-exporter.portName" . }}, containerPort: {{ .Values.web.port }}, protocol: TCP }
livenessProbe:
  {{- include "db-pool-exporter.probe" (list . .Values.livenessProbe) | nindent 2 }}
readinessProbe:
  {{- include "db-pool-exporter.probe" (list . .Values.readinessProbe) | nindent 2 }}
resources:
  {{- toYaml .Values.resources | nindent 2 }}
securityContext:
  {{- toYaml .Values.securityContext | nindent 2 }}
{{- with include "db-pool-exporter.mounts" . }}
volumeMounts:
  {{- . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "db-pool-exporter.portName" -}}
{{- if eq .Values.mode "sidecar" }}{{ .Values.sidecar.portName }}{{ else }}metrics{{ end -}}
{{- end -}}

{{- /* Completes a probe with port and scheme. Argument: a list of the context and the probe. */ -}}
{{- define "db-pool-exporter.probe" -}}
{{- $root := index . 0 -}}
{{- $probe := deepCopy (index . 1) -}}
{{- if $probe.httpGet -}}
{{- if eq (toString $probe.httpGet.port) "metrics" -}}
{{- $_ := set $probe.httpGet "port" (include "db-pool-exporter.portName" $root) -}}
{{- end -}}
{{- if not $probe.httpGet.scheme -}}
{{- $_ := set $probe.httpGet "scheme" $root.Values.web.scheme -}}
{{- end -}}
{{- end -}}
{{- toYaml $probe -}}
{{- end -}}

{{- define "db-pool-exporter.mounts" -}}
{{- if include "db-pool-exporter.secretSources" . }}
- { name: db-pool-exporter-database, mountPath: /run/secrets/db_pool_exporter, readOnly: true }
{{- end }}
{{- if .Values.config }}
- { name: db-pool-exporter-config, mountPath: /etc/db_pool_exporter, readOnly: true }
{{- end }}
{{- if .Values.web.configSecret }}
- { name: db-pool-exporter-web, mountPath: /etc/db_pool_exporter_web, readOnly: true }
{{- end }}
{{- range .Values.secretMounts }}
- { name: {{ printf "secret-%s" .name }}, mountPath: {{ printf "/run/secrets/%s" .name }}, readOnly: true }
{{- end }}
{{- end -}}

{{- define "db-pool-exporter.volumes" -}}
{{- with include "db-pool-exporter.secretSources" . }}
- name: db-pool-exporter-database
  projected:
    defaultMode: 0440
    sources:
      {{- . | nindent 6 }}
{{- end }}
{{- if .Values.config }}
- name: db-pool-exporter-config
  configMap: { name: {{ include "db-pool-exporter.fullname" . }} }
{{- end }}
{{- if .Values.web.configSecret }}
- name: db-pool-exporter-web
  secret: { secretName: {{ .Values.web.configSecret }}, defaultMode: 0440 }
{{- end }}
{{- range .Values.secretMounts }}
- name: {{ printf "secret-%s" .name }}
  secret: { secretName: {{ .secretName }}, defaultMode: 0440 }
{{- end }}
{{- end -}}

{{- /* An endpoint of a ServiceMonitor or PodMonitor. Argument: a list of the context and the monitor's values. */ -}}
{{- define "db-pool-exporter.endpoint" -}}
{{- $root := index . 0 -}}
{{- $monitor := index . 1 -}}
port: {{ include "db-pool-exporter.portName" $root }}
path: /metrics
scheme: {{ lower $root.Values.web.scheme }}
interval: {{ $monitor.interval }}
scrapeTimeout: {{ $monitor.scrapeTimeout }}
{{- with $monitor.relabelings }}
relabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $monitor.metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $root.Values.web.scrapeOptions }}
{{ toYaml . }}
{{- end }}
{{- end -}}
