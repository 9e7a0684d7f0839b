#!/usr/bin/env python3
"""Writes the Grafana dashboards beside this file, and their list in the mixin.

Users import the JSON, so it is committed; `tests/it/dashboards.rs` checks that it is what this script writes. Every
query takes the maximum (or minimum) over exporters, so that values do not double when two watch the same target.
With --check the script writes nothing, and fails if a file differs.
"""

import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
GREEN, YELLOW, RED, BLUE = "green", "yellow", "red", "blue"


# --- building blocks ---------------------------------------------------------------------------------------


def query(expr, legend="", *, instant=False, kind="time_series"):
    """One query of a panel."""
    return {
        "datasource": SOURCE,
        "editorMode": "code",
        "expr": expr,
        "format": kind,
        "instant": instant,
        "legendFormat": legend or "__auto",
        "range": not instant,
    }


def line_of(threshold, name="threshold of the alert"):
    """An alert threshold as a line, read from the recording rules."""
    return query(f"max(db_pool:threshold:{threshold})", name)


def steps(*pairs):
    """Grafana thresholds: the base colour, then (value, colour) pairs."""
    first, *rest = pairs
    rows = [{"color": first, "value": None}]
    rows += [{"color": color, "value": value} for value, color in rest]
    return {"mode": "absolute", "steps": rows}


def mapping(**texts):
    """Maps values to texts and colours: v0=("down", RED)."""
    options = {
        name[1:]: {"color": color, "index": index, "text": text}
        for index, (name, (text, color)) in enumerate(texts.items())
    }
    return [{"type": "value", "options": options}]


def target_link(field="target"):
    """A link from a row or series to the dashboard of its target."""
    name = "${__data.fields.%s}" % field
    return {
        "title": "Open this target",
        "url": f"/d/db-pool-target?var-job=${{__data.fields.job}}&var-target={name}&${{__url_time_range}}",
    }


def panel(kind, title, description, queries, *, unit="short", size=(6, 4), defaults=None, overrides=None,
          options=None, **more):
    """A panel; `place` adds its position."""
    for ref, item in zip("ABCDEFGHIJKLMNOP", queries):
        item["refId"] = ref
    result = {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": SOURCE,
        "targets": queries,
        "fieldConfig": {"defaults": {"unit": unit, **(defaults or {})}, "overrides": overrides or []},
        "options": options or {},
        "size": size,
    }
    result.update(more)
    return result


def stat(title, description, expr, thresholds, *, unit="short", legend="", mappings=None, size=(4, 4),
         text="auto", decimals=None, empty=None, links=None):
    """One big value on a coloured background."""
    defaults = {"thresholds": thresholds, "color": {"mode": "thresholds"}}
    if mappings:
        defaults["mappings"] = mappings
    if decimals is not None:
        defaults["decimals"] = decimals
    if empty:
        defaults["noValue"] = empty
    if links:
        defaults["links"] = links
    options = {
        "colorMode": "background", "graphMode": "none", "justifyMode": "auto", "orientation": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}, "textMode": text,
    }
    return panel("stat", title, description, [query(expr, legend, instant=True)], unit=unit, size=size,
                 defaults=defaults, options=options)


def lines(title, description, queries, *, unit="short", size=(12, 8), stack=False, bars=False, minimum=0,
          maximum=None, thresholds=None, links=None, decimals=None):
    """Values over time. Series named `threshold of ...`, `limit of ...`, `limit: ...` are dashed, never filled or stacked."""
    custom = {
        "drawStyle": "bars" if bars else "line", "fillOpacity": 70 if bars else 25 if stack else 8, "lineWidth": 1,
        "showPoints": "never", "spanNulls": False, "stacking": {"mode": "normal" if stack else "none", "group": "A"},
        "thresholdsStyle": {"mode": "off"},
    }
    defaults = {"custom": custom, "color": {"mode": "palette-classic"}}
    if minimum is not None:
        defaults["min"] = minimum
    if maximum is not None:
        defaults["max"] = maximum
    if decimals is not None:
        defaults["decimals"] = decimals
    if thresholds:
        defaults["thresholds"] = thresholds
    if links:
        defaults["links"] = links
    dashed = lambda word, color: {
        "matcher": {"id": "byRegexp", "options": f"/^{word}( of|:)/"},
        "properties": [
            {"id": "custom.lineStyle", "value": {"fill": "dash", "dash": [8, 8]}},
            {"id": "custom.drawStyle", "value": "line"},
            {"id": "custom.fillOpacity", "value": 0},
            {"id": "custom.stacking", "value": {"mode": "none", "group": "B"}},
            {"id": "color", "value": {"mode": "fixed", "fixedColor": color}},
        ],
    }
    options = {
        "legend": {"calcs": ["lastNotNull", "max"], "displayMode": "table", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return panel("timeseries", title, description, queries, unit=unit, size=size, defaults=defaults, options=options,
                 overrides=[dashed("threshold", RED), dashed("limit", "orange")])


def heatmap(title, description, metric, selector, *, size=(8, 8)):
    """A histogram over time: one row for each bucket, darker for more observations."""
    options = {
        "calculate": False, "cellGap": 1,
        "color": {"mode": "scheme", "scheme": "Oranges", "steps": 64, "exponent": 0.5, "fill": "dark-orange",
                  "reverse": False, "scale": "exponential"},
        "exemplars": {"color": "rgba(255,0,255,0.7)"}, "filterValues": {"le": 1e-9},
        "legend": {"show": True}, "rowsFrame": {"layout": "auto"},
        "tooltip": {"mode": "single", "showColorScale": True, "yHistogram": True},
        "yAxis": {"axisPlacement": "left", "reverse": False, "unit": "s"},
    }
    custom = {"hideFrom": {"legend": False, "tooltip": False, "viz": False},
              "scaleDistribution": {"type": "linear"}}
    expr = f"max by (le) (increase({metric}_bucket{{{selector}}}[$__rate_interval]))"
    return panel("heatmap", title, description, [query(expr, "{{le}}", kind="heatmap")], unit="short", size=size,
                 defaults={"custom": custom}, options=options)


def bars(title, description, queries, thresholds, *, unit="short", size=(12, 8), maximum=None, links=None):
    """Current values as bars, largest first."""
    defaults = {"thresholds": thresholds, "color": {"mode": "thresholds"}, "min": 0}
    if maximum is not None:
        defaults["max"] = maximum
    if links:
        defaults["links"] = links
    options = {
        "displayMode": "basic", "maxVizHeight": 40, "minVizHeight": 16, "minVizWidth": 8, "namePlacement": "left",
        "orientation": "horizontal", "showUnfilled": True, "sizing": "auto", "valueMode": "color",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    }
    return panel("bargauge", title, description, queries, unit=unit, size=size, defaults=defaults, options=options)


def states(title, description, queries, mappings, *, size=(12, 6), links=None):
    """A band for each series, coloured by its state."""
    defaults = {"custom": {"fillOpacity": 80, "lineWidth": 0}, "mappings": mappings,
                "color": {"mode": "thresholds"}, "thresholds": steps(BLUE)}
    if links:
        defaults["links"] = links
    options = {
        "alignValue": "left", "mergeValues": True, "rowHeight": 0.85, "showValue": "never",
        "legend": {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "single", "sort": "none"},
    }
    return panel("state-timeline", title, description, queries, unit="none", size=size, defaults=defaults,
                 options=options)


def table(title, description, columns, *, size=(24, 8), hidden=(), sort=None, links=()):
    """One row for each label set. Columns: (name, expr, unit, thresholds or mappings)."""
    overrides = []
    names = {}
    for ref, (name, _, unit, colors) in zip("ABCDEFGHIJKLMNOP", columns):
        names[f"Value #{ref}" if len(columns) > 1 else "Value"] = name
        properties = [{"id": "unit", "value": unit}]
        if isinstance(colors, list):
            properties.append({"id": "mappings", "value": colors})
        if isinstance(colors, dict):
            properties.append({"id": "thresholds", "value": colors})
        if colors is not None:
            properties.append({"id": "custom.cellOptions", "value": {"type": "color-background", "mode": "basic"}})
        overrides.append({"matcher": {"id": "byName", "options": name}, "properties": properties})
    for field in links:
        overrides.append({"matcher": {"id": "byName", "options": field},
                          "properties": [{"id": "links", "value": [target_link()]}]})
    options = {"cellHeight": "sm", "showHeader": True}
    if sort:
        options["sortBy"] = [{"displayName": sort[0], "desc": sort[1]}]
    exclude = {name: True for name in ("Time", *hidden)}
    transformations = [{"id": "merge", "options": {}}] if len(columns) > 1 else []
    transformations.append(
        {"id": "organize", "options": {"excludeByName": exclude, "indexByName": {}, "renameByName": names}})
    queries = [query(expr, instant=True, kind="table") for _, expr, _, _ in columns]
    defaults = {"custom": {"align": "auto", "cellOptions": {"type": "auto"}, "inspect": False, "filterable": True},
                "noValue": "-", "thresholds": steps(GREEN)}
    return panel("table", title, description, queries, unit="none", size=size, defaults=defaults, overrides=overrides,
                 options=options, transformations=transformations)


def firing(title, description, at, *, size):
    """The firing alerts, each with a link to its runbook; `db_pool:links` has the base address."""
    labels = "severity, alertname, job, target, application, user, reason"
    alerts = f'max by ({labels}) (ALERTS{{alertname=~"DbPool.*", alertstate="firing", {at}}})'
    linked = f"{alerts} * on () group_left (runbooks) max by (runbooks) (db_pool:links)"
    result = table(title, description, [("firing", f"({linked}) or ({alerts} unless on () db_pool:links)", "none", None)],
                   size=size, hidden=("Value", "job", "runbooks"), sort=("severity", False), links=("target",))
    words = {word: {"color": color, "index": index, "text": word}
             for index, (word, color) in enumerate((("critical", RED), ("warning", YELLOW)))}
    page = "${__data.fields.runbooks}/${__data.fields.alertname}.md"
    result["fieldConfig"]["overrides"] += [
        {"matcher": {"id": "byName", "options": "severity"}, "properties": [
            {"id": "mappings", "value": [{"type": "value", "options": words}]},
            {"id": "custom.cellOptions", "value": {"type": "color-background", "mode": "basic"}},
            {"id": "custom.width", "value": 90}]},
        {"matcher": {"id": "byName", "options": "alertname"}, "properties": [
            {"id": "links", "value": [{"title": "What to do", "url": page, "targetBlank": True}]}]},
    ]
    result["fieldConfig"]["defaults"]["noValue"] = ""
    order = {name: index for index, name in enumerate(labels.split(", "))}
    result["transformations"][-1]["options"]["indexByName"] = order
    return result


def row(title):
    """A heading above the panels that follow."""
    return {"type": "row", "title": title, "collapsed": False, "panels": [], "size": (24, 1)}


def place(panels):
    """Places the panels from left to right, and starts a new line when one is full."""
    x = y = height = 0
    for number, item in enumerate(panels, 1):
        width, tall = item.pop("size")
        if x + width > 24:
            x, y, height = 0, y + height, 0
        item["id"] = number
        item["gridPos"] = {"x": x, "y": y, "w": width, "h": tall}
        x, height = x + width, max(height, tall)
    return panels


def variable(name, label, expr, *, multi=True, everything=True):
    """A choice of label values."""
    result = {
        "type": "query", "name": name, "label": label, "datasource": SOURCE, "definition": expr,
        "query": {"qryType": 1, "query": expr, "refId": f"variable-{name}"}, "refresh": 2, "regex": "", "sort": 1,
        "hide": 0, "multi": multi, "includeAll": everything, "skipUrlSync": False, "options": [],
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]} if everything else {},
    }
    if everything:
        result["allValue"] = ".+"
    return result


def dashboard(uid, title, description, variables, panels):
    """A whole dashboard."""
    source = {
        "type": "datasource", "name": "datasource", "label": "Data source", "query": "prometheus", "refresh": 1,
        "regex": "", "hide": 0, "multi": False, "includeAll": False, "skipUrlSync": False, "options": [],
        "current": {},
    }
    alerts = {
        "name": "Alerts", "enable": True, "hide": False, "iconColor": RED, "datasource": SOURCE,
        "expr": 'ALERTS{alertname=~"DbPool.*", alertstate="firing", job=~"$job"}',
        "titleFormat": "{{alertname}}", "textFormat": "{{target}} {{application}}", "tagKeys": "severity",
    }
    links = {
        "type": "dashboards", "title": "Database pools", "tags": ["db-pool"], "asDropdown": False, "icon": "external link",
        "includeVars": True, "keepTime": True, "targetBlank": False, "tooltip": "", "url": "",
    }
    return {
        "uid": uid, "title": title, "description": description, "tags": ["db-pool"], "schemaVersion": 39, "version": 1,
        "editable": False, "graphTooltip": 1, "refresh": "30s", "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser", "timepicker": {}, "fiscalYearStartMonth": 0, "weekStart": "", "liveNow": False,
        "annotations": {"list": [alerts]}, "links": [links], "templating": {"list": [source, *variables]},
        "panels": place(panels),
    }


JOB = variable("job", "Job", "label_values(db_pool_up, job)")
CERTIFICATE = steps(RED, (3, YELLOW), (21, GREEN))
UTILIZATION = steps(GREEN, (75, YELLOW), (90, RED))
HEADROOM = steps(RED, (10, YELLOW), (25, GREEN))
UP = mapping(v0=("DOWN", RED), v1=("up", GREEN))


# --- the fleet ---------------------------------------------------------------------------------------------


def overview():
    """Which targets are unhealthy or near a limit."""
    at = 'job=~"$job", target=~"$target"'
    by = "max by (job, target)"
    pool = "max by (job, target, database, user, application)"
    link = [target_link()]
    named = "{{target}} {{application}} {{user}}"
    panels = [
        stat("Targets down", "Databases that no exporter can use: their last probe failed. If this is not 0, the "
             "table below shows which.", f"sum(1 - {by} (db_pool_up{{{at}}}))", steps(GREEN, (1, RED)),
             empty="no exporter", size=(3, 4)),
        stat("Exhausted pools", "Application pools with all connections of size and overflow checked out. Requests "
             "wait for a connection.", f"sum({pool} (db_pool_app_saturation_ratio{{{at}}}) >= bool 1)", steps(GREEN, (1, RED)),
             empty="no pool known", size=(3, 4)),
        stat("Pools nearly full", "Application pools with a utilization above the alert threshold.",
             f"sum({pool} (db_pool_app_utilization_percent{{{at}}}) >= bool "
             "scalar(max(db_pool:threshold:app_utilization_percent)))", steps(GREEN, (1, YELLOW)), empty="no pool known", size=(3, 4)),
        stat("Pools not seen", "Application pools that something hides: a failed view, a missing privilege, a pooler between, "
             "or a target that is down. They are not healthy, and their alerts cannot begin.",
             f"sum(1 - {pool} (db_pool_app_visible{{{at}}}))", steps(GREEN, (1, YELLOW)), empty="no pool known", size=(3, 4)),
        stat("Leaked transactions", "Applications with a session that has been idle in a transaction for longer than the "
             "alert threshold.", f"sum({pool} (db_pool_server_longest_idle_in_transaction_seconds{{{at}}}) > bool "
             "scalar(max(db_pool:threshold:idle_in_transaction_seconds)))", steps(GREEN, (1, YELLOW)), empty="none", size=(3, 4)),
        stat("Least headroom", "Connections that ordinary roles can still open on the fullest server, in percent "
             "of max_connections.", f"100 * min(min by (job, target) (db_pool_server_available_connections{{{at}}}) / "
             f"max by (job, target) (db_pool_server_max_connections{{{at}}}))", HEADROOM, unit="percent", decimals=0,
             empty="not known", size=(3, 4)),
        stat("Alerts firing", "Firing alerts of db_pool_alerts.yml, of all severities.",
             'count(ALERTS{alertname=~"DbPool.*", alertstate="firing", job=~"$job"}) or 0 * count(count(db_pool_up{job=~"$job"}))',
             steps(GREEN, (1, RED)), empty="no exporter", size=(3, 4)),
        stat("Runbook links", "Whether the links of alerts lead anywhere: set the address of docs/runbooks in db_pool:links, the first "
             "rule of db_pool_recording.yml. Until then they are paths.",
             'count(db_pool:links{runbooks=~"https?://.+"}) or vector(0)', steps(YELLOW, (1, GREEN)),
             mappings=mapping(v0=("not set", YELLOW), v1=("set", GREEN)), size=(3, 4)),
        firing("Firing alerts", "The name of an alert links to its runbook (docs/runbooks; set their base address in "
               "db_pool:links). The target links to its dashboard.", 'job=~"$job"', size=(12, 7)),
        states("State of each target over time", "Red: no exporter could use the database. A gap: no exporter "
               "watched it.", [query(f"{by} (db_pool_up{{{at}}})", "{{target}}")], UP, size=(12, 7), links=link),
        row("Every target"),
        table("Targets", "The worst values of each target. Click a name to open its dashboard.", [
            ("state", f"{by} (db_pool_up{{{at}}})", "none", UP),
            ("last success", f"time() - {by} (db_pool_last_success_timestamp_seconds{{{at}}})", "s",
             steps(GREEN, (60, YELLOW), (300, RED))),
            ("connect p90", f"histogram_quantile(0.9, sum by (job, target, le) "
             f'(rate(db_pool_connect_duration_seconds_bucket{{{at}, kind="fresh"}}[$__rate_interval])))', "s",
             steps(GREEN, (0.2, YELLOW), (0.5, RED))),
            ("fullest pool", f"{by} (db_pool_app_utilization_percent{{{at}}})", "percent", UTILIZATION),
            ("headroom", f"100 * min by (job, target) (db_pool_server_available_connections{{{at}}}) / "
             f"{by} (db_pool_server_max_connections{{{at}}})", "percent", HEADROOM),
            ("idle in transaction", f"{by} (db_pool_server_longest_idle_in_transaction_seconds{{{at}}})", "s",
             steps(GREEN, (30, YELLOW), (60, RED))),
            ("slow now", f"{by} (sum by (job, target, instance) (db_pool_server_running_slow_queries{{{at}}}))", "short",
             steps(GREEN, (1, YELLOW), (10, RED))),
            ("connect errors/min", f"60 * {by} (sum by (job, target, instance) "
             f"(rate(db_pool_connect_errors_total{{{at}}}[$__rate_interval])))", "short", steps(GREEN, (0.1, YELLOW), (2, RED))),
        ], size=(24, 9), sort=("state", False), links=("target",)),
        row("Near a limit"),
        bars("Fullest application pools",
             "Connections checked out, in percent of the pool size. Above 100 the overflow is in use.",
             [query(f"topk(15, {pool} (db_pool_app_utilization_percent{{{at}}}))", named, instant=True)], UTILIZATION,
             unit="percent", size=(8, 9), maximum=150, links=link),
        lines("Utilization of application pools", "Connections checked out, in percent of the pool size.",
              [query(f"{pool} (db_pool_app_utilization_percent{{{at}}})", named),
               line_of("app_utilization_percent")], unit="percent", size=(8, 9), links=link),
        lines("Headroom of the servers",
              "Connections that ordinary roles can still open. At 0 the server refuses the next one.",
              [query(f"min by (job, target) (db_pool_server_available_connections{{{at}}})", "{{target}}"),
               line_of("headroom_connections")], size=(8, 9), links=link),
        row("Objectives and slow queries"),
        lines("Failed probes, over an hour", "The share of probes that failed in the last hour. If it stays above the "
              "dashed line, the availability objective will be missed.",
              [query(f"db_pool:probe_errors:ratio_1h{{{at}}}", "{{target}}"),
               query("1 - max(db_pool:threshold:availability_objective)", "threshold: allowed by the objective")],
              unit="percentunit", size=(8, 8), links=link),
        lines("Slow connections, over an hour", "The share of connections that took longer than the latency objective "
              "allows, in the last hour.", [query(f"db_pool:connects_slow:ratio_1h{{{at}}}", "{{target}}"),
                          query("1 - max(db_pool:threshold:latency_objective)", "threshold: allowed by the objective")],
              unit="percentunit", size=(8, 8), links=link),
        lines("Slow queries", "Queries seen running for longer than the slow-query threshold, per minute.",
              [query(f"60 * {pool} (rate(db_pool_server_slow_queries_total{{{at}}}[$__rate_interval]))", named),
               query("60 * max(db_pool:threshold:slow_queries_per_second)", "threshold of the alert")],
              unit="short", size=(8, 8), links=link),
        row("Is each pool the right size?"),
        table("Recommended sizes", "From the last seven days, all processes together: the 99th percentile of connections "
              "checked out as the size, the peak as size plus overflow, beside the configured values. Needs the recording "
              "rules and a week of data.", sizing(at), size=(24, 8), hidden=("source",), links=("target",)),
    ]
    target = variable("target", "Target", 'label_values(db_pool_up{job=~"$job"}, target)')
    return dashboard("db-pool-overview", "Database pools: overview",
                     "All watched databases: which are unhealthy, and which are near a limit.", [JOB, target], panels)


def sizing(at):
    """The columns of the tables of recommended sizes."""
    pool = "max by (job, target, database, user, application)"
    return [
        ("recommended size (p99)", f"ceil({pool} (db_pool:app_active_connections:p99_7d{{{at}}}))", "short", None),
        ("configured size", f"{pool} (sum without (instance_id) (db_pool_app_size{{{at}}}))", "short", None),
        ("peak", f"{pool} (db_pool:app_active_connections:max_7d{{{at}}})", "short", None),
        ("configured maximum", f"{pool} (sum without (instance_id) (db_pool_app_max_connections{{{at}}}))", "short", None),
    ]


# --- one target --------------------------------------------------------------------------------------------


def target_page():
    """The path of a connection: wait, phases, query."""
    at = 'job=~"$job", target=~"$target"'
    app = at + ', application=~"$application"'
    pool = "max by (database, user, application)"
    named = "{{application}} {{user}}"
    panels = [
        stat("State",
             "Result of the last probe: a check-out, its statement, and a fresh connection.", f"max(db_pool_up{{{at}}})",
             steps(RED, (1, GREEN)), mappings=UP, size=(4, 5), empty="not watched"),
        panel("table", "Failures in the last five minutes", "By part of the probe and reason. Empty is good. refused and "
              "timeout: the server or the network; auth: the password or pg_hba.conf; too_many_connections: no headroom.",
              [query(f"sort_desc(round(max by (probe, reason) (increase(db_pool_probe_failures_total{{{at}}}[5m]))) > 0)",
                     instant=True, kind="table")],
              unit="short", size=(8, 5),
              defaults={"custom": {"align": "auto", "cellOptions": {"type": "auto"}, "inspect": False}, "noValue": "none",
                        "thresholds": steps(GREEN)},
              overrides=[{"matcher": {"id": "byName", "options": "failures"},
                          "properties": [{"id": "custom.cellOptions", "value": {"type": "color-background", "mode": "basic"}},
                                         {"id": "thresholds", "value": steps(GREEN, (1, RED))}]}],
              options={"cellHeight": "sm", "showHeader": True},
              transformations=[{"id": "organize", "options": {"excludeByName": {"Time": True}, "indexByName": {},
                                                              "renameByName": {"Value": "failures"}}}]),
        firing("Firing alerts of this target", "The name of an alert links to its "
               "runbook.", at, size=(12, 5)),
        stat("Fullest pool", "Connections checked out of the fullest application pool, in percent of its size. Above "
             "100 the overflow is in use.", f"max(db_pool_app_utilization_percent{{{app}}})", UTILIZATION, unit="percent",
             size=(5, 4), decimals=0, empty="no pool known"),
        stat("Check-outs left", "Connections of the fullest pool that can be checked out before requests wait.",
             f"min({pool} (sum without (instance_id) (db_pool_app_max_connections{{{app}}})) - "
             f"{pool} (sum without (instance_id) (db_pool_app_active_connections{{{app}}})))",
             steps(RED, (1, YELLOW), (5, GREEN)), size=(5, 4), empty="no pool known"),
        stat("Connections left", "Connections that ordinary roles can still open on this server.",
             f"min(db_pool_server_available_connections{{{at}}})", steps(RED, (3, YELLOW), (10, GREEN)), size=(5, 4),
             empty="not known"),
        stat("Idle in transaction", "The longest time. A minute or more means that a connection was probably not returned.",
             f"max(db_pool_server_longest_idle_in_transaction_seconds{{{app}}})", steps(GREEN, (30, YELLOW), (60, RED)),
             unit="s", size=(5, 4), empty="none"),
        stat("Connect p90", "90 percent of fresh connections open faster than this.",
             f'histogram_quantile(0.9, sum by (le) (rate(db_pool_connect_duration_seconds_bucket{{{at}, kind="fresh"}}[$__rate_interval])))',
             steps(GREEN, (0.2, YELLOW), (0.5, RED)), unit="s", size=(4, 4), empty="none opened"),
        states("Health checks over time", "The checks of the exporter's health endpoint.",
               [query(f'max by (check) (db_pool_health{{{at}, status="warn"}} or 2 * db_pool_health{{{at}, status="fail"}})',
                      "{{check}}")],
               mapping(v0=("pass", GREEN), v1=("warn", YELLOW), v2=("fail", RED)), size=(24, 4)),
        row("The exporter's connections: wait, phases, query"),
        lines("Time to open a connection, by phase", "The mean of each phase, stacked. If a phase is slow: dns, tcp: "
              "network; ssl_request: the server is slow to fork; startup: authentication, or a busy server.",
              [query(f"max by (phase) (rate(db_pool_connect_phase_duration_seconds_sum{{{at}}}[$__rate_interval]) / "
                     f"(rate(db_pool_connect_phase_duration_seconds_count{{{at}}}[$__rate_interval]) > 0))", "{{phase}}")],
              unit="s", stack=True, size=(8, 8)),
        heatmap("Time to open a connection", "All phases of a fresh connection together.",
                "db_pool_connect_duration_seconds", at + ', kind="fresh"'),
        lines("Failures", "Failed attempts to connect per minute, by phase and reason.",
              [query(f"60 * max by (phase, reason) (rate(db_pool_connect_errors_total{{{at}}}[$__rate_interval])) > 0",
                     "{{reason}} ({{phase}})")], bars=True, stack=True, size=(8, 8)),
        heatmap("Wait for a free slot",
                "In the exporter's own pool. Values above the lowest row mean that its connections hang.",
                "db_pool_checkout_wait_seconds", at),
        heatmap("Check-out",
                "The whole check-out from the exporter's own pool: wait, then connect or ping.", "db_pool_checkout_duration_seconds", at),
        heatmap("The probe's statement", "From sending the statement to its answer.", "db_pool_query_duration_seconds",
                at + ', query="probe"'),
        lines("Write probe", "The mean time of its steps, stacked. A slow commit points to the disk or to a synchronous "
              "standby. Only if the write probe is enabled.",
              [query(f"max by (step) (rate(db_pool_write_duration_seconds_sum{{{at}}}[$__rate_interval]) / "
                     f"(rate(db_pool_write_duration_seconds_count{{{at}}}[$__rate_interval]) > 0))", "{{step}}")],
              unit="s", stack=True, size=(24, 6)),
        row("Application pools"),
        lines("Checked out", "Connections in use by all processes of an application, and the limit of size plus overflow. "
              "Where sessions look idle and may be checked out as well, the most that may be in use. Between two probes the "
              "number may have been higher.",
              [query(f"{pool} (sum without (instance_id) (db_pool_app_active_connections{{{app}}}))", named),
               query(f"{pool} (db_pool_app_active_connections{{{app}}} + (db_pool_app_uncertain_connections{{{app}}} > 0))",
                     "at most: " + named),
               query(f"{pool} (sum without (instance_id) (db_pool_app_max_connections{{{app}}}))", "limit of " + named)],
              size=(8, 8)),
        lines("Open: checked out and idle", "Connections that each pool has open on the server.",
              [query(f"{pool} (sum without (instance_id) (db_pool_app_open_connections{{{app}}}))", named),
               query(f"{pool} (sum without (instance_id) (db_pool_app_max_connections{{{app}}}))", "limit of " + named)],
              size=(8, 8)),
        lines("Utilization", "Connections checked out, in percent of the pool size. Above 100 the overflow is in use.",
              [query(f"{pool} (db_pool_app_utilization_percent{{{app}}})", named), line_of("app_utilization_percent")],
              unit="percent", size=(8, 8)),
        lines("No connection left", "The share of the sampled time in which a process of the application had nothing left, so "
              "that its requests waited: also moments between two probes or two scrapes.",
              [query(f"100 * {pool} (db_pool:app_saturated:ratio_5m{{{app}}})", named),
               query("100 * max(db_pool:threshold:app_full_ratio)", "threshold: full at times"),
               query("100 * max(db_pool:threshold:app_exhausted_ratio)", "threshold: exhausted")],
              unit="percent", size=(8, 8)),
        lines("Most and mean in use", "The most connections that were in use at once in the last minute, and their mean, from "
              "samples of every second.",
              [query(f"{pool} (db_pool_app_active_connections_peak{{{app}}})", "most of " + named),
               query(f"{pool} (rate(db_pool_app_active_connection_seconds_total{{{app}}}[$__rate_interval]) / on (job, instance, target) "
                     f"group_left () (rate(db_pool_sampled_seconds_total{{{at}}}[$__rate_interval]) > 0))", "mean of " + named)],
              size=(8, 8)),
        lines("Processes", "How many processes share the limits, and how many of them have no connection left.",
              [query(f"{pool} (db_pool_app_instances{{{app}}})", named),
               query(f"{pool} (db_pool_app_saturated_instances{{{app}}})", "full: " + named)], size=(8, 8)),
        lines("Held idle in a transaction", "The mean number of connections that were idle in a transaction, from samples, and "
              "those that were for longer than leak_threshold at the last probe: leaks.",
              [query(f"{pool} (rate(db_pool_app_idle_in_transaction_connection_seconds_total{{{app}}}[$__rate_interval]))", named),
               query(f"{pool} (db_pool_app_leaked_connections{{{app}}})", "leaked: " + named)], size=(8, 8)),
        states("What is known of the pools", "A pool that is not seen is not healthy: its alerts cannot begin, and one that was "
               "exhausted stays so. Where the number of processes is assumed, set DB_MONITOR_INSTANCES.",
               [query(f"2 * (1 - {pool} (db_pool_app_visible{{{app}}})) > 0 or 3 * {pool} (db_pool_app_limits_exceeded{{{app}}}) > 0 "
                      f"or 1 - {pool} (db_pool_app_instances_known{{{app}}})", named)],
               mapping(v0=("known", GREEN), v1=("number of processes assumed", YELLOW), v2=("not seen", RED),
                       v3=("limits exceeded", YELLOW)), size=(16, 8)),
        table("Recommended sizes", "From the last seven days, all processes together: the 99th percentile as the size, the "
              "peak as size plus overflow, beside the configured values. Needs the recording rules and a week of data.",
              sizing(app), size=(24, 6), hidden=("job", "target", "source")),
        *served(app, pool, named),
        row("The server"),
        lines("Connections by state",
              "Many sessions idle in transaction suggest a connection leak. The dashed line is max_connections.",
              [query(f"max by (state) (sum by (state, job, instance) (db_pool_server_connections{{{at}}}))", "{{state}}"),
               query(f"max(db_pool_server_max_connections{{{at}}})", "limit: max_connections")], stack=True, size=(8, 8)),
        lines("Connections by application", "The ten applications with the most connections.",
              [query(f"topk(10, max by (application, user) (sum by (application, user, job, instance) "
                     f"(db_pool_server_connections{{{app}}})))", named)], stack=True, size=(8, 8)),
        lines("Headroom", "Connections that can still be opened: by ordinary roles, and by roles and databases with their "
              "own limit. The forecast continues the trend of the last hour for one hour.",
              [query(f"min(db_pool_server_available_connections{{{at}}})", "ordinary roles"),
               query(f"min by (user) (db_pool_server_role_available_connections{{{at}}})", "role {{user}}"),
               query(f"min by (database) (db_pool_server_database_available_connections{{{at}}})", "database {{database}}"),
               query(f"clamp_min(clamp_max(predict_linear(db_pool:headroom_connections:min{{{at}}}[1h], 3600), "
                     f"scalar(max(db_pool_server_max_connections{{{at}}}))), 0)", "forecast"),
               line_of("headroom_connections")], size=(8, 8)),
        lines("What active sessions wait for", "Lock: they wait for another session. Client: they wait for the application.",
              [query(f"max by (wait_event_type) (sum by (wait_event_type, job, instance) "
                     f"(db_pool_server_waiting_connections{{{at}}}))", "{{wait_event_type}}")], stack=True, size=(8, 8)),
        lines("New sessions",
              "Per second, by database (PostgreSQL 14 and later). An application with a pool opens few sessions.",
              [query(f"max by (database) (rate(db_pool_server_sessions_total{{{at}}}[$__rate_interval]))", "{{database}}"),
               line_of("sessions_per_second")], unit="cps", size=(8, 8)),
        lines("Sessions that ended abnormally",
              "Per minute: abandoned (client connection lost), fatal (fatal error), killed (by an administrator).",
              [query(f"60 * max by (database, reason) (rate(db_pool_server_sessions_ended_total{{{at}}}[$__rate_interval]))",
                     "{{reason}} {{database}}")], bars=True, size=(8, 8)),
        row("Slow queries and open transactions"),
        lines("Slow queries", "Queries seen running for longer than the slow-query threshold, per minute.",
              [query(f"60 * {pool} (rate(db_pool_server_slow_queries_total{{{app}}}[$__rate_interval]))", named),
               query("60 * max(db_pool:threshold:slow_queries_per_second)", "threshold of the alert")], size=(6, 8)),
        lines("Slow queries running now", "The exporter lists them at /api/v1/database/slow-queries.",
              [query(f"{pool} (db_pool_server_running_slow_queries{{{app}}})", named)], size=(6, 8)),
        lines("Oldest query and transaction", "How long the oldest query has been running, and the oldest transaction open.",
              [query(f"{pool} (db_pool_server_oldest_query_seconds{{{app}}})", "query of " + named),
               query(f"{pool} (db_pool_server_oldest_transaction_seconds{{{app}}})", "transaction of " + named)],
              unit="s", size=(6, 8)),
        lines("Longest idle in transaction",
              "Time since the last statement of the session that has been idle in a transaction longest.",
              [query(f"{pool} (db_pool_server_longest_idle_in_transaction_seconds{{{app}}})", named),
               line_of("idle_in_transaction_seconds")], unit="s", size=(6, 8)),
        bars("Statements that take the most time",
             "Seconds of execution per second, by queryid. Only if the view statements "
             "is enabled.",
             [query(f"topk(10, max by (database, user, queryid) (rate(db_pool_server_statement_seconds_total{{{at}}}"
                    "[$__rate_interval])))", "{{queryid}} {{user}} {{database}}", instant=True)], steps(BLUE), unit="none",
             size=(24, 7)),
    ]
    variables = [
        variable("job", "Job", "label_values(db_pool_up, job)"),
        variable("target", "Target", 'label_values(db_pool_up{job=~"$job"}, target)', multi=False, everything=False),
        variable("application", "Application",
                 'label_values({__name__=~"db_pool_server_connections|db_pool_app_open_connections", job=~"$job", '
                 'target=~"$target"}, application)'),
    ]
    variables[-1]["allValue"] = ".*"  # asyncpg leaves application_name empty
    variables[-1]["regex"] = "/^(?!db_pool_exporter$).*$/"  # a session of ours that outlives a restart is no application
    return dashboard("db-pool-target", "Database pools: one target",
                     "One database: the path of a connection, its pools, its headroom, its slow queries.", variables, panels)


def served(app, pool, named):
    """The row of what applications serve themselves, and no server shows."""
    seconds = lambda metric, quantile: (
        f"histogram_quantile({quantile}, max by (application, user, le) (rate({metric}_bucket{{{app}}}[$__rate_interval])))")
    return [
        row("Numbers that applications serve themselves (status_urls, status_dir)"),
        lines("Callers that wait", "Requests in the application that wait for a connection now. No server shows them.",
              [query(f"{pool} (db_pool_app_pending_requests{{{app}}})", named)], size=(8, 8)),
        lines("Longest wait now", "For how long the first of them has waited. At the pool's time-out it fails.",
              [query(f"{pool} (db_pool_app_oldest_wait_seconds{{{app}}})", named)], unit="s", size=(8, 8)),
        lines("Check-outs", "Per minute, by result. timeout: nothing became free within the pool's time-out, so a request failed.",
              [query(f"60 * max by (application, user, result) (rate(db_pool_app_checkouts_total{{{app}}}[$__rate_interval])) > 0",
                     "{{result}} " + named)], bars=True, stack=True, size=(8, 8)),
        lines("Wait for a connection", "The median and the 99th percentile of the time that check-outs were blocked.",
              [query(seconds("db_pool_app_checkout_wait_seconds", 0.5), "median of " + named),
               query(seconds("db_pool_app_checkout_wait_seconds", 0.99), "p99 of " + named)], unit="s", size=(8, 8)),
        lines("Time in use", "The median and the 99th percentile of the time from check-out to check-in. With the rate of check-outs "
              "it gives the connections in use.",
              [query(seconds("db_pool_app_use_duration_seconds", 0.5), "median of " + named),
               query(seconds("db_pool_app_use_duration_seconds", 0.99), "p99 of " + named)], unit="s", size=(8, 8)),
        lines("Connections opened and closed", "Per minute; closed ones by reason. Many of both: the pool opens again what it closed.",
              [query(f"60 * {pool} (rate(db_pool_app_connections_opened_total{{{app}}}[$__rate_interval]))", "opened " + named),
               query(f"60 * max by (application, user, reason) (rate(db_pool_app_connections_closed_total{{{app}}}"
                     "[$__rate_interval])) > 0", "closed, {{reason}} " + named)], size=(8, 8)),
        lines("Each process", "Connections that each process has checked out, the twenty fullest, and the limit of one. A process can be "
              "full while others are idle.",
              [query(f"topk(20, max by (application, instance_id) (db_pool_app_instance_active_connections{{{app}}}))",
                     "{{application}} {{instance_id}}"),
               query(f"max by (application) (db_pool_app_instance_max_connections{{{app}}})", "limit of one of {{application}}")],
              size=(16, 8)),
        lines("Statuses that were not read", "Addresses that give no status now, and failures per minute by reason. While a status is "
              "missing, the server's view of the pool is shown instead.",
              [query(f"{pool} (db_pool_app_endpoints_failing{{{app}}})", "failing: " + named),
               query(f"60 * max by (application, user, reason) (rate(db_pool_app_endpoint_failures_total{{{app}}}"
                     "[$__rate_interval]))", "{{reason}} " + named)], size=(8, 8)),
    ]


# --- a pooler between --------------------------------------------------------------------------------------

LAYERS = mapping(v0=("nothing waits", GREEN), v1=("application", YELLOW), v2=("pooler", "orange"), v3=("server", RED),
                 v4=("network", "purple"), v5=("unknown", "text"))


def pgbouncer():
    """Where the wait is: the application, PgBouncer or the server, side by side."""
    at = 'job=~"$job", target=~"$target"'
    pool = "max by (target, database, user)"
    named = "{{database}}/{{user}}"
    rate = "$__rate_interval"
    layers = " or ".join(f'{code} * db_pool_bottleneck{{{at}, layer="{layer}"}}'
                         for code, layer in enumerate(("application", "pooler", "server", "network", "unknown"), 1))
    in_use = (f'{pool} (sum by (job, instance, target, database, user) '
              f'(db_pool_pgbouncer_server_connections{{{at}, state!~"idle|used"}}))')
    waiting = f'{pool} (sum by (job, instance, target, database, user) (db_pool_pgbouncer_client_connections{{{at}, state="waiting"}}))'

    def mean(time, number):
        """Seconds of each."""
        return (f"max by (target, database) (rate(db_pool_pgbouncer_{time}_seconds_total{{{at}}}[{rate}]) / "
                f"(rate(db_pool_pgbouncer_{number}_total{{{at}}}[{rate}]) > 0))")

    panels = [
        stat("PgBouncer", "1 when the console of every chosen PgBouncer shows its pools.", f"min(db_pool_pgbouncer_up{{{at}}})",
             steps(RED, (1, GREEN)), mappings=UP, size=(4, 5), empty="not watched"),
        stat("Waiting clients", "Clients of all pools that wait for a server connection.", f"sum({waiting})",
             steps(GREEN, (1, YELLOW)), size=(4, 5), empty="not known"),
        stat("Longest wait now", "The client that has waited for longest. Where PgBouncer shows 0 for it, the time by the exporter's "
             "own clock.", f"max(db_pool_pgbouncer_max_wait_seconds{{{at}}})", steps(GREEN, (1, YELLOW), (30, RED)), unit="s",
             size=(4, 5), empty="not known"),
        firing("Firing alerts", "The name of an alert links to its runbook.", at, size=(12, 5)),
        states("Where is the wait?", "The deepest layer that waits, for each database: what waits below makes what is above "
               "it wait too. Unknown: a layer that would decide cannot be seen. The health answer has the sentence to it.",
               [query(f"max by (target) ({layers})", "{{target}}")], LAYERS, size=(24, 4)),
        row("Three layers: application, pooler, server"),
        lines("Application: connections in use", "What the applications have checked out of their own pools, and the most that "
              "they may. Behind PgBouncer only applications that serve their own status are seen.",
              [query(f"max by (target, application) (sum by (job, instance, target, application) (db_pool_app_active_connections{{{at}}}))",
                     "{{application}}"),
               query(f"max by (target, application) (sum by (job, instance, target, application) (db_pool_app_max_connections{{{at}}})) < Inf",
                     "limit of {{application}}")], size=(8, 9)),
        lines("Pooler: clients that wait, and server connections in use", "Clients wait as soon as all server connections of "
              "their pool are in use.",
              [query(waiting, f"waiting for {named}"), query(in_use, f"in use by {named}"),
               query(f"{pool} (db_pool_pgbouncer_pool_size{{{at}}}) > 0", f"limit of {named}")], size=(8, 9)),
        lines("Server: sessions on CPU and in locks", "Active sessions that wait for nothing, sessions that wait for a lock, "
              "and connections that can still be opened.",
              [query(f"max by (target, database) (db_pool_server_on_cpu_connections{{{at}}})", "on CPU {{database}}"),
               query(f'max by (target, database) (db_pool_server_waiting_connections{{{at}, wait_event_type="Lock"}})',
                     "wait for a lock {{database}}"),
               query(f"min by (target) (db_pool_server_available_connections{{{at}}})", "free {{target}}")], size=(8, 9)),
        row("PgBouncer's pools"),
        table("Pools", "One row for each pool, the largest wait first. A size of 0 is no limit.",
              [("waiting clients", waiting, "short", steps(GREEN, (1, YELLOW))),
               ("longest wait", f"{pool} (db_pool_pgbouncer_max_wait_seconds{{{at}}})", "s", steps(GREEN, (1, YELLOW), (30, RED))),
               ("waiting without a break", f"{pool} (db_pool_pgbouncer_waiting_seconds{{{at}}})", "s", steps(GREEN, (30, YELLOW), (60, RED))),
               ("in use", in_use, "short", None),
               ("size", f"{pool} (db_pool_pgbouncer_pool_size{{{at}}})", "short", None),
               ("saturation", f"{pool} (db_pool_pgbouncer_saturation_ratio{{{at}}})", "percentunit",
                steps(GREEN, (0.75, YELLOW), (0.9, RED)))], size=(24, 8), sort=("longest wait", True)),
        lines("Waiting clients, also between the scrapes", "The mean number of clients that waited, from the exporter's samples. "
              "It grows while they wait; PgBouncer's own total_wait_time grows only when a wait ends.",
              [query(f"{pool} (rate(db_pool_pgbouncer_waiting_client_seconds_total{{{at}}}[{rate}]))", named)], size=(8, 8)),
        lines("Longest wait", "Of one client, and without a break of any.",
              [query(f"{pool} (db_pool_pgbouncer_max_wait_seconds{{{at}}})", named),
               query(f"{pool} (db_pool_pgbouncer_waiting_seconds{{{at}}})", f"without a break {named}"),
               line_of("pooler_waiting_seconds")], unit="s", size=(8, 8)),
        lines("Server connections by state", "active: a client has it, also while it is idle in a transaction. login: PgBouncer is "
              "logging in; where this stays, the server does not answer.",
              [query(f"max by (target, state) (sum by (job, instance, target, state) (db_pool_pgbouncer_server_connections{{{at}}}))",
                     "{{state}}")], stack=True, size=(8, 8)),
        row("Work"),
        lines("Transactions", "Each second, by database.",
              [query(f"max by (target, database) (rate(db_pool_pgbouncer_transactions_total{{{at}}}[{rate}]))", "{{database}}")],
              unit="ops", size=(8, 8)),
        lines("Mean time of a transaction, of a statement and of a wait", "A wait counts when it ends.",
              [query(mean("transaction", "transactions"), "transaction {{database}}"),
               query(mean("query", "queries"), "statement {{database}}"),
               query(mean("wait", "transactions"), "wait before a transaction {{database}}")], unit="s", size=(8, 8)),
        lines("Traffic", "Bytes from clients and to them, each second.",
              [query(f"max by (target, database) (rate(db_pool_pgbouncer_received_bytes_total{{{at}}}[{rate}]))", "received {{database}}"),
               query(f"max by (target, database) (rate(db_pool_pgbouncer_sent_bytes_total{{{at}}}[{rate}]))", "sent {{database}}")],
              unit="Bps", size=(8, 8)),
        row("Limits"),
        lines("Clients", "Of the whole process. At the limit it refuses new clients.",
              [query(f"max by (target) (db_pool_pgbouncer_clients{{{at}}})", "{{target}}"),
               query(f"max by (target) (db_pool_pgbouncer_client_limit{{{at}}}) > 0", "limit of {{target}}")], size=(8, 8)),
        lines("Server connections of a database", "Of all its pools, where the database has a limit or not.",
              [query(f"max by (target, database) (db_pool_pgbouncer_database_connections{{{at}}})", "{{database}}"),
               query(f"max by (target, database) (db_pool_pgbouncer_database_connection_limit{{{at}}}) > 0", "limit of {{database}}")],
              size=(8, 8)),
        lines("What the pools may open, and what the server accepts", "Sizes and reserves of all present pools. Above the limit, "
              "the server refuses PgBouncer under load.",
              [query(f"max by (target) (db_pool_server_pooler_budget_connections{{{at}}})", "pools in front of {{target}}"),
               query(f"max by (target) (db_pool_server_max_connections{{{at}}})", "limit of {{target}}")], size=(8, 8)),
    ]
    target = variable("target", "Targets", 'label_values(db_pool_up{job=~"$job"}, target)')
    return dashboard("db-pool-pgbouncer", "Database pools: PgBouncer",
                     "Where the wait is: in the application, in PgBouncer, or on the server. Choose the targets of all three.",
                     [JOB, target], panels)


# --- the exporter itself -----------------------------------------------------------------------------------


def exporter():
    """Whether the values of the other dashboards are reliable."""
    at = 'job=~"$job", instance=~"$instance"'
    named = "{{instance}}"
    panels = [
        stat("Scraped", "Whether Prometheus reaches all chosen exporters.", f"min(up{{{at}}})",
             steps(RED, (1, GREEN)), mappings=UP, empty="not scraped"),
        stat("Configuration",
             "Whether the last reload was accepted. If not, the last good configuration stays in use, and the "
             "log names each wrong key.", f"min(db_pool_exporter_config_last_reload_successful{{{at}}})", steps(RED, (1, GREEN)),
             mappings=mapping(v0=("refused", RED), v1=("in use", GREEN)), empty="not known"),
        stat("Oldest probe", "Time since the last probe ended, for the target with the oldest one. After three intervals "
             "its values are out of date.", f"max(time() - db_pool_last_probe_timestamp_seconds{{{at}}})",
             steps(GREEN, (30, YELLOW), (90, RED)), unit="s", empty="no probe"),
        stat("Failing views", "Views that could not be read at the last probe, usually for lack of a privilege. Targets "
             "that are down do not count.", f'sum((db_pool_probe_success{{{at}, probe!~"connect|query|write"}} == bool 0) '
             f"and on (instance, target) db_pool_up{{{at}}} == 1) or 0 * count(count(db_pool_up{{{at}}}))",
             steps(GREEN, (1, YELLOW)), empty="no view"),
        stat("Incomplete metrics", "Metrics with more label sets than their limit in the last hour. The rest are summed as "
             'application="other".', f"count(max by (target, family) (increase(db_pool_exporter_series_dropped_total{{{at}}}[1h])) > 0) "
             f"or 0 * count(count(up{{{at}}}))", steps(GREEN, (1, YELLOW)), decimals=0, empty="no exporter"),
        stat("Version",
             "Versions of the running exporters.", f"count by (version) (db_pool_exporter_build_info{{{at}}})", steps(BLUE),
             legend="{{version}}", text="name", empty="none"),
        row("Probes"),
        heatmap("Duration of probes", "Whole probes of all targets.", "db_pool_probe_duration_seconds", at, size=(8, 8)),
        lines("Probes",
              "Completed probes per minute, by target. A line that falls to 0 means that the probes of that target hang.",
              [query(f"60 * max by (target) (rate(db_pool_probe_duration_seconds_count{{{at}}}[$__rate_interval]))",
                     "{{target}}")], size=(8, 8)),
        lines("Failures and missed probes", "Per minute. A probe is missed if the previous one is still running.",
              [query(f"60 * max by (target, probe, reason) (rate(db_pool_probe_failures_total{{{at}}}"
                     "[$__rate_interval])) > 0", "{{target}} {{probe}}: {{reason}}"),
               query(f"60 * max by (target) (rate(db_pool_probes_missed_total{{{at}}}[$__rate_interval]))",
                     "{{target}} missed")], size=(8, 8)),
        lines("Duration of the exporter's statements",
              "The mean of the probe's statement and of each view: the load that the exporter puts on the database.",
              [query(f"max by ({label}) (rate({family}_sum{{{at}}}[$__rate_interval]) / "
                     f"(rate({family}_count{{{at}}}[$__rate_interval]) > 0))", f"{{{{{label}}}}}")
               for family, label in (("db_pool_query_duration_seconds", "query"),
                                     ("db_pool_exporter_view_duration_seconds", "view"))],
              unit="s", size=(8, 8)),
        states("Parts of probes that failed", "Only parts that failed in the time range shown. Empty is good.",
               [query(f"min by (target, probe) (db_pool_probe_success{{{at}}}) unless on (target, probe) "
                      f"min by (target, probe) (min_over_time(db_pool_probe_success{{{at}}}[$__range])) == 1",
                      "{{target}} {{probe}}")],
               mapping(v0=("failed", RED), v1=("succeeded", GREEN)), size=(16, 8)),
        row("The exporter's own pool: at most three connections per target"),
        lines("Connections",
              "The maximum over exporters. Abandoned connections were given up, but may still exist on the server.",
              [query(f"max by (target) (db_pool_open_connections{{{at}}})", "{{target}} open"),
               query(f"max by (target) (db_pool_abandoned_connections{{{at}}}) > 0", "{{target}} abandoned")],
              size=(8, 8)),
        lines("Connections closed",
              "Per minute, by reason. recycled and overflow are normal; ping_failed, invalidated and broken "
              "mean that the connection was lost.",
              [query(f"60 * max by (target, reason) (rate(db_pool_connections_closed_total{{{at}}}[$__rate_interval])) > 0",
                     "{{target}} {{reason}}")], size=(8, 8)),
        lines("Check-outs", "Per minute, by result.",
              [query(f"60 * max by (target, result) (rate(db_pool_checkouts_total{{{at}}}[$__rate_interval])) > 0",
                     "{{target}} {{result}}")], size=(8, 8)),
        row("The process"),
        lines("Memory",
              "Resident memory.", [query(f"process_resident_memory_bytes{{{at}}}", named)], unit="bytes", size=(6, 7)),
        lines("CPU", "Cores in use.", [query(f"rate(process_cpu_seconds_total{{{at}}}[$__rate_interval])", named)],
              unit="none", size=(6, 7), decimals=4),
        lines("Open files",
              "Open file descriptors, in percent of the limit.", [query(f"100 * process_open_fds{{{at}}} / process_max_fds{{{at}}}", named)],
              unit="percent", size=(6, 7), maximum=100),
        lines("Duration of a scrape",
              "Measured by Prometheus.", [query(f"scrape_duration_seconds{{{at}}}", named)], unit="s",
              size=(6, 7)),
        lines("Requests", "HTTP requests per second, by handler and status code.",
              [query(f"sum by (handler, code) (rate(db_pool_exporter_http_requests_total{{{at}}}[$__rate_interval])) > 0",
                     "{{handler}} {{code}}")], unit="reqps", size=(12, 7)),
        heatmap("Duration of requests",
                "HTTP requests of all handlers.", "db_pool_exporter_http_request_duration_seconds", at, size=(12, 7)),
    ]
    instance = variable("instance", "Instance", 'label_values(db_pool_exporter_build_info{job=~"$job"}, instance)')
    return dashboard("db-pool-exporter", "Database pools: the exporter",
                     "The exporter itself: whether the values of the other dashboards are reliable.",
                     [variable("job", "Job", "label_values(db_pool_exporter_build_info, job)"), instance], panels)


def mixin(names):
    """The mixin with the list of the dashboards: Jsonnet imports only what is named."""
    path = HERE.parent / "mixin/mixin.libsonnet"
    text = path.read_text(encoding="utf-8")
    head, rest = text.split("  local dashboards = {\n")
    listed = "".join(f"    '{name}': import '../dashboards/{name}',\n" for name in names)
    return path, f"{head}  local dashboards = {{\n{listed}{rest[rest.index('  },'):]}"


def main():
    """Writes, or with --check compares."""
    old = []
    boards = {content["uid"] + ".json": content for content in (overview(), target_page(), pgbouncer(), exporter())}
    files = [(HERE / name, json.dumps(content, indent=2, ensure_ascii=False) + "\n") for name, content in boards.items()]
    files.append(mixin(sorted(boards)))
    for path, text in files:
        if "--check" not in sys.argv:
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            old.append(path.name)
    if old:
        sys.exit(f"differs from the output of dashboards/generate.py: {', '.join(old)}")


if __name__ == "__main__":
    main()
