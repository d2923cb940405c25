# SPDX-License-Identifier: Apache-2.0
"""mode: tcp. Every byte arrives, in order, and so does how a stream ends."""

import hashlib
import os
import socket
import struct
import threading
import time

import pytest

from lbtest import (
    SLOW,
    Fake,
    connect,
    free_port,
    is_reset,
    recv_all,
    recv_exact,
    reset,
    tcp_conf,
    wait_for,
)

MB = 1 << 20
BLOCK = os.urandom(MB - 7)  # no power of two: a lost or doubled buffer moves everything behind it


def blocks(total):
    """`total` bytes as numbered blocks."""
    sent = 0
    i = 0
    while sent < total:
        block = struct.pack(">Q", i) + BLOCK
        block = block[: total - sent]
        yield block
        sent += len(block)
        i += 1


def digest(total):
    h = hashlib.sha256()
    for b in blocks(total):
        h.update(b)
    return h.hexdigest()


def send_blocks(s, total):
    for b in blocks(total):
        s.sendall(b)


def read_digest(s, total, slowly):
    """Reads `total` bytes; `slowly` in small pieces at first, with pauses."""
    h = hashlib.sha256()
    got = 0
    while got < total:
        is_early = slowly and got < 2 * MB
        part = s.recv(min(30000 if is_early else 1 << 18, total - got))
        if not part:
            break
        if is_early:
            time.sleep(0.004)
        h.update(part)
        got += len(part)
    return got, h.hexdigest()


def both_ways(s, total, slowly):
    """Sends and reads at the same time."""
    t = threading.Thread(target=send_blocks, args=(s, total))
    t.start()
    got = read_digest(s, total, slowly)
    t.join()
    return got


@pytest.mark.parametrize("splice", ["auto", "always", "never"])
def test_64_mb_both_ways_through_slow_readers(lb, fake, port, splice):
    total = 64 * MB
    at_backend = []

    def serve(s):
        at_backend.append(both_ways(s, total, slowly=True))

    b = fake(serve)
    lb(tcp_conf(port, [b.row()], relay={"splice": splice}))
    want = (total, digest(total))
    with connect(port, 30) as s:
        assert both_ways(s, total, slowly=True) == want
        assert recv_all(s) == b""
    wait_for("the backend's end", lambda: at_backend)
    assert at_backend == [want]


def test_a_reader_that_stops_stops_the_sender(lb, fake, port):
    """Back-pressure: what lb and the kernel hold is bounded, and nothing is lost. The kernel alone
    may hold some 70 MiB: both receivers up to 32 MiB, by tcp_rmem, both senders 4 MiB."""
    total = 96 * MB
    go = threading.Event()
    result = []

    def serve(s):
        go.wait(60 * SLOW)
        result.append(read_digest(s, total, slowly=False))

    b = fake(serve)
    proxy = lb(tcp_conf(port, [b.row()]))
    with connect(port) as s:
        sent = []

        def send():
            for block in blocks(total):
                view = memoryview(block)
                while view:
                    n = s.send(view)
                    sent.append(n)
                    view = view[n:]

        t = threading.Thread(target=send, daemon=True)
        t.start()
        wait_for("some bytes to be sent", lambda: sum(sent) > 0)
        last = -1
        while last != sum(sent):
            last = sum(sent)
            time.sleep(0.4)
        assert last < total, "nothing held the sender back"
        assert proxy.stats()["connections"]["active"] == 1
        go.set()
        t.join(60 * SLOW)
        wait_for("the backend to have read all", lambda: result, timeout=60)
    assert result == [(total, digest(total))]


def test_half_close_by_the_client(lb, fake, port):
    got = []

    def serve(s):
        got.append(recv_all(s))
        s.sendall(b"answer" * 50000)

    b = fake(serve)
    lb(tcp_conf(port, [b.row()]))
    with connect(port) as s:
        s.sendall(b"question" * 50000)
        s.shutdown(socket.SHUT_WR)
        assert recv_all(s) == b"answer" * 50000
    assert got == [b"question" * 50000]


def test_half_close_by_the_backend(lb, fake, port):
    got = []

    def serve(s):
        s.sendall(b"all I say")
        s.shutdown(socket.SHUT_WR)
        got.append(recv_all(s))

    b = fake(serve)
    lb(tcp_conf(port, [b.row()]))
    with connect(port) as s:
        assert recv_all(s) == b"all I say"
        s.sendall(b"and yet " * 50000)
        s.shutdown(socket.SHUT_WR)
        wait_for("the backend's end", lambda: got)
    assert got == [b"and yet " * 50000]


def test_a_half_closed_side_that_falls_silent_is_ended(lb, fake, port):
    b = fake(lambda s: s.recv(1) and None or time.sleep(3))
    proxy = lb(tcp_conf(port, [b.row()], timeouts={"half_closed": "300ms"}))
    with connect(port) as s:
        s.shutdown(socket.SHUT_WR)
        proxy.wait_end("half_closed")


def test_the_clients_reset_reaches_the_backend(lb, fake, port):
    got = []

    def serve(s):
        assert recv_exact(s, 5) == b"hello"
        s.sendall(b"hi")
        got.append(is_reset(s))

    b = fake(serve)
    proxy = lb(tcp_conf(port, [b.row()]))
    s = connect(port)
    s.sendall(b"hello")
    assert recv_exact(s, 2) == b"hi"
    reset(s)
    wait_for("the backend's end", lambda: got)
    assert got == [True]
    proxy.wait_end("client_reset")


def test_the_backends_reset_reaches_the_client_behind_its_words(lb, fake, port):
    def serve(s):
        recv_exact(s, 5)
        s.sendall(b"bye")
        time.sleep(0.1)
        reset(s)

    b = fake(serve)
    proxy = lb(tcp_conf(port, [b.row()]))
    with connect(port) as s:
        s.sendall(b"hello")
        assert recv_exact(s, 3) == b"bye"
        assert is_reset(s)
    proxy.wait_end("backend_reset")


def test_last_words_of_a_backend_that_dies_under_a_sending_client(lb, fake, port):
    """Sends to the dead backend fail; what it said before must arrive all the same."""
    words = os.urandom(20000)

    def serve(s):
        recv_exact(s, 1)
        s.sendall(words)
        time.sleep(0.1)
        s.close()  # with bytes unread: a reset

    b = fake(serve)
    lb(tcp_conf(port, [b.row()]))
    with connect(port) as s:

        def send():
            try:
                while True:
                    s.sendall(b"x" * 1000)
                    time.sleep(0.001)
            except OSError:
                pass

        t = threading.Thread(target=send)
        t.start()
        assert recv_exact(s, len(words)) == words
        t.join(10)
        assert not t.is_alive(), "the client was never told"


def test_a_close_of_either_side_is_counted(lb, fake, port):
    b = fake(lambda s: s.sendall(recv_exact(s, 1)))
    proxy = lb(tcp_conf(port, [b.row()]))
    with connect(port) as s:
        s.sendall(b"x")
        assert recv_all(s) == b"x"
    proxy.wait_end("backend_closed")
    proxy.wait_active(0)


def test_no_backend_is_a_reset(lb, port):
    proxy = lb(tcp_conf(port, [("dead", free_port())], retries=0))
    with pytest.raises(ConnectionResetError):  # it may come before connect() has returned
        with connect(port) as s:
            s.recv(1)
            raise AssertionError("that was no reset")
    proxy.wait_end("connect_failed")
    assert proxy.backends()["dead"]["failed"] >= 1


def test_a_retry_finds_the_living(lb, fake, port):
    b = fake(lambda s: s.sendall(b"here"))
    lb(tcp_conf(port, [("dead", free_port()), b.row()], balance="first", retries=1))
    for _ in range(5):
        with connect(port) as s:
            assert recv_all(s) == b"here"


def test_idle_ends_a_silent_tunnel(lb, fake, port):
    b = fake(recv_all)
    proxy = lb(tcp_conf(port, [b.row()], timeouts={"idle": "300ms"}))
    with connect(port) as s:
        began = time.monotonic()
        s.sendall(b"x")
        try:
            recv_all(s)
        except ConnectionResetError:
            pass
        assert time.monotonic() - began > 0.25
    proxy.wait_end("idle")


def test_bytes_are_counted_while_the_connection_is_open(lb, fake, port):
    def serve(s):
        s.sendall(b"y" * len(recv_exact(s, 1000)) * 2)
        recv_all(s)

    b = fake(serve)
    proxy = lb(tcp_conf(port, [b.row()]))
    with connect(port) as s:
        s.sendall(b"x" * 1000)
        recv_exact(s, 2000)
        wait_for(
            "live counts",
            lambda: [proxy.backends()["f"][k] for k in ("bytes_in", "bytes_out", "active")]
            == [1000, 2000, 1],
        )


def test_ipv6_on_both_sides(lb, port):
    """[::1] in front and behind."""
    listener = socket.socket(socket.AF_INET6)
    back = free_port()
    listener.bind(("::1", back))
    listener.listen(5)
    conf = tcp_conf(port, [{"name": "six", "address": f"[::1]:{back}"}])
    conf["listeners"][0]["bind"] = f"[::1]:{port}"
    lb(conf)
    with listener, socket.create_connection(("::1", port), timeout=10) as s:
        s.sendall(b"six")
        b, _ = listener.accept()
        with b:
            assert recv_exact(b, 3) == b"six"
            b.sendall(b"6")
        assert recv_all(s) == b"6"


def test_a_fake_reports_what_its_thread_found(port):
    """The harness: an assertion in a backend's thread fails the test."""

    def serve(s):
        raise AssertionError("planted")

    b = Fake(serve)
    with connect(b.port) as s:
        assert recv_all(s) == b""
    with pytest.raises(AssertionError, match="planted"):
        b.close()
