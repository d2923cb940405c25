# SPDX-License-Identifier: Apache-2.0
"""Backends that fail in every way: whoever can be answered is, and nothing is left behind."""

import asyncio
import contextlib
import signal
import socket
import threading
import time

import pytest
import websockets

from lbtest import (
    GOOD_101,
    HOST,
    SLOW,
    Echo,
    ask,
    connect,
    free_port,
    hole,
    http_conf,
    in_thread,
    recv_all,
    recv_exact,
    recv_head,
    reset,
    run,
    status_of,
    upgrade_request,
    wait_for,
    ws_ask,
    ws_close_all,
    ws_open,
    ws_open_many,
)

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


# ---- one kind at a time, a crowd of clients ------------------------------------------------------


def answer_half(s):
    recv_head(s)
    s.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgr")
    recv_all(s)


def answer_byte_by_byte(s):
    """Never silent for long, and never whole."""
    recv_head(s)
    for byte in b"HTTP/1.1 101 Switching Protocols\r\nX: " + b"x" * 10000:
        s.sendall(bytes([byte]))
        time.sleep(0.05)


def die(s):
    recv_head(s)
    s.sendall(b"HTTP/1.1 101 Sw")
    reset(s)


KINDS = {
    "never answers": (recv_all, 504, "response_timeout"),
    "answers half a head": (answer_half, 504, "response_timeout"),
    "answers a byte at a time": (answer_byte_by_byte, 504, "response_timeout"),
    "resets at once": (reset, 502, None),
    "dies within its answer": (die, 502, None),
}


@pytest.mark.parametrize("serve, status, reason", KINDS.values(), ids=KINDS.keys())
def test_every_client_of_a_bad_backend_is_answered(lb, fake, port, serve, status, reason):
    n = 30
    proxy = lb(http_conf(port, [fake(serve).row()], retries=0, timeouts={"upgrade": "400ms"}))
    conns = [connect(port) for _ in range(n)]
    for s in conns:
        s.sendall(upgrade_request())
    for s in conns:
        assert status_of(recv_all(s)) == status
        s.close()
    proxy.wait_active(0)
    ends = proxy.ends()
    assert sum(ends.values()) == n
    if reason is not None:
        assert ends == {reason: n}
    row = proxy.backends()["f"]
    assert (row["active"], row["failed"]) == (0, n)


def test_among_bad_ones_the_good_one_is_found(lb, echo, port):
    """Some refuse, one does not accept: retries lead every client to the one that lives."""
    with hole() as back:
        (good,) = echo(1)
        rows = [("refuses", free_port()), ("refuses-too", free_port()), ("hole", back), good]
        proxy = lb(
            http_conf(port, rows, balance="round_robin", retries=3, timeouts={"connect": "200ms"})
        )

        async def body():
            conns = await ws_open_many(port, 60)
            texts = [f"{i}" for i in range(len(conns))]
            assert await asyncio.gather(*map(ws_ask, conns, texts)) == texts
            assert (await in_thread(proxy.active))[good.name] == 60
            await ws_close_all(conns)

        run(body())
        proxy.wait_active(0)
        rows = proxy.backends()
        assert all(b["active"] == 0 for b in rows.values())
        assert all(b["failed"] > 0 for name, b in rows.items() if name != good.name)
        assert set(proxy.ends()) <= {"client_closed", "backend_closed"}


# ---- a process that is killed --------------------------------------------------------------------


def test_a_killed_backend_is_told_to_all_and_comes_back(lb, echo, port, tmp_path):
    """50 tunnels on each of two: those of the killed one end, with their reason, the others do
    not notice; new ones go to the other until it is back."""
    e1, e2 = echo(2)
    health = {"type": "tcp", "interval": "100ms", "timeout": "1s", "rise": 1, "fall": 1}
    proxy = lb(http_conf(port, [e1, e2], health=health))
    proxy.wait_state("e1", "up")
    proxy.wait_state("e2", "up")
    again = []

    async def body():
        conns = await ws_open_many(port, 100)
        names = [ws.response_headers["X-Backend"] for ws in conns]
        assert names.count("e1") == 50
        of = {name: [c for c, n in zip(conns, names) if n == name] for name in ("e1", "e2")}
        e1.signal(signal.SIGKILL)
        for ws in of["e1"]:
            with pytest.raises(websockets.ConnectionClosedError):
                await asyncio.wait_for(ws.recv(), 10 * SLOW)
        for ws in of["e2"]:
            assert await ws_ask(ws, "here") == "here"
        ends = await in_thread(proxy.ends)
        assert ends.get("backend_closed", 0) + ends.get("backend_reset", 0) == 50
        assert sum(ends.values()) == 50
        more = await ws_open_many(port, 10)
        assert {ws.response_headers["X-Backend"] for ws in more} == {"e2"}

        again.append(await in_thread(Echo, "e1", tmp_path, e1.port))
        await in_thread(proxy.wait_state, "e1", "up")
        back = await ws_open_many(port, 60)
        assert (await in_thread(proxy.active)) == {"e1": 60, "e2": 60}
        await ws_close_all([*of["e2"], *more, *back])

    try:
        run(body())
        e1.wait()
        proxy.stop()
    finally:
        for e in again:
            e.kill()


def test_a_backend_killed_within_handshakes(lb, fake, echo, port):
    """Its clients are answered by it or with 502; nobody hangs, and a later one is served."""
    has_heads = threading.Semaphore(0)

    def serve(s):
        recv_head(s)
        has_heads.release()
        recv_all(s)

    b = fake(serve)
    proxy = lb(http_conf(port, [b.row()], retries=0))
    conns = [connect(port) for _ in range(20)]
    for s in conns:
        s.sendall(upgrade_request())
    for _ in conns:
        assert has_heads.acquire(timeout=10)
    for s in b.socks:
        s.shutdown(socket.SHUT_RDWR)
    for s in conns:
        assert status_of(recv_all(s)) == 502
        s.close()
    proxy.wait_active(0)
    assert proxy.ends() == {"bad_response": 20}
    proxy.reload_ok(http_conf(port, echo(1)))
    assert status_of(ask(port, GET)) == 200


# ---- flapping ------------------------------------------------------------------------------------


def test_a_backend_that_flaps_with_each_check(lb, fake, echo, port):
    """Every check says the opposite of the last. Requests go on being answered, tunnels stay on
    it, and its counters come back to 0."""
    n_checks = [0]

    def serve(s):
        head, _ = recv_head(s)
        if head.startswith(b"GET /health "):
            n_checks[0] += 1
            status = b"200 Up" if n_checks[0] % 2 else b"500 Down"
            s.sendall(b"HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n" % status)
        elif b"websocket" in head:
            s.sendall(GOOD_101)
            while data := s.recv(4096):
                s.sendall(data)
        else:
            s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Backend: f\r\n\r\n")

    b = fake(serve)
    health = {"type": "http", "path": "/health", "rise": 1, "fall": 1}
    health |= {"interval": "50ms", "timeout": "1s"}
    proxy = lb(http_conf(port, [b.row(), *echo(1)], balance="round_robin", health=health))
    tunnels = []
    while len(tunnels) < 5:
        s = connect(port)
        s.sendall(upgrade_request())
        head, _ = recv_head(s)
        assert status_of(head) == 101
        if b"X-Backend" in head:  # lb-echo
            s.close()
        else:
            tunnels.append(s)
    states, names = set(), set()
    end = time.monotonic() + 20 * SLOW
    while n_checks[0] < 40:
        assert time.monotonic() < end, "the checks have stopped"
        answer = ask(port, GET)
        assert status_of(answer) == 200
        names.add(b"X-Backend: f" in answer)
        states.add(proxy.backends()["f"]["state"])
    assert states >= {"up", "down"}
    assert names == {True, False}
    for s in tunnels:
        s.sendall(b"still here")
        assert recv_exact(s, 10) == b"still here"
        s.close()
    proxy.wait_active(0)
    assert proxy.active() == {"f": 0, "e1": 0}
    assert proxy.backends()["f"]["failed"] == 0


def test_a_listener_that_flaps_with_the_checks(lb, echo, port):
    """A backend that opens and closes its port at the pace of its checks, beside a good one. A
    request that reached a queue that was closed may get 502; every other one gets 200."""
    (good,) = echo(1)
    back = free_port()
    is_over = threading.Event()
    n_closes = [0]

    def flap():
        while not is_over.is_set():
            n_closes[0] += 1
            with socket.create_server((HOST, back), backlog=50) as listener:
                listener.settimeout(0.02)
                end = time.monotonic() + 0.1
                while time.monotonic() < end:
                    with contextlib.suppress(TimeoutError, ConnectionError):
                        s, _ = listener.accept()
                        with s:
                            s.settimeout(20 * SLOW)
                            if s.recv(65536):
                                s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            is_over.wait(0.1)

    health = {"type": "tcp", "interval": "100ms", "timeout": "500ms", "rise": 1, "fall": 1}
    thread = threading.Thread(target=flap)
    thread.start()
    try:
        proxy = lb(http_conf(port, [("flaps", back), good], balance="round_robin", health=health))
        got = []
        end = time.monotonic() + 2.5
        while time.monotonic() < end:
            got.append(status_of(ask(port, GET)))
        proxy.wait_active(0)
    finally:
        is_over.set()
        thread.join(10)
    assert set(got) <= {200, 502}
    assert got.count(502) <= n_closes[0], "one request at a time: a close meets one at most"
    assert 200 in got
    assert proxy.backends()["flaps"]["total"] > 0
    ends = proxy.ends()
    assert sum(ends.values()) == len(got)
    assert ends["completed"] == got.count(200)


def test_a_backend_that_vanishes_from_a_reload_and_dies_then(lb, echo, port):
    """Removed with tunnels on it, then killed: they end with their reason, and its row goes."""
    e1, e2 = echo(2)
    proxy = lb(http_conf(port, [e1]))

    async def body():
        conns = [await ws_open(port) for _ in range(10)]
        await in_thread(proxy.reload_ok, http_conf(port, [e2]))
        rows = await in_thread(proxy.backends)
        assert rows["e1"]["removed"] and rows["e1"]["active"] == 10
        e1.signal(signal.SIGKILL)
        for ws in conns:
            with pytest.raises(websockets.ConnectionClosedError):
                await asyncio.wait_for(ws.recv(), 10 * SLOW)

    run(body())
    e1.wait()
    proxy.wait_active(0)
    ends = proxy.ends()
    assert ends.get("backend_closed", 0) + ends.get("backend_reset", 0) == 10
    wait_for("the removed one's row to go", lambda: list(proxy.backends()) == ["e2"])
    assert status_of(ask(port, GET)) == 200
