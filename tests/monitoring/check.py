#!/usr/bin/env python3
"""Checks of the rules, the runbooks and the dashboards: one function each, run by its name.

`tests/it/rules.rs` and `tests/it/dashboards.rs` run each as a test. All problems are printed at once.
The rules for dashboards are those of Grafana's dashboard-linter.
"""

import itertools
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import textwrap

import yaml

TOP = pathlib.Path(__file__).resolve().parents[2]
RUNBOOKS = TOP / "docs/runbooks"
# Names that are not in METRICS.md: files, Prometheus's own series, and series of every scrape.
FILES = {"db_pool_alerts", "db_pool_exporter", "db_pool_recording"}  # the program, and rule files
BUILT_IN = {"up", "ALERTS", "ALERTS_FOR_STATE", "scrape_duration_seconds"}
PANELS = {"bargauge", "heatmap", "row", "stat", "state-timeline", "table", "timeseries"}


# --- input -------------------------------------------------------------------------------------------------


def groups(name):
    return yaml.safe_load((TOP / "alerts" / name).read_text(encoding="utf-8"))["groups"]


def rules(name):
    return [rule for group in groups(name) for rule in group["rules"]]


def alerts():
    return [rule for rule in rules("db_pool_alerts.yml") if "alert" in rule]


def recorded():
    return {rule["record"] for rule in rules("db_pool_recording.yml")}


def dashboards():
    for path in sorted((TOP / "dashboards").glob("*.json")):
        yield path.name, json.loads(path.read_text(encoding="utf-8"))


def panels():
    for name, dashboard in dashboards():
        for panel in dashboard["panels"]:
            yield f"{name}: {panel['title']}", panel


def queries():
    """Every query of every panel, with its place."""
    for where, panel in panels():
        for target in panel.get("targets", []):
            yield where, target["expr"]


def published():
    """The names of METRICS.md with the series of histograms, and those that are counters."""
    names, counters = set(), set()
    for line in (TOP / "METRICS.md").read_text(encoding="utf-8").splitlines():
        row = re.match(r"\| `(\w+)` \| (\w+) \|", line)
        if not row:
            continue
        name, kind = row.groups()
        names.add(name)
        if kind == "counter":
            counters.add(name)
        if kind == "histogram":
            parts = {f"{name}_bucket", f"{name}_sum", f"{name}_count"}
            names |= parts
            counters |= parts
    return names, counters


def pending():
    """Names of planned metrics that are used here but not published yet."""
    path = TOP / "tests/monitoring/pending.txt"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return {line for line in lines if line and not line.startswith("#")}


# --- PromQL, the parts that are needed ---------------------------------------------------------------------

NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_:]*")


def bare(expr):
    """Without the contents of strings and braces, and without durations."""
    expr = re.sub(r'"(?:[^"\\]|\\.)*"', '""', expr)
    expr = re.sub(r"\{[^{}]*\}", "{}", expr)
    return re.sub(r"\[[^\]]*\]", "[]", expr)


def selectors(expr):
    """Each series selector: its name and the text in its braces."""
    text = re.sub(r'"(?:[^"\\]|\\.)*"', lambda m: m.group().replace("{", "<").replace("}", ">"), expr)
    for match in re.finditer(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(?:\{([^{}]*)\})?", text):
        name, braces = match.groups()
        if is_series(name):
            yield name, braces or ""


def is_series(name):
    return name in BUILT_IN or name.startswith(("db_pool", "process_"))


def names(expr):
    return {name for name, _ in selectors(expr)}


def uncovered(expressions):
    """Names in expressions that are neither published nor recorded."""
    known = published()[0] | recorded() | BUILT_IN | FILES | pending()
    for where, expr in expressions:
        for name in sorted(names(expr) - known):
            yield f"{where}: {name} does not exist"


# --- rules -------------------------------------------------------------------------------------------------


def rules_name_only_metrics_that_exist():
    named = [(rule.get("alert") or rule["record"], rule["expr"])
             for file in ("db_pool_recording.yml", "db_pool_alerts.yml") for rule in rules(file)]
    yield from uncovered(named)
    for path in sorted(RUNBOOKS.glob("*.md")):
        text = path.read_text(encoding="utf-8")
        code = "\n".join(re.findall(r"```promql\n(.*?)```", text, re.S) + re.findall(r"`([^`\n]+)`", text))
        yield from uncovered([(path.name, code)])
    for name in sorted(pending() & published()[0]):
        yield f"{name} is published now: take it out of tests/monitoring/pending.txt"


def every_alert_has_a_unit_test_that_fires_and_one_that_is_silent():
    fires, silent = set(), set()
    for path in sorted((TOP / "alerts/tests").glob("*.yml")):
        for test in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]:
            for case in test["alert_rule_test"]:
                if not test["name"].startswith(case["alertname"] + " "):
                    yield f"{path.name}: {test['name']} tests {case['alertname']}"
                (fires if case["exp_alerts"] else silent).add(case["alertname"])
    known = {rule["alert"] for rule in alerts()}
    for what, seen in (("fires", fires), ("is silent", silent)):
        yield from (f"no test in which {name} {what}" for name in sorted(known - seen))
        yield from (f"a test of {name}, which does not exist" for name in sorted(seen - known))


def every_alert_tells_what_it_is_and_where_to_go_on():
    uids = {dashboard["uid"] for _, dashboard in dashboards()}
    for rule in alerts():
        name, notes = rule["alert"], rule["annotations"]
        if rule["labels"].get("severity") not in ("critical", "warning"):
            yield f"{name}: no severity"
        if set(notes) != {"summary", "description", "runbook_url", "dashboard_url"}:
            yield f"{name}: annotations {sorted(notes)}"
            continue
        if "{{" not in notes["summary"] and not rule["expr"].startswith("absent("):
            yield f"{name}: no value in the summary"
        if not notes["description"].endswith("."):
            yield f"{name}: the description is not a sentence"
        if not notes["runbook_url"].endswith(f"/{name}.md"):
            yield f"{name}: runbook_url is not the page of this alert"
        board = re.search(r"/d/([a-z-]+)", notes["dashboard_url"])
        if not board or board.group(1) not in uids:
            yield f"{name}: dashboard_url has no such dashboard"


def every_alert_has_a_runbook_and_every_runbook_an_alert():
    known = {rule["alert"] for rule in alerts()}
    pages = {path.stem for path in RUNBOOKS.glob("*.md")} - {"README"}
    yield from (f"{name} has no page in docs/runbooks" for name in sorted(known - pages))
    yield from (f"docs/runbooks/{name}.md has no alert" for name in sorted(pages - known))
    index = (RUNBOOKS / "README.md").read_text(encoding="utf-8")
    yield from (f"docs/runbooks/README.md does not list {name}" for name in sorted(pages) if f"({name}.md)" not in index)


def every_runbook_has_its_chapters_and_queries_that_can_be_typed():
    for path in sorted(RUNBOOKS.glob("*.md")):
        if path.stem == "README":
            continue
        text = path.read_text(encoding="utf-8")
        chapters = re.findall(r"^## (.*)$", text, re.M)
        if chapters != ["What it means", "Confirm", "False alarm?", "Do first", "Fix for good"]:
            yield f"{path.name}: chapters {chapters}"
        if not text.startswith(f"# {path.stem}\n"):
            yield f"{path.name}: the title is not its name"
        if "```" not in text:
            yield f"{path.name}: no command or query"
        for link in re.findall(r"\]\(([^)]+)\)", text):
            if "://" not in link and not (path.parent / link.split("#")[0]).exists():
                yield f"{path.name}: {link} does not exist"
    yield from parses([(path.name, expr.strip()) for path in sorted(RUNBOOKS.glob("*.md"))
                       for block in re.findall(r"```promql\n(.*?)```", path.read_text(encoding="utf-8"), re.S)
                       for expr in block.strip().split("\n\n")])


def every_threshold_is_in_the_one_block_and_used():
    block, *others = groups("db_pool_recording.yml")
    thresholds = {rule["record"] for rule in block["rules"] if rule["record"].startswith("db_pool:threshold:")}
    for group in others:
        yield from (f"{rule['record']} is outside of the block" for rule in group["rules"]
                    if rule["record"].startswith("db_pool:threshold:"))
    used = set().union(*(names(rule["expr"]) for rule in alerts()))
    yield from (f"{name} is used by no alert" for name in sorted(thresholds - used))
    # Numbers in the alerts themselves are states (0, 1), units, or factors of burn rates.
    plain = {"0", "1", "100", "50", "86400", "14.4", "6", "3"}
    for rule in alerts():
        for number in re.findall(r"(?<![\w.])\d+(?:\.\d+)?(?![\w.])", bare(re.sub(r"offset \w+", "", rule["expr"]))):
            if number not in plain:
                yield f"{rule['alert']}: {number} should be a threshold"


def the_quick_starts_configurations_are_complete_and_valid():
    """What a reader of the quick start writes to prometheus.yml and alertmanager.yml is accepted by Prometheus's own tools."""
    text = (TOP / "docs/quick-start.md").read_text(encoding="utf-8")
    blocks = [textwrap.dedent(block) for block in re.findall(r"^ *```yaml\n(.*?)^ *```", text, re.S | re.M)]
    of_file = lambda name: "".join(block for block in blocks if block.startswith(f"# {name}\n"))
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "alerts").symlink_to(TOP / "alerts")
        for name, tool in (("prometheus.yml", [sys.argv[2], "check", "config"]), ("alertmanager.yml", ["amtool", "check-config"])):
            (folder / name).write_text(of_file(name), encoding="utf-8")
            run = subprocess.run([*tool, name], cwd=folder, capture_output=True, text=True, check=False)
            if run.returncode != 0 or not of_file(name):
                yield f"{name}: {run.stdout}{run.stderr}"
    config = yaml.safe_load(of_file("prometheus.yml"))
    for key in ("scrape_configs", "rule_files", "alerting"):
        if key not in config:
            yield f"prometheus.yml has no {key}"


def the_alertmanager_example_names_only_alerts_that_exist():
    config = yaml.safe_load((TOP / "alerts/alertmanager.example.yml").read_text(encoding="utf-8"))
    known = [rule["alert"] for rule in alerts()]
    for rule in config["inhibit_rules"]:
        for matcher in rule["source_matchers"] + rule["target_matchers"]:
            for name in re.search(r'"(.*)"', matcher).group(1).split("|"):
                if not any(re.fullmatch(name, alert) for alert in known):
                    yield f"{matcher}: no such alert"


# --- dashboards --------------------------------------------------------------------------------------------


def dashboards_name_only_metrics_that_exist():
    yield from uncovered(queries())
    for name, dashboard in dashboards():
        for variable in dashboard["templating"]["list"]:
            expr = variable.get("definition", "")
            yield from uncovered([(f"{name}: ${variable['name']}", expr)])


def dashboards_share_one_look():
    uids = {}
    for name, dashboard in dashboards():
        uids.setdefault(dashboard["uid"], []).append(name)
        if dashboard["uid"] + ".json" != name:
            yield f"{name}: the file is not named by its uid"
        if dashboard["editable"] or dashboard.get("id"):
            yield f"{name}: editable, or with an id"
        if "db-pool" not in dashboard["tags"] or not dashboard["links"]:
            yield f"{name}: not linked to the others"
        if not dashboard["title"] or not dashboard["description"]:
            yield f"{name}: no title or description"
    yield from (f"{uid}: {files}" for uid, files in uids.items() if len(files) > 1)


def links_lead_to_dashboards_and_variables_that_exist():
    boards = {dashboard["uid"]: {v["name"] for v in dashboard["templating"]["list"]} for _, dashboard in dashboards()}
    texts = [(name, json.dumps(dashboard)) for name, dashboard in dashboards()]
    texts += [(rule["alert"], rule["annotations"]["dashboard_url"]) for rule in alerts()]
    for where, text in texts:
        for uid, rest in re.findall(r'/d/([a-z-]+)([^"]*)', text):
            if uid not in boards:
                yield f"{where}: no dashboard {uid}"
            for variable in re.findall(r"var-(\w+)=", rest):
                if variable not in boards.get(uid, ()):
                    yield f"{where}: {uid} has no variable {variable}"


def the_data_source_and_the_job_are_variables():
    for name, dashboard in dashboards():
        variables = {v["name"]: v for v in dashboard["templating"]["list"]}
        source = variables.get("datasource", {})
        if source.get("type") != "datasource" or source.get("query") != "prometheus" or source.get("label") != "Data source":
            yield f"{name}: no data source variable"
        job = variables.get("job", {})
        if job.get("label") != "Job" or not job.get("multi") or job.get("allValue") != ".+":
            yield f"{name}: the variable job breaks dashboard-linter's rule"
        if not {"target", "instance"} & set(variables):
            yield f"{name}: neither target nor instance can be chosen"
        for key, variable in variables.items():
            if variable["type"] == "query" and (variable["refresh"] != 2 or variable["datasource"]["uid"] != "${datasource}"):
                yield f"{name}: ${key} is not refreshed when the time range changes, or has another source"
    for where, panel in panels():
        sources = [target["datasource"] for target in panel.get("targets", [])]
        sources += [panel["datasource"]] if panel["type"] != "row" else []
        if any(source != {"type": "prometheus", "uid": "${datasource}"} for source in sources):
            yield f"{where}: another data source"


def every_panel_has_a_title_a_description_a_unit_and_a_query():
    for where, panel in panels():
        if not panel["title"]:
            yield f"{where}: no title"
        if panel["type"] == "row":
            continue
        if not panel["description"].endswith("."):
            yield f"{where}: no description"
        if not panel["fieldConfig"]["defaults"].get("unit"):
            yield f"{where}: no unit"
        if not panel.get("targets"):
            yield f"{where}: no query"
        refs = [target["refId"] for target in panel.get("targets", [])]
        if len(set(refs)) != len(refs):
            yield f"{where}: two queries with one name"
        if panel["type"] == "stat" and len(panel["fieldConfig"]["defaults"]["thresholds"]["steps"]) < 1:
            yield f"{where}: no threshold"


def no_panel_is_of_a_deprecated_type():
    yield from (f"{where}: {panel['type']}" for where, panel in panels() if panel["type"] not in PANELS)


def panels_lie_side_by_side_without_overlap():
    for name, dashboard in dashboards():
        places = [(panel["title"], panel["gridPos"]) for panel in dashboard["panels"]]
        ids = [panel["id"] for panel in dashboard["panels"]]
        if len(set(ids)) != len(ids):
            yield f"{name}: two panels with one id"
        for title, at in places:
            if at["x"] < 0 or at["x"] + at["w"] > 24 or at["w"] < 1 or at["h"] < 1:
                yield f"{name}: {title} is not within the 24 columns"
        for (one, a), (two, b) in itertools.combinations(places, 2):
            apart = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"] or a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
            if not apart:
                yield f"{name}: {one} lies over {two}"


def every_query_is_valid_and_narrowed_by_the_variables():
    yield from parses([(where, typed(expr)) for where, expr in queries()])
    for where, expr in queries():
        board = where.split(":")[0]
        wanted = "instance" if "exporter.json" in board else "target"
        for name, braces in selectors(expr):
            if name.startswith(("db_pool:threshold:", "db_pool:links")):
                continue
            if 'job=~"$job"' not in braces:
                yield f"{where}: {name} is not narrowed by $job"
            loose = name == "ALERTS" or "count(count(" in expr
            if not loose and f'{wanted}=~"${wanted}"' not in braces:
                yield f"{where}: {name} is not narrowed by ${wanted}"


def rates_use_the_rate_interval_and_only_counters_are_rated():
    counters = published()[1] | {name for name in pending() if name.endswith(("_total", "_bucket", "_sum", "_count"))}
    for where, expr in queries():
        for function, name, window in re.findall(
                r"\b(rate|irate|increase)\((\w+)(?:\{[^{}]*\})?\[([^\]]+)\]", expr):
            if name not in counters:
                yield f"{where}: {function}() of {name}, which is no counter"
            if function != "increase" and window != "$__rate_interval":
                yield f"{where}: {function}() over {window}"
        plain = re.sub(r"\b(?:rate|irate|increase)\(\w+(?:\{[^{}]*\})?\[[^\]]+\]\)", "", expr)
        yield from (f"{where}: the counter {name} without rate()" for name in sorted(names(plain) & counters))


def nothing_doubles_when_two_exporters_watch_one_target():
    """A sum must keep the exporters separate, and be followed by a maximum over them."""
    allowed = re.compile(r"sum (?:by \([^)]*\binstance\b[^)]*\)|without \(instance_id\))|sum\([^()]*(?:max|min) by|"
                         r"sum\(1 - max by|histogram_quantile\([^,]*, sum by")
    for where, expr in queries():
        if "exporter.json" in where:
            continue
        for match in re.finditer(r"\bsum\b", expr):
            rest = expr[max(0, match.start() - 30):match.start() + 80]
            if not allowed.search(rest) and not re.match(r"sum\((?:max|min) by", expr[match.start():]):
                yield f"{where}: {expr[match.start():match.start() + 60]}"


def the_provisioning_files_are_valid():
    folder = TOP / "dashboards/provisioning"
    source = yaml.safe_load((folder / "datasources/prometheus.yml").read_text(encoding="utf-8"))
    if [s["type"] for s in source["datasources"]] != ["prometheus"]:
        yield "no Prometheus among the data sources"
    provider = yaml.safe_load((folder / "dashboards/db-pool.yml").read_text(encoding="utf-8"))
    if not all(p["type"] == "file" and p["options"]["path"] for p in provider["providers"]):
        yield "no folder of dashboards"


def linter_findings():
    """What three rules of dashboard-linter find: the rule, the dashboard and the panel."""
    for name, dashboard in dashboards():
        title = dashboard["title"]
        if "instance" not in {variable["name"] for variable in dashboard["templating"]["list"]}:
            yield "template-instance-rule", title, None
        for panel in dashboard["panels"]:
            found = [braces for target in panel.get("targets", []) for _, braces in selectors(target["expr"])]
            for label in ("job", "instance"):
                if any(f'{label}=~"${label}"' not in braces for braces in found):
                    yield f"target-{label}-rule", title, panel["title"]


def the_exceptions_from_the_linters_rules_are_named_with_reasons():
    """dashboards/.lint, in dashboard-linter's format, excuses what its rules find, and nothing else."""
    text = yaml.safe_load((TOP / "dashboards/.lint").read_text(encoding="utf-8"))
    found = set(linter_findings())
    for rule, entry in text["exclusions"].items():
        if len(entry.get("reason", "")) < 30:
            yield f"{rule}: no reason"
        listed = {(rule, one["dashboard"], one.get("panel")) for one in entry.get("entries", [])}
        of_rule = {finding for finding in found if finding[0] == rule}
        if not of_rule:
            yield f"{rule} finds nothing: take it out of .lint"
        if "entries" in entry:
            yield from (f"{finding} is not excused in .lint" for finding in sorted(of_rule - listed, key=str))
            yield from (f"{finding} is excused in .lint, but not found" for finding in sorted(listed - of_rule, key=str))
        found -= of_rule
    yield from (f"{finding} is not excused in .lint" for finding in sorted(found, key=str))


def every_page_sets_the_scrape_interval_that_the_dashboards_expect():
    """Grafana computes $__rate_interval from the data source's interval: Prometheus must scrape as often."""
    source = yaml.safe_load((TOP / "dashboards/provisioning/datasources/prometheus.yml").read_text(encoding="utf-8"))
    wanted = source["datasources"][0]["jsonData"]["timeInterval"]
    pages = [TOP / "README.md", *(path for folder in ("docs", "alerts", "dashboards", "deploy", "integrations")
                                  for path in sorted((TOP / folder).rglob("*.md")))]
    seen = 0
    for path in pages:
        for block in re.findall(r"```yaml\n(.*?)```", path.read_text(encoding="utf-8"), re.S):
            if "scrape_configs:" not in block:
                continue
            seen += 1
            config = yaml.safe_load(block)
            general = config.get("global", {}).get("scrape_interval")
            for job in config["scrape_configs"]:
                if job.get("scrape_interval", general) != wanted:
                    yield f"{path.relative_to(TOP)}: job {job['job_name']} is not scraped every {wanted}"
    if seen < 2:
        yield f"only {seen} examples of scrape_configs were found"


# --- Prometheus's own parser -------------------------------------------------------------------------------


def typed(expr):
    """A query as Grafana sends it."""
    for variable, value in (("$__rate_interval", "1m"), ("$__interval", "15s"), ("$__range", "1h")):
        expr = expr.replace(variable, value)
    expr = expr.replace("$application", ".*")  # as its allValue: asyncpg leaves application_name empty
    return re.sub(r"\$(\w+)", ".+", expr)


def parses(expressions):
    """Parses expressions with promtool, as recording rules; returns its errors."""
    if not expressions:
        return
    body = [{"record": f"check:expression_{number}", "expr": expr} for number, (_, expr) in enumerate(expressions)]
    text = yaml.safe_dump({"groups": [{"name": "expressions", "rules": body}]})
    run = subprocess.run([sys.argv[2], "check", "rules", "/dev/stdin"], input=text, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        for number in sorted({int(n) for n in re.findall(r"expression_(\d+)", run.stderr + run.stdout)}):
            yield f"{expressions[number][0]}: {expressions[number][1]}"
        yield run.stderr + run.stdout


def main():
    problems = list(globals()[sys.argv[1]]())
    if problems:
        sys.exit("\n".join(problems))


if __name__ == "__main__":
    main()
