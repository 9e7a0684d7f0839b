"""Generates the PrometheusRules of the plain manifests from the rule files of a folder, one object per file."""

import pathlib
import sys

import yaml


class Literal(yaml.SafeDumper):
    """Writes multi-line texts as literal blocks."""


def text(dumper, value):
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


Literal.add_representer(str, text)
print("# Made from alerts/ by `make manifests`; a test keeps it true.")
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.y*ml")):
    content = yaml.safe_load(path.read_text())
    if "groups" in content:
        rule = {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "PrometheusRule",
            "metadata": {
                "name": "db-pool-exporter-" + path.name.split(".")[0].replace("_", "-").lower(),
                "labels": {"app.kubernetes.io/name": "db-pool-exporter"},
            },
            "spec": {"groups": content["groups"]},
        }
        print("---")
        print(yaml.dump(rule, Dumper=Literal, sort_keys=False, width=120, allow_unicode=True), end="")
