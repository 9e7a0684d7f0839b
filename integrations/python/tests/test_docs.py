"""Runs the snippets of docs/applications.md as they are printed there, against a real server."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import HERE, TOP, ask, free_port, until
from test_servers import request

pytestmark = pytest.mark.skipif(importlib.util.find_spec("fastapi") is None, reason="needs the newest environment")
PAGE = (TOP / "docs/applications.md").read_text()
BLOCK = re.compile(r"<!-- (file|run): (\S+) -->\n```\w+\n(.*?)```\n", re.DOTALL)
FILES = {name: text for kind, name, text in BLOCK.findall(PAGE) if kind == "file"}
COMMANDS = {name: text.strip() for kind, name, text in BLOCK.findall(PAGE) if kind == "run"}


class Snippet:
    """A guide's files in a folder of their own, where its command runs."""

    def __init__(self, guide, folder, url, more=""):
        self.folder, self.pools = folder, folder / "pools"
        for name, text in FILES.items():
            if name.startswith(guide + "/"):
                assert text.count('"/run/app-pools"') == 1
                text = text.replace('"/run/app-pools"', repr(str(self.pools)))
                (folder / Path(name).name).write_text(text + more)
        self.environment = dict(
            os.environ,
            DATABASE_URL=url,
            PYTHONPATH=str(HERE.parent),
            PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            CELERY_BROKER_URL="filesystem://",
        )
        self.command = shlex.split(COMMANDS[guide])
        self.process = None

    def start(self, *options):
        log = open(self.folder / "log", "wb")  # noqa: SIM115
        self.process = subprocess.Popen(
            [*self.command, *options],
            cwd=self.folder, env=self.environment, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        log.close()

    def statuses(self, count):
        def found():
            assert self.process.poll() is None, (self.folder / "log").read_text()
            answers = []
            for path in self.pools.glob("*.sock") if self.pools.exists() else ():
                try:
                    answers.append(ask(path))
                except (ConnectionRefusedError, ConnectionResetError, FileNotFoundError):
                    continue  # of a process that has just ended, or of a master that has just forked
            return answers if len(answers) == count else None

        return until(found, 60, f"{count} sockets")

    def stop(self):
        if self.process is not None:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.process.wait()


@pytest.fixture
def snippet(tmp_path, cluster):
    made = []

    def make(guide, driver, more=""):
        made.append(Snippet(guide, tmp_path, cluster.url(driver), more))
        return made[-1]

    yield make
    for one in made:
        one.stop()


def names(statuses):
    return {status["db_pool_status"]["application"] for status in statuses}


def pids_of(statuses):
    return {status["db_pool_status"]["process"]["pid"] for status in statuses}


def test_every_guide_is_run():
    assert sorted(COMMANDS) == ["celery", "fastapi", "flask", "plain"]
    # The guide for Rust is held equal to an example, and run, by tests/it/library.rs.
    folders = [name.split("/")[0] for name in sorted(FILES) if not name.startswith("bb8/")]
    assert folders == ["celery", "fastapi", "flask", "kubernetes", "plain"]


def test_fastapi(snippet):
    port = free_port()
    guide = snippet("fastapi", "asyncpg", 'app.mount("/api/v1/database/pool/status", pool.asgi)\n')
    assert 'app.mount("/api/v1/database/pool/status", pool.asgi)\n' in PAGE
    guide.start("--port", str(port))
    assert names(guide.statuses(4)) == {"orders"}
    assert asyncio.run(request(port, "/orders/count")) == (200, b"42")
    assert sum(status["metrics"]["events"]["checkouts"] for status in guide.statuses(4)) == 1
    code, body = asyncio.run(request(port, "/api/v1/database/pool/status/"))
    assert (code, json.loads(body)["pool_config"]["size"]) == (200, 20)


def test_flask(snippet):
    port = free_port()
    guide = snippet("flask", "psycopg")
    guide.start("--bind", f"127.0.0.1:{port}")
    assert names(guide.statuses(4)) == {"shop"}
    assert asyncio.run(request(port, "/orders/count")) == (200, b"42")
    assert sum(status["metrics"]["events"]["checkouts"] for status in guide.statuses(4)) == 1
    code, body = asyncio.run(request(port, "/api/v1/database/pool/status"))
    assert (code, json.loads(body)["pool_config"]["size"]) == (200, 5)


def test_flask_preloaded_and_under_gevent(snippet):
    for options in (["--preload"], ["--worker-class", "gevent"]):
        port = free_port()
        guide = snippet("flask", "psycopg")
        guide.start("--bind", f"127.0.0.1:{port}", *options)
        pids = pids_of(guide.statuses(4))
        assert guide.process.pid not in pids
        assert asyncio.run(request(port, "/orders/count")) == (200, b"42")
        statuses = guide.statuses(4)
        assert sum(status["metrics"]["events"]["checkouts"] for status in statuses) == 1
        assert all(status["db_pool_status"]["unsupported"] == [] for status in statuses)
        guide.process.send_signal(signal.SIGTERM)
        guide.process.wait(20)
        until(lambda guide=guide: not list(guide.pools.glob("*.sock")), what="the end of the sockets")


def test_plain(snippet):
    guide = snippet("plain", "psycopg")
    output = subprocess.run(guide.command, cwd=guide.folder, env=guide.environment, stdout=subprocess.PIPE, check=True)
    line = output.stdout.decode().strip()
    assert f"It prints `{line}`" in PAGE


FILESYSTEM = """
# Instead of a broker: a folder, which Celery's own transport for files serves.
app.conf.broker_transport_options = {"data_folder_in": "box", "data_folder_out": "box", "control_folder": "control"}
"""


def test_celery(snippet):
    guide = snippet("celery", "psycopg", FILESYSTEM)
    for name in ("box", "control"):
        (guide.folder / name).mkdir()
    guide.start("--without-gossip", "--without-mingle", "--without-heartbeat")
    statuses = guide.statuses(2)
    assert names(statuses) == {"tasks"}
    pids = pids_of(statuses)
    assert guide.process.pid not in pids
    send = "import tasks; [tasks.count.delay() for _ in range(4)]"
    subprocess.run([sys.executable, "-c", send], cwd=guide.folder, env=guide.environment, check=True)

    def done():
        return sum(status["metrics"]["events"]["checkins"] for status in guide.statuses(2)) == 4

    until(done, 30, "four tasks")
    os.kill(min(pids), signal.SIGKILL)
    until(lambda: pids_of(guide.statuses(2)) != pids, 60, "a new child")


def test_kubernetes_shares_one_directory_between_both_containers():
    import yaml

    spec = yaml.safe_load(FILES["kubernetes/pod.yaml"])["spec"]
    (volume,) = spec["volumes"]
    assert "emptyDir" in volume and spec["securityContext"]["fsGroup"] > 0
    for container in spec["containers"]:
        assert container["volumeMounts"] == [{"name": volume["name"], "mountPath": "/run/app-pools"}]
    app, exporter = spec["containers"]
    assert app["env"] == [{"name": "DB_POOL_STATUS_DIR", "value": "/run/app-pools"}]
    assert exporter["ports"][0]["containerPort"] == 9956
