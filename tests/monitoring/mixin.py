#!/usr/bin/env python3
"""Evaluates the mixin with Jsonnet: its output equals our files, and _config changes what it promises."""

import json
import pathlib
import sys

import _jsonnet
import yaml

TOP = pathlib.Path(__file__).resolve().parents[2]


def evaluated(config, field):
    """A field of the mixin with another _config."""
    text = f"local mixin = (import 'mixin.libsonnet') + {{ _config+:: {config} }}; mixin.{field}"
    return json.loads(_jsonnet.evaluate_snippet(str(TOP / "mixin/test.jsonnet"), text))


def written(name):
    return yaml.safe_load((TOP / "alerts" / name).read_text(encoding="utf-8"))


def problems():
    """All differences."""
    if evaluated("{}", "prometheusAlerts") != written("db_pool_alerts.yml"):
        yield "the alerts differ from alerts/db_pool_alerts.yml"
    if evaluated("{}", "prometheusRules") != written("db_pool_recording.yml"):
        yield "the rules differ from alerts/db_pool_recording.yml"
    boards = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in (TOP / "dashboards").glob("*.json")}
    if not boards or evaluated("{}", "grafanaDashboards") != boards:
        yield "the dashboards differ from dashboards/*.json"

    config = "{ thresholds: { app_utilization_percent: 75 }, runbooks: 'https://example.org', alertLabels: { team: 'db' } }"
    rules = [rule for group in evaluated(config, "prometheusRules")["groups"] for rule in group["rules"]]
    found = {rule["record"]: rule for rule in rules}
    if found["db_pool:threshold:app_utilization_percent"]["expr"] != "vector(75)":
        yield "a threshold of _config has no effect"
    links = found["db_pool:links"]["labels"]
    if links != {"grafana": "http://localhost:3000", "runbooks": "https://example.org"}:
        yield f"an address of _config has no effect: {links}"
    alerts = [rule for group in evaluated(config, "prometheusAlerts")["groups"] for rule in group["rules"]]
    if any(rule["labels"].get("team") != "db" or "severity" not in rule["labels"] for rule in alerts):
        yield "alertLabels of _config have no effect, or replace others"
    try:
        evaluated("{ thresholds: { no_such: 1 } }", "prometheusRules")
        yield "an unknown threshold is accepted"
    except RuntimeError as error:
        if "no such threshold: no_such" not in str(error):
            yield str(error)


if __name__ == "__main__":
    if found := list(problems()):
        sys.exit("\n".join(found))
