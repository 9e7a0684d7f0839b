"""The cost of a check-out with and without db_pool_status, in one run.

    .cache/pool-status/2.1/bin/python benches/python/checkout.py [ROUNDS]

It checks out and returns a connection of a pool that is already open, without any server: the driver is a stub, so
that what is measured is Python code alone and a microsecond shows. Both engines take turns in short blocks, so that a
machine that is slow for a while is slow for both. The clock is the thread's CPU time: what other programs take away
is not a cost of ours. Still, each switch to another program leaves cold caches, 10 to 20 microseconds, and on a busy
machine more than one check-out in a hundred meets one: the p99 of all check-outs then shows the machine. "Quiet p99"
is therefore that of the quiet blocks: each block's p99, and of these the one a tenth of the way up. It leaves out
what is bad by chance, so both are printed, with the load. The limit is on the quiet one, for what watch() does by
default; on a machine with nothing else to do the p99 of all has to keep it too.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import time
from pathlib import Path

import sqlalchemy
from sqlalchemy.pool import AsyncAdaptedQueuePool, QueuePool
from sqlalchemy.util import greenlet_spawn

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "integrations/python"))

from db_pool_status import watch

LIMIT = 20e-6
BLOCK = 500


class Connection:
    """A driver's connection that does nothing."""

    def rollback(self) -> None:
        pass

    def close(self) -> None:
        pass


class Engine:
    """As much of an engine as watch() needs without a server."""

    def __init__(self, pool_class: type[QueuePool]) -> None:
        self.pool = pool_class(Connection, pool_size=5, max_overflow=0)


def times(pool: QueuePool, count: int) -> list[float]:
    clock, taken = time.thread_time, []
    for _ in range(count):
        started = clock()
        connection = pool.connect()
        connection.close()
        taken.append(clock() - started)
    return taken


def measure(pools: dict[str, QueuePool], rounds: int) -> dict[str, list[list[float]]]:
    result: dict[str, list[list[float]]] = {name: [] for name in pools}
    for pool in pools.values():
        times(pool, BLOCK)
    for _ in range(rounds):
        for name, pool in pools.items():
            result[name].append(sorted(times(pool, BLOCK)))
    return result


def typical(blocks: list[list[float]], percent: float) -> float:
    return sorted(block[int(BLOCK * percent / 100)] for block in blocks)[len(blocks) // 10]


def overall(blocks: list[list[float]], percent: float) -> float:
    values = sorted(value for block in blocks for value in block)
    return values[int(len(values) * percent / 100)]


def report(title: str, pools: dict[str, QueuePool], rounds: int) -> bool:
    gc.collect()
    result = measure(pools, rounds)
    base = [typical(result["without"], percent) for percent in (50, 99)]
    print(f"{title}, SQLAlchemy {sqlalchemy.__version__}, {rounds * BLOCK} check-outs each (microseconds)")
    for name, blocks in result.items():
        p50, p99 = (typical(blocks, percent) for percent in (50, 99))
        every = overall(blocks, 99)
        print(
            f"  {name:13} p50 {p50 * 1e6:6.2f} ratio {p50 / base[0]:5.2f}"
            f"   quiet p99 {p99 * 1e6:6.2f} ratio {p99 / base[1]:5.2f} more {(p99 - base[1]) * 1e6:+6.2f}"
            f"   p99 of all {every * 1e6:6.2f} more {(every - overall(result['without'], 99)) * 1e6:+6.2f}"
        )
    return typical(result["with"], 99) - base[1] < LIMIT


def pools_of(pool_class: type[QueuePool]) -> dict[str, QueuePool]:
    bare, watched, callers = (Engine(pool_class) for _ in range(3))
    name = pool_class.__name__
    watch(watched, name=f"{name}-watched", queries=False)
    watch(callers, name=f"{name}-callers", queries=False, callers=True)
    return {"without": bare.pool, "with": watched.pool, "with callers": callers.pool}


def main() -> int:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    good = report("QueuePool", pools_of(QueuePool), rounds)

    async def asynchronous() -> bool:
        pools = pools_of(AsyncAdaptedQueuePool)
        return bool(await greenlet_spawn(report, "AsyncAdaptedQueuePool", pools, rounds))

    good = asyncio.run(asynchronous()) and good
    print("load average %.1f:" % os.getloadavg()[0], end=" ")
    print("less than 20 us more at the quiet p99" if good else "MORE than 20 us more at the quiet p99")
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
