"""A Flask application with a sync engine."""

from __future__ import annotations

import os

import sqlalchemy
from flask import Flask, request
from sqlalchemy.exc import TimeoutError as PoolTimeout

from db_pool_status import watch
from truth import Truth

TIMEOUT = float(os.environ.get("POOL_TIMEOUT", "0.4"))
engine = sqlalchemy.create_engine(os.environ["SYNC_URL"], pool_size=3, max_overflow=2, pool_timeout=TIMEOUT)
pool = watch(engine, name="flask", socket_dir=os.environ["POOLS"])
truth = Truth(lambda: engine.pool)
if "PRELOADED" in os.environ:
    os.register_at_fork(after_in_child=truth.serve)
else:
    truth.serve()
app = Flask(__name__)


@app.get("/work")
def work():
    truth.count(asking=1)
    try:
        connection = engine.connect()
    except PoolTimeout:
        truth.count(asking=-1, timeouts=1)
        return "busy", 503
    truth.count(asking=-1, ok=1)
    connection.execute(sqlalchemy.text("SELECT pg_sleep(:seconds)"), {"seconds": float(request.args["seconds"])})
    connection.close()
    truth.count(returned=1)
    return str(os.getpid())


@app.get("/api/v1/database/pool/status")
def status():
    return pool.status()
