"""Real servers with several workers under load that saturates: the sockets, the pools and the application agree.

DB_POOL_STATUS_SECONDS=60 compares for a minute, and ``pytest -s`` prints the table.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time

import pytest

from conftest import HERE, ask, free_port, until

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("uvicorn") is None, reason="servers are in one environment only"
)
SECONDS = int(os.environ.get("DB_POOL_STATUS_SECONDS", "5"))
WORKERS = 4


class Server:
    def __init__(self, folder, cluster, command, **environment) -> None:
        self.pools, self.truth, self.port = folder / "pools", folder / "truth", free_port()
        self.truth.mkdir()
        paths = f"{HERE / 'servers'}:{HERE.parent}"
        folders = {"PYTHONPATH": paths, "POOLS": str(self.pools), "TRUTH": str(self.truth)}
        urls = {"SYNC_URL": cluster.url(), "ASYNC_URL": cluster.url("asyncpg")}
        variables = {**os.environ, **folders, **urls, **environment}
        self.log = open(folder / "log", "wb")  # noqa: SIM115
        command = [sys.executable, "-m", *(part.replace("PORT", str(self.port)) for part in command)]
        self.process = subprocess.Popen(
            command, env=variables, cwd=folder, stdout=self.log, stderr=self.log, start_new_session=True
        )
        self.log_path = folder / "log"

    def stop(self) -> None:
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        self.log.close()

    def sockets(self):
        """The processes that answer, with what they answer."""
        answers = {}
        for path in self.pools.glob("*.sock") if self.pools.exists() else ():
            try:
                status = ask(path)
            except (ConnectionRefusedError, FileNotFoundError, ConnectionResetError):
                continue
            answers[status["db_pool_status"]["process"]["pid"]] = status
        return answers

    def up(self, besides=()):
        def ready():
            assert self.process.poll() is None, self.log_path.read_text()
            answers = self.sockets()
            return answers if len(set(answers) - set(besides)) == WORKERS and len(answers) == WORKERS else None

        return until(ready, 60, "the workers")

    def truth_of(self, pid):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(5)
            client.connect(str(self.truth / str(pid)))
            received = b""
            while part := client.recv(65536):
                received += part
        return json.loads(received)

    def socket_of(self, pid):
        (path,) = self.pools.glob(f"*-{pid}.sock")
        return path


BIND = ["-b", "127.0.0.1:PORT", "-w", str(WORKERS)]
SERVERS = {
    "uvicorn": (["uvicorn", "fastapi_app:app", "--port", "PORT", "--workers", str(WORKERS), "--no-access-log"], {}),
    "gunicorn with uvicorn workers": (
        ["gunicorn", "fastapi_app:app", *BIND, "-k", "uvicorn_worker.UvicornWorker"],
        {},
    ),
    "gunicorn with threads": (
        ["gunicorn", "flask_app:app", *BIND, "--threads", "12"],
        {},
    ),
    "gunicorn preloaded": (
        ["gunicorn", "flask_app:app", *BIND, "--threads", "12", "--preload"],
        {"PRELOADED": "1"},
    ),
    "gunicorn sync": (["gunicorn", "flask_app:app", *BIND], {}),
}


@pytest.fixture
def start(tmp_path, cluster):
    servers = []

    def started(name):
        command, environment = SERVERS[name]
        servers.append(Server(tmp_path, cluster, command, **environment))
        return servers[-1]

    yield started
    for server in servers:
        server.stop()


async def request(port, target):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return int(answer.split(b" ")[1]), answer.partition(b"\r\n\r\n")[2]


class Load:
    """Clients that ask without a pause, for random times; the sum of what they were answered."""

    def __init__(self, port, clients=40) -> None:
        self.port, self.answers, self.failed = port, {200: 0, 503: 0}, 0
        self.going = True
        self.tasks = [asyncio.ensure_future(self.client(number)) for number in range(clients)]

    async def client(self, seed):
        chance = random.Random(seed)
        while self.going:
            try:
                code, _ = await request(self.port, f"/work?seconds={chance.uniform(0.05, 0.5):.3f}")
                self.answers[code] += 1
            except (OSError, IndexError):
                self.failed += 1
                await asyncio.sleep(0.05)

    async def end(self):
        self.going = False
        await asyncio.gather(*self.tasks)


def difference(truth, status):
    """Where one process's status is not what its pool and its application say; None when it is."""
    size, idle, overflow, out = (int(number) for number in re.findall(r"-?\d+", truth["status"]))
    connections, extension = status["metrics"]["connections"], status["db_pool_status"]
    now, totals = extension["now"], extension["totals"]
    pairs = {
        "active": (connections["active"], out),
        "idle": (connections["idle"], idle),
        "overflow": (connections["overflow"], max(0, overflow)),
        "size": (status["pool_config"]["size"], size),
        "asking": (now["waiting"] + now["connecting"], truth["asking"]),
        "ok": (totals["checkouts"]["ok"], truth["ok"]),
        "timeouts": (totals["checkouts"]["timeout"], truth["timeouts"]),
        "returned": (totals["checkins"], truth["returned"]),
    }
    wrong = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
    return wrong or None


def compared(server, pid, tries=60):
    """Reads the truth, the socket, and the truth again, until nothing happened in between; returns both."""
    last = None
    for _ in range(tries):
        before, status, after = server.truth_of(pid), ask(server.socket_of(pid)), server.truth_of(pid)
        if before == after:
            last = difference(before, status)
            if last is None:
                return before, status
        time.sleep(0.003)
    raise AssertionError(f"process {pid}: {last}")


COLUMNS = ("active", "idle", "overflow", "waiting", "ok", "timeout", "truth asking", "truth ok", "truth timeouts")


def row(pairs):
    connections = [status["metrics"]["connections"] for _, status in pairs]
    extensions = [status["db_pool_status"] for _, status in pairs]
    return [
        *(sum(connection[name] for connection in connections) for name in ("active", "idle", "overflow")),
        sum(extension["now"]["waiting"] for extension in extensions),
        sum(extension["totals"]["checkouts"]["ok"] for extension in extensions),
        sum(extension["totals"]["checkouts"]["timeout"] for extension in extensions),
        *(sum(truth[name] for truth, _ in pairs) for name in ("asking", "ok", "timeouts")),
    ]


@pytest.mark.parametrize("name", ["uvicorn", "gunicorn with uvicorn workers", "gunicorn with threads"])
def test_each_second_the_sockets_are_what_the_pools_and_the_application_say(start, name):
    server = start(name)
    pids = sorted(server.up())

    async def work():
        load = Load(server.port)
        rows = []
        for second in range(SECONDS):
            await asyncio.sleep(1)
            pairs = await asyncio.gather(*(asyncio.to_thread(compared, server, pid) for pid in pids))
            rows.append([second + 1, *row(pairs)])
        await load.end()
        return rows, load

    rows, load = asyncio.run(work())
    print(f"\n{name}\nsecond  " + "  ".join(COLUMNS))
    for values in rows:
        print("  ".join(f"{value:>{len(title)}}" for value, title in zip(values, ("second", *COLUMNS))))
    assert max(values[4] for values in rows) > 0, "it saturated"
    assert load.failed == 0
    statuses = [compared(server, pid)[1] for pid in pids]
    assert sum(status["metrics"]["events"]["checkouts"] for status in statuses) == load.answers[200]
    timeouts = sum(status["db_pool_status"]["totals"]["checkouts"]["timeout"] for status in statuses)
    assert timeouts == load.answers[503] > 0
    assert sum(status["metrics"]["connections"]["active"] for status in statuses) == 0


@pytest.mark.parametrize("name", ["uvicorn", "gunicorn with uvicorn workers", "gunicorn sync"])
def test_a_killed_worker_refuses_until_its_successor_sweeps_it_away(start, name):
    server = start(name)
    pids = sorted(server.up())
    asyncio.run(request(server.port, "/work?seconds=0"))
    path = server.socket_of(pids[0])
    os.kill(pids[0], signal.SIGKILL)
    answers = server.up(besides=())
    until(lambda: pids[0] not in server.sockets(), 20, "its end")
    answers = server.up()
    assert len(set(answers) - set(pids)) == 1 and len(answers) == WORKERS
    assert not path.exists()
    assert asyncio.run(request(server.port, "/work?seconds=0"))[0] == 200


@pytest.mark.parametrize("name", [name for name in SERVERS if name != "gunicorn sync"])
def test_a_restart_of_all_workers_leaves_only_the_new_ones(start, name):
    server = start(name)
    before = server.up()
    assert server.process.pid not in before
    server.process.send_signal(signal.SIGHUP)
    after = server.up(besides=before)
    assert not set(before) & set(after)
    until(lambda: len(list(server.pools.glob("*.sock"))) == WORKERS, 20, "the old sockets' end")
    statuses = [*before.values(), *after.values()]
    instances = [status["db_pool_status"]["process"]["instance_id"] for status in statuses]
    assert len(set(instances)) == 2 * WORKERS


def test_a_mounted_application_answers_for_its_worker(start):
    server = start("uvicorn")
    pids = set(server.up())
    code, body = asyncio.run(request(server.port, "/api/v1/database/pool/status/"))
    assert code == 200
    assert json.loads(body)["db_pool_status"]["process"]["pid"] in pids
