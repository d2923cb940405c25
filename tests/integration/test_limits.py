# SPDX-License-Identifier: Apache-2.0
"""limits.connections: exact, and it recovers by itself."""

import asyncio
import contextlib
import selectors
import socket
import time

import pytest

from lbtest import (
    HOST,
    SLOW,
    http_conf,
    in_thread,
    run,
    tcp_conf,
    upgrade_request,
    wait_for,
    ws_ask,
    ws_close_all,
    ws_open,
    ws_open_many,
)


@pytest.mark.parametrize("n_workers", [1, 4])
def test_the_limit_is_exact_and_recovers(lb, echo, port, n_workers):
    limit = 24
    conf = http_conf(port, echo(2))
    conf["workers"] = n_workers
    conf["limits"] = {"connections": limit}
    proxy = lb(conf)
    highest = []

    async def body():
        tasks = [asyncio.create_task(ws_open(port, open_timeout=60 * SLOW)) for _ in range(60)]
        # Until as many as may are in, and then for a while in which nobody else is.
        late = time.monotonic() + 20 * SLOW
        end = None
        while end is None or time.monotonic() < end:
            stats = await in_thread(proxy.stats)
            highest.append(stats["connections"]["active"])
            await asyncio.sleep(0.05)
            assert time.monotonic() < late, f"{sum(t.done() for t in tasks)} are in"
            if end is None and sum(t.done() for t in tasks) >= limit:
                end = time.monotonic() + 0.8
        assert stats["connections"]["limit"] == limit
        done = [t for t in tasks if t.done()]
        assert len(done) == limit
        # Those who wait are let in as slots fall free.
        waiting = [t for t in tasks if not t.done()]
        while waiting:
            await ws_close_all([t.result() for t in done])
            finished, rest = await asyncio.wait(
                waiting, timeout=10 * SLOW, return_when=asyncio.FIRST_COMPLETED
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

    def lines():
        return [x for x in proxy.stderr().splitlines() if "not accepting" in x]

    wait_for("the line", lines)
    assert len(lines()) == 1, lines()


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
        await ws_close_all([*conns, await asyncio.wait_for(task, 10 * SLOW)])

    run(body())


class Crowd:
    """Clients that each want to be echoed to, and who of them is."""

    def __init__(self, stack, port):
        self.stack = stack
        self.port = port
        self.waiting = stack.enter_context(selectors.DefaultSelector())
        self.served = []

    def come(self, n):
        for _ in range(n):
            s = self.stack.enter_context(socket.create_connection((HOST, self.port), 30 * SLOW))
            s.sendall(upgrade_request())
            self.waiting.register(s, selectors.EVENT_READ)

    def look(self, seconds):
        """Who was answered within this time, or sooner, at the first."""
        for key, _ in self.waiting.select(seconds):
            assert key.fileobj.recv(4096).startswith(b"HTTP/1.1 101 ")
            self.waiting.unregister(key.fileobj)
            self.served.append(key.fileobj)

    def look_until(self, n):
        end = time.monotonic() + 30 * SLOW
        while len(self.served) < n:
            assert time.monotonic() < end, f"{len(self.served)} of {n} were served"
            self.look(1)

    def leave(self, n):
        for s in self.served[:n]:
            s.close()
        del self.served[:n]


AT_ONCE = 2 * 4096  # so many may come in one turn: within that of the limit each is counted


@pytest.mark.parametrize("by", ["limits.connections", "descriptors"])
def test_a_crowd_beyond_what_is_taken_at_once(lb, echo, port, by):
    """Far from the limit connections are taken in as they come, near it one by one: between the two
    none is lost, and the limit is exact, be it the file's or that of the descriptors."""
    conf = tcp_conf(port, echo(1))
    conf["workers"] = 1
    conf["log"] = {"level": "notice"}
    if by == "descriptors":
        proxy = lb(conf, nofile=2 * (AT_ONCE + 400))
    else:
        conf["limits"] = {"connections": AT_ONCE + 300}
        proxy = lb(conf)
    limit = proxy.stats()["connections"]["limit"]
    assert AT_ONCE + 100 < limit < AT_ONCE + 500

    with contextlib.ExitStack() as stack:
        crowd = Crowd(stack, port)
        for n in (limit - 1000, 1000, 400):  # the last ones find it full
            crowd.come(n)
            crowd.look_until(min(limit, len(crowd.served) + n))
        crowd.look(0.5)
        assert len(crowd.served) == limit
        assert proxy.stats()["connections"]["active"] == limit

        for _ in range(4):  # as many come in as leave
            crowd.leave(100)
            crowd.look_until(limit)
            assert proxy.stats()["connections"]["active"] == limit
        assert not crowd.waiting.get_map()
    proxy.wait_active(0, timeout=20)
    assert proxy.stats()["connections"]["total"] == limit + 400
