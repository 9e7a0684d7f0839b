#!/usr/bin/env python3
"""Writes db_pool_prometheusrule.yml, for the Prometheus operator, from the two rule files.

With --check nothing is written, and a difference is told.
"""

import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
HEAD = """\
# Made by generate.py from db_pool_recording.yml and db_pool_alerts.yml: change those.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: db-pool-exporter
  labels:
    app.kubernetes.io/name: db-pool-exporter
spec:
  groups:
"""


def groups(name):
    """The lines below `groups:`, moved to where the operator has them."""
    text = (HERE / name).read_text(encoding="utf-8")
    _, body = text.split("\ngroups:\n", 1)
    return "".join("  " + line if line.strip() else line for line in body.splitlines(keepends=True))


def main():
    """Writes, or with --check compares."""
    path = HERE / "db_pool_prometheusrule.yml"
    text = HEAD + groups("db_pool_recording.yml") + "\n" + groups("db_pool_alerts.yml")
    if "--check" not in sys.argv:
        path.write_text(text, encoding="utf-8")
    elif path.read_text(encoding="utf-8") != text:
        sys.exit(f"{path.name} is old: run alerts/generate.py")


if __name__ == "__main__":
    main()
