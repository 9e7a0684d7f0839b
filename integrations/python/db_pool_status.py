"""Exact numbers of a SQLAlchemy connection pool, served from the process that owns it.

    from db_pool_status import watch

    pool = watch(engine, name="orders", socket_dir="/run/app-pools")

``watch`` works with SQLAlchemy 1.4, 2.0 and 2.1, with sync and asyncio engines. It counts and times in the
application's own process and starts at most one thread, which answers on a Unix socket. db_pool_exporter reads
that socket. ``pool.asgi`` and ``pool.wsgi`` serve the same JSON inside an application. The JSON is a contract:
see README.md beside this file in the project, and status.schema.json.

How it counts
-------------
SQLAlchemy has events for check-in, connect, close, invalidate and detach. They are used where they suffice. It has
none for the beginning of a check-out, for a wait, for a time-out or for a failed connect. For these, a few callables
of the *pool object* are replaced by thin wrappers (no class is changed, so other engines are not touched):

``connect``, ``recreate``, ``dispose``
    Public methods. ``connect`` brackets a check-out and shows how it ended. ``recreate`` is how
    ``engine.dispose()`` makes the next pool, which has to be watched too, before its first check-out.
``_pool.get``
    The queue in which QueuePool keeps idle connections. Its ``get(block, timeout)`` is the only place where a caller
    waits, and ``pool_timeout`` limits just this call. Timing ``_do_get`` as a whole would not do: it also opens
    connections, and it calls itself again when another thread was faster.
``_invoke_creator``
    Opens a connection for a record. The ``do_connect`` event would not do: it does not fire for an engine
    with ``creator=``, and it has no end.

These private names are the same in 1.4.0 to 2.1.9. The test suite compares all numbers with ``pool.status()`` and with
the application's own count of waiters and time-outs, in the newest 1.4, 2.0 and 2.1. asyncio engines before 1.4.46 lose
places of the pool when a task is cancelled: what is shown then is what such a pool believes.
"""

from __future__ import annotations

import atexit
import errno
import json
import logging
import os
import platform
import re
import socket
import stat
import sys
import threading
import time
import uuid
from bisect import bisect_left
from collections import deque
from typing import Any, Awaitable, Callable, Iterable, Sequence

import sqlalchemy
from sqlalchemy import event, exc
from sqlalchemy.pool import NullPool, QueuePool, StaticPool
from sqlalchemy.util.queue import Empty

try:
    import fcntl
except ImportError:  # Windows, which has no sockets for us either
    fcntl = None  # type: ignore[assignment]

try:
    # asyncio engines run the pool's code in a greenlet of its own for each call, many in one thread.
    from greenlet import getcurrent as _current
except ImportError:
    _current = threading.current_thread

__all__ = ["PoolWatch", "__version__", "status", "watch"]
__version__ = "0.1.0"

SCHEMA_VERSION = 1
STATUS_PATH = "/api/v1/database/pool/status"

# Upper bounds in seconds. They are the exporter's, because histograms with other edges cannot be summed.
WAIT_EDGES = (
    0.00001, 0.0001, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0,
)  # fmt: skip
CONNECT_EDGES = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
USE_EDGES = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
)  # fmt: skip

CLOSE_REASONS = (
    "overflow", "returned", "recycled", "invalidated", "ping_failed", "broken", "cancelled", "detached", "disposed",
    "abandoned",
)  # fmt: skip

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")
_SOCKET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}-[0-9]+(-[0-9a-f]{4})?\.sock\Z")
_KEY = "db_pool_status"
_log = logging.getLogger("db_pool_status")
_clock = time.monotonic


class _Histogram:
    """Counts per bucket: ``counts[i]`` holds values above ``edges[i - 1]`` and up to ``edges[i]``."""

    __slots__ = ("counts", "edges", "sum")

    def __init__(self, edges: tuple[float, ...]) -> None:
        self.edges = edges
        self.counts = [0] * (len(edges) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(self.edges, seconds)] += 1
        self.sum += seconds

    def to_json(self) -> dict[str, Any]:
        return {"edges": list(self.edges), "counts": list(self.counts), "sum": self.sum, "count": sum(self.counts)}


class _Attempt:
    """One call of ``pool.connect()`` that has not ended."""

    __slots__ = ("outer", "waited", "waiting_since")

    def __init__(self, outer: _Attempt | None) -> None:
        self.outer = outer  # a listener may check out while its thread already does
        self.waiting_since: float | None = None
        self.waited = 0.0


class _Pool:
    """What is known of one pool object. ``engine.dispose()`` replaces the pool, so an engine has several in time."""

    __slots__ = ("__weakref__", "disposing", "held", "is_queue", "open", "pool")

    def __init__(self, pool: Any) -> None:
        self.pool = pool
        self.is_queue = isinstance(pool, QueuePool)
        self.open = 0
        self.held = 0
        self.disposing: object | None = None


class _Record:
    """What is known of one record of a pool: the place of a connection, which may see several connections in time.

    It lives in ``record_info``, a dictionary that SQLAlchemy offers for this and that ends with the record.
    """

    __slots__ = ("caller", "counts", "detaching", "home", "open", "reason", "returned", "since")

    def __init__(self, home: _Pool, counts: _Counts) -> None:
        self.home = home
        self.counts = counts
        self.open = False
        self.since: float | None = None  # when it was checked out
        self.caller: tuple[str, int, str] | None = None
        self.returned = False
        self.reason: str | None = None
        self.detaching = False

    def __del__(self) -> None:
        # The record went away with an open connection: its pool was replaced, or a listener of the application failed
        # after the connect. No event tells of it. This may run within the garbage collector, where taking a lock could
        # deadlock, so that it only leaves a note.
        if self.open:
            self.counts.lost.append(self.home)


class _Counts:
    """All that starts at zero in a new process. A fork replaces the object as a whole."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.started_at = time.time()
        self.instance_id = uuid.uuid4().hex
        self.attempts: dict[int, _Attempt] = {}
        self.held: dict[int, _Record] = {}  # in the order of check-out, hence oldest first
        self.lost: deque[_Pool] = deque()
        self.connecting = 0
        self.used = False
        self.results = {"ok": 0, "timeout": 0, "error": 0, "cancelled": 0}
        self.checkins = 0
        self.detached = 0
        self.connects = 0
        self.failed_connects = 0
        self.invalidations = 0
        self.soft_invalidations = 0
        self.closed = dict.fromkeys(CLOSE_REASONS, 0)
        self.waits = _Histogram(WAIT_EDGES)
        self.connect_times = _Histogram(CONNECT_EDGES)
        self.uses = _Histogram(USE_EDGES)
        self.queries = 0
        self.query_seconds = 0.0
        self.slow_queries = 0


class PoolWatch:
    """Counts what happens in the pool of one engine. Made by :func:`watch`."""

    def __init__(
        self,
        engine: Any,
        name: str,
        queries: bool,
        slow_query_seconds: float,
        holders: int,
        callers: bool | Sequence[str],
    ) -> None:
        self.name = name
        self._engine = engine
        # Reentrant: the garbage collector may run while it is held, and return a lost connection to the pool.
        self._lock = threading.RLock()
        self._counts = _Counts()
        self._closed = False
        self._server: _Server | None = None
        self._dormant = False
        self._queries = queries
        self._slow_query_seconds = slow_query_seconds
        self._holders = holders
        self._callers = bool(callers)
        skipped = () if isinstance(callers, bool) else tuple(callers)
        self._skipped = ("sqlalchemy", __name__, "contextlib", "asyncio", "greenlet", *skipped)
        self._listen(engine)
        self._home = self._install(engine.pool)

    # --- attaching to the pool -----------------------------------------------------------------------

    def _listen(self, engine: Any) -> None:
        # Listeners of a pool are handed on by recreate(), those of an engine stay with it.
        pool = engine.pool
        event.listen(pool, "connect", self._on_connect)
        event.listen(pool, "checkin", self._on_checkin)
        event.listen(pool, "close", self._on_close)
        event.listen(pool, "close_detached", self._on_close_detached)
        event.listen(pool, "detach", self._on_detach)
        event.listen(pool, "invalidate", self._on_invalidate)
        event.listen(pool, "soft_invalidate", self._on_soft_invalidate)
        if self._queries:
            event.listen(engine, "before_cursor_execute", self._on_query_begins)
            event.listen(engine, "after_cursor_execute", self._on_query_ends)
            event.listen(engine, "handle_error", self._on_query_fails)

    def _install(self, pool: Any) -> _Pool:
        home = _Pool(pool)
        connect, recreate, dispose = pool.connect, pool.recreate, pool.dispose
        create = pool._invoke_creator

        def watched_connect() -> Any:
            return self._connect(home, connect)

        def watched_recreate() -> Any:
            successor = recreate()
            if not self._closed:
                self._install(successor)
            return successor

        def watched_dispose() -> None:
            home.disposing = _current()
            try:
                dispose()
            finally:
                home.disposing = None

        def watched_create(record: Any) -> Any:
            return self._create(home, record, create)

        pool.connect = watched_connect
        pool.recreate = watched_recreate
        pool.dispose = watched_dispose
        pool._invoke_creator = watched_create
        if home.is_queue:
            get = pool._pool.get

            def watched_get(block: bool = True, timeout: float | None = None) -> Any:
                return self._take(get, block, timeout)

            pool._pool.get = watched_get
        setattr(pool, "_" + _KEY, home)
        return home

    def _current_home(self) -> _Pool:
        """Returns what is known of the engine's present pool; attaches to it if somebody put it there by hand."""
        pool = self._engine.pool
        if self._home.pool is not pool:
            home: _Pool | None = getattr(pool, "_" + _KEY, None)
            self._home = home if home is not None else self._install(pool)
        return self._home

    def close(self) -> None:
        """Stops watching: takes the socket away and restores the pool. The counts remain readable."""
        self._closed = True
        if self._server is not None:
            self._server.stop()
        pool = self._engine.pool
        for attribute in ("connect", "recreate", "dispose", "_" + _KEY):
            pool.__dict__.pop(attribute, None)
        if isinstance(pool, QueuePool):
            pool._pool.__dict__.pop("get", None)
        pool._creator = pool._creator  # its setter makes _invoke_creator anew
        if _watches.get(self.name) is self:
            del _watches[self.name]

    # --- a check-out ---------------------------------------------------------------------------------

    def _connect(self, home: _Pool, connect: Callable[[], Any]) -> Any:
        counts = self._counts
        counts.used = True
        if self._dormant:
            self._wake()
        key = id(_current())
        attempt = _Attempt(counts.attempts.get(key))
        counts.attempts[key] = attempt
        try:
            connection = connect()
        except exc.TimeoutError:
            self._failed(counts, key, attempt, "timeout")
            raise
        except Exception:
            self._failed(counts, key, attempt, "error")
            raise
        except BaseException:
            # asyncio.CancelledError, GreenletExit, KeyboardInterrupt, gevent.Timeout
            self._failed(counts, key, attempt, "cancelled")
            raise
        caller = self._caller() if self._callers else None
        with self._lock:
            _end_attempt(counts, key, attempt)
            counts.waits.observe(attempt.waited)
            if isinstance(home.pool, StaticPool):
                # One record for all callers at once: who holds it since when has no answer.
                counts.results["ok"] += 1
                return connection
            record = self._record_of(home, connection.record_info)
            if record.since is None:  # otherwise SingletonThreadPool handed out again what this thread has
                counts.results["ok"] += 1
                if not record.open:  # opened before the watch or before a fork
                    record.open = True
                    home.open += 1
                record.since = _clock()
                record.caller = caller
                record.returned = False
                home.held += 1
                counts.held[id(record)] = record
        return connection

    def _failed(self, counts: _Counts, key: int, attempt: _Attempt, result: str) -> None:
        with self._lock:
            _end_attempt(counts, key, attempt)
            counts.waits.observe(attempt.waited)
            counts.results[result] += 1

    def _take(self, get: Callable[..., Any], block: bool, timeout: float | None) -> Any:
        """Takes an idle record from the pool's queue; a caller that has to wait for one is known as a waiter."""
        # QueuePool catches Empty of get(). Trying without blocking first does not change who gets what: the queues
        # hand an item to whoever comes, before they look at those that wait.
        try:
            entry = get(False)
        except Empty:
            if not block:
                raise
            entry = None  # wait below, so that errors of the wait do not seem to come from this one
        if entry is None:
            entry = self._wait(get, timeout)
        record = entry.record_info.get(_KEY)
        if record is not None:
            record.returned = False
            if record.since is not None:
                # detach() puts the record back before its event. This thread was faster than the event.
                self._detach(record)
                record.detaching = True
        return entry

    def _wait(self, get: Callable[..., Any], timeout: float | None) -> Any:
        attempt = self._counts.attempts.get(id(_current()))
        if attempt is None:  # somebody who calls the pool's internals
            attempt = _Attempt(None)
        started = attempt.waiting_since = _clock()
        try:
            return get(True, timeout)
        finally:
            attempt.waiting_since = None
            attempt.waited += _clock() - started

    def _create(self, home: _Pool, entry: Any, create: Callable[[Any], Any]) -> Any:
        counts = self._counts
        with self._lock:
            record = self._record_of(home, entry.record_info)
            if record.open:
                # A listener of the application failed after the last connect, and SQLAlchemy closed without an event.
                self._close(record, "abandoned")
            counts.connecting += 1
        started = _clock()
        try:
            connection = create(entry)
        except BaseException as error:
            with self._lock:
                counts.connecting -= 1
                if isinstance(error, Exception):
                    counts.failed_connects += 1
            raise
        with self._lock:
            counts.connecting -= 1
            counts.connect_times.observe(_clock() - started)
        return connection

    def _record_of(self, home: _Pool, record_info: Any) -> _Record:
        record: _Record | None = record_info.get(_KEY)
        if record is None or record.counts is not self._counts:
            if record is not None:
                record.open = False  # the parent's process counts it
            record = record_info[_KEY] = _Record(home, self._counts)
        return record

    def _caller(self) -> tuple[str, int, str] | None:
        """Returns module, line and function of the application's code that asked for the connection."""
        frame = sys._getframe(1)
        task = _current()
        while True:
            while frame is not None:
                module = str(frame.f_globals.get("__name__", "?"))
                if not self._is_skipped(module):
                    return module, frame.f_lineno, frame.f_code.co_name
                frame = frame.f_back  # type: ignore[assignment]
            # An asyncio engine's greenlet ends here; the coroutine that awaits it is in the parent.
            task = getattr(task, "parent", None)
            if task is None:
                return None
            frame = getattr(task, "gr_frame", None)

    def _is_skipped(self, module: str) -> bool:
        return any(module == name or module.startswith(name + ".") for name in self._skipped)

    # --- events --------------------------------------------------------------------------------------

    def _mine(self, entry: Any) -> _Record | None:
        """Returns what is known of a record, or None for one of before the watch, the fork or after close()."""
        record: _Record | None = entry.record_info.get(_KEY)
        if record is None or record.counts is not self._counts or self._closed:
            return None
        return record

    def _on_connect(self, connection: Any, entry: Any) -> None:
        record = self._mine(entry)
        if record is not None:
            with self._lock:
                record.open = True
                record.home.open += 1
                record.counts.connects += 1

    def _on_checkin(self, connection: Any, entry: Any) -> None:
        # Also fires for a record whose check-out failed; that one is not held.
        record = self._mine(entry)
        if record is not None:
            with self._lock:
                record.returned = True
                if record.since is not None:
                    self._release(record)
                    record.counts.checkins += 1

    def _release(self, record: _Record) -> None:
        counts = record.counts
        assert record.since is not None
        counts.uses.observe(_clock() - record.since)
        record.since = None
        record.caller = None
        record.home.held -= 1
        counts.held.pop(id(record), None)

    def _on_detach(self, connection: Any, entry: Any) -> None:
        record = self._mine(entry)
        if record is not None:
            with self._lock:
                if record.detaching:
                    record.detaching = False
                elif record.since is not None:
                    self._detach(record)

    def _detach(self, record: _Record) -> None:
        with self._lock:
            self._release(record)
            record.counts.detached += 1
            if record.open:
                record.open = False
                record.home.open -= 1

    def _on_close_detached(self, connection: Any) -> None:
        if not self._closed:
            with self._lock:
                self._counts.closed["detached"] += 1

    def _on_invalidate(self, connection: Any, entry: Any, error: BaseException | None) -> None:
        record = self._mine(entry)
        if record is not None:
            with self._lock:
                record.counts.invalidations += 1
                record.reason = self._reason_of(error)

    def _reason_of(self, error: BaseException | None) -> str:
        if error is None:
            return "invalidated"
        if not isinstance(error, Exception):
            return "cancelled"
        if isinstance(error, exc.DisconnectionError):  # the pre-ping's, or that of an application's checkout listener
            return "ping_failed"
        return "broken"

    def _on_soft_invalidate(self, connection: Any, entry: Any, error: BaseException | None) -> None:
        if not self._closed:
            with self._lock:
                self._counts.soft_invalidations += 1

    def _on_close(self, connection: Any, entry: Any) -> None:
        record = self._mine(entry)
        if record is not None:
            with self._lock:
                reason = record.reason or self._close_reason(record, entry)
                record.reason = None
                if record.open:
                    self._close(record, reason)

    def _close_reason(self, record: _Record, entry: Any) -> str:
        home = record.home
        if home.disposing is not None and home.disposing is _current():
            return "disposed"
        if record.returned:
            return "overflow" if home.is_queue else "returned"
        # At check-out, by the rules of _ConnectionRecord.get_connection().
        recycle = home.pool._recycle
        if recycle > -1 and time.time() - entry.starttime > recycle:
            return "recycled"
        return "invalidated"

    def _close(self, record: _Record, reason: str) -> None:
        record.open = False
        record.home.open -= 1
        record.counts.closed[reason] += 1

    def _on_query_begins(self, conn: Any, cursor: Any, statement: Any, params: Any, context: Any, many: Any) -> None:
        if context is not None:
            context._db_pool_status_began = _clock()

    def _on_query_ends(self, conn: Any, cursor: Any, statement: Any, params: Any, context: Any, many: Any) -> None:
        self._count_query(context)

    def _on_query_fails(self, failure: Any) -> None:
        self._count_query(failure.execution_context)

    def _count_query(self, context: Any) -> None:
        began = getattr(context, "_db_pool_status_began", None)
        if began is None or self._closed:
            return
        context._db_pool_status_began = None  # an error while fetching is not a second statement
        seconds = _clock() - began
        with self._lock:
            counts = self._counts
            counts.queries += 1
            counts.query_seconds += seconds
            if seconds >= self._slow_query_seconds:
                counts.slow_queries += 1

    # --- answers -------------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """Returns the present state and all counts as the contract describes them. It never waits for a database."""
        with self._lock:
            counts = self._counts
            while counts.lost:
                home = counts.lost.popleft()
                home.open -= 1
                counts.closed["abandoned"] += 1
            home = self._current_home()
            now = self._now(home, counts)
            totals = self._totals(home, counts)
            extension = {
                "schema_version": SCHEMA_VERSION,
                "application": self.name,
                "process": {
                    "pid": counts.pid,
                    "started_at": counts.started_at,
                    "instance_id": counts.instance_id,
                },
                "library": {
                    "version": __version__,
                    "sqlalchemy": sqlalchemy.__version__,
                    "python": platform.python_version(),
                },
                "pool_class": type(home.pool).__name__,
                "limits": _limits(home),
                "now": now,
                "totals": totals,
                "histograms": self._histograms(home, counts),
                "unsupported": _unsupported(),
            }
            if self._queries:
                extension["queries"] = {
                    "count": counts.queries,
                    "sum_seconds": counts.query_seconds,
                    "slow": counts.slow_queries,
                    "slow_threshold_seconds": self._slow_query_seconds,
                }
            if not isinstance(home.pool, StaticPool):
                extension["holders"] = self._oldest_holders(counts)
            return self._specified(home, counts, extension)

    def status_json(self) -> bytes:
        """Returns :meth:`status` as JSON."""
        return json.dumps(self.status(), allow_nan=False, separators=(",", ":")).encode()

    def _now(self, home: _Pool, counts: _Counts) -> dict[str, Any]:
        pool = home.pool
        now: dict[str, Any] = {"open": home.open, "connecting": counts.connecting}
        if isinstance(pool, StaticPool):
            return now
        now["retired"] = len(counts.held) - home.held
        if not home.is_queue:
            now["checked_out"] = home.held
            if isinstance(pool, NullPool):
                now["idle"] = 0
            return now
        # One reading of the queue for both, so that they add up. After pool.dispose() without recreate() SQLAlchemy's
        # own numbers can be below zero.
        total = max(0, pool.size() + pool._overflow)
        idle = min(_queue_length(pool), total)
        now["checked_out"] = total - idle
        now["idle"] = idle
        now["overflow"] = max(0, pool.overflow())
        # A copy, because other threads add and remove without the lock.
        waits = [
            (since, attempt.waited)
            for attempt in counts.attempts.copy().values()
            for since in (attempt.waiting_since,)
            if since is not None
        ]
        at = _clock()
        now["waiting"] = len(waits)
        now["oldest_wait_seconds"] = max((at - since + waited for since, waited in waits), default=0.0)
        return now

    def _totals(self, home: _Pool, counts: _Counts) -> dict[str, Any]:
        totals: dict[str, Any] = {
            "checkouts": dict(counts.results),
            "checkins": counts.checkins,
            "detached": counts.detached,
            "connects": counts.connects,
            "failed_connects": counts.failed_connects,
            "disconnects": sum(counts.closed.values()),
            "closed": dict(counts.closed),
            "invalidations": counts.invalidations,
            "soft_invalidations": counts.soft_invalidations,
        }
        if isinstance(home.pool, StaticPool):
            del totals["checkins"]
        return totals

    def _histograms(self, home: _Pool, counts: _Counts) -> dict[str, Any]:
        histograms = {"connect_duration_seconds": counts.connect_times.to_json()}
        if not isinstance(home.pool, StaticPool):
            histograms["use_duration_seconds"] = counts.uses.to_json()
        if home.is_queue:
            histograms["checkout_wait_seconds"] = counts.waits.to_json()
        return histograms

    def _oldest_holders(self, counts: _Counts) -> list[dict[str, Any]]:
        at = _clock()
        holders: list[dict[str, Any]] = []
        for record in counts.held.values():
            if len(holders) >= self._holders:
                break
            assert record.since is not None
            holder: dict[str, Any] = {"age_seconds": round(at - record.since, 6)}
            if record.caller is not None:
                holder["module"], holder["line"], holder["function"] = record.caller
            holders.append(holder)
        return holders

    def _specified(self, home: _Pool, counts: _Counts, extension: dict[str, Any]) -> dict[str, Any]:
        """Returns the specification's fields, taken from the same readings as the extension."""
        now, totals, limits = extension["now"], extension["totals"], extension["limits"]
        pairs = (("active", "checked_out"), ("idle", "idle"), ("overflow", "overflow"))
        connections = {ours: now[theirs] for ours, theirs in pairs if theirs in now}
        connections["total"] = now["checked_out"] + now["idle"] if "idle" in now else now["open"]
        connections["failed"] = totals["failed_connects"]
        connects = sum(counts.connect_times.counts)
        performance: dict[str, Any] = {
            "avg_connection_time_ms": counts.connect_times.sum * 1000 / connects if connects else 0.0
        }
        if self._queries:
            mean = counts.query_seconds / counts.queries if counts.queries else 0.0
            performance["avg_query_time_ms"] = mean * 1000
            performance["slow_queries"] = counts.slow_queries
        events = {"checkouts": totals["checkouts"]["ok"]}
        for name in ("checkins", "connects", "disconnects"):
            if name in totals:
                events[name] = totals[name]
        config = {"recycle": home.pool._recycle, "pre_ping": bool(home.pool._pre_ping)}
        if "size" in limits:
            config.update(size=limits["size"], timeout=limits["timeout_seconds"])
        return {
            "pool_class": extension["pool_class"],
            "metrics": {"connections": connections, "performance": performance, "events": events},
            "pool_config": config,
            "db_pool_status": extension,
        }

    async def asgi(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[dict[str, Any]]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        """Serves the status as an ASGI application, whatever the path below which it is mounted."""
        if scope["type"] == "lifespan":
            while True:
                kind = (await receive())["type"]
                await send({"type": kind + ".complete"})
                if kind == "lifespan.shutdown":
                    return
        if scope["type"] != "http":
            raise RuntimeError("db_pool_status serves HTTP only")
        code, headers, body = self._answer(scope["method"])
        encoded = [(name.lower().encode(), value.encode()) for name, value in headers]
        await send({"type": "http.response.start", "status": code, "headers": encoded})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    def wsgi(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Serves the status as a WSGI application, whatever the path below which it is mounted."""
        method = environ["REQUEST_METHOD"]
        code, headers, body = self._answer(method)
        start_response(f"{code} {_REASONS[code]}", headers)
        return [b"" if method == "HEAD" else body]

    def _answer(self, method: str, path: str | None = None) -> tuple[int, list[tuple[str, str]], bytes]:
        code, extra = 200, []
        if path not in (None, "/", STATUS_PATH):
            code, body = 404, b'{"detail":"Not Found"}'
        elif method not in ("GET", "HEAD"):
            code, body = 405, b'{"detail":"Method Not Allowed"}'
            extra = [("Allow", "GET, HEAD")]
        else:
            body = self.status_json()
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body))), *extra]
        return code, [*headers, ("Cache-Control", "no-store")], body

    # --- the socket ----------------------------------------------------------------------------------

    def _serve(self, directory: str, mode: int) -> None:
        self._server = _Server(self, directory, mode)
        self._server.start()

    @property
    def socket_path(self) -> str | None:
        """The path of this process's socket; None while there is none."""
        return self._server.path if self._server is not None else None

    def _wake(self) -> None:
        with self._lock:
            if not self._dormant:
                return
            self._dormant = False
        if self._server is not None:
            self._server.start()

    def _after_fork_in_parent(self) -> None:
        # The master of gunicorn --preload or Celery has an engine, and no pool in use. It must not count as a process
        # with a pool of its own. Its first check-out brings the socket back.
        if self._server is not None and not self._counts.used:
            self._server.stop()
            self._dormant = True

    def _after_fork_in_child(self) -> None:
        self._lock = threading.RLock()  # another thread of the parent may hold the old one
        self._counts = _Counts()
        self._dormant = False
        home = self._current_home()
        home.open = home.held = 0
        if self._server is not None:
            self._server.abandon()
            self._serve(self._server.directory, self._server.mode)


_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 500: "Internal Server Error"}


def _end_attempt(counts: _Counts, key: int, attempt: _Attempt) -> None:
    if attempt.outer is not None:
        counts.attempts[key] = attempt.outer
    else:
        counts.attempts.pop(key, None)


def _queue_length(pool: Any) -> int:
    """Returns ``pool.checkedin()`` without its side effects."""
    queue = pool._pool
    if getattr(pool, "_is_asyncio", False):
        # The asyncio queue is made at its first use, and before Python 3.10 it belongs to the event loop of the thread
        # that makes it. The thread of the socket must never be the first.
        made = queue.__dict__.get("_queue")
        return 0 if made is None else int(made.qsize())
    # qsize() takes the queue's mutex. In a forked child another thread of the parent may hold that for ever.
    return len(queue.queue)


def _limits(home: _Pool) -> dict[str, Any]:
    if not home.is_queue:
        return {}
    pool = home.pool
    limits = {"size": pool.size(), "max_overflow": pool._max_overflow, "timeout_seconds": pool.timeout()}
    if pool._max_overflow > -1:
        limits["max_connections"] = pool.size() + pool._max_overflow
    return limits


def _unsupported() -> list[str]:
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None and monkey.is_module_patched("threading") and not monkey.is_module_patched("socket"):
        return ["gevent has patched threading and not socket: the status socket can stop the application"]
    return []


class _Server:
    """Answers plain HTTP/1.1 on a Unix socket ``NAME-PID.sock``, from one thread, one request after the other."""

    REQUEST_SECONDS = 2.0
    HEAD_BYTES = 8192
    CHECK_SECONDS = 5.0

    def __init__(self, watch: PoolWatch, directory: str, mode: int) -> None:
        self.directory = directory
        self.mode = mode
        self.path: str | None = None
        self._watch = watch
        self._pid = os.getpid()
        self._listener: socket.socket | None = None
        self._client: socket.socket | None = None
        self._locked: _Locked | None = None

    def start(self) -> None:
        """Opens the socket. A failure is logged and does not stop the application."""
        try:
            self._listener = self._open()
            self._answer_on(self._listener)
        except (OSError, RuntimeError) as error:  # RuntimeError: no thread can be started
            self.stop()
            _log.warning("no status socket for pool %s in %s: %s", self._watch.name, self.directory, error)

    def _answer_on(self, listener: socket.socket) -> None:
        threading.Thread(target=self._run, args=(listener,), name="db_pool_status", daemon=True).start()

    def stop(self) -> None:
        """Takes the socket away. In a forked child it leaves the parent's file alone."""
        listener, self._listener = self._listener, None
        if self.path is not None and self._pid == os.getpid():
            _remove(self.path)
        self.path = None
        if listener is not None:
            try:
                listener.shutdown(socket.SHUT_RDWR)  # wakes accept(), which close() alone would not
            except OSError:
                pass
            listener.close()

    def abandon(self) -> None:
        """Closes the descriptors that a forked child has inherited; the parent's socket goes on."""
        for inherited in (self._listener, self._client, self._locked):
            if inherited is not None:
                inherited.close()  # of the lock, too: it is held until every copy of its descriptor is closed
        self._listener = self._client = self._locked = self.path = None

    def _open(self) -> socket.socket:
        os.makedirs(self.directory, exist_ok=True)
        with self._lock():
            _sweep(self.directory, _everyone)
            # It listens before it has its name, so that a refused connection always means a dead process.
            hidden = os.path.join(self.directory, f".{uuid.uuid4().hex[:8]}.tmp")
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                listener.bind(hidden)
                os.chmod(hidden, self.mode)
                listener.listen(16)
                listener.settimeout(self.CHECK_SECONDS)
                self.path = self._name(hidden)
            except BaseException:
                listener.close()
                raise
            finally:
                _remove(hidden)
        return listener

    def _lock(self) -> _Locked:
        self._locked = _Locked(self.directory)
        return self._locked

    def _name(self, hidden: str) -> str:
        stem = os.path.join(self.directory, f"{self._watch.name}-{self._pid}")
        # Another container that shares the directory may have the same pid.
        for path in (stem + ".sock", f"{stem}-{uuid.uuid4().hex[:4]}.sock"):
            try:
                os.link(hidden, path)
                return path
            except FileExistsError:
                continue
        raise FileExistsError(errno.EEXIST, "name is in use", path)

    def _run(self, listener: socket.socket) -> None:
        checked = _clock()
        while listener is self._listener:
            if _clock() - checked >= self.CHECK_SECONDS:
                checked = _clock()
                self._check(listener)
                continue
            try:
                client, _ = listener.accept()
            except socket.timeout:
                continue
            except OSError:
                # Closed, or out of descriptors for a while.
                if listener is self._listener:
                    time.sleep(0.1)
                continue
            self._client = client
            try:
                self._reply(client)
            except OSError:
                pass  # the reader went away or was too slow
            finally:
                self._client = None
                client.close()

    def _check(self, listener: socket.socket) -> None:
        path = self.path
        if path is not None and os.path.exists(path):
            # Workers that a signal ends (uvicorn's do) leave their files, and perhaps no process starts after them.
            try:
                with self._lock():
                    _sweep(self.directory, _is_gone)
            except OSError:
                pass
        elif listener is self._listener:
            # Somebody emptied the directory: a restart of the unit that owns it, or a cleaner of temporary files.
            try:
                replacement = self._open()
            except OSError:
                return  # perhaps next time
            if listener is self._listener:
                self._listener = replacement
                listener.close()
                self._answer_on(replacement)
            else:  # stopped meanwhile
                replacement.close()
                _remove(self.path or "")

    def _reply(self, client: socket.socket) -> None:
        line = self._request_line(client)
        if len(line) != 3 or not line[2].startswith("HTTP/1."):
            code, headers, body = 400, [("Content-Length", "0")], b""
        else:
            try:
                code, headers, body = self._watch._answer(line[0], line[1].split("?")[0])
            except Exception:
                _log.exception("the status of pool %s could not be made", self._watch.name)
                code, headers, body = 500, [("Content-Length", "0")], b""
        head = [f"HTTP/1.1 {code} {_REASONS[code]}"]
        head += ["{}: {}".format(*header) for header in headers] + ["Connection: close", "", ""]
        if line[:1] == ["HEAD"]:
            body = b""
        client.settimeout(self.REQUEST_SECONDS)
        client.sendall("\r\n".join(head).encode() + body)

    def _request_line(self, client: socket.socket) -> list[str]:
        received = b""
        deadline = _clock() + self.REQUEST_SECONDS
        while b"\r\n\r\n" not in received and len(received) < self.HEAD_BYTES:
            client.settimeout(max(0.001, deadline - _clock()))
            part = client.recv(self.HEAD_BYTES)
            if not part:
                break
            received += part
        return received.split(b"\r\n")[0].decode("latin-1").split(" ")


class _Locked:
    """Holds a lock on a directory, so that one process's sweep does not remove what another has just made."""

    def __init__(self, directory: str) -> None:
        self._descriptor = os.open(directory, os.O_RDONLY)

    def __enter__(self) -> None:
        deadline = _clock() + 2.0
        while True:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EACCES) or _clock() > deadline:
                    return  # a file system without locks, or a process stopped while it holds one: go on
                time.sleep(0.01)

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def _sweep(directory: str, suspected: Callable[[str], bool]) -> None:
    """Removes sockets of dead processes. Files of another kind or name are left alone."""
    for entry in os.listdir(directory):
        path = os.path.join(directory, entry)
        if _SOCKET_NAME.match(entry) and suspected(entry) and _is_dead(path):
            _remove(path)


def _everyone(_: str) -> bool:
    return True


def _is_gone(entry: str) -> bool:
    """Reports whether no process here has the pid of a socket's name. It may live in another container."""
    digits = re.search(r"-([0-9]+)(-[0-9a-f]{4})?\.sock\Z", entry)
    try:
        os.kill(int(digits.group(1)) if digits else 0, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


def _is_dead(path: str) -> bool:
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return False
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)  # a full backlog is EAGAIN: alive and busy
            probe.connect(path)
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass


_watches: dict[str, PoolWatch] = {}


def watch(
    engine: Any,
    *,
    name: str,
    socket_dir: str | None = None,
    socket_mode: int = 0o660,
    queries: bool = True,
    slow_query_seconds: float = 1.0,
    holders: int = 20,
    callers: bool | Sequence[str] = False,
) -> PoolWatch:
    """Watches the pool of an engine from now on. Call it once, right after the engine is made.

    :param engine: an ``Engine`` or an ``AsyncEngine``.
    :param name: the application's name: 1 to 64 of ``A-Z a-z 0-9 _ . -``, the first a letter or digit.
    :param socket_dir: the directory for this process's status socket; by default that of the environment variable
        ``DB_POOL_STATUS_DIR``. Without either there is no socket.
    :param socket_mode: permissions of the socket.
    :param queries: time each statement, for the average and the number of slow queries.
    :param slow_query_seconds: what counts as slow.
    :param holders: how many of the connections that are out longest are listed.
    :param callers: note which module, line and function checked a connection out. A sequence of module names does so
        too, and skips these modules: name the ones that only hand out sessions.
    :raises ValueError: for a bad name, or one that another engine has.
    """
    engine = getattr(engine, "sync_engine", engine)
    engine = getattr(engine, "_proxied", engine)  # what execution_options() returns shares the pool of this one
    if not _NAME.match(name):
        raise ValueError("name: 1 to 64 of A-Z a-z 0-9 _ . - are allowed, the first a letter or digit")
    known = _watches.get(name)
    if known is not None:
        if known._engine is engine:
            return known
        raise ValueError("name: another engine is watched under this name")
    watched = _watches[name] = PoolWatch(engine, name, queries, slow_query_seconds, holders, callers)
    directory = socket_dir if socket_dir is not None else os.environ.get("DB_POOL_STATUS_DIR")
    if directory and hasattr(socket, "AF_UNIX"):
        watched._serve(directory, socket_mode)
    return watched


def status(name: str) -> dict[str, Any]:
    """Returns the status of a pool that is watched under this name.

    :raises KeyError: when there is none.
    """
    return _watches[name].status()


def _forked_in_parent() -> None:
    for watched in list(_watches.values()):
        watched._after_fork_in_parent()


def _forked_in_child() -> None:
    for watched in list(_watches.values()):
        watched._after_fork_in_child()


def _at_exit() -> None:
    for watched in list(_watches.values()):
        if watched._server is not None:
            watched._server.stop()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_parent=_forked_in_parent, after_in_child=_forked_in_child)
atexit.register(_at_exit)
