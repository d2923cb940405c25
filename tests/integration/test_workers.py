# SPDX-License-Identifier: Apache-2.0
"""Workers: the kernel spreads connections over them, and each has a descriptor table of its own."""

import asyncio

import pytest

from lbtest import fds_by_task, http_conf, in_thread, run, ws_ask, ws_close_all, ws_open_many


@pytest.mark.parametrize("n_workers", [1, 8])
def test_workers_share_the_connections(lb, echo, port, n_workers):
    conf = http_conf(port, echo(2))
    conf["workers"] = n_workers
    proxy = lb(conf)

    async def body():
        conns = await ws_open_many(port, 200)
        for i, ws in enumerate(conns):
            assert await ws_ask(ws, f"{i}") == f"{i}"
        stats = await in_thread(proxy.stats)
        active = [w["active"] for w in stats["workers"]]
        assert len(active) == n_workers
        assert sum(active) == 200
        assert sum(w["accepted"] for w in stats["workers"]) == 200
        # A fair hash leaves one of eight without any of 200 in one of 10^11 runs.
        assert all(active), active
        # lb's own ports at the backends come from the kernel; picks know nothing of workers.
        assert sorted((await in_thread(proxy.active)).values()) == pytest.approx(
            [100, 100], abs=max(0, n_workers - 1)
        )
        await ws_close_all(conns)

    run(body())


def test_more_connections_than_one_table_holds(lb, echo, port):
    """RLIMIT_NOFILE is per worker: four of them hold more WebSockets than the limit's number, each
    with two descriptors."""
    limit = 400
    conf = http_conf(port, echo(2))
    conf["workers"] = 4
    proxy = lb(conf, nofile=limit)

    async def body():
        conns = await ws_open_many(port, limit + 50, at_once=25)
        assert (await in_thread(proxy.stats))["connections"]["active"] == limit + 50
        tables = await in_thread(fds_by_task, proxy.pid)
        assert sum(tables.values()) > 2 * limit
        assert max(tables.values()) < limit
        answers = await asyncio.gather(*(ws_ask(ws, "here") for ws in conns))
        assert answers == ["here"] * len(conns)
        await ws_close_all(conns)

    run(body())


def test_a_full_table_makes_clients_wait(lb, echo, port):
    """Descriptors run out: the kernel's queue holds what comes, and it is served later."""
    conf = http_conf(port, echo(1))
    conf["workers"] = 1
    proxy = lb(conf, nofile=100)

    async def body():
        tasks = [asyncio.create_task(ws_open_many(port, 1)) for _ in range(80)]
        done, waiting = await asyncio.wait(tasks, timeout=1.5)
        assert 20 <= len(done) < 50
        assert waiting
        while waiting:
            await ws_close_all([c for t in done for c in t.result()])
            done, waiting = await asyncio.wait(
                waiting, timeout=5, return_when=asyncio.FIRST_COMPLETED
            )
            assert done, "nobody who waited was served"
        await ws_close_all([c for t in done for c in t.result()])

    run(body())
    assert proxy.is_running()
