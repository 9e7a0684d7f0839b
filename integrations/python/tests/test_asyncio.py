"""The numbers of an asyncio engine, where the pool's code runs in greenlets of one thread."""

from __future__ import annotations

import asyncio
import gc
import random
import warnings

import pytest
from sqlalchemy import text
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.pool import NullPool

from conftest import now, run, totals, valid
from test_pool import as_the_pool_says


async def until_waiting(watch, wanted):
    for _ in range(500):
        if now(watch)["waiting"] == wanted:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(now(watch))


async def hold(engine, seconds):
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1"))
        await asyncio.sleep(seconds)


def test_waiters_time_outs_and_their_ages(make):
    async def work():
        engine, watch = make.asynchronous(pool_size=1, max_overflow=1, pool_timeout=0.5)
        assert valid(watch.status())["pool_class"] == "AsyncAdaptedQueuePool"
        holders = [asyncio.ensure_future(hold(engine, 1.0)) for _ in range(2)]
        await asyncio.sleep(0.3)
        waiters = [asyncio.ensure_future(hold(engine, 0)) for _ in range(3)]
        await until_waiting(watch, 3)
        await asyncio.sleep(0.1)
        state = as_the_pool_says(engine, watch)
        assert 0.1 <= state["oldest_wait_seconds"] < 0.5
        assert (state["checked_out"], state["overflow"]) == (2, 1)
        results = await asyncio.gather(*waiters, return_exceptions=True)
        assert [type(result) for result in results] == [PoolTimeout] * 3
        await asyncio.gather(*holders)
        counts = totals(watch)
        assert counts["checkouts"] == {"ok": 2, "timeout": 3, "error": 0, "cancelled": 0}
        assert counts["checkins"] == 2
        waits = valid(watch.status())["histograms"]["checkout_wait_seconds"]
        assert waits["count"] == 5 and 1.5 <= waits["sum"] < 3
        await engine.dispose()
        assert as_the_pool_says(engine, watch)["open"] == 0
        return watch

    run(work())


def test_a_cancelled_waiter_is_no_waiter_and_no_time_out(make):
    async def work():
        engine, watch = make.asynchronous(pool_size=1, max_overflow=0, pool_timeout=20)
        holder = asyncio.ensure_future(hold(engine, 1.0))
        await asyncio.sleep(0.3)
        waiters = [asyncio.ensure_future(hold(engine, 0)) for _ in range(4)]
        await until_waiting(watch, 4)
        for waiter in waiters[:3]:
            waiter.cancel()
        await asyncio.gather(*waiters[:3], return_exceptions=True)
        assert now(watch)["waiting"] == 1
        assert totals(watch)["checkouts"]["cancelled"] == 3
        await asyncio.gather(holder, waiters[3])
        state = as_the_pool_says(engine, watch)
        assert (state["waiting"], state["checked_out"]) == (0, 0)
        assert totals(watch)["checkouts"] == {"ok": 2, "timeout": 0, "error": 0, "cancelled": 3}
        await engine.dispose()

    run(work())


def test_a_check_out_cancelled_while_it_connects(make):
    async def work():
        engine, watch = make.asynchronous(pool_size=1, max_overflow=0)
        for _ in range(5):
            task = asyncio.ensure_future(hold(engine, 0))
            while not now(watch)["connecting"]:
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        counts = totals(watch)
        assert counts["checkouts"]["cancelled"] == 5 and counts["failed_connects"] == 0
        assert as_the_pool_says(engine, watch)["connecting"] == 0
        await hold(engine, 0)
        assert totals(watch)["checkouts"]["ok"] == 1
        await engine.dispose()

    run(work())


def test_a_holder_cancelled_in_a_statement_returns_its_connection(make):
    async def work():
        engine, watch = make.asynchronous(pool_size=1, max_overflow=0)

        async def sleep():
            async with engine.connect() as connection:
                await connection.execute(text("SELECT pg_sleep(30)"))

        task = asyncio.ensure_future(sleep())
        await asyncio.sleep(0.3)
        assert now(watch)["checked_out"] == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        state = as_the_pool_says(engine, watch)
        assert state["checked_out"] == 0
        counts = totals(watch)
        assert (counts["checkouts"]["ok"], counts["checkins"] + counts["detached"]) == (1, 1)
        await hold(engine, 0)
        state = as_the_pool_says(engine, watch)
        assert state["open"] == 1
        counts = totals(watch)
        assert counts["connects"] - counts["disconnects"] == 1
        await engine.dispose()

    run(work())


def test_a_loop_that_ends_with_waiters_leaves_none_behind(make):
    engine, watch = make.asynchronous(pool_size=1, max_overflow=0, pool_timeout=20)

    async def work():
        tasks = [asyncio.ensure_future(hold(engine, 20)) for _ in range(3)]
        await until_waiting(watch, 2)
        while totals(watch)["checkouts"]["ok"] < 1:
            await asyncio.sleep(0.01)
        return tasks

    run(work())  # asyncio.run() cancels what is left
    gc.collect()
    state = now(watch)
    assert (state["waiting"], state["connecting"]) == (0, 0)
    assert totals(watch)["checkouts"] == {"ok": 1, "timeout": 0, "error": 0, "cancelled": 2}


def test_a_dropped_async_connection_is_detached(make):
    async def work():
        engine, watch = make.asynchronous(pool_size=1, max_overflow=0, pool_timeout=1)
        connection = await engine.connect()
        await connection.execute(text("SELECT 1"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            del connection
            gc.collect()
            await asyncio.sleep(0.1)
        state = as_the_pool_says(engine, watch)
        assert state["checked_out"] == 0
        counts = totals(watch)
        assert counts["checkouts"]["ok"] == counts["checkins"] + counts["detached"] == 1
        await hold(engine, 0)
        state = as_the_pool_says(engine, watch)
        assert state["open"] == 1
        counts = totals(watch)
        assert counts["connects"] - counts["disconnects"] == 1
        await engine.dispose()

    run(work())


def test_a_caller_behind_a_session_is_named(make):
    async def work():
        engine, watch = make.asynchronous(pool_size=1, watched={"callers": True})

        async def handler():
            async with AsyncSession(engine) as session:
                await session.execute(text("SELECT 1"))
                return valid(watch.status())["holders"][0]

        holder = await handler()
        assert (holder["module"], holder["function"]) == (__name__, "handler")
        await engine.dispose()

    run(work())


def test_reading_before_the_first_use_does_not_make_the_queue(make):
    engine, watch = make.asynchronous(pool_size=1)
    assert now(watch)["idle"] == 0
    assert "_queue" not in vars(engine.sync_engine.pool._pool)


def test_a_null_pool_under_asyncio(make):
    async def work():
        engine, watch = make.asynchronous(poolclass=NullPool)
        async with engine.connect():
            assert now(watch)["checked_out"] == 1
        assert (now(watch)["checked_out"], totals(watch)["closed"]["returned"]) == (0, 1)

    run(work())


def test_saturated_tasks_are_told_exactly(make):
    """Random work with errors, time-outs and cancellations; each moment is compared, as nothing runs in between."""

    async def work():
        engine, watch = make.asynchronous(pool_size=3, max_overflow=2, pool_timeout=0.05)
        seen = {"ok": 0, "timeout": 0, "cancelled": 0, "error": 0}
        asking = 0

        async def one(chance):
            nonlocal asking
            asking += 1
            try:
                connection = await engine.connect()
            except PoolTimeout:
                seen["timeout"] += 1
                return
            except asyncio.CancelledError:
                seen["cancelled"] += 1
                raise
            finally:
                asking -= 1
            seen["ok"] += 1
            try:
                if chance.random() < 0.1:
                    await connection.invalidate()
                else:
                    await connection.execute(text("SELECT pg_sleep(%f)" % (chance.random() / 30)))
            finally:
                await connection.close()

        async def many(seed):
            chance = random.Random(seed)
            for _ in range(40):
                task = asyncio.ensure_future(one(chance))
                if chance.random() < 0.2:
                    await asyncio.sleep(chance.random() / 20)
                    task.cancel()
                await asyncio.gather(task, return_exceptions=True)

        work = asyncio.gather(*(many(seed) for seed in range(12)))
        moments = 0
        while not work.done():
            state = as_the_pool_says(engine, watch)
            assert state["waiting"] + state["connecting"] <= asking
            moments += state["waiting"] > 0
            await asyncio.sleep(0.002)
        await work
        assert moments > 10
        counts = totals(watch)
        # A cancelled task may have been cancelled before it ran.
        assert counts["checkouts"] == seen
        assert min(seen["ok"], seen["timeout"], seen["cancelled"]) > 0
        state = as_the_pool_says(engine, watch)
        assert (state["waiting"], state["checked_out"], state["connecting"]) == (0, 0, 0)
        assert counts["connects"] - counts["disconnects"] == state["open"]
        assert counts["checkouts"]["ok"] == counts["checkins"] + counts["detached"]
        await engine.dispose()

    run(work())


def test_a_failing_server_is_an_error(make, cluster):
    from sqlalchemy.ext.asyncio import create_async_engine

    import db_pool_status

    async def work():
        engine = create_async_engine(cluster.url("asyncpg").replace("/postgres", "/nowhere"))
        watch = db_pool_status.watch(engine, name="nowhere")
        try:
            with pytest.raises(Exception) as raised:
                await hold(engine, 0)
            assert "nowhere" in str(raised.value)
            counts = totals(watch)
            assert (counts["failed_connects"], counts["checkouts"]["error"]) == (1, 1)
        finally:
            watch.close()

    run(work())
