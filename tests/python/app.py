"""An application with SQLAlchemy's pool, driven step by step.

Reads one command per line from standard input. Answers each with a line of JSON on standard output: the status of
SQLAlchemy's own pool after the command.

    warm N   check N connections out at once, use them, return them
    busy N   check N out, each running a statement that does not end by itself
    hold N   check N out, each idle in a transaction
    bare N   check N out, and send nothing
    wait N   start N tasks that request a connection and then keep it
    settle   return the connections with a statement that was ended from outside
    return N return the N that were checked out first, of those that run no statement
    status   do nothing
"""

import asyncio
import json
import sys

from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

URL, NAME = sys.argv[1:3]
engine = create_async_engine(
    URL,
    pool_size=5,
    max_overflow=3,
    pool_timeout=60,
    connect_args={"server_settings": {"application_name": NAME}},
)
out, running, waiting = [], [], []


async def check_out(statement=None):
    connection = await engine.connect()
    if statement:
        await connection.execute(text(statement))
    return connection


async def run_for_ever(connection):
    try:
        await connection.execute(text("SELECT pg_sleep(3600)"))
    except Exception:
        await connection.close()


async def wait_for_one():
    out.append(await check_out())


async def obey(command, n):
    if command == "warm":
        connections = await asyncio.gather(*(check_out("SELECT 1") for _ in range(n)))
        for connection in connections:
            await connection.close()
    elif command == "busy":
        for _ in range(n):
            running.append(asyncio.create_task(run_for_ever(await check_out())))
    elif command == "hold":
        out.extend([await check_out("SELECT 1") for _ in range(n)])
    elif command == "bare":
        out.extend([await check_out() for _ in range(n)])
    elif command == "wait":
        waiting.extend(asyncio.create_task(wait_for_one()) for _ in range(n))
    elif command == "settle":
        await asyncio.wait(running)
        running.clear()
    elif command == "return":
        for _ in range(n):
            await out.pop(0).close()
    # Gives waiting tasks time to take free connections, and statements time to reach the server.
    await asyncio.sleep(0.1)


async def main():
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(lines), sys.stdin
    )
    while line := (await lines.readline()).decode().split():
        await obey(line[0], int(line[1]) if len(line) > 1 else 0)
        pool = engine.sync_engine.pool
        status = {
            "checkedin": pool.checkedin(),
            "checkedout": pool.checkedout(),
            "overflow": pool.overflow(),
        }
        print(json.dumps(status), flush=True)


asyncio.run(main())
