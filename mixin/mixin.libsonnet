// The alerts, the recording rules and the dashboards as a monitoring mixin. Nothing is written twice: they are read from
// alerts/ and dashboards/, and _config changes what a site may want to change.
//
//   local dbPool = (import 'mixin/mixin.libsonnet') + { _config+:: { thresholds+: { app_utilization_percent: 80 } } };
//   { 'rules.json': dbPool.prometheusRules, 'alerts.json': dbPool.prometheusAlerts } + dbPool.grafanaDashboards
{
  _config+:: {
    // Thresholds by name, without `db_pool:threshold:`; the defaults are in alerts/db_pool_recording.yml.
    thresholds: {},
    // Base addresses of the links in alerts; null keeps those of the file.
    grafana: null,
    runbooks: null,
    // Labels that every alert gets, for routes.
    alertLabels: {},
    dashboardTags: ['db-pool'],
  },

  local config = self._config,
  local prefix = 'db_pool:threshold:',
  local recording = std.parseYaml(importstr '../alerts/db_pool_recording.yml'),
  local alerts = std.parseYaml(importstr '../alerts/db_pool_alerts.yml'),
  local dashboards = {
    'db-pool-exporter.json': import '../dashboards/db-pool-exporter.json',
    'db-pool-overview.json': import '../dashboards/db-pool-overview.json',
    'db-pool-pgbouncer.json': import '../dashboards/db-pool-pgbouncer.json',
    'db-pool-target.json': import '../dashboards/db-pool-target.json',
  },

  local known = std.set([rule.record for group in recording.groups for rule in group.rules]),
  local unknown = [name for name in std.objectFields(config.thresholds) if !std.setMember(prefix + name, known)],
  assert std.length(unknown) == 0 : 'no such threshold: ' + std.join(', ', unknown),

  local adjusted(rule) =
    local name = std.substr(rule.record, std.length(prefix), std.length(rule.record));
    if rule.record == 'db_pool:links' then
      rule { labels+: std.prune({ grafana: config.grafana, runbooks: config.runbooks }) }
    else if std.startsWith(rule.record, prefix) && std.objectHas(config.thresholds, name) then
      rule { expr: 'vector(%s)' % config.thresholds[name] }
    else rule,

  prometheusRules+:: {
    groups+: [group { rules: std.map(adjusted, group.rules) } for group in recording.groups],
  },

  prometheusAlerts+:: {
    groups+: [
      group { rules: [rule { labels+: config.alertLabels } for rule in group.rules] }
      for group in alerts.groups
    ],
  },

  grafanaDashboards+:: {
    [name]: dashboards[name] { tags: config.dashboardTags }
    for name in std.objectFields(dashboards)
  },
}
