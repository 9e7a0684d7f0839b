"""A PostgreSQL cluster of the test run's own, and engines on it."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import sqlalchemy
from jsonschema import Draft202012Validator

HERE = Path(__file__).resolve().parent
TOP = HERE.parents[2]
sys.path.insert(0, str(HERE.parent))

import db_pool_status  # noqa: E402

VERSION = tuple(int(part) for part in sqlalchemy.__version__.split(".")[:2])
SYNC_DRIVER = "psycopg2" if VERSION < (2, 0) else "psycopg"
SCHEMA = json.loads((TOP / "integrations/status.schema.json").read_text())


def server_user() -> dict[str, object]:
    """Returns how to start a program that refuses to be root."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    raise RuntimeError("there is no user postgres or nobody")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(condition, seconds=10.0, what="the condition"):
    """Waits until a condition is true, and returns what it gave."""
    deadline = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.01)


class Cluster:
    """A running PostgreSQL in a temporary folder; everybody gets in from 127.0.0.1."""

    def __init__(self, folder: Path) -> None:
        printed = subprocess.run([TOP / "scripts/setup.sh", "--print", "postgres"], stdout=subprocess.PIPE, check=True)
        programs = Path(printed.stdout.decode().strip())
        self.port = free_port()
        self.host = "127.0.0.1"
        data, user = folder / "data", server_user()
        if user:
            os.chown(folder, user["user"], user["group"])
        initdb = [programs / "initdb", "-D", data, "-U", "app", "-A", "trust", "-N", "-E", "UTF8", "--no-instructions"]
        subprocess.run(initdb, check=True, cwd=folder, stdout=subprocess.DEVNULL, **user)
        settings = ["fsync=off", "max_connections=200", "listen_addresses=127.0.0.1", "unix_socket_directories="]
        options = [part for setting in settings for part in ("-c", setting)]
        self.log = open(folder / "log", "wb")  # noqa: SIM115
        # A session of its own, so that Ctrl-C in a terminal reaches pytest alone, which then stops the server.
        self.server = subprocess.Popen(
            [programs / "postgres", "-D", data, "-p", str(self.port), *options],
            cwd=folder, stdout=self.log, stderr=self.log, start_new_session=True, **user,
        )  # fmt: skip
        self.folder = folder

    def url(self, driver: str = SYNC_DRIVER) -> str:
        return f"postgresql+{driver}://app@{self.host}:{self.port}/postgres"

    def wait(self) -> None:
        def answers():
            assert self.server.poll() is None, (self.folder / "log").read_text()
            try:
                self.sql("SELECT 1")
            except sqlalchemy.exc.OperationalError:
                return False
            return True

        until(answers, 30, "PostgreSQL")

    def sql(self, statement: str):
        """Runs a statement on a connection of its own, and returns its rows."""
        engine = sqlalchemy.create_engine(self.url(), poolclass=sqlalchemy.pool.NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            result = connection.execute(sqlalchemy.text(statement))
            return result.fetchall() if result.returns_rows else []

    def kill_sessions(self, name: str) -> None:
        self.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{name}'")

    def stop(self) -> None:
        self.server.send_signal(signal.SIGQUIT)
        try:
            self.server.wait(10)
        except subprocess.TimeoutExpired:
            self.server.kill()
            self.server.wait()
        self.log.close()


@pytest.fixture(scope="session")
def cluster():
    folder = Path(tempfile.mkdtemp(prefix="db_pool_status_"))
    running = None
    try:
        running = Cluster(folder)
        running.wait()
        yield running
    finally:
        if running is not None:
            running.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def make(cluster):
    """Makes a watched engine: ``make(pool_size=1)``; an asyncio one with ``make.asynchronous()``."""
    made = []

    class Make:
        def __call__(self, name="app", watched=None, **options):
            options.setdefault("connect_args", {}).setdefault("application_name", name)
            engine = sqlalchemy.create_engine(options.pop("url", cluster.url()), **options)
            made.append(db_pool_status.watch(engine, name=name, **(watched or {})))
            return engine, made[-1]

        def asynchronous(self, name="app", watched=None, **options):
            from sqlalchemy.ext.asyncio import create_async_engine

            options.setdefault("connect_args", {}).setdefault("server_settings", {"application_name": name})
            engine = create_async_engine(cluster.url("asyncpg"), **options)
            made.append(db_pool_status.watch(engine, name=name, **(watched or {})))
            return engine, made[-1]

    yield Make()
    for watch in made:
        watch.close()


def valid(status):
    """Checks a status against the schema and against what the contract's page says beyond it; returns the extension."""
    Draft202012Validator(SCHEMA).validate(status)
    json.dumps(status, allow_nan=False)
    extension = status["db_pool_status"]
    totals = extension["totals"]
    assert totals["disconnects"] == sum(totals["closed"].values())
    for histogram in extension["histograms"].values():
        assert len(histogram["counts"]) == len(histogram["edges"]) + 1
        assert histogram["count"] == sum(histogram["counts"])
        assert histogram["edges"] == sorted(histogram["edges"])
    assert None not in list(extension["now"].values()) + list(extension["limits"].values())
    return extension


def now(watch):
    return valid(watch.status())["now"]


def totals(watch):
    return valid(watch.status())["totals"]


def run(coroutine):
    return asyncio.run(coroutine)


def get(path, target="/api/v1/database/pool/status", method="GET"):
    """Asks a Unix socket as the exporter does; returns the code, the headers and the body."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(str(path))
        client.sendall(f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        received = b""
        while part := client.recv(65536):
            received += part
    head, _, body = received.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:])
    return int(lines[0].split()[1]), headers, body


def ask(path):
    code, headers, body = get(path)
    assert code == 200
    assert headers["content-type"] == "application/json"
    assert int(headers["content-length"]) == len(body)
    status = json.loads(body)
    valid(status)
    return status
