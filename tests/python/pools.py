"""An application process with a real connection pool, driven by commands on standard input.

    pools.py LIBRARY URL NAME SIZE MORE

LIBRARY is asyncpg or psycopg (SQLAlchemy's QueuePool with pool_size SIZE and max_overflow MORE), or psycopg_pool
(min_size SIZE, max_size MORE). Each command is a line, its answer a line of JSON: the pool's own status.

    warm N         check N connections out at once, run a statement, return them
    hold N         check N out, each idle in a transaction
    busy N         check N out, each with a statement that runs for an hour
    auto N         check N out in AUTOCOMMIT, each idle after a statement
    bare N         check N out and send nothing
    wait N         start N tasks that request a connection and then hold it, in a transaction
    return N       return the N that were checked out first; a running statement must have been cancelled
    load RATE HOLD SEED    check out RATE times a second, hold for HOLD seconds on average, until `stop`
    stop           end the load, and wait for its last connections to come back
    trace          return the changes of the status since the last trace, as [seconds since 1970, out, open, waiting]
    status         do nothing
"""

import asyncio
import functools
import json
import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor

LIBRARY, URL, NAME, SIZE, MORE = sys.argv[1:4] + [int(word) for word in sys.argv[4:6]]
TIMEOUT = 30
STEP = 0.005


class Asyncpg:
    """SQLAlchemy's asyncio engine, on asyncpg."""

    def __init__(self):
        from sqlalchemy import exc, text
        from sqlalchemy.ext.asyncio import create_async_engine

        self.timed_out, self.text = exc.TimeoutError, text
        self.engine = create_async_engine(
            URL.replace("postgresql://", "postgresql+asyncpg://"),
            pool_size=SIZE,
            max_overflow=MORE,
            pool_timeout=TIMEOUT,
            connect_args={"server_settings": {"application_name": NAME}},
        )
        self.pool = self.engine.sync_engine.pool

    async def start(self):
        pass  # QueuePool opens nothing before the first check-out

    async def take(self, autocommit=False):
        engine = self.engine.execution_options(isolation_level="AUTOCOMMIT") if autocommit else self.engine
        return await engine.connect()

    async def run(self, connection, statement):
        await connection.execute(self.text(statement))

    async def give(self, connection):
        await connection.close()

    def status(self):
        out, idle = self.pool.checkedout(), self.pool.checkedin()
        return out, out + idle


class Psycopg(Asyncpg):
    """SQLAlchemy's plain engine, on psycopg and in threads, as a WSGI application has it."""

    def __init__(self):
        from sqlalchemy import create_engine, exc, text

        self.timed_out, self.text = exc.TimeoutError, text
        self.engine = create_engine(
            URL.replace("postgresql://", "postgresql+psycopg://"),
            pool_size=SIZE,
            max_overflow=MORE,
            pool_timeout=TIMEOUT,
            connect_args={"application_name": NAME},
        )
        self.pool = self.engine.pool
        self.threads = ThreadPoolExecutor(64)

    def thread(self, function, *arguments, **options):
        call = functools.partial(function, *arguments, **options)
        return asyncio.get_running_loop().run_in_executor(self.threads, call)

    async def take(self, autocommit=False):
        engine = self.engine.execution_options(isolation_level="AUTOCOMMIT") if autocommit else self.engine
        return await self.thread(engine.connect)

    async def run(self, connection, statement):
        await self.thread(connection.execute, self.text(statement))

    async def give(self, connection):
        await self.thread(connection.close)


class PsycopgPool:
    """psycopg's own pool."""

    def __init__(self):
        import psycopg_pool

        self.timed_out = psycopg_pool.PoolTimeout
        self.pool = psycopg_pool.AsyncConnectionPool(
            URL,
            min_size=SIZE,
            max_size=MORE,
            timeout=TIMEOUT,
            open=False,
            kwargs={"application_name": NAME},
        )

    async def start(self):
        await self.pool.open()

    async def take(self, autocommit=False):
        connection = await self.pool.getconn()
        await connection.set_autocommit(autocommit)
        return connection

    async def run(self, connection, statement):
        await connection.execute(statement)

    async def give(self, connection):
        await connection.rollback()
        await self.pool.putconn(connection)

    def status(self):
        stats = self.pool.get_stats()
        return stats["pool_size"] - stats["pool_available"], stats["pool_size"]


class Process:
    """What the commands act on."""

    def __init__(self, pool):
        self.pool = pool
        self.out, self.waiting, self.timeouts = [], 0, 0
        self.background, self.load = set(), None
        self.changes, self.last = [], None

    def spawn(self, coroutine):
        task = asyncio.create_task(coroutine)
        self.background.add(task)
        task.add_done_callback(self.background.discard)
        return task

    async def take(self, statement=None, autocommit=False):
        self.waiting += 1
        try:
            connection = await self.pool.take(autocommit)
        except self.pool.timed_out:
            self.timeouts += 1
            return None
        finally:
            self.waiting -= 1
        if statement:
            await self.pool.run(connection, statement)
        return connection

    async def hold(self, statement, autocommit=False):
        connection = await self.take(statement, autocommit)
        if connection is not None:
            self.out.append((connection, None))

    async def busy(self):
        connection = await self.take("SELECT 1")
        self.out.append((connection, self.spawn(self.sleep(connection))))

    async def sleep(self, connection):
        try:
            await self.pool.run(connection, "SELECT pg_sleep(3600)")
        except Exception:
            pass  # it was cancelled, or its session was ended

    async def one_request(self, hold):
        connection = await self.take("SELECT 1")
        if connection is not None:
            await asyncio.sleep(hold)
            await self.pool.give(connection)

    async def requests(self, rate, hold, seed):
        chance, running = random.Random(seed), set()
        try:
            while True:
                await asyncio.sleep(chance.expovariate(rate))
                task = self.spawn(self.one_request(chance.expovariate(1 / hold)))
                running.add(task)
                task.add_done_callback(running.discard)
        except asyncio.CancelledError:
            if running:
                await asyncio.wait(running)

    async def record(self):
        while True:
            status = (*self.pool.status(), self.waiting)
            if status != self.last:
                self.last = status
                self.changes.append([time.time(), *status])
            await asyncio.sleep(STEP)

    async def obey(self, command, words):
        n = int(words[0]) if words and command != "load" else 0
        if command == "warm":
            connections = await asyncio.gather(*(self.take("SELECT 1") for _ in range(n)))
            await asyncio.gather(*(self.pool.give(connection) for connection in connections))
        elif command == "hold":
            await asyncio.gather(*(self.hold("SELECT 1") for _ in range(n)))
        elif command == "busy":
            await asyncio.gather(*(self.busy() for _ in range(n)))
        elif command == "auto":
            await asyncio.gather(*(self.hold("SELECT 1", autocommit=True) for _ in range(n)))
        elif command == "bare":
            await asyncio.gather(*(self.hold(None) for _ in range(n)))
        elif command == "wait":
            for _ in range(n):
                self.spawn(self.hold("SELECT 1"))
        elif command == "return":
            await self.give_back(n)
        elif command == "load":
            rate, hold, seed = (float(word) for word in words)
            self.load = self.spawn(self.requests(rate, hold, seed))
        elif command == "stop":
            self.load.cancel()
            await asyncio.wait([self.load])
        elif command not in ("trace", "status"):
            raise SystemExit(f"no such command: {command}")
        # Waiters take what has become free.
        await asyncio.sleep(0.02)

    async def give_back(self, n):
        taken, self.out = self.out[:n], self.out[n:]
        for connection, running in taken:
            if running is not None:
                await asyncio.wait([running])
            await self.pool.give(connection)

    def answer(self, command):
        out, size = self.pool.status()
        answer = {"out": out, "open": size, "waiting": self.waiting, "timeouts": self.timeouts}
        if command == "trace":
            answer["trace"], self.changes = self.changes, []
        return json.dumps(answer)


async def main():
    pool = {"asyncpg": Asyncpg, "psycopg": Psycopg, "psycopg_pool": PsycopgPool}[LIBRARY]()
    await pool.start()
    process = Process(pool)
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(lines), sys.stdin
    )
    recorder = asyncio.create_task(process.record())
    while line := (await lines.readline()).decode().split():
        await process.obey(line[0], line[1:])
        if recorder.done():
            recorder.result()
        print(process.answer(line[0]), flush=True)


asyncio.run(main())
