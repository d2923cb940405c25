# SPDX-License-Identifier: Apache-2.0
"""A thousand peers on one worker that do not read: memory is bounded, the others are served, and
whoever reads again gets every byte."""

import asyncio
import re
import selectors
import socket
import threading
import time

import pytest

from lbtest import (
    GOOD_101,
    HOST,
    SHADOWED,
    SLOW,
    ask,
    free_port,
    http_conf,
    in_thread,
    recv_exact,
    recv_head,
    run,
    status_of,
    upgrade_request,
    wait_for,
    ws_ask,
    ws_close_all,
    ws_frame,
    ws_open_many,
)

N = 1000
KIB = 1 << 10
MIB = 1 << 20

# What a direction that proves bulk may hold (relay.buffer's default is 64 KiB; lb.yaml(5)).
BULK = 512 * KIB
# For each connection's records and its handshake's buffers, and for what a worker keeps.
RECORD = 8 * KIB
SLACK = 16 * MIB
# What a worker may keep after a peak: its pool's soft ceiling, and as much in chunks of which one
# buffer is still in use.
KEPT = 32 * MIB

# What a flood says, over and over: a long frame, then short ones.
FLOOD = b"".join(ws_frame(bytes([i]) * n, mask=b"") for i, n in enumerate((100000, 3, 0, 5000)))


def pss_of(pid):
    """The process's own share of memory, in bytes."""
    with open(f"/proc/{pid}/smaps_rollup") as f:
        return int(re.search(r"^Pss:\s+(\d+) kB", f.read(), re.M)[1]) * KIB


class Flooder:
    """A backend in one thread: answers upgrades, then says FLOOD as long as bytes are taken."""

    def __init__(self):
        self.port = free_port()
        self.listener = socket.create_server((HOST, self.port), backlog=N)
        self.listener.setblocking(False)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.socks = set()
        self.error = None
        self.is_over = False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        try:
            while not self.is_over:
                for key, _ in self.selector.select(0.1):
                    if key.fileobj is self.listener:
                        self._accept()
                    else:
                        self._talk(key)
        except Exception as e:  # told to the test by close()
            self.error = e

    def _accept(self):
        s, _ = self.listener.accept()
        s.setblocking(False)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32 * KIB)
        self.socks.add(s)
        self.selector.register(s, selectors.EVENT_READ, [b"", 0])

    def _talk(self, key):
        s, state = key.fileobj, key.data
        try:
            if key.events == selectors.EVENT_READ:
                state[0] += s.recv(4096)
                if not state[0].endswith(b"\r\n\r\n"):
                    return
                s.send(GOOD_101)
                self.selector.modify(s, selectors.EVENT_WRITE, state)
            else:
                state[1] = (state[1] + s.send(FLOOD[state[1] :])) % len(FLOOD)
        except BlockingIOError:
            pass
        except ConnectionError:
            self.selector.unregister(s)
            self.socks.discard(s)
            s.close()

    def close(self):
        self.is_over = True
        self.thread.join(10)
        for s in [self.listener, *self.socks]:
            s.close()
        self.selector.close()
        assert self.error is None, repr(self.error)


def conf_of(port, flooder, echo, splice):
    """/flood and /echo, on one worker."""
    conf = http_conf(port, [])
    conf["workers"] = 1
    conf["listeners"][0].pop("pool")
    conf["listeners"][0]["routes"] = [
        {"path": "/flood", "pool": "flood"},
        {"path": "/push", "pool": "push"},
        {"path": "/echo", "pool": "echo"},
    ]
    pushed, others = echo
    relay = {"splice": splice}
    conf["pools"] = [
        {"name": "flood", "backends": [f"{HOST}:{flooder}"], "relay": relay},
        {
            "name": "push",
            "backends": [pushed.address],
            "relay": relay,
            "timeouts": {"half_closed": "1s"},
        },
        {"name": "echo", "backends": [others.address], "relay": relay},
    ]
    return conf


def open_small(port, path):
    """A WebSocket in a raw socket whose receive buffer is small. Its segments are small too, or the
    kernel would take most of a megabyte for it before lb has to hold a byte."""
    s = socket.socket()
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1000)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.settimeout(20 * SLOW)
    s.connect((HOST, port))
    s.sendall(upgrade_request(path))
    return s


def settle(probe):
    """Waits until `probe`, a count of bytes, rises by less than one for each of the crowd."""
    last = [None]

    def is_still():
        now = probe()
        was, last[0] = last[0], now
        return was is not None and now - was < N

    wait_for("bytes to stop moving", is_still, timeout=30, every=0.4)


async def ask_others(port, proxy, n_rounds=10):
    """Ten WebSockets beside the crowd are answered, and so is the admin socket."""
    conns = await ws_open_many(port, 10, "/echo")
    for i in range(n_rounds):
        texts = [f"{i} {j} " * 500 for j in range(len(conns))]
        assert await asyncio.gather(*map(ws_ask, conns, texts)) == texts
        assert (await in_thread(proxy.stats))["connections"]["active"] == N + len(conns)
    await ws_close_all(conns)


def bytes_moved(proxy):
    rows = [b for p in proxy.stats()["pools"] for b in p["backends"]]
    return sum(b["bytes_in"] + b["bytes_out"] for b in rows)


def wait_given_back(proxy, port, base):
    """Memory is given back step by step by the turns of the loop, so there must be some."""
    if SHADOWED:
        return

    def probe():
        for _ in range(50):
            ask(port, b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n")
        return pss_of(proxy.pid) < base + KEPT

    wait_for("memory to be given back", probe, timeout=20)


@pytest.fixture
def flooder():
    f = Flooder()
    try:
        yield f
    finally:
        f.close()


@pytest.mark.parametrize("splice", ["always", "never"])
def test_a_thousand_stopped_readers(flooder, lb, echo, port, splice):
    """Their backend never stops talking. What lb holds is within N times a direction's bound, and
    when some read again what they get has no gap."""
    proxy = lb(conf_of(port, flooder.port, echo(2), splice))
    base = pss_of(proxy.pid)
    crowd = []
    try:
        crowd += [open_small(port, "/flood") for _ in range(N)]
        proxy.wait_active(N, timeout=20)
        settle(lambda: bytes_moved(proxy))
        held = pss_of(proxy.pid) - base
        assert held < N * (BULK + RECORD) + SLACK, f"{held / N:.0f} bytes each"
        run(ask_others(port, proxy))
        for s in crowd[:: N // 20]:
            head, rest = recv_head(s)
            assert status_of(head) == 101
            want = FLOOD * 10
            assert rest + recv_exact(s, len(want) - len(rest)) == want
    finally:
        for s in crowd:
            s.close()
    proxy.wait_active(0, timeout=20)
    ends = proxy.ends()
    assert sum(ends.values()) == N + 10
    assert ends.keys() <= {"client_closed", "client_reset", "backend_closed"}, ends
    wait_given_back(proxy, port, base)


def push(s, frame, at):
    """Sends frames, the first from the offset `at` on, until no more is taken; returns how many
    bytes were."""
    n = 0
    try:
        while True:
            n += s.send(frame[(at + n) % len(frame) :])
    except BlockingIOError:
        return n


def test_a_thousand_who_push_and_never_read(flooder, lb, echo, port):
    """An echoing backend that is not read stops reading: both directions of each are full. When the
    clients reset, their last bytes can not be delivered to it, and half_closed ends the wait."""
    proxy = lb(conf_of(port, flooder.port, echo(2), "never"))
    base = pss_of(proxy.pid)
    frame = ws_frame(b"p" * 20000)
    crowd = []
    try:
        crowd += [open_small(port, "/push") for _ in range(N)]
        for s in crowd:
            assert status_of(recv_head(s)[0]) == 101
            s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * KIB)
            s.setblocking(False)
        proxy.wait_active(N, timeout=20)
        pushed = [0] * N

        def push_more():
            for i, s in enumerate(crowd):
                pushed[i] += push(s, frame, pushed[i])

        held = 0
        for _ in range(8):
            push_more()
            held = max(held, pss_of(proxy.pid) - base)
            time.sleep(0.2)
        assert min(pushed) > 256 * KIB  # lb has read beyond what quiet directions may hold
        assert held < 2 * N * (BULK + RECORD) + SLACK, f"{held / N:.0f} bytes each"
        run(ask_others(port, proxy))
    finally:
        for s in crowd:
            s.close()
    proxy.wait_active(0, timeout=20)
    wait_given_back(proxy, port, base)
