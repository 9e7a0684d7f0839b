"""The Unix sockets, forks, and the ASGI and WSGI applications."""

from __future__ import annotations

import asyncio
import fcntl
import importlib.util
import json
import logging
import os
import signal
import socket
import stat
import subprocess
import sys
import textwrap
import threading
import time

import pytest

import db_pool_status
from conftest import HERE, ask, get, until, valid


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "pools"


@pytest.fixture
def script(cluster, folder):
    """Runs Python code that has ``engine``, ``watch(...)`` and ``FOLDER``; talks to it by lines."""
    processes = []
    prelude = f"""
import os, sys, threading, time
import sqlalchemy
from db_pool_status import watch
FOLDER = {str(folder)!r}
engine = sqlalchemy.create_engine({cluster.url()!r}, pool_size=2, max_overflow=1)
def tell(*words):
    print(*words, flush=True)
"""

    def start(code, before=""):
        environment = dict(os.environ, PYTHONPATH=str(HERE.parent))
        process = subprocess.Popen(
            [sys.executable, "-c", before + prelude + textwrap.dedent(code)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True,
        )  # fmt: skip
        processes.append(process)
        return process

    yield start
    for process in processes:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()
        process.stdin.close()
        process.stdout.close()


def sockets(folder):
    return sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sock"))


def refuses(path):
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except ConnectionRefusedError:
            return True
    return False


def test_a_socket_answers_with_the_status(make, folder):
    engine, watch = make(name="orders", pool_size=3, watched={"socket_dir": str(folder)})
    path = folder / f"orders-{os.getpid()}.sock"
    assert watch.socket_path == str(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    with engine.connect():
        status = ask(path)
    assert status["metrics"]["connections"]["active"] == 1
    process = status["db_pool_status"]["process"]
    assert process["pid"] == os.getpid() and abs(process["started_at"] - time.time()) < 60
    watch.close()
    assert list(folder.iterdir()) == []


def test_the_environment_names_the_directory(make, folder, monkeypatch):
    monkeypatch.setenv("DB_POOL_STATUS_DIR", str(folder))
    make(name="orders", watched={"socket_mode": 0o600})
    (path,) = folder.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    ask(path)


def test_only_get_and_head_of_the_status_are_answered(make, folder):
    _, watch = make(watched={"socket_dir": str(folder)})
    path = watch.socket_path
    code, headers, body = get(path, "/")
    assert code == 200 and valid(json.loads(body))
    assert get(path, "/api/v1/database/pool/status?x=1")[0] == 200
    code, headers, body = get(path, method="HEAD")
    assert (code, body) == (200, b"") and int(headers["content-length"]) > 100
    assert get(path, "/metrics")[0] == 404
    code, headers, _ = get(path, method="POST")
    assert (code, headers["allow"]) == (405, "get, head")
    assert get(path, "x y z")[0] == 400


def test_bad_clients_do_not_stop_the_next_one(make, folder, monkeypatch):
    monkeypatch.setattr(db_pool_status._Server, "REQUEST_SECONDS", 0.3)
    _, watch = make(watched={"socket_dir": str(folder)})
    silent = socket.socket(socket.AF_UNIX)
    silent.connect(watch.socket_path)
    gone = socket.socket(socket.AF_UNIX)
    gone.connect(watch.socket_path)
    gone.sendall(b"GET / HTTP/1.1\r\n\r\n")
    gone.close()
    huge = socket.socket(socket.AF_UNIX)
    huge.connect(watch.socket_path)
    huge.sendall(b"GET /" + b"x" * 20000)
    started = time.monotonic()
    ask(watch.socket_path)
    assert time.monotonic() - started < 2
    silent.close()
    huge.close()


def test_a_socket_comes_back_when_the_directory_was_emptied(make, folder, monkeypatch):
    monkeypatch.setattr(db_pool_status._Server, "CHECK_SECONDS", 0.1)
    _, watch = make(watched={"socket_dir": str(folder)})
    path = watch.socket_path
    os.unlink(path)
    folder.rmdir()
    until(lambda: os.path.exists(path), what="the socket")
    ask(path)
    os.unlink(path)
    folder.rmdir()
    folder.write_text("in the way")
    time.sleep(0.4)
    folder.unlink()
    until(lambda: os.path.exists(path), what="the socket, later")
    ask(path)
    watch.close()
    assert list(folder.iterdir()) == []


def test_a_directory_that_cannot_be_used_is_a_warning(make, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    with caplog.at_level(logging.WARNING):
        engine, watch = make(watched={"socket_dir": str(tmp_path / "file")})
    assert "no status socket for pool app" in caplog.text
    assert watch.socket_path is None
    engine.connect().close()


def test_a_killed_process_is_swept_away_by_the_next(script, make, folder):
    killed = script("watch(engine, name='orders', socket_dir=FOLDER); tell('up'); sys.stdin.read()")
    assert killed.stdout.readline() == "up\n"
    lives = script("watch(engine, name='other', socket_dir=FOLDER); tell('up'); sys.stdin.read()")
    assert lives.stdout.readline() == "up\n"
    path = folder / f"orders-{killed.pid}.sock"
    ask(path)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    assert refuses(path), "the file is still there, and says by refusing that its process is dead"
    (folder / "notes-1.txt").write_text("not ours")
    (folder / "notes-1.sock").write_text("not a socket")
    make(name="orders", watched={"socket_dir": str(folder)})
    assert sockets(folder) == sorted(
        ["notes-1.sock", f"orders-{os.getpid()}.sock", f"other-{lives.pid}.sock"]
    )
    assert (folder / "notes-1.txt").exists()


def test_a_killed_process_is_swept_away_by_those_that_live(script, make, folder, monkeypatch):
    monkeypatch.setattr(db_pool_status._Server, "CHECK_SECONDS", 0.1)
    make(name="orders", watched={"socket_dir": str(folder)})
    killed = script("watch(engine, name='orders', socket_dir=FOLDER); tell('up'); sys.stdin.read()")
    killed.stdout.readline()
    time.sleep(0.3)
    assert len(sockets(folder)) == 2
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    until(lambda: sockets(folder) == [f"orders-{os.getpid()}.sock"], what="the sweep")


def test_a_process_that_ends_takes_its_socket_along(script, folder):
    process = script("watch(engine, name='orders', socket_dir=FOLDER); tell('up'); sys.stdin.read()")
    process.stdout.readline()
    assert sockets(folder) == [f"orders-{process.pid}.sock"]
    process.stdin.close()
    process.wait(10)
    assert sockets(folder) == []


def test_the_same_pid_in_another_container_gets_another_name(make, folder):
    folder.mkdir()
    other = socket.socket(socket.AF_UNIX)
    taken = folder / f"orders-{os.getpid()}.sock"
    other.bind(str(taken))
    other.listen()
    _, watch = make(name="orders", watched={"socket_dir": str(folder)})
    name = os.path.basename(watch.socket_path)
    assert name.startswith(f"orders-{os.getpid()}-") and len(name) == len(taken.name) + 5
    ask(watch.socket_path)
    watch.close()
    assert sockets(folder) == [taken.name]
    other.close()


def test_many_processes_that_start_at_once_keep_their_sockets(script, folder):
    folder.mkdir()
    for number in range(20):
        dead = socket.socket(socket.AF_UNIX)
        dead.bind(str(folder / f"orders-{90000000 + number}.sock"))
        dead.close()
    processes = [
        script("sys.stdin.readline(); watch(engine, name='orders', socket_dir=FOLDER); tell('up'); sys.stdin.read()")
        for _ in range(6)
    ]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        assert process.stdout.readline() == "up\n"
    assert sockets(folder) == sorted(f"orders-{process.pid}.sock" for process in processes)
    for process in processes:
        ask(folder / f"orders-{process.pid}.sock")


def test_a_start_waits_while_another_process_sweeps(script, folder):
    folder.mkdir()
    descriptor = os.open(folder, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    process = script("tell('up'); watch(engine, name='orders', socket_dir=FOLDER); tell('open'); sys.stdin.read()")
    assert process.stdout.readline() == "up\n"
    time.sleep(0.5)
    assert sockets(folder) == []
    os.close(descriptor)
    assert process.stdout.readline() == "open\n"
    assert sockets(folder) == [f"orders-{process.pid}.sock"]


def test_a_fork_has_a_socket_and_counts_of_its_own(script, folder):
    parent = script("""
        pool = watch(engine, name='orders', socket_dir=FOLDER)
        engine.dispose()
        held = engine.connect()
        child = os.fork()
        if child == 0:
            if pool.status()['db_pool_status']['now']['open'] != 0:
                os._exit(1)
            engine.dispose(close=False)
            mine = engine.connect()
            time.sleep(60)
            os._exit(0)
        tell(child)
        sys.stdin.readline()
        held.close()
        tell('closed')
        sys.stdin.read()
    """)
    child = int(parent.stdout.readline())
    paths = {pid: folder / f"orders-{pid}.sock" for pid in (parent.pid, child)}
    until(lambda: paths[child].exists() and ask(paths[child])["metrics"]["events"]["checkouts"] == 1)
    statuses = {pid: ask(path) for pid, path in paths.items()}
    processes = {pid: status["db_pool_status"]["process"] for pid, status in statuses.items()}
    assert [processes[pid]["pid"] for pid in paths] == list(paths)
    assert processes[child]["instance_id"] != processes[parent.pid]["instance_id"]
    assert processes[child]["started_at"] > processes[parent.pid]["started_at"]
    for status in statuses.values():
        assert status["metrics"]["events"] == {"checkouts": 1, "checkins": 0, "connects": 1, "disconnects": 0}
        assert status["db_pool_status"]["now"]["open"] == 1
    parent.stdin.write("\n")
    parent.stdin.flush()
    assert parent.stdout.readline() == "closed\n"
    assert ask(paths[parent.pid])["metrics"]["connections"]["active"] == 0
    os.kill(child, signal.SIGKILL)
    assert ask(paths[parent.pid])["metrics"]["events"]["checkins"] == 1


def test_a_master_that_only_forks_shows_no_pool(script, folder):
    master = script("""
        pool = watch(engine, name='orders', socket_dir=FOLDER)
        children = []
        for _ in range(3):
            child = os.fork()
            if child == 0:
                time.sleep(60)
                os._exit(0)
            children.append(child)
        tell(*children)
        sys.stdin.readline()
        engine.connect().close()
        tell('used')
        sys.stdin.read()
    """)
    children = master.stdout.readline().split()
    until(lambda: sockets(folder) == sorted(f"orders-{pid}.sock" for pid in children), what="the children's sockets")
    for pid in children:
        ask(folder / f"orders-{pid}.sock")
    master.stdin.write("\n")
    master.stdin.flush()
    assert master.stdout.readline() == "used\n"
    assert ask(folder / f"orders-{master.pid}.sock")["metrics"]["events"]["checkouts"] == 1


def test_forks_while_threads_work_do_not_lock_up(script, folder):
    parent = script("""
        import warnings
        warnings.simplefilter('ignore')
        pool = watch(engine, name='orders', socket_dir=FOLDER)
        def work():
            while True:
                try:
                    engine.connect().close()
                except sqlalchemy.exc.TimeoutError:
                    pass
        for _ in range(4):
            threading.Thread(target=work, daemon=True).start()
        time.sleep(0.2)
        for _ in range(30):
            child = os.fork()
            if child == 0:
                good = pool.status()['metrics']['events']['checkouts'] == 0 and os.path.exists(pool.socket_path)
                os._exit(0 if good else 1)
            deadline = time.monotonic() + 5
            while os.waitpid(child, os.WNOHANG) == (0, 0):
                if time.monotonic() > deadline:
                    tell('stuck'); os.kill(child, 9); os._exit(1)
                time.sleep(0.001)
        tell('fine', pool.status()['metrics']['events']['checkouts'] > 0)
        os._exit(0)
    """)
    assert parent.stdout.readline() == "fine True\n"


def test_a_child_that_inherits_used_connections_counts_from_zero(script, folder):
    parent = script("""
        pool = watch(engine, name='orders', socket_dir=FOLDER)
        held = engine.connect()
        engine.connect().close()
        child = os.fork()
        if child == 0:
            engine.dispose(close=False)
            import gc
            del held
            gc.collect()
            with engine.connect():
                tell(pool.status()['db_pool_status']['totals'])
            os._exit(0)
        os.waitpid(child, 0)
        sys.stdin.read()
    """)
    counts = eval(parent.stdout.readline())
    assert counts["checkouts"]["ok"] == 1 and counts["connects"] == 1
    assert counts["checkins"] == 0 and counts["disconnects"] == 0


def test_the_asgi_application(make):
    engine, watch = make()

    async def request(method, kind="http"):
        sent = []

        async def send(message):
            sent.append(message)

        async def receive():
            return {"type": "http.request"}

        await watch.asgi({"type": kind, "method": method, "path": "/any"}, receive, send)
        return sent

    with engine.connect():
        start, body = asyncio.run(request("GET"))
    assert start["status"] == 200 and (b"content-type", b"application/json") in start["headers"]
    status = json.loads(body["body"])
    assert valid(status)["now"]["checked_out"] == 1
    start, body = asyncio.run(request("HEAD"))
    assert (start["status"], body["body"]) == (200, b"")
    assert asyncio.run(request("POST"))[0]["status"] == 405
    with pytest.raises(RuntimeError):
        asyncio.run(request("GET", "websocket"))


def test_the_asgi_application_lives_alone(make):
    _, watch = make()
    sent = []
    messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

    async def receive():
        return next(messages)

    async def send(message):
        sent.append(message["type"])

    asyncio.run(watch.asgi({"type": "lifespan"}, receive, send))
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def test_the_wsgi_application(make):
    from wsgiref.util import setup_testing_defaults
    from wsgiref.validate import validator

    _, watch = make()
    answers = []

    def request(method):
        environ = {"REQUEST_METHOD": method, "QUERY_STRING": ""}
        setup_testing_defaults(environ)
        result = validator(watch.wsgi)(environ, lambda status, headers, exc_info=None: answers.append(status))
        body = b"".join(result)
        result.close()
        return body

    assert valid(json.loads(request("GET")))
    request("HEAD")
    request("POST")
    assert answers == ["200 OK", "200 OK", "405 Method Not Allowed"]


GEVENT = "import gevent.monkey; gevent.monkey.patch_all({})\n"


@pytest.mark.skipif(importlib.util.find_spec("gevent") is None, reason="gevent is in one environment only")
def test_under_gevent_everything_counts_and_answers(script, folder):
    process = script(
        """
        import gevent
        pool = watch(engine, name='orders', socket_dir=FOLDER)
        def work(seconds):
            with engine.connect() as connection:
                gevent.sleep(seconds)
        jobs = [gevent.spawn(work, 3) for _ in range(3)]
        gevent.sleep(0.5)
        jobs += [gevent.spawn(work, 0) for _ in range(2)]
        gevent.sleep(0.3)
        tell('waiting')
        gevent.joinall(jobs)
        tell(pool.status()['db_pool_status']['totals'])
        threading.Event().wait(30)
    """,
        GEVENT.format(""),
    )
    assert process.stdout.readline() == "waiting\n"
    state = ask(folder / f"orders-{process.pid}.sock")["db_pool_status"]
    assert (state["now"]["checked_out"], state["now"]["waiting"]) == (3, 2)
    assert 0.2 < state["now"]["oldest_wait_seconds"] < 3
    assert state["unsupported"] == []
    counts = eval(process.stdout.readline())
    assert (counts["checkouts"]["ok"], counts["checkins"]) == (5, 5)


def test_a_status_never_waits_for_the_pool(make):
    engine, watch = make(pool_size=1, max_overflow=0, pool_timeout=5)
    held = engine.connect()
    threads = [threading.Thread(target=lambda: engine.connect().close()) for _ in range(8)]
    for thread in threads:
        thread.start()
    until(lambda: watch.status()["db_pool_status"]["now"]["waiting"] == 8)
    started = time.monotonic()
    for _ in range(100):
        watch.status()
    assert time.monotonic() - started < 2
    held.close()
    for thread in threads:
        thread.join()
