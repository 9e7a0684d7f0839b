#!/usr/bin/env python3
"""Copies the rules with all times divided by a factor, so that an hour of an incident passes in a minute.

Usage: compress.py FACTOR FOLDER. Windows, `for`, offsets and evaluation intervals are divided. A few thresholds are
replaced: those that are times of the rules themselves, and those that a test cannot wait for.
"""

import pathlib
import re
import sys

ALERTS = pathlib.Path(__file__).resolve().parents[2] / "alerts"
MILLISECONDS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
THRESHOLDS = {
    "headroom_prediction_seconds": "60",
    "idle_in_transaction_seconds": "5",
    "transaction_seconds": "600",
}


def divided(text, factor):
    """Converts a duration such as `5m` to milliseconds."""
    total = sum(int(number) * MILLISECONDS[unit] for number, unit in re.findall(r"(\d+)([smhd])", text))
    return f"{max(1, total // factor)}ms"


def compress(text, factor):
    """Converts the text of one file."""
    time = r"(?:\d+[smhd])+"
    text = re.sub(rf"\[({time})\]", lambda m: f"[{divided(m[1], factor)}]", text)
    text = re.sub(rf"\b(for|interval): ({time})$", lambda m: f"{m[1]}: {divided(m[2], factor)}", text, flags=re.M)
    text = re.sub(rf"\boffset ({time})", lambda m: f"offset {divided(m[1], factor)}", text)
    for name, value in THRESHOLDS.items():
        text, count = re.subn(rf"(record: db_pool:threshold:{name}\n +expr: vector)\([^)]*\)", rf"\1({value})", text)
        if "db-pool-thresholds" in text and count != 1:
            sys.exit(f"there is no threshold {name}")
    return text


def main():
    """Converts both files."""
    factor, folder = int(sys.argv[1]), pathlib.Path(sys.argv[2])
    for name in ("db_pool_recording.yml", "db_pool_alerts.yml"):
        (folder / name).write_text(compress((ALERTS / name).read_text(encoding="utf-8"), factor), encoding="utf-8")


if __name__ == "__main__":
    main()
