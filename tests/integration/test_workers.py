# SPDX-License-Identifier: Apache-2.0
"""Workers: the kernel spreads connections over them, and each has a descriptor table of its own."""

import asyncio
import random
import time

import pytest
import websockets

from lbtest import (
    SLOW,
    fds_by_task,
    free_port,
    http_conf,
    in_thread,
    run,
    ws_ask,
    ws_close_all,
    ws_open,
    ws_open_many,
)


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
        tasks = [
            asyncio.create_task(ws_open_many(port, 1, open_timeout=60 * SLOW)) for _ in range(80)
        ]
        done, waiting = set(), set(tasks)
        end = time.monotonic() + 20 * SLOW
        while True:  # until nobody else is served
            more, waiting = await asyncio.wait(waiting, timeout=1.5)
            done |= more
            if not more and len(done) >= 20:
                break
            assert time.monotonic() < end, f"{len(done)} are served"
        assert len(done) < 50
        while waiting:
            await ws_close_all([c for t in done for c in t.result()])
            done, waiting = await asyncio.wait(
                waiting, timeout=10 * SLOW, return_when=asyncio.FIRST_COMPLETED
            )
            assert done, "nobody who waited was served"
        await ws_close_all([c for t in done for c in t.result()])

    run(body())
    assert proxy.is_running()


# With so few open files a worker holds some 30 to 50 connections, and the kernel's hash hardly ever
# gives each of them the same number.
FEW = 140


def limit_of(proxy):
    return proxy.stats()["connections"]["limit"]


@pytest.mark.parametrize("n_workers", [2, 4])
def test_every_slot_of_every_worker_is_used(lb, echo, port, n_workers):
    """As many are served as all workers hold together, though the first was full long before; one
    more waits until somebody leaves."""
    conf = http_conf(port, echo(2))
    conf["workers"] = n_workers
    proxy = lb(conf, nofile=FEW)
    limit = limit_of(proxy)
    assert limit % n_workers == 0
    assert 20 * n_workers < limit < FEW // 2 * n_workers

    async def body():
        conns = await ws_open_many(port, limit, at_once=25)
        assert await asyncio.gather(*(ws_ask(ws, "in") for ws in conns)) == ["in"] * limit
        stats = await in_thread(proxy.stats)
        assert [w["active"] for w in stats["workers"]] == [limit // n_workers] * n_workers
        assert stats["listeners"][0]["active"] == limit
        assert stats["counters"]["accept_handoff_lost"] == 0
        clients = {row["client"] for row in await in_thread(lambda: proxy.conns(limit=limit))}
        assert clients == {"%s:%d" % ws.local_address[:2] for ws in conns}

        late = asyncio.create_task(ws_open(port, open_timeout=30 * SLOW))
        done, _ = await asyncio.wait([late], timeout=0.5)
        assert not done, "more than there are slots"
        await conns.pop().close()
        conns.append(await late)
        assert await ws_ask(conns[-1], "late") == "late"
        await ws_close_all(conns)

    run(body())


async def come_and_go(port, n):
    """`n` times: a WebSocket that is opened, asked and closed."""
    for i in range(n):
        ws = await ws_open(port, open_timeout=30 * SLOW)
        assert await ws_ask(ws, f"{i}") == f"{i}"
        await asyncio.sleep(random.random() / 50)
        await ws.close()


def test_full_workers_lose_nobody(lb, echo, port):
    """More clients than slots come and go, while reloads rename the listener, and add and remove
    another one: everybody is served."""
    conf = http_conf(port, echo(2))
    conf["workers"] = 4
    proxy = lb(conf, nofile=FEW)
    n_clients, rounds = limit_of(proxy) + 10, 6

    async def reload_meanwhile(clients):
        for i in range(4):
            conf["listeners"][0]["name"] = f"l{i}"
            conf["listeners"][1:] = [
                {"name": "more", "bind": f"127.0.0.1:{other}", "mode": "tcp", "pool": "p"}
                for other in [free_port()]
                if i % 2 == 0
            ]
            await in_thread(proxy.reload_ok, conf)
            await asyncio.sleep(0.1)
        await clients

    async def body():
        await reload_meanwhile(
            asyncio.gather(*(come_and_go(port, rounds) for _ in range(n_clients)))
        )

    run(body())
    proxy.wait_active(0)
    counters = proxy.stats()["counters"]
    assert counters["accept_handed_off"] > 0
    # The old names, for one release.
    assert counters["accept_passed"] == counters["accept_handed_off"]
    assert counters["accept_strays"] == counters["accept_handoff_lost"]
    ends = proxy.ends()
    assert sum(ends.values()) == n_clients * rounds
    assert ends.keys() <= {"client_closed", "backend_closed"}


def test_a_stop_while_workers_are_full(lb, echo, port):
    """Everybody who was served is heard of, everybody else is refused, and lb ends in time."""
    conf = http_conf(port, echo(2))
    conf["workers"] = 4
    proxy = lb(conf, nofile=FEW)
    limit = limit_of(proxy)
    n_served = 0

    async def stay():
        nonlocal n_served
        ws = await ws_open(port, open_timeout=30 * SLOW)
        assert await ws_ask(ws, "in") == "in"
        n_served += 1
        await ws.wait_closed()

    async def body():
        clients = [asyncio.create_task(stay()) for _ in range(limit + 40)]
        while n_served < limit // 2:
            await asyncio.sleep(0.001)
            assert not any(c.done() for c in clients)
        await in_thread(proxy.stop)
        results = await asyncio.gather(*clients, return_exceptions=True)
        assert sum(r is None for r in results) == n_served
        refused = [r for r in results if r is not None]
        assert all(
            isinstance(r, (OSError, EOFError, websockets.exceptions.WebSocketException))
            for r in refused
        ), refused

    run(body())
