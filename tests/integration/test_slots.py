# SPDX-License-Identifier: Apache-2.0
"""max_connections and who comes next: a slot is free when its connection is over for the client,
who may open the next one before lb has seen both ends of the last. Who finds no slot is told so."""

import contextlib
import threading
import time

import pytest

from lbtest import (
    GOOD_101,
    SLOW,
    ask,
    connect,
    http_conf,
    is_reset,
    recv_all,
    recv_exact,
    recv_head,
    status_of,
    tcp_conf,
    upgrade_request,
)

N = 300
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Counting:
    """How many connections a backend has at once, as it sees it: from the first byte to the end."""

    def __init__(self, serve):
        self.serve = serve
        self.lock = threading.Lock()
        self.n = self.most = 0

    def __call__(self, s):
        with self.lock:
            self.n += 1
            self.most = max(self.most, self.n)
        try:
            self.serve(s)
        finally:
            with self.lock:
                self.n -= 1


def conf_of(port, backend, mode, workers, limit=1):
    row = backend.row() | {"max_connections": limit}
    conf = (tcp_conf if mode == "tcp" else http_conf)(port, [row])
    conf["workers"] = workers
    return conf


def echoes(s):
    """To the end of the client's stream."""
    while data := s.recv(4096):
        s.sendall(data)


def answers_and_closes(s):
    s.sendall(recv_exact(s, 4))


WORKERS = [1, 2]


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("serve", [echoes, answers_and_closes], ids=["client", "backend"])
def test_one_after_another_in_mode_tcp(lb, fake, port, serve, workers):
    """Whoever closes first."""
    b = fake(serve)
    proxy = lb(conf_of(port, b, "tcp", workers))
    for _ in range(N):
        with connect(port) as s:
            s.sendall(b"ping")
            assert recv_exact(s, 4) == b"ping"
            if serve is answers_and_closes:
                assert recv_all(s) == b""
    proxy.wait_active(0)
    assert proxy.backends()["f"]["total"] == N
    assert "no_backend" not in proxy.ends()


@pytest.mark.parametrize("workers", WORKERS)
def test_one_request_after_another(lb, fake, port, workers):
    def serve(s):
        recv_head(s)
        s.sendall(OK)
        recv_all(s)

    proxy = lb(conf_of(port, fake(serve), "http", workers))
    for _ in range(N):
        assert status_of(ask(port, GET)) == 200
    proxy.wait_active(0)
    assert proxy.ends() == {"completed": N}


@pytest.mark.parametrize("workers", WORKERS)
def test_one_websocket_after_another(lb, fake, port, workers):
    def serve(s):
        recv_head(s)
        s.sendall(GOOD_101)
        recv_all(s)

    proxy = lb(conf_of(port, fake(serve), "http", workers))
    for _ in range(N):
        with connect(port) as s:
            s.sendall(upgrade_request())
            assert status_of(recv_head(s)[0]) == 101
    proxy.wait_active(0)
    assert "no_backend" not in proxy.ends()


@pytest.mark.parametrize("workers", WORKERS)
def test_no_backend_has_one_too_many(lb, fake, port, workers):
    """The one that waits gets the slot when the backend's side has closed, not before."""
    counting = Counting(echoes)
    lb(conf_of(port, fake(counting), "tcp", workers, limit=3))

    def client():
        for _ in range(40):
            with connect(port) as s:
                s.sendall(b"ping")
                recv_exact(s, 4)

    threads = [threading.Thread(target=client) for _ in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(30 * SLOW)
    assert counting.most == 3


def test_who_finds_no_slot_is_told_so(lb, fake, port):
    """After a while, in which its request waits. The connection that has the slot goes on."""

    def serve(s):
        recv_head(s)
        s.sendall(GOOD_101)
        echoes(s)

    proxy = lb(conf_of(port, fake(serve), "http", 1))
    with connect(port) as first:
        first.sendall(upgrade_request())
        assert status_of(recv_head(first)[0]) == 101
        began = time.monotonic()
        answer = ask(port, GET)
        assert status_of(answer) == 503
        assert b"\r\nRetry-After: " in answer
        assert time.monotonic() - began >= 0.2
        first.sendall(b"still")
        assert recv_exact(first, 5) == b"still"
    proxy.wait_end("no_backend")


def test_who_finds_no_slot_in_mode_tcp_is_reset(lb, fake, port):
    proxy = lb(conf_of(port, fake(echoes), "tcp", 1))
    with connect(port) as first:
        first.sendall(b"ping")
        assert recv_exact(first, 4) == b"ping"
        with connect(port) as s:
            assert is_reset(s)
    proxy.wait_end("no_backend")


def test_who_waits_may_leave(lb, fake, port):
    """An upgrade that waits for a slot and is given up takes none."""

    def serve(s):
        recv_head(s)
        s.sendall(GOOD_101)
        recv_all(s)

    b = fake(serve)
    proxy = lb(conf_of(port, b, "http", 1))
    with connect(port) as first:
        first.sendall(upgrade_request())
        assert status_of(recv_head(first)[0]) == 101
        with connect(port) as s:
            s.sendall(upgrade_request())
        proxy.wait_end("client_closed")
    proxy.wait_active(0)
    assert b.n_accepted == 1


def ask_in_order(port):
    """One holds the slot while three others come; each gets it when the one before has left."""
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(connect(port))
        first.sendall(b"0")
        assert recv_exact(first, 1) == b"0"
        others = [stack.enter_context(connect(port)) for _ in range(3)]
        for i, s in enumerate(others):
            s.sendall(b"%d" % i)
        first.close()
        for i, s in enumerate(others):
            assert recv_exact(s, 1) == b"%d" % i
            s.close()


def test_slots_are_given_in_order(lb, fake, port):
    """Of those that wait on a worker the first gets the slot that comes free."""
    proxy = lb(conf_of(port, fake(echoes), "tcp", 1))
    for _ in range(5):  # lb waits 250 ms for a slot: less than a busy machine may take for all
        try:
            ask_in_order(port)
            return
        except (ConnectionResetError, BrokenPipeError):
            proxy.wait_active(0)
    pytest.fail("no slot came free in time")
