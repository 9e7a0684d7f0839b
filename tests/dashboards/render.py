#!/usr/bin/env python3
"""Draws the dashboards roughly as Grafana does, with the data of a Prometheus server, for visual inspection.

Usage: render.py URL START END FOLDER CHROMIUM [theme=dark|light] [VARIABLE=VALUE ...]. Writes an HTML page and a PNG for
each dashboard; of tall ones a PNG for each piece, cut at a heading. Grafana itself is not needed. Colours, units,
legends, thresholds and positions come from the dashboard.
"""

import html
import json
import math
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

TOP = pathlib.Path(__file__).resolve().parents[2]
COLUMN, LINE, GAP = 64, 38, 8
PALETTE = ["#73bf69", "#f2cc0c", "#8ab8ff", "#ff780a", "#f2495c", "#5794f2", "#b877d9", "#705da0", "#37872d", "#fade2a"]
COLORS = {"green": "#299c46", "yellow": "#d9a300", "red": "#c4162a", "blue": "#3274d9", "orange": "#ff9830"}
# A piece of a dashboard ends at the first heading after this many pixels.
PIECE = 1000
# Lines are drawn within the panel: below the title and the description, and above the axis and the legend.
TOP_EDGE, AXIS, LEGEND = 52, 22, 44
THEMES = {
    "dark": {"--back": "#111217", "--panel": "#181b1f", "--line": "#2c3235", "--text": "#ccccdc", "--dim": "#8e8e9e", "--track": "#22252b",
             "--head": "#6e9fff"},
    "light": {"--back": "#f4f5f5", "--panel": "#ffffff", "--line": "#e1e3e6", "--text": "#24292e", "--dim": "#6a6f78", "--track": "#e9ebee",
              "--head": "#1f62e0"},
}
STYLE = """
body{background:var(--back);color:var(--text);font:13px sans-serif;margin:0;width:1552px;position:relative}
.p{position:absolute;background:var(--panel);border:1px solid var(--line);border-radius:3px;box-sizing:border-box;overflow:hidden}
.t{font-weight:600;padding:5px 8px;white-space:nowrap}.d{color:var(--dim);font-weight:400;font-size:11px;padding:0 8px;height:14px;
white-space:nowrap;overflow:hidden;text-overflow:ellipsis}.s{position:absolute;inset:46px 6px 6px;border-radius:3px;color:#fff;
display:flex;align-items:center;justify-content:center;font-size:34px;font-weight:600}table{border-collapse:collapse;width:100%;
font-size:12px}td,th{text-align:left;padding:3px 7px;border-bottom:1px solid var(--line);white-space:nowrap}th{color:var(--head)}
.l{position:absolute;bottom:3px;left:8px;right:8px;height:44px;overflow:hidden;font-size:11px}.l span{margin-right:12px}
.r{font-size:16px;border:0;background:none;border-bottom:1px solid var(--line)}.n{color:var(--dim);text-align:center;margin-top:30px}
"""


class Source:
    """A Prometheus server and the values of the dashboard variables."""

    def __init__(self, url, start, end, variables):
        self.url, self.start, self.end, self.variables = url.rstrip("/"), float(start), float(end), variables
        self.step = max(1, int((self.end - self.start) / 240))

    def fill(self, expr):
        rate = max(4 * 15, self.step) if self.end - self.start > 600 else 5
        expr = expr.replace("$__rate_interval", f"{rate}s").replace("$__range", f"{int(self.end - self.start)}s")
        expr = expr if rate > 5 else expr.replace("[5m]", "[10s]")
        return re.sub(r"\$(\w+)", lambda m: self.variables.get(m[1], ".+"), expr)

    def ask(self, path, **parameters):
        data = urllib.parse.urlencode(parameters).encode()
        with urllib.request.urlopen(self.url + path, data=data, timeout=60) as answer:
            return json.load(answer)["data"]["result"]

    def range(self, target):
        found = self.ask("/api/v1/query_range", query=self.fill(target["expr"]), start=self.start, end=self.end, step=self.step)
        return [(name(target, s["metric"]), [(float(t), float(v)) for t, v in s["values"] if v != "NaN"]) for s in found]

    def now(self, target):
        found = self.ask("/api/v1/query", query=self.fill(target["expr"]), time=self.end)
        return [(s["metric"], float(s["value"][1])) for s in found if s["value"][1] != "NaN"]


def name(target, labels):
    legend = target["legendFormat"]
    if legend == "__auto":
        return ", ".join(f"{k}={v}" for k, v in labels.items()) or target["expr"][:40]
    return re.sub(r"\{\{(\w+)\}\}", lambda m: labels.get(m[1], ""), legend).strip()


def shown(value, unit):
    """Formats a value for people."""
    if value is None or math.isinf(value):
        return "∞" if value else "-"
    if unit == "s":
        for size, sign in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"), (1e-3, "ms"), (1e-6, "µs")):
            if abs(value) >= size:
                return f"{value / size:.3g} {sign}"
        return "0 s"
    if unit in ("percent", "percentunit"):
        return f"{value * (100 if unit == 'percentunit' else 1):.3g}%"
    if unit == "bytes":
        return f"{value / 2**20:.1f} MiB"
    suffix = {"reqps": " req/s", "cps": " /s"}.get(unit, "")
    return f"{value:.4g}{suffix}" if value != int(value) else f"{int(value)}{suffix}"


def colour(value, settings):
    """The colour by the value mappings, or else by the thresholds."""
    for mapping in settings.get("mappings", []):
        entry = mapping["options"].get(str(int(value))) if value == int(value) else None
        if entry:
            return COLORS[entry["color"]], entry["text"]
    result = "green"
    for step in settings.get("thresholds", {}).get("steps", []):
        if step["value"] is None or value >= step["value"]:
            result = step["color"]
    return COLORS[result], None


def draw_stat(panel, source, width, height):
    settings = panel["fieldConfig"]["defaults"]
    found = source.now(panel["targets"][0])
    if not found:
        return f'<div class="s" style="background:#333;font-size:20px">{html.escape(settings.get("noValue", "No data"))}</div>'
    labels, value = found[0]
    back, text = colour(value, settings)
    if panel["options"]["textMode"] == "name":
        text = name(panel["targets"][0], labels)
    return f'<div class="s" style="background:{back}">{html.escape(text or shown(value, settings["unit"]))}</div>'


def draw_timeseries(panel, source, width, height):
    settings = panel["fieldConfig"]["defaults"]
    series = [item for target in panel["targets"] for item in source.range(target)]
    if not series:
        return '<p class="n">No data</p>'
    stacked = settings["custom"]["stacking"]["mode"] == "normal"
    is_line = lambda title: re.match("(threshold|limit)( of|:)", title)
    sums, lines = {}, []
    for number, (title, points) in enumerate(series):
        color = COLORS["red" if title.startswith("threshold") else "orange"] if is_line(title) else \
            PALETTE[number % len(PALETTE)]
        drawn = points
        if stacked and not is_line(title):
            drawn = [(t, sums.get(t, 0) + v) for t, v in points]
            sums.update(dict(drawn))
        lines.append((title, points, drawn, color))
    finite = [v for _, _, drawn, _ in lines for _, v in drawn if not math.isinf(v)]
    ticks = round_ticks(min(finite + [0]), max(finite + [0]) * 1.02)
    low, top = ticks[0], ticks[-1]
    bottom = height - LEGEND - AXIS
    x = lambda t: 52 + (t - source.start) / (source.end - source.start) * (width - 64)
    y = lambda v: bottom - (min(v, top) - low) / (top - low) * (bottom - TOP_EDGE)
    out = [f'<svg width="{width}" height="{height}" style="position:absolute;top:0;left:0">', clock(source, x, bottom)]
    for value in ticks:
        out.append(f'<line x1="52" x2="{width - 12}" y1="{y(value)}" y2="{y(value)}" stroke="var(--line)"/>'
                   f'<text x="48" y="{y(value) + 4}" fill="var(--dim)" font-size="10" text-anchor="end">{shown(value, settings["unit"])}</text>')
    for title, _, drawn, color in reversed(lines):
        dash = ' stroke-dasharray="8 6"' if is_line(title) else ""
        for part in unbroken(drawn, 2.5 * source.step):
            path = "M" + " L".join(f"{x(t):.1f},{y(v):.1f}" for t, v in part)
            if stacked and not is_line(title):
                out.append(f'<path d="{path} L{x(part[-1][0]):.1f},{y(low)} L{x(part[0][0]):.1f},{y(low)}" fill="{color}" opacity=".3"/>')
            out.append(f'<path d="{path}" fill="none" stroke="{color}" stroke-width="1.5"{dash}/>')
    legend = [f'<span><b style="color:{color}">&#9644;</b> {html.escape(title)}: {shown(points[-1][1], settings["unit"])}</span>'
              for title, points, _, color in lines if points]
    if len(legend) > 7:
        legend = [*legend[:6], f"<span>and {len(legend) - 6} more</span>"]
    return "".join(out) + f'</svg><div class="l">{"".join(legend)}</div>'


def unbroken(points, longest):
    """The points in runs without a gap."""
    runs = []
    for point in points:
        if not runs or point[0] - runs[-1][-1][0] > longest:
            runs.append([])
        runs[-1].append(point)
    return runs


def round_ticks(low, high):
    """Round values from below the lowest to above the highest."""
    rough = (high - low or 1) / 4
    size = 10 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= rough)
    first = math.floor(low / step)
    return [step * number for number in range(first, math.ceil(high / step) + 1)] if high > low else [0, 1]


def clock(source, x, bottom):
    """The time axis."""
    out = []
    for part in range(1, 5):
        at = source.start + (source.end - source.start) * part / 5
        text = time.strftime("%H:%M:%S", time.gmtime(at))
        out.append(f'<text x="{x(at):.0f}" y="{bottom + 13}" fill="var(--dim)" font-size="10" text-anchor="middle">{text}</text>')
    return "".join(out)


def draw_heatmap(panel, source, width, height):
    rows = sorted(((float(title.replace("+Inf", "inf")), dict(points)) for title, points in source.range(panel["targets"][0])))
    if not rows:
        return '<p class="n">No data</p>'
    cells, before = [], {}
    for edge, points in rows:
        cells.append((edge, {t: max(0, v - before.get(t, 0)) for t, v in points.items()}))
        before = points
    most = max((v for _, points in cells for v in points.values()), default=0) or 1
    out, tall = [], (height - 62) / len(cells)
    wide = (width - 60) / ((source.end - source.start) / source.step + 1)
    for number, (edge, points) in enumerate(cells):
        y = height - 12 - (number + 1) * tall
        if number % 2 == 0 or tall > 11:
            label = "more" if math.isinf(edge) else shown(edge, "s")
            out.append(f'<text x="50" y="{y + tall / 2 + 3}" fill="var(--dim)" font-size="9" text-anchor="end">{label}</text>')
        for t, v in points.items():
            if v > 1e-9:
                x = 54 + (t - source.start) / source.step * wide
                out.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{tall - 1:.1f}" fill="#ff780a" opacity="{.15 + .85 * math.sqrt(v / most):.2f}"/>')
    return f'<svg width="{width}" height="{height}" style="position:absolute;top:0;left:0">{"".join(out)}</svg>'


def draw_bargauge(panel, source, width, height):
    settings = panel["fieldConfig"]["defaults"]
    found = [(name(t, labels), value) for t in panel["targets"] for labels, value in source.now(t)]
    most = settings.get("max") or max((v for _, v in found), default=1) or 1
    out = []
    for title, value in found:
        out.append(f'<div style="display:flex;margin:4px 8px"><div style="width:38%;overflow:hidden">{html.escape(title)}</div>'
                   f'<div style="flex:1;background:var(--track)"><div style="background:{colour(value, settings)[0]};width:{min(100, 100 * value / most)}%;'
                   f'white-space:nowrap;padding:2px">{shown(value, settings["unit"])}</div></div></div>')
    return "".join(out) or '<p class="n">No data</p>'


def draw_state(panel, source, width, height):
    settings = panel["fieldConfig"]["defaults"]
    series = source.range(panel["targets"][0])
    if not series:
        return '<p class="n">No data</p>'
    tall, out = min(26, (height - 60) / len(series)), []
    wide = (width - 150) / ((source.end - source.start) / source.step + 1)
    for number, (title, points) in enumerate(sorted(series)):
        y = 48 + number * tall
        out.append(f'<text x="134" y="{y + tall / 2 + 3}" fill="var(--text)" font-size="11" text-anchor="end">{html.escape(title)}</text>')
        out += [f'<rect x="{140 + (t - source.start) / source.step * wide:.1f}" y="{y}" width="{wide + .3:.1f}" height="{tall - 4}" fill="{colour(v, settings)[0]}"/>'
                for t, v in points]
    return f'<svg width="{width}" height="{height}" style="position:absolute;top:0;left:0">{"".join(out)}</svg>'


def draw_table(panel, source, width, height):
    rename, hidden, order = {}, set(), {}
    for transformation in panel["transformations"]:
        if transformation["id"] == "organize":
            order = transformation["options"]["indexByName"]
            rename, hidden = transformation["options"]["renameByName"], set(transformation["options"]["excludeByName"])
    rows, labels_seen, values_seen = {}, [], []
    for target in panel["targets"]:
        field = f"Value #{target['refId']}" if len(panel["targets"]) > 1 else "Value"
        values_seen.append(field)
        for labels, value in source.now(target):
            labels_seen += [label for label in labels if label not in labels_seen]
            rows.setdefault(tuple(sorted(labels.items())), dict(labels))[field] = value
    settings = {o["matcher"]["options"]: {p["id"]: p["value"] for p in o["properties"]} for o in panel["fieldConfig"]["overrides"]}
    labels_seen.sort(key=lambda field: order.get(field, 99))
    fields = [f for f in labels_seen + values_seen if f not in hidden and rename.get(f, f) not in hidden]
    ordered = sorted(rows.values(), key=lambda row: str(row.get("Value #A", row.get("severity", ""))))
    body = ""
    for row in ordered:
        cells = ""
        for field in fields:
            value, own = row.get(field), settings.get(rename.get(field, field), {})
            if isinstance(value, float):
                back, text = colour(value, own) if "custom.cellOptions" in own else ("none", None)
                cells += f'<td style="background:{back}">{text or shown(value, own.get("unit", "none"))}</td>'
            else:
                cells += f"<td>{html.escape(value or '')}</td>"
        body += f"<tr>{cells}</tr>"
    head = "".join(f"<th>{html.escape(rename.get(field, field))}</th>" for field in fields)
    return f"<table><tr>{head}</tr>{body}</table>" if rows else '<p class="n">No data</p>'


DRAW = {"stat": draw_stat, "timeseries": draw_timeseries, "heatmap": draw_heatmap, "bargauge": draw_bargauge,
        "state-timeline": draw_state, "table": draw_table}


def page(board, source, theme):
    """Returns a dashboard as HTML, and the edges of its pieces."""
    out, bottom, edges = [], 0, [0]
    for panel in board["panels"]:
        at = panel["gridPos"]
        x, y, w, h = at["x"] * COLUMN + GAP, at["y"] * LINE + 44, at["w"] * COLUMN - GAP, at["h"] * LINE - GAP
        bottom = max(bottom, y + h)
        place = f"left:{x}px;top:{y}px;width:{w}px;height:{h}px"
        if panel["type"] == "row":
            if y - edges[-1] > PIECE:
                edges.append(y)
            out.append(f'<div class="p r" style="{place}"><div class="t">{html.escape(panel["title"])}</div></div>')
            continue
        inner = DRAW[panel["type"]](panel, source, w, h)
        out.append(f'<div class="p" style="{place}"><div class="t">{html.escape(panel["title"])}</div>'
                   f'<div class="d">{html.escape(panel["description"])}</div>{inner}</div>')
    title = f'<h3 style="margin:8px">{html.escape(board["title"])}</h3>'
    colors = "".join(f"{name}:{value};" for name, value in THEMES[theme].items())
    style = f":root{{{colors}}}{STYLE}"
    return f"<!doctype html><meta charset=utf-8><style>{style}</style><div id=board>{title}{''.join(out)}</div>", [*edges, bottom + GAP]


def screenshot(chromium, text, target, top, bottom):
    """Draws the part of a page between two heights."""
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder) / "page.html"
        moved = f"<style>html{{overflow:hidden}}body{{top:-{top}px;height:{bottom}px}}</style>"
        source.write_text(text + moved, encoding="utf-8")
        subprocess.run([
            chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
            "--disable-sync", "--no-first-run", f"--user-data-dir={folder}/profile", "--hide-scrollbars",
            f"--window-size=1560,{bottom - top}", f"--screenshot={target}", source.as_uri()],
            check=True, capture_output=True, timeout=120)


def main():
    url, start, end, folder, chromium, *variables = sys.argv[1:]
    folder = pathlib.Path(folder).resolve()
    variables = dict(pair.split("=", 1) for pair in variables)
    theme = variables.pop("theme", "dark")
    for path in sorted((TOP / "dashboards").glob("*.json")):
        board = json.loads(path.read_text(encoding="utf-8"))
        single = {v["name"] for v in board["templating"]["list"] if not v.get("multi")} | {"application"}
        chosen = {name: value for name, value in variables.items() if name in single}
        text, edges = page(board, Source(url, start, end, chosen), theme)
        (folder / (path.stem + ".html")).write_text(text, encoding="utf-8")
        for number, (top, bottom) in enumerate(zip(edges, edges[1:]), 1):
            piece = f"-{number}" if len(edges) > 2 else ""
            target = folder / f"{path.stem}{piece}-{theme}.png"
            screenshot(chromium, text, target, top, bottom)
            print(target)


if __name__ == "__main__":
    main()
