"""A demonstration application with a SQLAlchemy pool.

Every two minutes its load rises from a few concurrent requests to more than pool and overflow can serve, so that
saturation, waiting and recovery are visible. About 3 % of the queries are slow.
"""

import asyncio
import math
import os
import random
import time

from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import create_async_engine

url = make_url(os.environ["DATABASE_URL"])
if password_file := os.environ.get("DB_PASSWORD_FILE"):
    with open(password_file) as file:
        url = url.set(password=file.read().rstrip("\n"))

engine = create_async_engine(
    url,
    pool_size=int(os.environ.get("DB_POOL_SIZE", "20")),
    max_overflow=int(os.environ.get("DB_MAX_OVERFLOW", "10")),
    pool_timeout=float(os.environ.get("DB_POOL_TIMEOUT", "30")),
    pool_recycle=int(os.environ.get("DB_POOL_RECYCLE", "3600")),
    pool_pre_ping=os.environ.get("DB_POOL_PRE_PING", "true") == "true",
    connect_args={"server_settings": {"application_name": "orders-demo"}},
)
PERIOD = 120.0


async def request():
    seconds = random.uniform(1.0, 4.0) if random.random() < 0.03 else random.expovariate(1 / 0.2)
    try:
        async with engine.begin() as connection:
            await connection.execute(text("SELECT pg_sleep(:s)"), {"s": min(seconds, 5.0)})
    except (PoolTimeout, DBAPIError, OSError) as error:
        print(f"request failed: {type(error).__name__}")


async def main():
    running = set()
    while True:
        wave = (1 - math.cos(2 * math.pi * time.time() / PERIOD)) / 2
        if len(running) < 60:
            task = asyncio.create_task(request())
            running.add(task)
            task.add_done_callback(running.discard)
        await asyncio.sleep(random.expovariate(5 + 150 * wave**3))


asyncio.run(main())
