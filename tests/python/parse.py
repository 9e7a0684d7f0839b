"""Reads an exposition with the strict parsers of prometheus_client: parse.py text|openmetrics FILE.

Prints the names of the families. Fails if the parser fails, or if a family or a sample occurs twice, which the parser of
the text format accepts.
"""

import sys

from prometheus_client import openmetrics, parser
import prometheus_client.openmetrics.parser

PARSERS = {
    "text": parser.text_string_to_metric_families,
    "openmetrics": openmetrics.parser.text_string_to_metric_families,
}


def main(form, path):
    with open(path, encoding="utf-8") as file:
        families = list(PARSERS[form](file.read()))
    names, samples = set(), set()
    for family in families:
        assert family.name not in names, f"{family.name} stands twice"
        assert family.documentation and family.type != "unknown", f"{family.name} has no HELP or TYPE"
        names.add(family.name)
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in samples, f"{key} stands twice"
            samples.add(key)
    print("\n".join(sorted(names)))


main(*sys.argv[1:])
