# SPDX-License-Identifier: Apache-2.0
"""Links that lose, delay, double, reorder and cut: lb stands in a network namespace of its own, and
every packet from and to it, of clients and of backends, passes a link that the test rules. TCP
mends what such a link does; what is proven is that lb adds nothing to it: bytes are exact at the
end."""

import hashlib
import os
import socket
import subprocess
import sys
import threading
import time

import pytest

import lbtest
from lbtest import (
    GOOD_101,
    SLOW,
    http_conf,
    recv_exact,
    recv_head,
    status_of,
    upgrade_request,
    wait_for,
    ws_frame,
)

MIB = 1 << 20


class Link:
    """A running tests/peers/link.py: `here` is this side's address, `there` is lb's."""

    def __init__(self):
        argv = [sys.executable, lbtest.ROOT / "tests" / "peers" / "link.py", "1"]
        self.popen = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        word, self.namespace, self.here, self.there = self.popen.stdout.readline().split()
        assert word == "ready"

    def __call__(self, *commands):
        for c in commands:
            self.popen.stdin.write(c + "\n")
            assert self.popen.stdout.readline() == "ok\n", c

    def close(self):
        self.popen.stdin.close()
        try:
            self.popen.wait(5)
        finally:
            self.popen.kill()
            self.popen.stdout.close()


@pytest.fixture
def link(monkeypatch):
    """The link is gone when the test is; the lb that a test starts stands behind it."""
    link = Link()
    monkeypatch.setattr(
        lbtest, "WRAP", ["nsenter", f"--net={link.namespace}", *lbtest.WRAP]
    )
    yield link
    link.close()


class Backend:
    """Echoes on this side of the link, a thread for each connection."""

    def __init__(self, link):
        self.listener = socket.create_server((link.here, 0), backlog=100)
        self.port = self.listener.getsockname()[1]
        self.socks = []
        self.threads = [threading.Thread(target=self._accept, daemon=True)]
        self.threads[0].start()

    def _accept(self):
        while True:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            self.socks.append(s)
            self.threads.append(threading.Thread(target=self._serve, args=(s,), daemon=True))
            self.threads[-1].start()

    def _serve(self, s):
        try:
            _, rest = recv_head(s)
            s.sendall(GOOD_101 + rest)
            while data := s.recv(1 << 16):
                s.sendall(data)
            s.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the link was cut for too long

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for s in self.socks:
            s.close()
        for t in self.threads:
            t.join(5)


@pytest.fixture
def backend(link):
    b = Backend(link)
    yield b
    b.close()


def conf_of(link, port, backend, **pool):
    conf = http_conf(port, [{"name": "b", "address": f"{link.here}:{backend.port}"}], **pool)
    conf["listeners"][0]["bind"] = f"{link.there}:{port}"
    return conf


def open_tunnel(link, port):
    s = socket.create_connection((link.there, port), timeout=30 * SLOW)
    s.sendall(upgrade_request())
    head, rest = recv_head(s)
    assert status_of(head) == 101
    assert rest == b""
    return s


def echo_stream(s, sent):
    """Writes and reads `sent` at once, to the end of the stream; whether all came back."""

    def write():
        s.sendall(sent)
        s.shutdown(socket.SHUT_WR)

    t = threading.Thread(target=write, daemon=True)
    t.start()
    got = lbtest.recv_all(s)
    t.join(10 * SLOW)
    return hashlib.sha256(got).digest() == hashlib.sha256(sent).digest()


def frames(total):
    """Masked frames of many sizes, `total` bytes and a bit."""
    out = []
    n = 0
    for i in range(1, 1 << 20):
        out.append(ws_frame(os.urandom((i * i * 37) % 200000)))
        n += len(out[-1])
        if n >= total:
            return b"".join(out)
    raise AssertionError("unreachable")


WEATHER = {
    "lossy": ["loss 2"],
    "delayed": ["delay 15 0"],
    "reordered and doubled": ["delay 1 4", "double 3"],
    "all of it": ["loss 1", "double 1", "delay 2 3"],
}


@pytest.mark.parametrize("splice", ["always", "never"])
@pytest.mark.parametrize("weather", WEATHER.values(), ids=WEATHER.keys())
def test_bytes_are_exact_over_a_bad_link(link, backend, lb, port, weather, splice):
    proxy = lb(conf_of(link, port, backend, relay={"splice": splice}))
    link(*weather)
    conns = [open_tunnel(link, port) for _ in range(4)]
    streams = [frames(MIB // 2) for _ in conns]
    same = [None] * len(conns)

    def run(i):
        same[i] = echo_stream(conns[i], streams[i])

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(conns))]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60 * SLOW)
    assert same == [True] * len(conns)
    for s in conns:
        s.close()
    proxy.wait_active(0, timeout=20)
    assert proxy.ends() == {"client_closed": len(conns)}


def test_a_link_that_is_cut_and_mended(link, backend, lb, port):
    """For a second and a half no packet passes. Tunnels, a handshake that had begun and bytes on
    their way go on where they were."""
    proxy = lb(conf_of(link, port, backend))
    tunnel = open_tunnel(link, port)
    begun = socket.create_connection((link.there, port), timeout=30 * SLOW)
    begun.sendall(upgrade_request()[:30])
    proxy.wait_active(2)
    message = frames(2 * MIB)
    same = []
    t = threading.Thread(target=lambda: same.append(echo_stream(tunnel, message)))
    t.start()
    wait_for("some bytes to move", lambda: proxy.backends()["b"]["bytes_out"] > 20000)
    link("cut")
    begun.sendall(upgrade_request()[30:])
    time.sleep(1.5)
    assert proxy.stats()["connections"]["active"] == 2
    link("mend")
    t.join(60 * SLOW)
    assert same == [True]
    assert status_of(recv_head(begun)[0]) == 101
    begun.sendall(b"after")
    assert recv_exact(begun, 5) == b"after"
    begun.close()
    tunnel.close()
    proxy.wait_active(0, timeout=20)
    assert sum(proxy.ends().values()) == 2
    assert proxy.ends().keys() <= {"client_closed"}


def test_a_backend_behind_a_cut_link_fails_its_checks_and_comes_back(link, backend, lb, port):
    """Its checks say so; a tunnel waits for it and goes on."""
    health = {"type": "tcp", "interval": "100ms", "timeout": "300ms", "rise": 1, "fall": 2}
    proxy = lb(conf_of(link, port, backend, health=health))
    proxy.wait_state("b", "up")
    tunnel = open_tunnel(link, port)
    link("cut")
    proxy.wait_state("b", "down")
    link("mend")
    proxy.wait_state("b", "up")
    tunnel.sendall(b"still here")
    assert recv_exact(tunnel, 10) == b"still here"
    tunnel.close()
    again = open_tunnel(link, port)
    again.close()
    proxy.wait_active(0)
