# SPDX-License-Identifier: Apache-2.0
"""Bulk through every way a byte can go (buffers, pipes), and peers that do not read."""

import hashlib
import os
import socket
import threading
import time

import pytest

from lbtest import (
    GOOD_101,
    SHADOWED,
    SLOW,
    connect,
    http_conf,
    recv_exact,
    recv_head,
    run,
    tcp_conf,
    upgrade_request,
    wait_for,
    ws_frame,
    ws_open,
)

SPLICE = ("auto", "always", "never")


def unmasked_echo(s):
    """A backend that knows no frames: it sends back what it gets."""
    while data := s.recv(1 << 16):
        s.sendall(data)
    s.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("splice", SPLICE)
def test_tcp_bulk_comes_back_whole(lb, fake, port, splice):
    b = fake(unmasked_echo)
    proxy = lb(tcp_conf(port, [b.row()], relay={"splice": splice}))
    sent = os.urandom(24 << 20)
    with connect(port, timeout=60) as s:
        sender = threading.Thread(target=lambda: (s.sendall(sent), s.shutdown(socket.SHUT_WR)))
        sender.start()
        got = hashlib.sha256()
        n = 0
        while data := s.recv(1 << 16):
            got.update(data)
            n += len(data)
        sender.join()
    assert n == len(sent)
    assert got.digest() == hashlib.sha256(sent).digest()
    spliced = proxy.stats()["counters"]["spliced_bytes"]
    assert (spliced > 0) == (splice != "never"), spliced
    proxy.wait_active(0)


@pytest.mark.parametrize("splice", SPLICE)
def test_websocket_messages_of_all_sizes(lb, echo, port, splice):
    proxy = lb(http_conf(port, echo(1), relay={"splice": splice}))
    sizes = [0, 1, 125, 126, 4096, 65535, 65536, 70000, 300000, 3, 5 << 20, 0, 65536, 10]

    async def body():
        ws = await ws_open(port, max_size=None)
        for n in sizes:
            message = os.urandom(n)
            await ws.send(message)
            assert await ws.recv() == message
        await ws.close()

    run(body())
    counters = proxy.stats()["counters"]
    assert counters["messages_in"] == counters["messages_out"] == len(sizes)
    assert counters["protocol_errors"] == 0
    if splice == "never":
        assert counters["spliced_bytes"] == 0
    else:
        assert counters["spliced_bytes"] > 9 << 20


# Payloads, and how many bytes of their way there and back go through a pipe, at least and at most:
# up to 64 KiB are received before anybody can act.
WORTH = {
    "too little for either": (60000, {"auto": (0, 0), "always": (0, 0)}),
    "enough where it is asked for": (135000, {"auto": (0, 0), "always": (130000, 270000)}),
    "enough for both": (300000, {"auto": (460000, 600000), "always": (460000, 600000)}),
}


@pytest.mark.parametrize("splice", ("auto", "always"))
@pytest.mark.parametrize("size, spliced", WORTH.values(), ids=WORTH)
def test_what_is_worth_a_pipe(lb, fake, port, splice, size, spliced):
    payloads = (b"x", os.urandom(size), b"y")

    def serve(s):
        recv_head(s)
        s.sendall(GOOD_101)
        for p in payloads:
            f = ws_frame(p)
            assert recv_exact(s, len(f)) == f
            s.sendall(ws_frame(p, mask=b""))
        s.recv(1)

    proxy = lb(http_conf(port, [fake(serve).row()], relay={"splice": splice}))
    with connect(port, timeout=20) as s:
        s.sendall(upgrade_request())
        recv_head(s)
        for p in payloads:
            s.sendall(ws_frame(p))
            f = ws_frame(p, mask=b"")
            assert recv_exact(s, len(f)) == f
    least, most = spliced[splice]
    proxy.wait_active(0)
    assert least <= proxy.stats()["counters"]["spliced_bytes"] <= most


def test_frames_behind_a_spliced_payload_are_counted(lb, fake, port):
    """A payload in the pipe, the next header right behind it: boundaries are not lost."""
    done = threading.Event()
    got = []

    def serve(s):
        head, rest = recv_head(s)
        s.sendall(GOOD_101)
        size = sum(len(f) for f in frames)
        got.append(rest + recv_exact(s, size - len(rest)))
        done.set()
        s.recv(1)

    frames = [ws_frame(os.urandom(n)) for n in (200000, 5, 65536, 0, 100000, 1)]
    proxy = lb(http_conf(port, [fake(serve).row()], relay={"splice": "always"}))
    with connect(port, timeout=20) as s:
        s.sendall(upgrade_request())
        recv_head(s)
        s.sendall(b"".join(frames))
        assert done.wait(20 * SLOW)
    assert got[0] == b"".join(frames)
    wait_for("all frames counted", lambda: proxy.stats()["counters"]["frames_in"] == len(frames))


def test_a_broken_header_passes_and_is_counted(lb, fake, port):
    broken = b"\x83\x00" + b"and more"  # a reserved opcode, unmasked

    def serve(s):
        _, rest = recv_head(s)
        s.sendall(GOOD_101)
        data = rest + recv_exact(s, len(broken) - len(rest))
        assert data == broken
        s.sendall(b"ok")
        s.recv(1)

    proxy = lb(http_conf(port, [fake(serve).row()]))
    with connect(port) as s:
        s.sendall(upgrade_request())
        recv_head(s)
        s.sendall(broken)
        assert recv_exact(s, 2) == b"ok"
    # "ok" is the start of a server's frame with a reserved opcode: both directions are broken.
    wait_for("both directions", lambda: proxy.stats()["counters"]["protocol_errors"] == 2)


@pytest.mark.parametrize("splice", SPLICE)
def test_a_stalled_client_is_ended_by_the_user_timeout(lb, fake, port, splice):
    """It acknowledges, but takes no byte: client_stalled, and its backend is told."""

    def serve(s):
        block = b"x" * 65536
        while True:
            s.sendall(block)

    b = fake(serve)
    proxy = lb(tcp_conf(port, [b.row()], timeouts={"user": "1s"}, relay={"splice": splice}))
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.connect(("127.0.0.1", port))
    try:
        proxy.wait_active(1)
        wait_for(
            "the reason",
            lambda: proxy.stats()["ends"]["client_stalled"] == 1,
            timeout=20,
        )
    finally:
        s.close()
    proxy.wait_active(0)


@pytest.mark.skipif(SHADOWED, reason="a sanitizer's memory is measured with lb's")
def test_queued_bytes_are_bounded(lb, fake, port):
    """A backend that floods a client that does not read is stopped early: lb holds little."""
    sent = [0]

    def serve(s):
        s.settimeout(1.0)
        try:
            while True:
                sent[0] += s.send(b"y" * 65536)
        except TimeoutError:
            pass
        s.settimeout(20)
        s.recv(1)

    b = fake(serve)
    proxy = lb(tcp_conf(port, [b.row()], relay={"splice": "never"}))
    rss = rss_of(proxy.pid)
    conns = [connect(port) for _ in range(20)]
    proxy.wait_active(20)
    time.sleep(1.5)
    assert rss_of(proxy.pid) - rss < 20 * (256 << 10) + (8 << 20)
    for s in conns:
        s.close()
    proxy.wait_active(0)


def rss_of(pid):
    with open(f"/proc/{pid}/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
