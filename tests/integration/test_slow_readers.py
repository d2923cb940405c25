# SPDX-License-Identifier: Apache-2.0
"""Peers that read slowly but never stop: what waits in lb's kernel for them drains for longer than a
timeout, and what they acknowledge counts as moved. Who takes nothing is ended all the same."""

import os
import socket
import threading
import time
from pathlib import Path

import pytest

from lbtest import (
    SLOW,
    connect,
    http_conf,
    recv_all,
    recv_exact,
    recv_head,
    status_of,
    tcp_conf,
    wait_for,
)

MIB = 1 << 20
SOME = 16 * MIB  # the kernel takes a part of it at once, and a slow reader's share is less

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def ms(n):
    return f"{int(n * SLOW)}ms"


def read_slowly(s, n):
    """Reads 2,000 bytes every 5 ms for 4 s, then the rest as it comes; returns how many bytes came
    of the `n` that are expected."""
    got = 0
    end = time.monotonic() + 4 * SLOW
    while got < n:
        is_slow = time.monotonic() < end
        part = s.recv(2000 if is_slow else 1 << 16)
        if not part:
            return got
        got += len(part)
        if is_slow:
            time.sleep(0.005)
    return got


@pytest.fixture(autouse=True, scope="module")
def large_buffers():
    """The kernel gives a socket megabytes at once, as it does once it knows a way that is fast. Who is
    not root has no network of its own, and goes by what there is."""
    path = Path("/proc/sys/net/ipv4/tcp_wmem")
    if os.geteuid() != 0:
        yield
        return
    was = path.read_text()
    path.write_text("4096 4194304 4194304\n")
    yield
    path.write_text(was)


SPLICES = ["always", "never"]


@pytest.mark.parametrize("splice", SPLICES)
def test_a_tunnel_that_is_read_slowly_is_not_idle(lb, fake, port, splice):
    def serve(s):
        s.sendall(b"x" * SOME)
        recv_all(s)

    row = fake(serve).row()
    proxy = lb(tcp_conf(port, [row], timeouts={"idle": ms(1000)}, relay={"splice": splice}))
    with connect(port, 20) as s:
        assert read_slowly(s, SOME) == SOME
        s.shutdown(socket.SHUT_WR)
        assert recv_all(s) == b""
    proxy.wait_active(0)
    assert proxy.ends() == {"client_closed": 1}


@pytest.mark.parametrize("splice", SPLICES)
def test_a_half_closed_tunnel_that_is_read_slowly_goes_on(lb, fake, port, splice):
    def serve(s):
        assert recv_all(s) == b"all?"
        s.sendall(b"x" * SOME)

    row = fake(serve).row()
    proxy = lb(tcp_conf(port, [row], timeouts={"half_closed": ms(1000)}, relay={"splice": splice}))
    with connect(port, 20) as s:
        s.sendall(b"all?")
        s.shutdown(socket.SHUT_WR)
        assert read_slowly(s, SOME) == SOME
        assert recv_all(s) == b""
    proxy.wait_active(0)
    assert proxy.ends() == {"client_closed": 1}


def test_a_tunnel_whose_backend_reads_slowly_is_not_idle(lb, fake, port):
    got = []

    def serve(s):
        got.append(read_slowly(s, SOME))

    row = fake(serve).row()
    proxy = lb(tcp_conf(port, [row], timeouts={"idle": ms(1000)}))
    with connect(port, 20) as s:
        s.sendall(b"x" * SOME)
        assert recv_all(s) == b""
    assert got == [SOME]
    proxy.wait_active(0)
    assert proxy.ends() == {"backend_closed": 1}


def test_a_response_that_is_read_slowly_is_whole(lb, fake, port):
    def serve(s):
        recv_head(s)
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SOME + b"x" * SOME)
        recv_all(s)

    proxy = lb(http_conf(port, [fake(serve).row()], timeouts={"body": ms(1000)}))
    with connect(port, 20) as s:
        s.sendall(GET)
        head, rest = recv_head(s)
        assert len(rest) + read_slowly(s, SOME - len(rest)) == SOME
    proxy.wait_active(0)
    assert proxy.ends() == {"completed": 1}


def test_a_reader_may_pause_for_longer_than_a_body(lb, fake, port):
    """As curl --limit-rate does: it takes much at once, and nothing until that is its share."""

    def serve(s):
        recv_head(s)
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SOME + b"x" * SOME)
        recv_all(s)

    proxy = lb(http_conf(port, [fake(serve).row()], timeouts={"body": ms(2000)}))
    with connect(port, 20) as s:
        s.sendall(GET)
        head, rest = recv_head(s)
        time.sleep(3 * SLOW)
        assert len(rest) + len(recv_exact(s, SOME - len(rest))) == SOME
    proxy.wait_active(0)
    assert proxy.ends() == {"completed": 1}


@pytest.mark.parametrize("timeout, n", [("body", SOME), ("response", 2 * MIB)])
def test_an_upload_that_is_read_slowly_is_answered(lb, fake, port, timeout, n):
    """The body, or its rest, is out of lb long before the backend has it; until then no response is
    due."""

    def serve(s):
        _, rest = recv_head(s)
        got = len(rest) + read_slowly(s, n - len(rest))
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n%8d" % got)

    proxy = lb(http_conf(port, [fake(serve).row()], timeouts={timeout: ms(1000)}))
    with connect(port, 20) as s:
        s.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % n)
        s.sendall(b"x" * n)
        answer = recv_all(s)
    assert status_of(answer) == 200
    assert int(answer[-8:]) == n
    proxy.wait_active(0)
    assert proxy.ends() == {"completed": 1}


def test_an_upload_that_is_read_slowly_beside_its_response(lb, fake, port):
    """The response has begun, so that nothing else is waited for."""

    def serve(s):
        _, rest = recv_head(s)
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n")
        got = len(rest) + read_slowly(s, SOME - len(rest))
        s.sendall(b"%8d" % got)

    proxy = lb(http_conf(port, [fake(serve).row()], timeouts={"body": ms(1000)}))
    with connect(port, 20) as s:
        s.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % SOME)
        s.sendall(b"x" * SOME)
        answer = recv_all(s)
    assert int(answer[-8:]) == SOME
    proxy.wait_active(0)
    assert proxy.ends() == {"completed": 1}


# ---- who takes nothing ---------------------------------------------------------------------------


def stops(s):
    s.sendall(b"x" * 4 * SOME)


@pytest.mark.parametrize(
    "timeouts, is_half_closed, reason",
    [({"idle": 500}, False, "idle"), ({"half_closed": 500}, True, "half_closed")],
    ids=["idle", "half_closed"],
)
def test_who_stops_reading_is_quiet(lb, fake, port, timeouts, is_half_closed, reason):
    """It has read for a while before, and bytes wait for it: it is quiet from then on."""
    proxy = lb(
        tcp_conf(port, [fake(stops).row()], timeouts={k: ms(v) for k, v in timeouts.items()})
    )
    with connect(port, 20) as s:
        if is_half_closed:
            s.shutdown(socket.SHUT_WR)
        s.recv(2000)
        proxy.wait_end(reason)


def test_a_backend_that_stops_reading_an_upload_is_no_backend(lb, fake, port):
    go_on = threading.Event()

    def serve(s):
        recv_head(s)
        go_on.wait(20 * SLOW)

    proxy = lb(http_conf(port, [fake(serve).row()], timeouts={"body": ms(500)}))
    with connect(port) as s:
        s.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (64 * MIB))

        def send():
            try:
                s.sendall(b"x" * (64 * MIB))
            except OSError:
                pass

        t = threading.Thread(target=send)
        t.start()
        proxy.wait_end("response_timeout")
        go_on.set()
        assert status_of(recv_all(s)) == 504
        s.close()
        t.join(10)
    wait_for("the sender's end", lambda: not t.is_alive())
