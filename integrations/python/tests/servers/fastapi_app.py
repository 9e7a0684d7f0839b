"""A FastAPI application with an asyncio engine."""

from __future__ import annotations

import os

from fastapi import FastAPI, Response
from sqlalchemy import text
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import create_async_engine

from db_pool_status import watch
from truth import Truth

TIMEOUT = float(os.environ.get("POOL_TIMEOUT", "0.4"))
engine = create_async_engine(os.environ["ASYNC_URL"], pool_size=3, max_overflow=2, pool_timeout=TIMEOUT)
pool = watch(engine, name="fastapi", socket_dir=os.environ["POOLS"])
truth = Truth(lambda: engine.pool)
truth.serve()
app = FastAPI()
app.mount("/api/v1/database/pool/status", pool.asgi)


@app.get("/work")
async def work(seconds: float) -> Response:
    truth.count(asking=1)
    try:
        connection = await engine.connect()
    except PoolTimeout:
        truth.count(asking=-1, timeouts=1)
        return Response(status_code=503)
    truth.count(asking=-1, ok=1)
    try:
        await connection.execute(text("SELECT pg_sleep(:seconds)"), {"seconds": seconds})
    finally:
        await connection.close()
        truth.count(returned=1)
    return Response(str(os.getpid()))
