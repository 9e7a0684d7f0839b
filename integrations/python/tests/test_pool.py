"""The numbers of a sync engine, against what the pool and the application say themselves."""

from __future__ import annotations

import gc
import random
import re
import threading
import time

import pytest
import sqlalchemy
from sqlalchemy import event, text
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import NullPool, QueuePool, StaticPool

from conftest import SYNC_DRIVER, VERSION, now, totals, until, valid


def parsed(pool_status):
    """The numbers of ``pool.status()``: size, idle, overflow, checked out."""
    return tuple(int(number) for number in re.findall(r"-?\d+", pool_status))


def as_the_pool_says(engine, watch):
    size, idle, overflow, out = parsed(engine.pool.status())
    state = now(watch)
    assert (state["idle"], state["checked_out"], state["overflow"]) == (idle, out, max(0, overflow))
    assert valid(watch.status())["limits"]["size"] == size
    return state


def test_each_step_shows_what_the_pool_itself_says(make):
    engine, watch = make(pool_size=2, max_overflow=2, pool_timeout=0.1)
    held = []
    as_the_pool_says(engine, watch)
    for _ in range(4):
        held.append(engine.connect())
        as_the_pool_says(engine, watch)
    with pytest.raises(PoolTimeout):
        engine.connect()
    while held:
        held.pop(0).close()
        as_the_pool_says(engine, watch)
    state = now(watch)
    assert state["open"] == 2 and state["idle"] == 2
    counts = totals(watch)
    assert counts["checkouts"] == {"ok": 4, "timeout": 1, "error": 0, "cancelled": 0}
    assert (counts["checkins"], counts["connects"], counts["closed"]["overflow"]) == (4, 4, 2)


def test_the_specified_fields_stand_at_their_places(make):
    engine, watch = make(pool_size=3, max_overflow=1, pool_timeout=7, pool_recycle=90, pool_pre_ping=True)
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_sleep(0.05)"))
        status = watch.status()
    connect = status["metrics"]["performance"].pop("avg_connection_time_ms")
    query = status["metrics"]["performance"].pop("avg_query_time_ms")
    assert 0.1 < connect < 5000 and 50 <= query < 5000
    del status["db_pool_status"]
    assert status == {
        "pool_class": "QueuePool",
        "metrics": {
            "connections": {"active": 1, "idle": 0, "total": 1, "overflow": 0, "failed": 0},
            "performance": {"slow_queries": 0},
            "events": {"checkouts": 1, "checkins": 0, "connects": 1, "disconnects": 0},
        },
        "pool_config": {"size": 3, "timeout": 7, "recycle": 90, "pre_ping": True},
    }


def test_waiters_are_counted_with_the_age_of_the_oldest(make):
    engine, watch = make(pool_size=1, max_overflow=0, pool_timeout=20)
    held = engine.connect()
    threads = [threading.Thread(target=lambda: engine.connect().close()) for _ in range(3)]
    started = time.monotonic()
    for count, thread in enumerate(threads, 1):
        thread.start()
        until(lambda wanted=count: now(watch)["waiting"] == wanted, what=f"{count} waiters")
        time.sleep(0.1)
    state = now(watch)
    age = time.monotonic() - started
    assert 0.3 <= state["oldest_wait_seconds"] <= age
    assert (state["checked_out"], state["waiting"]) == (1, 3)
    held.close()
    for thread in threads:
        thread.join(10)
    state = now(watch)
    assert (state["waiting"], state["oldest_wait_seconds"], state["checked_out"]) == (0, 0, 0)
    waits = valid(watch.status())["histograms"]["checkout_wait_seconds"]
    assert waits["count"] == 4 and waits["counts"][0] == 1, "the first had no wait"
    assert 0.3 <= waits["sum"] <= 3 * age


def test_a_wait_does_not_contain_the_connect(make):
    engine, watch = make(pool_size=1, max_overflow=0, pool_timeout=20)

    @event.listens_for(engine, "do_connect")
    def slow(dialect, record, arguments, keywords):
        time.sleep(0.3)

    threads = [threading.Thread(target=lambda: engine.connect().close()) for _ in range(2)]
    threads[0].start()
    until(lambda: now(watch)["connecting"] == 1, what="a connect under way")
    state = now(watch)
    assert (state["open"], state["checked_out"], state["waiting"]) == (0, 1, 0)
    threads[1].start()
    until(lambda: now(watch)["waiting"] == 1, what="a waiter")
    for thread in threads:
        thread.join(10)
    histograms = valid(watch.status())["histograms"]
    connects, waits = histograms["connect_duration_seconds"], histograms["checkout_wait_seconds"]
    assert connects["count"] == 1 and 0.3 <= connects["sum"] < 2
    assert waits["count"] == 2 and waits["counts"][0] == 1


def test_a_failed_connect_is_an_error_and_frees_its_place(make, cluster):
    engine, watch = make(url=cluster.url().replace("/postgres", "/nowhere"), pool_size=1, max_overflow=0)
    for _ in range(3):
        with pytest.raises(sqlalchemy.exc.OperationalError):
            engine.connect()
    counts = totals(watch)
    assert counts["failed_connects"] == 3 and counts["connects"] == 0
    assert counts["checkouts"] == {"ok": 0, "timeout": 0, "error": 3, "cancelled": 0}
    assert as_the_pool_says(engine, watch)["open"] == 0
    assert watch.status()["metrics"]["connections"]["failed"] == 3


def test_a_creator_of_the_applications_own_is_timed_too(make, cluster):
    driver = __import__(SYNC_DRIVER)
    engine, watch = make(creator=lambda: driver.connect(f"host=127.0.0.1 port={cluster.port} user=app dbname=postgres"))
    engine.connect().close()
    assert valid(watch.status())["histograms"]["connect_duration_seconds"]["count"] == 1
    assert totals(watch)["connects"] == 1


def test_recycled_invalidated_and_disposed_connections_have_their_reasons(make):
    engine, watch = make(pool_size=2, max_overflow=0, pool_recycle=1)
    engine.connect().close()
    time.sleep(1.1)
    engine.connect().close()
    assert totals(watch)["closed"]["recycled"] == 1
    with engine.connect() as connection:
        connection.invalidate()
    counts = totals(watch)
    assert (counts["invalidations"], counts["closed"]["invalidated"]) == (1, 1)
    state = as_the_pool_says(engine, watch)
    assert (state["idle"], state["open"]) == (1, 0), "a place without a connection"
    engine.connect().close()
    engine.dispose()
    counts = totals(watch)
    assert counts["closed"]["disposed"] == 1
    assert (counts["connects"], counts["disconnects"]) == (3, 3)
    assert (counts["checkouts"]["ok"], counts["checkins"]) == (4, 4)


def test_a_soft_invalidation_closes_at_the_next_check_out(make):
    engine, watch = make(pool_size=1)
    fairy = engine.raw_connection()
    fairy.invalidate(soft=True)
    fairy.close()
    assert (totals(watch)["soft_invalidations"], totals(watch)["disconnects"]) == (1, 0)
    engine.connect().close()
    counts = totals(watch)
    assert (counts["closed"]["invalidated"], counts["invalidations"]) == (1, 0)
    assert now(watch)["open"] == 1


def test_a_dead_connection_is_found_by_the_ping(make, cluster):
    engine, watch = make(name="pinged", pool_size=1, pool_pre_ping=True)
    engine.connect().close()
    cluster.kill_sessions("pinged")
    engine.connect().close()
    counts = totals(watch)
    assert (counts["closed"]["ping_failed"], counts["connects"], counts["checkouts"]["ok"]) == (1, 2, 2)
    assert as_the_pool_says(engine, watch)["open"] == 1


def test_a_connection_lost_in_use_is_broken(make, cluster):
    engine, watch = make(name="lost", pool_size=2)
    connection = engine.connect()
    cluster.kill_sessions("lost")
    with pytest.raises(sqlalchemy.exc.DBAPIError):
        connection.execute(text("SELECT 1"))
    state = as_the_pool_says(engine, watch)
    assert (state["checked_out"], state["open"]) == (0, 0)
    connection.close()
    counts = totals(watch)
    assert (counts["closed"]["broken"], counts["checkins"], counts["disconnects"]) == (1, 1, 1)
    assert valid(watch.status())["queries"]["count"] == 1, "a failed statement is a statement"


def test_a_detached_connection_leaves_the_pool(make):
    engine, watch = make(pool_size=1, max_overflow=0, pool_timeout=0.2)
    connection = engine.connect()
    connection.detach()
    state = as_the_pool_says(engine, watch)
    assert (state["checked_out"], state["open"]) == (0, 0)
    engine.connect().close()
    connection.close()
    counts = totals(watch)
    assert (counts["checkouts"]["ok"], counts["checkins"], counts["detached"]) == (2, 1, 1)
    assert counts["closed"]["detached"] == 1
    assert now(watch)["open"] == 1
    assert valid(watch.status())["histograms"]["use_duration_seconds"]["count"] == 2


def test_detaching_while_others_wait_keeps_the_counts_right(make):
    engine, watch = make(pool_size=1, max_overflow=0, pool_timeout=20)

    def work():
        for _ in range(10):
            connection = engine.connect()
            connection.detach()
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    counts = totals(watch)
    assert (counts["checkouts"]["ok"], counts["detached"], counts["checkins"]) == (40, 40, 0)
    assert (counts["connects"], counts["closed"]["detached"], counts["disconnects"]) == (40, 40, 40)
    assert as_the_pool_says(engine, watch)["open"] == 0


def test_a_record_taken_before_the_event_of_its_detach(make):
    engine, watch = make(pool_size=1, max_overflow=0, pool_timeout=5)
    first = engine.connect()
    put_back, taken = engine.pool._do_return_conn, []

    def slow(record):
        put_back(record)
        thread = threading.Thread(target=lambda: taken.append(engine.connect()))
        thread.start()
        thread.join()

    engine.pool._do_return_conn = slow
    first.detach()
    del engine.pool._do_return_conn
    state, counts = as_the_pool_says(engine, watch), totals(watch)
    assert (state["checked_out"], state["open"], len(valid(watch.status())["holders"])) == (1, 1, 1)
    assert (counts["detached"], counts["checkins"], counts["closed"]["abandoned"]) == (1, 0, 0)
    taken[0].close()
    first.close()
    counts = totals(watch)
    assert (counts["checkins"], counts["closed"]["detached"], counts["disconnects"]) == (1, 1, 1)
    assert as_the_pool_says(engine, watch)["open"] == 1


def test_what_is_held_over_a_dispose_is_retired(make):
    engine, watch = make(pool_size=2)
    before, idle = engine.connect(), engine.connect()
    idle.close()
    engine.dispose()
    after = engine.connect()
    state = as_the_pool_says(engine, watch)
    assert (state["checked_out"], state["retired"], state["open"]) == (1, 1, 1)
    assert len(valid(watch.status())["holders"]) == 2
    before.close()
    assert now(watch)["retired"] == 0
    after.close()
    del before, idle
    gc.collect()
    counts = totals(watch)
    assert (counts["closed"]["disposed"], counts["closed"]["abandoned"]) == (1, 1)
    assert (counts["connects"], counts["disconnects"], now(watch)["open"]) == (3, 2, 1)


def test_dispose_again_and_again_while_threads_work(make):
    engine, watch = make(pool_size=3, max_overflow=2, pool_timeout=20)
    done = threading.Event()
    ok = []

    def work():
        while not done.is_set():
            with engine.connect() as connection:
                connection.execute(text("SELECT 1"))
            ok.append(1)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        time.sleep(0.03)
        engine.dispose()
    done.set()
    for thread in threads:
        thread.join(20)
    counts = totals(watch)
    assert counts["checkouts"]["ok"] == len(ok) == counts["checkins"]
    gc.collect()
    state = as_the_pool_says(engine, watch)
    assert (state["checked_out"], state["retired"], state["waiting"]) == (0, 0, 0)
    counts = totals(watch)
    assert counts["connects"] - counts["disconnects"] == state["open"]


def test_a_connect_listener_that_fails_leaves_no_open_connection_behind(make):
    engine, watch = make(pool_size=2)

    @event.listens_for(engine, "connect")
    def refuse(connection, record):
        raise RuntimeError("not this one")

    for _ in range(3):
        with pytest.raises(RuntimeError):
            engine.connect()
    event.remove(engine, "connect", refuse)
    engine.connect().close()
    gc.collect()
    state = as_the_pool_says(engine, watch)
    assert (state["open"], state["idle"]) == (1, 1)
    counts = totals(watch)
    assert counts["checkouts"] == {"ok": 1, "timeout": 0, "error": 3, "cancelled": 0}
    assert counts["connects"] - counts["disconnects"] == 1


def test_a_connect_listener_that_fails_at_a_reconnect(make):
    engine, watch = make(pool_size=1, max_overflow=0)
    with engine.connect() as connection:
        connection.invalidate()

    @event.listens_for(engine, "connect")
    def refuse(connection, record):
        raise RuntimeError("not this one")

    with pytest.raises(RuntimeError):
        engine.connect()
    event.remove(engine, "connect", refuse)
    engine.connect().close()
    state, counts = as_the_pool_says(engine, watch), totals(watch)
    assert (state["open"], state["idle"]) == (1, 1)
    assert counts["connects"] - counts["disconnects"] == 1


def test_a_checkout_listener_that_fails_is_an_error_and_no_holder(make):
    engine, watch = make(pool_size=1, max_overflow=0)

    @event.listens_for(engine, "checkout")
    def refuse(connection, record, proxy):
        raise RuntimeError("not now")

    with pytest.raises(RuntimeError):
        engine.connect()
    event.remove(engine, "checkout", refuse)
    counts = totals(watch)
    assert (counts["checkouts"]["error"], counts["checkouts"]["ok"], counts["checkins"]) == (1, 0, 0)
    assert as_the_pool_says(engine, watch)["checked_out"] == 0


def test_a_forgotten_connection_is_returned_by_the_garbage_collector(make):
    engine, watch = make(pool_size=1)
    engine.raw_connection()
    gc.collect()
    counts = totals(watch)
    assert (counts["checkouts"]["ok"], counts["checkins"]) == (1, 1)
    assert as_the_pool_says(engine, watch)["checked_out"] == 0


def test_the_holders_are_the_oldest_with_their_callers(make):
    engine, watch = make(pool_size=5, watched={"holders": 2, "callers": True})
    first = engine.connect()
    time.sleep(0.1)
    rest = [engine.connect() for _ in range(3)]
    holders = valid(watch.status())["holders"]
    assert len(holders) == 2
    assert holders[0]["age_seconds"] >= 0.1 > holders[1]["age_seconds"]
    assert holders[0]["module"] == __name__
    assert holders[0]["function"] == "test_the_holders_are_the_oldest_with_their_callers"
    line = holders[0]["line"]
    with open(__file__) as source:
        assert source.read().split("\n")[line - 1].strip() == "first = engine.connect()"
    for connection in [first, *rest]:
        connection.close()
    assert valid(watch.status())["holders"] == []


def open_session(engine):
    return engine.connect()


def test_callers_can_be_skipped_by_module(make):
    engine, watch = make(watched={"callers": [__name__]})
    with open_session(engine):
        holder = valid(watch.status())["holders"][0]
    assert holder["module"] != __name__


def test_without_callers_no_code_is_named(make):
    engine, watch = make()
    with engine.connect():
        assert list(valid(watch.status())["holders"][0]) == ["age_seconds"]


def test_slow_queries_are_counted(make):
    engine, watch = make(watched={"slow_query_seconds": 0.1})
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
        connection.execute(text("SELECT pg_sleep(0.15)"))
    queries = valid(watch.status())["queries"]
    assert (queries["count"], queries["slow"], queries["slow_threshold_seconds"]) == (2, 1, 0.1)
    assert 0.15 <= queries["sum_seconds"] < 2
    assert watch.status()["metrics"]["performance"]["slow_queries"] == 1


def test_an_error_while_fetching_is_not_a_second_statement(make):
    engine, watch = make()
    statement = text("SELECT 1 / (900 - n) FROM generate_series(1, 1000) AS n")
    with engine.connect().execution_options(stream_results=True) as connection:
        result = connection.execute(statement)
        assert valid(watch.status())["queries"]["count"] == 1
        with pytest.raises(sqlalchemy.exc.DBAPIError):
            result.fetchall()
    assert valid(watch.status())["queries"]["count"] == 1


def test_queries_can_be_left_alone(make):
    engine, watch = make(watched={"queries": False})
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    status = watch.status()
    assert "queries" not in valid(status)
    assert list(status["metrics"]["performance"]) == ["avg_connection_time_ms"]


def test_an_unlimited_pool_has_no_maximum(make):
    engine, watch = make(pool_size=2, max_overflow=-1)
    held = [engine.connect() for _ in range(4)]
    limits = valid(watch.status())["limits"]
    assert limits["max_overflow"] == -1 and "max_connections" not in limits
    assert as_the_pool_says(engine, watch)["overflow"] == 2
    for connection in held:
        connection.close()


@pytest.mark.skipif(VERSION < (2, 0), reason="in 1.4 a size of 0 does not lift the limit on overflow")
def test_a_size_of_zero_means_no_limit(make):
    engine, watch = make(pool_size=0)
    held = [engine.connect() for _ in range(3)]
    limits = valid(watch.status())["limits"]
    assert (limits["size"], limits["max_overflow"]) == (0, -1)
    state = as_the_pool_says(engine, watch)
    assert (state["checked_out"], state["overflow"]) == (3, 0)
    for connection in held:
        connection.close()
    assert as_the_pool_says(engine, watch)["idle"] == 3


def test_a_null_pool_has_no_size_and_no_waits(make):
    engine, watch = make(poolclass=NullPool)
    with engine.connect():
        status = watch.status()
        extension = valid(status)
        assert extension["now"] == {"open": 1, "connecting": 0, "retired": 0, "checked_out": 1, "idle": 0}
    assert status["metrics"]["connections"] == {"active": 1, "idle": 0, "total": 1, "failed": 0}
    assert status["pool_config"] == {"recycle": -1, "pre_ping": False}
    extension = valid(watch.status())
    assert extension["limits"] == {}
    assert sorted(extension["histograms"]) == ["connect_duration_seconds", "use_duration_seconds"]
    assert extension["totals"]["closed"]["returned"] == 1
    assert extension["now"]["open"] == 0


def test_a_static_pool_shows_only_its_connection(make):
    engine, watch = make(poolclass=StaticPool)
    with engine.connect(), engine.connect():
        pass
    status = watch.status()
    extension = valid(status)
    assert extension["now"] == {"open": 1, "connecting": 0}
    assert extension["limits"] == {} and "holders" not in extension and "checkins" not in extension["totals"]
    assert list(extension["histograms"]) == ["connect_duration_seconds"]
    assert status["metrics"]["connections"] == {"total": 1, "failed": 0}
    assert status["metrics"]["events"] == {"checkouts": 2, "connects": 1, "disconnects": 0}
    engine.dispose()
    assert totals(watch)["closed"]["disposed"] == 1


def test_saturated_threads_are_told_exactly(make):
    """Random work with errors and time-outs: at the end every sum is the application's own."""
    engine, watch = make(pool_size=3, max_overflow=2, pool_timeout=0.05)
    seen = {"ok": 0, "timeout": 0}
    lock, waiting = threading.Lock(), [0]
    wrong = []

    def work(seed):
        chance = random.Random(seed)
        for _ in range(60):
            with lock:
                waiting[0] += 1
            try:
                connection = engine.connect()
            except PoolTimeout:
                result = "timeout"
            else:
                result = "ok"
            with lock:
                waiting[0] -= 1
                seen[result] += 1
            if result == "timeout":
                continue
            if chance.random() < 0.1:
                connection.invalidate()
            else:
                connection.execute(text("SELECT pg_sleep(%f)" % (chance.random() / 50)))
            connection.close()

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(16)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        state = now(watch)
        if state["waiting"] > 16 or state["checked_out"] > 5 or state["oldest_wait_seconds"] > 5:
            wrong.append(state)
        time.sleep(0.005)
    assert wrong == []
    counts = totals(watch)
    assert counts["checkouts"] == {"error": 0, "cancelled": 0, **seen}
    assert seen["timeout"] > 0 and seen["ok"] > 100
    assert counts["checkins"] == seen["ok"]
    state = as_the_pool_says(engine, watch)
    assert (state["waiting"], state["checked_out"]) == (0, 0)
    assert counts["connects"] - counts["disconnects"] == state["open"]
    histograms = valid(watch.status())["histograms"]
    assert histograms["checkout_wait_seconds"]["count"] == seen["ok"] + seen["timeout"]
    assert histograms["use_duration_seconds"]["count"] == seen["ok"]


def test_a_name_is_checked_and_belongs_to_one_engine(make):
    engine, watch = make(name="one")
    import db_pool_status

    assert db_pool_status.watch(engine, name="one") is watch
    assert db_pool_status.watch(engine.execution_options(stream_results=True), name="one") is watch
    assert db_pool_status.status("one")["db_pool_status"]["application"] == "one"
    with pytest.raises(ValueError, match="another engine"):
        make(name="one")
    for bad in ("", "a/b", "../x", ".hidden", "x" * 65, "a b", "a\n"):
        with pytest.raises(ValueError, match="allowed"):
            db_pool_status.watch(engine, name=bad)


def test_other_engines_are_not_touched(make, cluster):
    engine, watch = make()
    other = sqlalchemy.create_engine(cluster.url())
    other.connect().close()
    assert totals(watch)["checkouts"]["ok"] == 0
    assert QueuePool.connect is type(engine.pool).connect
    other.dispose()


def test_a_closed_watch_leaves_the_pool_as_it_was(make):
    engine, watch = make(pool_size=1)
    engine.connect().close()
    watch.close()
    pool = engine.pool
    assert not {"connect", "recreate", "dispose"} & set(vars(pool)) and "get" not in vars(pool._pool)
    engine.connect().close()
    engine.dispose()
    engine.connect().close()
    assert totals(watch)["checkouts"]["ok"] == 1


def test_connections_from_before_the_watch_are_counted_once_they_are_used(cluster):
    import db_pool_status

    engine = sqlalchemy.create_engine(cluster.url(), pool_size=2)
    held = engine.connect()
    engine.connect().close()
    watch = db_pool_status.watch(engine, name="late")
    try:
        held.close()
        with engine.connect():
            assert as_the_pool_says(engine, watch)["open"] == 1
        counts = totals(watch)
        assert (counts["checkouts"]["ok"], counts["checkins"], counts["connects"]) == (1, 1, 0)
    finally:
        watch.close()
        engine.dispose()
