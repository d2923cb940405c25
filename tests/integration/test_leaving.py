# SPDX-License-Identifier: Apache-2.0
"""Clients of plain requests that close before their response is over: the backend is told at once,
and the reason is the client's. Who only half-closes has its response, as long as bytes move."""

import socket
import threading
import time

import pytest

from lbtest import (
    SLOW,
    connect,
    fields_of,
    http_conf,
    recv_all,
    recv_exact,
    recv_head,
    status_of,
)

MIB = 1 << 20
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nwhole"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Silent:
    """A backend that says something when it has a request, and then waits for the end."""

    def __init__(self, says=b""):
        self.says = says
        self.is_asked = threading.Event()
        self.has_ended = threading.Event()

    def __call__(self, s):
        head, rest = recv_head(s)
        n = int(dict(fields_of(head)).get("content-length", 0))
        recv_exact(s, n - len(rest))
        s.sendall(self.says)
        self.is_asked.set()
        try:
            recv_all(s)
        finally:
            self.has_ended.set()


@pytest.mark.parametrize("request_", [GET, POST], ids=["get", "post"])
@pytest.mark.parametrize("says", [b"", HEAD + b"x" * 9], ids=["awaited", "begun"])
def test_who_closes_is_gone(lb, fake, port, request_, says):
    """With nothing unread, so that it is a FIN."""
    backend = Silent(says)
    proxy = lb(http_conf(port, [fake(backend).row()]))
    with connect(port) as s:
        s.sendall(request_)
        assert backend.is_asked.wait(10 * SLOW)
        if says:
            _, rest = recv_head(s)
            recv_exact(s, 9 - len(rest))
    assert backend.has_ended.wait(5 * SLOW)
    proxy.wait_active(0)
    assert proxy.ends() == {"client_closed": 1}
    assert proxy.backends()["f"]["failed"] == 0


def test_who_closes_after_a_silence_is_gone(lb, fake, port):
    """Nothing has moved for a while: nothing more has to be waited for."""
    backend = Silent()
    proxy = lb(http_conf(port, [fake(backend).row()]))
    with connect(port) as s:
        s.sendall(GET)
        assert backend.is_asked.wait(10 * SLOW)
        time.sleep(1 * SLOW)
    proxy.wait_end("client_closed")


def test_who_leaves_a_response_that_goes_on_is_gone(lb, fake, port):
    """Its kernel answers the next bytes with a reset."""
    has_ended = threading.Event()

    def serve(s):
        recv_head(s)
        s.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while True:
                s.sendall(b"x")
                time.sleep(0.05)
        except ConnectionError:
            has_ended.set()

    proxy = lb(http_conf(port, [fake(serve).row()]))
    with connect(port) as s:
        s.sendall(GET)
        recv_head(s)
    assert has_ended.wait(5 * SLOW)
    proxy.wait_active(0)
    assert proxy.ends().keys() <= {"client_closed", "client_reset"}


@pytest.mark.parametrize("request_", [GET, POST], ids=["get", "post"])
def test_who_half_closes_has_its_response(lb, fake, port, request_):
    def serve(s):
        recv_head(s)
        s.sendall(OK)
        recv_all(s)

    proxy = lb(http_conf(port, [fake(serve).row()]))
    for _ in range(20):
        with connect(port) as s:
            s.sendall(request_)
            s.shutdown(socket.SHUT_WR)
            assert recv_all(s).endswith(b"\r\n\r\nok")
    proxy.wait_active(0)
    assert proxy.ends() == {"completed": 20}


def test_who_half_closes_has_a_long_response(lb, fake, port):
    """It lasts for longer than a silence may."""

    def serve(s):
        recv_head(s)
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n")
        for _ in range(20):
            s.sendall(b"xx")
            time.sleep(0.05)
        recv_all(s)

    proxy = lb(http_conf(port, [fake(serve).row()]))
    with connect(port) as s:
        s.sendall(GET)
        s.shutdown(socket.SHUT_WR)
        head, rest = recv_head(s)
        assert status_of(head) == 200
        assert rest + recv_all(s) == b"x" * 40
    proxy.wait_active(0)
    assert proxy.ends() == {"completed": 1}


def test_who_half_closes_and_reads_slowly_has_its_response(lb, fake, port):
    n = 8 * MIB

    def serve(s):
        recv_head(s)
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % n + b"x" * n)
        recv_all(s)

    proxy = lb(http_conf(port, [fake(serve).row()]))
    with connect(port, 20) as s:
        s.sendall(GET)
        s.shutdown(socket.SHUT_WR)
        head, rest = recv_head(s)
        got = len(rest)
        for _ in range(3):
            time.sleep(1)
            got += len(s.recv(1 << 16))
        assert got + len(recv_all(s)) == n
    proxy.wait_active(0)
    assert proxy.ends() == {"completed": 1}
