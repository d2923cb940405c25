# SPDX-License-Identifier: Apache-2.0
"""What lb's memory does after a peak, and what lb does when memory is short."""

import contextlib
import multiprocessing
import os
import re
import resource
import selectors
import socket
import threading
import time
from pathlib import Path

import pytest

from lbtest import (
    HOST,
    LB,
    SHADOWED,
    SLOW,
    WRAP,
    connect,
    free_port,
    http_conf,
    recv_exact,
    recv_head,
    status_of,
    tcp_conf,
    upgrade_request,
    wait_for,
    ws_frame,
)

# Four processes, because descriptors have a limit: each has clients and is a backend.
N_CROWDS = 4
EACH = 2500
ALL = N_CROWDS * EACH

IN_FLIGHT = 80 << 10  # of each connection: 64 KiB, and what the kernel's own buffers take of it
MIB = 1 << 20

# Sanitizers and valgrind have memory of their own beside lb's.
IS_MEASURED = not (SHADOWED or WRAP or b"__asan_init" in LB.read_bytes())

# An idle loop gives memory back after a second.
IDLE = 2.5

# Seconds that nothing may hang for; no speed is promised here.
PATIENCE = 60 * SLOW

BLOCK = os.urandom(IN_FLIGHT) * 2


def stream_of(number, start, n):
    """`n` bytes of what the client of this number sends, from `start`."""
    at = (number * 61 + start) % IN_FLIGHT
    return memoryview(BLOCK)[at : at + n]


class Reader:
    """A backend: it greets each client, then reads nothing until it is told to read on."""

    def __init__(self, listener):
        self.listener = listener
        self.n_whole = 0
        self.failure = None
        self.selector = selectors.DefaultSelector()
        self.greeted = []  # [socket, its client's number, bytes taken]
        self.is_reading = threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        try:
            self.selector.register(self.listener, selectors.EVENT_READ)
            while not self.is_reading.is_set():
                for key, _ in self.selector.select(0.05):
                    self._greet(key)
            for conn in self.greeted:
                conn[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
                self.selector.register(conn[0], selectors.EVENT_READ, conn)
            while True:
                for key, _ in self.selector.select():
                    self._take(key.data)
        except Exception as e:  # told to the test by Crowd
            self.failure = e

    def _greet(self, key):
        if key.fileobj is self.listener:
            s, _ = self.listener.accept()
            self.selector.register(s, selectors.EVENT_READ)
            return
        s = key.fileobj
        self.selector.unregister(s)
        number = recv_exact(s, 4)
        s.sendall(number)
        self.greeted.append([s, int.from_bytes(number, "big"), 0])

    def _take(self, conn):
        s, number, n = conn
        data = s.recv(IN_FLIGHT - n or 1)
        assert data and data == stream_of(number, n, len(data)), f"{number}: wrong behind {n}"
        conn[2] += len(data)
        self.n_whole += conn[2] == IN_FLIGHT


class Crowd:
    """A process with EACH clients of lb and one of its backends; it does what it is told."""

    def __init__(self, port, first):
        ctx = multiprocessing.get_context("fork")
        self.address = (HOST, free_port())
        self.pipe, child = ctx.Pipe()
        args = (child, port, self.address, first)
        self.process = ctx.Process(target=self._run, args=args, daemon=True)
        self.process.start()
        child.close()

    @staticmethod
    def _run(pipe, port, address, first):
        try:
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # Its peer's send buffer is made for segments of this size: a few KiB, not MiB.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            listener.bind(address)
            listener.listen(4096)
            reader = Reader(listener)
            conns = []
            pipe.send("listening")
            while (order := pipe.recv()) != "end":
                if order == "open":
                    conns = open_all(port, first)
                elif order == "fill":
                    fill_all(conns, first)
                elif order == "read":
                    reader.is_reading.set()
                    wait_for(
                        "every byte",
                        lambda: reader.failure or reader.n_whole == len(reader.greeted),
                        timeout=PATIENCE / SLOW,
                    )
                assert reader.failure is None, repr(reader.failure)
                pipe.send(order)
        except Exception as e:  # told to the test by answer()
            pipe.send(repr(e))

    def answer(self):
        assert self.pipe.poll(2 * PATIENCE), "a crowd does not answer"
        return self.pipe.recv()

    def kill(self):
        self.process.kill()
        self.process.join()
        self.pipe.close()


def open_all(port, first):
    """EACH connections, greeted by their backends: each was used in both directions."""
    conns = []
    while len(conns) < EACH:
        part = []
        for _ in range(50):
            s = socket.socket()
            s.settimeout(PATIENCE)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            s.connect((HOST, port))
            number = (first + len(conns) + len(part)).to_bytes(4, "big")
            s.sendall(number)
            part.append((s, number))
        for s, number in part:
            assert recv_exact(s, 4) == number
        conns += [s for s, _ in part]
    return conns


def fill_all(conns, first):
    """IN_FLIGHT bytes into each, all of them at once; nobody reads them."""
    end = time.monotonic() + PATIENCE
    selector = selectors.DefaultSelector()
    for number, s in enumerate(conns, first):
        s.setblocking(False)
        selector.register(s, selectors.EVENT_WRITE, [number, 0])
    while selector.get_map():
        assert time.monotonic() < end, f"{len(selector.get_map())} cannot send all"
        for key, _ in selector.select(1):
            number, n = key.data
            with contextlib.suppress(BlockingIOError):
                n += key.fileobj.send(stream_of(number, n, IN_FLIGHT - n))
            key.data[1] = n
            if n == IN_FLIGHT:
                selector.unregister(key.fileobj)


class Idlers(Crowd):
    """A process with WebSockets that have each echoed a message, and then say nothing."""

    def __init__(self, port, n):
        ctx = multiprocessing.get_context("fork")
        self.pipe, child = ctx.Pipe()
        self.process = ctx.Process(target=self._run, args=(child, port, n), daemon=True)
        self.process.start()
        child.close()

    @staticmethod
    def _run(pipe, port, n):
        try:
            conns = [ws_connect(port) for _ in range(n)]
            for s in conns:
                assert outcome_of(s, PATIENCE) == 101
                echo_through(s, 100)
            pipe.send("echoed")
            pipe.recv()
        except Exception as e:  # told to the test by answer()
            pipe.send(repr(e))


def tell(crowds, order):
    """Has all of them do something at the same time."""
    for c in crowds:
        c.pipe.send(order)
    assert [c.answer() for c in crowds] == [order] * len(crowds)


def rollup_of(pid, name):
    """One sum over all of a process's mappings, in bytes."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.search(rf"^{name}:\s+(\d+) kB", text, re.M)[1]) << 10


def pss_of(pid):
    """Bytes of memory that are this process's own, shared pages divided by who shares them."""
    return rollup_of(pid, "Pss")


def anonymous_of(pid):
    """Bytes of memory that no file is behind. Other processes of lb do not change the figure."""
    return rollup_of(pid, "Anonymous")


def forget_peak(pid):
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak_of(pid):
    """The most bytes that were resident since forget_peak()."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"^VmHWM:\s+(\d+) kB", text, re.M)[1]) << 10


def as_small_as(before, proxy):
    """Whether lb's size comes back to within 20 % of what it was; a second of idleness and more."""
    wait_for(
        f"{before / MIB:.1f} MiB and a fifth",
        lambda: pss_of(proxy.pid) <= 1.2 * before,
        timeout=20,
        every=0.5,
    )


@pytest.fixture
def crowds(port):
    with contextlib.ExitStack() as stack:
        got = []
        for i in range(N_CROWDS):
            got.append(Crowd(port, i * EACH))
            stack.callback(got[-1].kill)
        assert [c.answer() for c in got] == ["listening"] * N_CROWDS
        yield got


def conf_of(port, crowds, **pool):
    conf = tcp_conf(port, [(f"b{i}", c.address[1]) for i, c in enumerate(crowds)], **pool)
    return conf | {"log": {"level": "notice"}}  # not a line for each


@pytest.mark.parametrize("splice", ["never", "auto"])
def test_a_peak_leaves_nothing_behind(lb, crowds, port, splice):
    """10,000 connections with 64 KiB in flight each, which nobody reads, then all of it is read."""
    proxy = lb(conf_of(port, crowds, relay={"splice": splice}))
    tell(crowds, "open")
    time.sleep(IDLE)
    before = pss_of(proxy.pid)

    forget_peak(proxy.pid)
    tell(crowds, "fill")
    peak = peak_of(proxy.pid)
    if IS_MEASURED:
        # Two workers' ceilings (16 MiB each), and what those may have who hold nothing.
        assert before + 16 * MIB < peak < before + 40 * MIB + ALL * (8 << 10), peak / MIB

    tell(crowds, "read")
    assert proxy.stats()["connections"]["active"] == ALL
    if IS_MEASURED:
        as_small_as(before, proxy)
    for c in crowds:
        c.kill()
    proxy.wait_active(0, timeout=20)


# ---- idle WebSockets -----------------------------------------------------------------------------

N_IDLE = 8000

# What docs/performance.md sets as its aim; epoll keeps notes of each descriptor beside that.
IDLE_BYTES = {"io_uring": 400, "epoll": 500}


@contextlib.contextmanager
def echoed(port, n):
    """So many WebSockets, each of which has echoed a message."""
    with contextlib.ExitStack() as stack:
        crowds = []
        for _ in range(N_CROWDS):
            crowds.append(Idlers(port, n // N_CROWDS))
            stack.callback(crowds[-1].kill)
        assert [c.answer() for c in crowds] == ["echoed"] * N_CROWDS
        yield


@pytest.mark.skipif(not IS_MEASURED, reason="sanitizers and valgrind have memory of their own")
def test_an_idle_websocket_takes_a_few_hundred_bytes(lb, engine, echo, port):
    """Of lb's own memory: each has echoed a message, then lb was idle for more than a second."""
    proxy = lb(http_conf(port, echo(2)) | {"log": {"level": "notice"}})
    with echoed(port, 100):  # what is there once, for all of them
        pass
    proxy.wait_active(0, timeout=20)
    time.sleep(IDLE)
    before = anonymous_of(proxy.pid)
    with echoed(port, N_IDLE):
        assert proxy.stats()["connections"]["active"] == N_IDLE
        wait_for(
            f"{IDLE_BYTES[engine]} B each",
            lambda: anonymous_of(proxy.pid) - before <= N_IDLE * IDLE_BYTES[engine],
            timeout=20,
            every=0.5,
        )
    proxy.wait_active(0, timeout=20)


# ---- when memory is short ------------------------------------------------------------------------

N_HELD = 100
N_MORE = 3000  # more than fit into what the workers' slabs have left


def ws_connect(port):
    s = connect(port, timeout=PATIENCE)
    s.sendall(upgrade_request())
    return s


def echo_through(s, n):
    payload = os.urandom(n)
    s.sendall(ws_frame(payload))
    want = ws_frame(payload, mask=b"")
    assert recv_exact(s, len(want)) == want


def outcome_of(s, timeout):
    """The status of the answer; 0: closed without one; None: it waits."""
    s.settimeout(timeout)
    try:
        return status_of(recv_head(s)[0])
    except TimeoutError:
        return None
    except ConnectionError:
        return 0


def used_of(pid, what):
    """Bytes that count against a limit, by the name in /proc/PID/status."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"^{what}:\s+(\d+) kB", text, re.M)[1]) << 10


@pytest.mark.skipif(not IS_MEASURED, reason="sanitizers and valgrind need memory of their own")
@pytest.mark.parametrize(
    "limit, what", [(resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData")]
)
def test_without_memory_the_old_are_served_and_the_new_wait(lb, echo, port, limit, what):
    """lb gets no more memory from one moment to the next, then it gets some again."""
    proxy = lb(http_conf(port, echo(2)) | {"log": {"level": "notice"}})
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(ws_connect(port)) for _ in range(N_HELD)]
        assert [outcome_of(s, PATIENCE) for s in held] == [101] * N_HELD

        resource.prlimit(proxy.pid, limit, (used_of(proxy.pid, what), resource.RLIM_INFINITY))
        more = [stack.enter_context(ws_connect(port)) for _ in range(N_MORE)]
        for n in (10, 5000, 300_000):
            for s in held:
                echo_through(s, n)
        assert proxy.is_running()

        resource.prlimit(proxy.pid, limit, (resource.RLIM_INFINITY,) * 2)
        outcomes = [outcome_of(s, PATIENCE) for s in more]
        taken, ends = proxy.stats()["listeners"][0], proxy.ends()
        assert set(outcomes) <= {101, 503, 0} and outcomes.count(101) > 0
        assert set(ends) <= {"no_backend"}, ends
        n_refused = N_MORE - outcomes.count(101)
        n_counted = taken["rejected"] + ends.get("no_backend", 0)  # or in both, for its answer
        assert n_refused <= n_counted, (n_refused, taken, ends)
        lines = [x for x in proxy.stderr().splitlines() if "not accepting" in x]
        assert 1 <= len(lines) <= 2, lines  # one of each worker
        assert all('reason="out of memory"' in x for x in lines)

        for s in held:
            echo_through(s, 10)
        new = stack.enter_context(ws_connect(port))
        assert outcome_of(new, PATIENCE) == 101
        echo_through(new, 300_000)
