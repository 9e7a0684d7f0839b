#!/usr/bin/env python3
"""Makes the pictures of README.md and docs/ from the demo: the status page in each trouble, and the dashboards.

Usage: pictures.py PROGRAM CHROMIUM PACKAGES [DURATION]. PROGRAM is db_pool_exporter, PACKAGES is
`scripts/setup.sh --print page`; the demo's day takes DURATION (5m). The page is the exporter's own. The dashboards are drawn by tests/dashboards/render.py from the demo's Prometheus, not by Grafana.
"""

import hashlib
import io
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parents[1]
PICTURES = TOP / "docs/pictures"
LARGEST = 200_000
# The pictures so far. They replace the old ones when all are made.
NEW = {}
# The scenes in which the page is drawn: after which part of the scene, and as (name, width, height, theme).
PAGES = {
    "burst": (0.8, [("page-burst-light", 1280, 1100, "light"), ("page-burst-dark", 1280, 1100, "dark"),
                    ("page-burst-phone", 390, 1000, "light")]),
    "leak": (0.85, [("page-leak", 1280, 1100, "light")]),
    "slow": (0.7, [("page-slow", 1280, 1100, "light")]),
    "restart": (0.45, [("page-restart", 1280, 900, "light")]),
    "two processes": (0.6, [("page-two-processes", 1280, 1100, "light")]),
}
# The pieces of dashboards that README.md shows in both themes.
BOTH = {"db-pool-target-2"}


def sources():
    """What the pictures show: when it changes, they are old."""
    shown = [*sorted((TOP / "dashboards").glob("*.json")), TOP / "tests/dashboards/render.py"]
    page = TOP / "src/api/page"
    shown += sorted(path for path in page.rglob("*") if path.is_file() and path.suffix in (".rs", ".css", ".js"))
    digest = hashlib.sha256()
    for path in shown:
        digest.update(str(path.relative_to(TOP)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def small(data):
    """The picture as a PNG below LARGEST bytes."""
    from PIL import Image  # here, so that --check needs no package

    image = Image.open(io.BytesIO(data)).convert("RGB")
    # As it is, if it is small enough; otherwise with fewer colours.
    for colors in (None, 256, 128, 64, 32):
        out = io.BytesIO()
        fewer = image.quantize(colors, dither=Image.Dither.NONE) if colors else image
        fewer.save(out, "PNG", optimize=True)
        if out.tell() < LARGEST:
            return out.getvalue()
    sys.exit("a picture is too large")


class Browser:
    """Chromium, driven as in the tests of the page (tests/page/look.mjs)."""

    def __init__(self, packages, chromium):
        command = ["node", TOP / "tests/page/look.mjs", pathlib.Path(packages).resolve(), chromium]
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.answer()

    def answer(self):
        answer = json.loads(self.child.stdout.readline())
        if "error" in answer:
            sys.exit(f"the browser: {answer}")

    def ask(self, **command):
        self.child.stdin.write(json.dumps(command) + "\n")
        self.child.stdin.flush()
        self.answer()

    def drawn(self, url, width, height, theme):
        """The page as a PNG."""
        with tempfile.TemporaryDirectory() as folder:
            target = pathlib.Path(folder) / "page.png"
            self.ask(do="open", url=url, width=width, height=height, dark=theme == "dark")
            self.ask(do="picture", path=str(target), whole=False)
            return target.read_bytes()


class Demo:
    """The running demo and what it printed."""

    def __init__(self, program, length):
        self.log = tempfile.NamedTemporaryFile("w+")
        command = [program, "demo", f"--duration={length}", "--rounds=2", "--web.listen-address=127.0.0.1:0"]
        self.child = subprocess.Popen(command, stderr=self.log)

    def text(self):
        return pathlib.Path(self.log.name).read_text(encoding="utf-8")

    def wait(self, pattern):
        """Waits for a line, and returns its first group."""
        while not (found := re.search(pattern, self.text(), re.M)):
            if self.child.poll() is not None:
                sys.exit(f"the demo ended:\n{self.text()}")
            time.sleep(0.2)
        return found[1]

    def end(self):
        self.child.send_signal(signal.SIGINT)
        self.child.wait(30)


def seconds(clock):
    minutes, rest = clock.split(":")
    return 60 * int(minutes) + int(rest)


def save(name, data):
    NEW[name] = small(data)
    print(name, len(NEW[name]), flush=True)


def dashboards(chromium, prometheus, start):
    """Every dashboard over the day so far."""
    for theme in ("dark", "light"):
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([
                sys.executable, TOP / "tests/dashboards/render.py", f"http://{prometheus}", str(start), str(time.time()), folder,
                chromium, f"theme={theme}", "target=default", "application=.*"], check=True, stdout=subprocess.DEVNULL)
            for path in sorted(pathlib.Path(folder).glob("*.png")):
                piece = path.stem.removesuffix(f"-{theme}")
                if piece in BOTH:
                    save(path.stem, path.read_bytes())
                elif theme == "dark":
                    save(piece, path.read_bytes())


def play(demo, chromium, browser):
    """Draws the page in each scene, and the dashboards at the end of the day."""
    page = demo.wait(r"^  status page +(http://\S+)")
    prometheus = demo.wait(r"^  Prometheus +http://([^/\s]+)")
    times = {name.strip(): seconds(clock) for clock, name in re.findall(r"^ +(\d+:\d\d)  (\S.{13}) ", demo.text(), re.M)}
    length = seconds(re.search(r"^What happens, in (\d+:\d\d)", demo.text(), re.M)[1])
    demo.wait(r"^ (0:00)  calm:")
    start = time.time()
    ends = dict(zip(times, [*list(times.values())[1:], length]))
    for scene, (part, pictures) in PAGES.items():
        at = times[scene] + part * (ends[scene] - times[scene])
        time.sleep(max(0, start + at - time.time()))
        for name, width, height, theme in pictures:
            save(name, browser.drawn(f"{page}?target=default", width, height, theme))
    time.sleep(max(0, start + length - 3 - time.time()))
    dashboards(chromium, prometheus, start)


def main():
    if sys.argv[1:] == ["--check"]:
        made = (PICTURES / "made-from").read_text(encoding="utf-8").strip()
        if made != sources():
            sys.exit("the page or a dashboard has changed since docs/pictures was made: make pictures")
        return
    program, chromium, packages, *length = sys.argv[1:]
    try:
        os.nice(-10)  # a busy machine makes other pictures; only root may
    except PermissionError:
        pass
    browser = Browser(packages, chromium)
    demo = Demo(program, *(length or ["5m"]))
    try:
        play(demo, chromium, browser)
    finally:
        demo.end()
        browser.child.stdin.close()
    PICTURES.mkdir(exist_ok=True)
    for old in PICTURES.glob("*.png"):
        old.unlink()
    for name, data in NEW.items():
        (PICTURES / f"{name}.png").write_bytes(data)
    (PICTURES / "made-from").write_text(sources() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
