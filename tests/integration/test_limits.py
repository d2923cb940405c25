# SPDX-License-Identifier: Apache-2.0
"""limits.connections: exact, and it recovers by itself."""

import asyncio
import time

import pytest

from lbtest import http_conf, in_thread, run, wait_for, ws_ask, ws_close_all, ws_open, ws_open_many


@pytest.mark.parametrize("n_workers", [1, 4])
def test_the_limit_is_exact_and_recovers(lb, echo, port, n_workers):
    limit = 24
    conf = http_conf(port, echo(2))
    conf["workers"] = n_workers
    conf["limits"] = {"connections": limit}
    proxy = lb(conf)
    highest = []

    async def body():
        tasks = [asyncio.create_task(ws_open(port, open_timeout=30)) for _ in range(60)]
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            stats = await in_thread(proxy.stats)
            highest.append(stats["connections"]["active"])
            await asyncio.sleep(0.05)
        assert stats["connections"]["limit"] == limit
        done = [t for t in tasks if t.done()]
        assert len(done) == limit
        # Those who wait are let in as places fall free.
        waiting = [t for t in tasks if not t.done()]
        while waiting:
            await ws_close_all([t.result() for t in done])
            finished, rest = await asyncio.wait(
                waiting, timeout=5, return_when=asyncio.FIRST_COMPLETED
            )
            assert finished, "nobody who waited was let in"
            done, waiting = list(finished), list(rest)
        await ws_close_all([t.result() for t in done])

    run(body())
    assert max(highest) == limit
    proxy.wait_active(0)

    async def after():
        conns = await ws_open_many(port, limit)
        for ws in conns:
            assert await ws_ask(ws, "in") == "in"
        await ws_close_all(conns)

    run(after())


def test_reaching_the_limit_is_one_log_line(lb, echo, port):
    conf = http_conf(port, echo(1))
    conf["workers"] = 1
    conf["limits"] = {"connections": 5}
    proxy = lb(conf)

    async def body():
        conns = await ws_open_many(port, 5)
        task = asyncio.create_task(ws_open(port))
        await asyncio.sleep(0.3)
        assert not task.done()
        await ws_close_all(conns)
        await (await task).close()

    run(body())
    lines = [x for x in proxy.stderr().splitlines() if "limit" in x]
    wait_for("the line", lambda: [x for x in proxy.stderr().splitlines() if "limit" in x])
    assert len(lines) <= 2, lines


def test_a_reload_raises_the_limit(lb, echo, port):
    conf = http_conf(port, echo(1))
    conf["workers"] = 1
    conf["limits"] = {"connections": 5}
    proxy = lb(conf)

    async def body():
        conns = await ws_open_many(port, 5)
        task = asyncio.create_task(ws_open(port))
        await asyncio.sleep(0.2)
        assert not task.done()
        await in_thread(proxy.reload_ok, {**conf, "limits": {"connections": 10}})
        await ws_close_all([*conns, await asyncio.wait_for(task, 5)])

    run(body())
