#!/usr/bin/env python3
"""Runs every expression of every panel and rule against a Prometheus: none fails, and every panel shows something.

Usage: evaluate.py URL START END, with the time of a run with incidents. empty.txt lists the panels that may be empty,
each with its reason. Panels of metrics that are not published yet are skipped.
"""

import json
import pathlib
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


def problems(url, start, end):
    """Returns all problems, and the number of evaluated expressions."""
    may_be_empty, looked = excused(), 0
    titles = set()
    for where, panel in check.panels():
        titles.add(where)
        results = []
        for target in panel.get("targets", []):
            if check.names(target["expr"]) & check.pending():
                results.append(None)
                continue
            expr = check.typed(target["expr"]).replace("[1m]", "[5s]").replace("[5m]", "[10s]").replace("[1h]", "[60s]")
            found = shown(url, expr, start, end)
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
    found = list(problems(sys.argv[1].rstrip("/"), sys.argv[2], sys.argv[3]))
    if found:
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main()
