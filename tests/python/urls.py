"""Parses URLs with SQLAlchemy: a JSON list of texts on standard input, a JSON list of results on standard output.

A result is null where SQLAlchemy refuses the text.
"""

import json
import sys

from sqlalchemy.engine import make_url


def parsed(text):
    try:
        url = make_url(text)
    except Exception:
        return None
    return {
        "user": url.username or None,
        "password": url.password or None,
        "host": url.host or None,
        "port": url.port,
        "database": url.database or None,
        "query": {name: url.query[name] for name in url.query},
    }


json.dump([parsed(text) for text in json.load(sys.stdin)], sys.stdout)
