# SPDX-License-Identifier: Apache-2.0
"""10,000 WebSockets at once: the admin socket shows all of them, and no worker stalls meanwhile."""

import contextlib
import json
import multiprocessing
import socket
import threading
import time

from lbtest import (
    ACCEPT,
    HOST,
    SLOW,
    connect,
    http_conf,
    recv_exact,
    recv_head,
    reset,
    status_of,
    upgrade_request,
    wait_for,
    ws_frame,
)

# Four processes, because a client's descriptors have a limit too; each has an address of its own.
CROWDS = ["127.0.0.11", "127.0.0.12", "127.0.0.21", "127.0.0.22"]
EACH = 2500
ALL = len(CROWDS) * EACH

# Seconds that an answer may take: no speed is promised here, only that nothing hangs.
PATIENCE = 10 * SLOW


class Crowd:
    """A process that opens WebSockets from `source`, holds them, and is told what to do next."""

    def __init__(self, port, path, source):
        ctx = multiprocessing.get_context("fork")
        self.pipe, child = ctx.Pipe()
        self.process = ctx.Process(target=self._run, args=(child, port, path, source), daemon=True)
        self.process.start()
        child.close()

    @staticmethod
    def _run(pipe, port, path, source):
        try:
            conns = open_all(port, path, source)
            pipe.send(len(conns))
            assert pipe.recv() == "echo"
            pipe.send(sum(1 for s in conns if is_echoed(s, b"still here")))
            assert pipe.recv() == "reset"
            for s in conns:
                reset(s)
            pipe.send("gone")
        except Exception as e:  # told to the test by ask()
            pipe.send(repr(e))

    def answer(self):
        assert self.pipe.poll(60 * SLOW), "a crowd does not answer"
        return self.pipe.recv()

    def kill(self):
        self.process.kill()
        self.process.join()
        self.pipe.close()


def open_all(port, path, source):
    """Whole handshakes, some at a time."""
    conns = []
    while len(conns) < EACH:
        part = []
        for _ in range(min(50, EACH - len(conns))):
            s = socket.create_connection((HOST, port), PATIENCE, source_address=(source, 0))
            s.sendall(upgrade_request(path))
            part.append(s)
        for s in part:
            head, rest = recv_head(s)
            assert status_of(head) == 101 and ACCEPT.encode() in head and rest == b"", head
        conns += part
    return conns


def is_echoed(s, payload):
    s.sendall(ws_frame(payload))
    want = ws_frame(payload, mask=b"")
    return recv_exact(s, len(want)) == want


class PingPong:
    """A thread that sends a message, awaits its echo and begins again: it fails if one is lost or
    takes longer than PATIENCE."""

    def __init__(self, port):
        self.sock = connect(port, timeout=PATIENCE)
        self.sock.sendall(upgrade_request())
        assert status_of(recv_head(self.sock)[0]) == 101
        self.n = 0
        self.failure = None
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        try:
            while not self.is_over.wait(0.005):
                assert is_echoed(self.sock, b"ping %d" % self.n), "another message came back"
                self.n += 1
        except (OSError, AssertionError) as e:  # told to the test by goes_on()
            self.failure = e

    def goes_on(self):
        """Awaits three more round trips."""
        was = self.n
        wait_for(
            "the ping-pong to go on",
            lambda: self.n >= was + 3 or self.failure,
            timeout=3 * PATIENCE / SLOW,
        )
        assert self.failure is None, repr(self.failure)

    def close(self):
        self.is_over.set()
        self.thread.join(2 * PATIENCE)
        self.sock.close()


def one_on_each_worker(proxy, port, stack):
    """Ping-pongs until every worker has one."""
    pings = []
    while not all(w["active"] for w in proxy.stats()["workers"]):
        assert len(pings) < 60, "the kernel gives a worker nothing"
        pings.append(PingPong(port))
        stack.callback(pings[-1].close)
    return pings


def ids(rows):
    got = [r["id"] for r in rows]
    assert len(set(got)) == len(got), "an id twice"
    return set(got)


def check_conns(proxy, n_pings):
    """`conns`: every connection has its row, and each filter keeps exactly what it names."""
    rows = proxy.conns(limit=ALL + 1000)
    assert len(ids(rows)) == ALL + n_pings
    assert {r["state"] for r in rows} == {"relay"}
    assert len({r["client"] for r in rows}) == ALL + n_pings

    def of(source):
        return {r["id"] for r in rows if r["client"].rsplit(":", 1)[0] == source}

    by_source = {source: of(source) for source in CROWDS}
    assert [len(x) for x in by_source.values()] == [EACH] * len(CROWDS)
    first, second, third, fourth = by_source.values()

    assert len(ids(proxy.conns())) == 1000, "what help says"
    assert len(ids(proxy.conns(limit=7))) == 7
    assert ids(proxy.conns(limit=ALL, client=CROWDS[1])) == second
    assert ids(proxy.conns(limit=ALL, client="127.0.0.20/30")) == third | fourth
    assert ids(proxy.conns(limit=ALL, pool="q")) == third | fourth
    assert ids(proxy.conns(limit=ALL, pool="q", client=CROWDS[3])) == fourth
    assert ids(proxy.conns(limit=ALL, backend="e1", client="127.0.0.8/29")) == first | second
    assert ids(proxy.conns(limit=100, pool="q")) < third | fourth
    assert proxy.conns(limit=ALL, pool="q", client=CROWDS[0]) == []

    # Ages only grow: whoever was that old is so still.
    age = max(r["age_s"] for r in rows)
    old = proxy.conns(**{"limit": ALL + 1000, "min-age": f"{age}s"})
    assert all(r["age_s"] >= age for r in old)
    assert ids(old) >= {r["id"] for r in rows if r["age_s"] >= age}
    assert proxy.conns(**{"min-age": "1h"}) == []


def check_stats(proxy, n_pings):
    s = proxy.stats()
    assert (s["connections"]["active"], s["connections"]["handshaking"]) == (ALL + n_pings, 0)
    assert sum(w["active"] for w in s["workers"]) == ALL + n_pings
    assert s["listeners"][0]["active"] == ALL + n_pings
    pools = json.loads(proxy.command("backends json"))["pools"]
    for pool, name, n in zip(pools, ("e1", "e2"), (ALL // 2 + n_pings, ALL // 2), strict=True):
        (row,) = pool["backends"]
        assert (row["name"], row["active"], row["total"], pool["active"]) == (name, n, n, n)


def test_ten_thousand_are_listed_and_nobody_waits(lb, echo, port):
    e1, e2 = echo(2)
    conf = http_conf(port, [e1])
    conf["pools"].append({"name": "q", "backends": [{"name": e2.name, "address": e2.address}]})
    conf["listeners"][0]["routes"] = [{"path": "/q/*", "pool": "q"}]
    conf["log"] = {"level": "notice"}  # not a line for each
    proxy = lb(conf)

    with contextlib.ExitStack() as stack:
        pings = one_on_each_worker(proxy, port, stack)
        crowds = []
        for i, source in enumerate(CROWDS):
            crowds.append(Crowd(port, "/" if i < 2 else "/q/x", source))
            stack.callback(crowds[-1].kill)
        assert [c.answer() for c in crowds] == [EACH] * len(CROWDS)

        for check in (check_stats, check_conns, check_conns, check_stats):
            start = time.monotonic()
            check(proxy, len(pings))
            assert time.monotonic() - start < 4 * PATIENCE
            for p in pings:
                p.goes_on()

        for order, answer in (("echo", EACH), ("reset", "gone")):
            for c in crowds:
                c.pipe.send(order)
            assert [c.answer() for c in crowds] == [answer] * len(CROWDS)
        for p in pings:
            p.goes_on()

    proxy.wait_active(0, timeout=20)
    assert proxy.ends() == {"client_reset": ALL, "client_closed": len(pings)}
    assert proxy.conns(limit=ALL) == []
    assert {k: v for k, v in proxy.active().items() if v} == {}
