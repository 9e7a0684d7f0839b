#!/usr/bin/env python3
"""Runs every expression of every panel and rule against a Prometheus: none fails, and every panel shows something.

Usage: evaluate.py [--demo] URL START END, with the time of a run with incidents. empty.txt lists the panels that may
be empty, each with its reason. Panels of metrics that are not published yet are skipped.

With --demo the run is the demo's day, in which no panel may be empty. Each application of the drop-down whose pool is
known must fill each panel that the drop-down narrows: its names in the server's families and in those of pools agree.
"""

import json
import pathlib
import re
import sys
import urllib.parse
import urllib.request

import check


def ask(url, path, **parameters):
    """Returns the data of Prometheus's answer, or its error."""
    data = urllib.parse.urlencode(parameters).encode()
    try:
        with urllib.request.urlopen(url + path, data=data or None, timeout=60) as answer:
            return json.load(answer)["data"]
    except urllib.error.HTTPError as error:
        return json.load(error).get("error", str(error))


def shown(url, expr, start, end):
    """The series of a range query, or the error."""
    answer = ask(url, "/api/v1/query_range", query=expr, start=start, end=end, step=1)
    return answer if isinstance(answer, str) else [series for series in answer["result"] if has_number(series)]


def has_number(series):
    return any(value != "NaN" for _, value in series["values"])


def excused():
    """The panels that may be empty, with the reason."""
    path = pathlib.Path(__file__).with_name("empty.txt")
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    return dict(line.split(" -- ", 1) for line in lines)


def at_this_pace(expr):
    """A query with windows that fit a run of a minute or some."""
    return check.typed(expr).replace("[1m]", "[5s]").replace("[5m]", "[10s]").replace("[1h]", "[60s]")


def offered(url, start, end):
    """The applications that the drop-down of the target's dashboard offers."""
    board = dict(check.dashboards())["db-pool-target.json"]
    variable = next(v for v in board["templating"]["list"] if v["name"] == "application")
    selector, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["definition"]).groups()
    found = ask(url, "/api/v1/series", **{"match[]": check.typed(selector)}, start=start, end=end)
    names = {series[label] for series in found if label in series}
    shown_names = re.compile(variable["regex"].strip("/")) if variable["regex"] else None
    return sorted(name for name in names if not shown_names or shown_names.fullmatch(name))


def served():
    """The families that only an application with a status of its own has."""
    text = (check.TOP / "METRICS.md").read_text(encoding="utf-8")
    section = text.split("## The applications' own status\n")[1].split("\n## ")[0]
    return set(re.findall(r"^\| `(\w+)` \|", section, re.M))


def applications(url, start, end):
    """Panels that stay empty when an application is chosen whose pool is known; those of statuses, when it serves one."""
    own = served()
    names = offered(url, start, end)
    known = [name for name in names if shown(url, f'db_pool_app_max_connections{{application="{name}"}}', start, end)]
    if len(known) < 2:
        yield f"the drop-down offers {names}, and the pools of {known} are known"
    serving = [name for name in known if shown(url, f'db_pool_app_up{{application="{name}"}}', start, end)]
    if not serving:
        yield "no application serves its status"
    for where, panel in check.panels():
        narrowed = [target["expr"] for target in panel.get("targets", []) if "$application" in target["expr"]]
        is_of_statuses = narrowed and all(
            re.sub("_(bucket|sum|count)$", "", name) in own for expr in narrowed for name in check.names(expr))
        for name in (serving if is_of_statuses else known) if narrowed else []:
            found = [shown(url, at_this_pace(expr.replace("$application", name)), start, end) for expr in narrowed]
            if not any(isinstance(one, list) and one for one in found):
                yield f"{where} is empty for {name}"


def problems(url, start, end, is_demo):
    """Returns all problems, and the number of evaluated expressions."""
    may_be_empty, looked = {} if is_demo else excused(), 0
    titles = set()
    for where, panel in check.panels():
        titles.add(where)
        results = []
        for target in panel.get("targets", []):
            if check.names(target["expr"]) & check.pending():
                results.append(None)
                continue
            found = shown(url, at_this_pace(target["expr"]), start, end)
            looked += 1
            if isinstance(found, str):
                yield f"{where}: {found}: {target['expr']}"
                found = []
            if panel["type"] == "heatmap":
                found = [series for series in found if any(float(value) > 0 for _, value in series["values"])]
            results.append(found)
        is_empty = bool(results) and not any(found is None or found for found in results)
        if is_empty and where not in may_be_empty:
            yield f"{where} shows nothing"
        if not is_empty and where in may_be_empty and None not in results:
            yield f"{where} shows something: take it out of empty.txt"
    yield from (f"empty.txt: there is no panel {where}" for where in may_be_empty if where not in titles)
    for group in ask(url, "/api/v1/rules")["groups"]:
        for rule in group["rules"]:
            looked += 1
            if rule["health"] != "ok":
                yield f"{rule['name']}: {rule['health']} {rule.get('lastError', '')}"
    print(f"{looked} expressions")


def main():
    """Prints all problems."""
    is_demo = sys.argv[1] == "--demo"
    url, start, end = sys.argv[2 if is_demo else 1:]
    found = list(problems(url.rstrip("/"), start, end, is_demo))
    if is_demo:
        found += applications(url.rstrip("/"), start, end)
    if found:
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main()
