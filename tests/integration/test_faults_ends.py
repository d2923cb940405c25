# SPDX-License-Identifier: Apache-2.0
"""How connections end when something goes wrong: last words, half-close, a reset in every state.
One reason is counted for each, and nobody's words are lost."""

import fcntl
import os
import socket
import struct
import termios
import threading
import time

import pytest

from lbtest import (
    GOOD_101,
    HOST,
    SLOW,
    connect,
    http_conf,
    is_reset,
    recv_all,
    recv_exact,
    recv_head,
    reset,
    status_of,
    upgrade_request,
    wait_for,
    ws_frame,
)

CLOSE = ws_frame(struct.pack(">H", 1011) + b"going down", 8, mask=b"")
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
SPLICE = ("always", "never")


def n_unacknowledged(s):
    """Bytes that the other end's kernel does not have yet."""
    return struct.unpack("i", fcntl.ioctl(s, termios.TIOCOUTQ, b"\0\0\0\0"))[0]


def wait_taken(s):
    wait_for("the other end to have all", lambda: n_unacknowledged(s) == 0)


def only_end(proxy):
    """The one reason that was counted, once, when no connection is left."""
    proxy.wait_active(0, timeout=8)
    ((reason, n),) = proxy.ends().items()
    assert n == 1
    assert proxy.stats()["connections"]["handshaking"] == 0
    assert all(b["active"] == 0 for b in proxy.backends().values())
    return reason


def open_tunnel(port):
    s = connect(port, 20)
    s.sendall(upgrade_request())
    head, rest = recv_head(s)
    assert status_of(head) == 101
    return s, rest


# ---- last words ----------------------------------------------------------------------------------


@pytest.mark.parametrize("splice", SPLICE)
@pytest.mark.parametrize("n", [0, 5, 70000, 150000])
def test_a_backends_last_words_arrive_before_its_reset(lb, fake, port, splice, n):
    """A frame and a Close, then a reset, while the client does not read and goes on sending."""
    words = ws_frame(os.urandom(n), mask=b"") + CLOSE
    is_gone = threading.Event()

    def serve(s):
        recv_head(s)
        s.sendall(GOOD_101)
        recv_exact(s, 10)
        s.sendall(words)
        wait_taken(s)
        reset(s)
        is_gone.set()

    proxy = lb(http_conf(port, [fake(serve).row()], relay={"splice": splice}))
    s, rest = open_tunnel(port)
    with s:
        s.sendall(ws_frame(b"wait"))
        assert is_gone.wait(20)
        was_reset = False
        try:
            for _ in range(20):  # lb finds out by a send, too
                s.send(ws_frame(b"and you?"))
                time.sleep(0.002)
        except ConnectionError:  # the kernel tells of a reset once; the words are there still
            was_reset = True
        assert rest + recv_exact(s, len(words) - len(rest)) == words
        assert was_reset or is_reset(s)
    assert only_end(proxy) == "backend_reset"


@pytest.mark.parametrize("splice", SPLICE)
def test_a_clients_last_words_arrive_before_its_reset(lb, fake, port, splice):
    """The same in the other direction."""
    words = ws_frame(os.urandom(100000)) + ws_frame(b"bye", 8)
    may_read = threading.Event()
    seen = []

    def serve(s):
        recv_head(s)
        s.sendall(GOOD_101)
        assert may_read.wait(20)
        seen.append(recv_exact(s, len(words)))
        seen.append(is_reset(s))

    proxy = lb(http_conf(port, [fake(serve).row()], relay={"splice": splice}))
    s, _ = open_tunnel(port)
    s.sendall(words)
    wait_taken(s)
    reset(s)
    time.sleep(0.1)
    may_read.set()
    assert only_end(proxy) == "client_reset"
    wait_for("the backend's end", lambda: len(seen) == 2)
    assert seen == [words, True]


# ---- half-close ----------------------------------------------------------------------------------


@pytest.mark.parametrize("splice", SPLICE)
@pytest.mark.parametrize("first", ["client", "backend"])
def test_half_close_in_a_tunnel(lb, fake, port, first, splice):
    """Who has closed its half still gets the other's, megabytes of it, and then its end."""
    early = ws_frame(os.urandom(80000), mask=b"")
    late = ws_frame(os.urandom(3 << 20), mask=b"")
    seen = []

    def closes_first(s):
        s.sendall(early)
        s.shutdown(socket.SHUT_WR)
        return recv_all(s)

    def closes_last(s):
        got = recv_all(s)
        s.sendall(late)
        s.shutdown(socket.SHUT_WR)
        return got

    roles = {"client": closes_first, "backend": closes_last}
    if first == "backend":
        roles = {"client": closes_last, "backend": closes_first}

    def serve(s):
        recv_head(s)
        s.sendall(GOOD_101)
        seen.append(roles["backend"](s))
        time.sleep(0.1)

    proxy = lb(http_conf(port, [fake(serve).row()], relay={"splice": splice}))
    s, rest = open_tunnel(port)
    with s:
        seen.append(rest + roles["client"](s))
    wait_for("both ends", lambda: len(seen) == 2)
    assert sorted(seen, key=len) == [early, late]
    assert only_end(proxy) == f"{first}_closed"


@pytest.mark.parametrize("first", ["client", "backend"])
def test_a_half_closed_tunnel_in_which_nothing_moves_is_ended(lb, fake, port, first):
    is_ended = threading.Event()

    def serve(s):
        recv_head(s)
        s.sendall(GOOD_101)
        if first == "backend":
            s.shutdown(socket.SHUT_WR)
        recv_all(s)
        assert is_ended.wait(20)

    conf = http_conf(port, [fake(serve).row()], timeouts={"half_closed": "300ms"})
    proxy = lb(conf)
    s, _ = open_tunnel(port)
    with s:
        if first == "client":
            s.shutdown(socket.SHUT_WR)
        else:
            assert recv_all(s) == b""
        proxy.wait_end("half_closed")
    is_ended.set()
    assert only_end(proxy) == "half_closed"


# ---- a reset, or a close, in every state ---------------------------------------------------------


class Stage:
    """A backend that stays in the handshake until told to go on, and floods in a tunnel."""

    def __init__(self, answer=b""):
        self.answer = answer
        self.has_head = threading.Event()
        self.is_full = threading.Event()
        self.go = threading.Event()
        self.leave = None  # what it then does with its socket

    def serve(self, s):
        recv_head(s)
        s.sendall(self.answer)
        self.has_head.set()
        if self.answer == GOOD_101:
            self._flood(s)
        assert self.go.wait(20)
        if self.leave is not None:
            self.leave(s)
        else:
            recv_all(s)

    def _flood(self, s):
        """Until no byte more is taken."""
        frame = ws_frame(b"f" * 5000, mask=b"")
        s.settimeout(0.3)
        at = 0
        try:
            while True:
                at = (at + s.send(frame[at:])) % len(frame)
        except TimeoutError:
            s.settimeout(20)
            self.is_full.set()


LEAVE = {"reset": reset, "close": lambda s: s.close()}


@pytest.fixture(params=LEAVE)
def how(request):
    return request.param


CLIENT_STAGES = {
    "before a byte": (b"", b"", False),
    "within its head": (b"GET / HTTP/1.1\r\nHos", b"", False),
    "within its head's end": (upgrade_request()[:-1], b"", False),
    "while its upgrade waits": (upgrade_request(), b"", True),
    "while half the answer's head is there": (upgrade_request(), b"HTTP/1.1 101 Sw", True),
    "within its body": (POST + b"x" * 200000, b"", True),
    "within its body, answered in part": (POST + b"x" * 9, b"HTTP/1.1 200 OK\r\nConte", True),
    "with bytes queued": (upgrade_request(), GOOD_101, True),
}


@pytest.mark.parametrize("said, answer, is_asked", CLIENT_STAGES.values(), ids=CLIENT_STAGES.keys())
def test_a_client_leaves(lb, fake, port, said, answer, is_asked, how):
    """In each state of its connection: counted once, with its reason, and the backend is told."""
    stage = Stage(answer)
    proxy = lb(http_conf(port, [fake(stage.serve).row()]))
    s = connect(port, 20)
    s.sendall(said[:60000])
    if is_asked:
        assert stage.has_head.wait(10)
        wait_for("its last bytes to be taken", lambda: n_unacknowledged(s) == 0)
        if answer == GOOD_101:
            assert s.recv(1, socket.MSG_PEEK)
    else:
        proxy.wait_active(1)
    time.sleep(0.05)
    LEAVE[how](s)
    # A close with unread bytes is a reset.
    want = {"reset": {"client_reset"}, "close": {"client_closed"}}[how]
    if answer == GOOD_101:
        want = {"client_reset"}
    stage.go.set()
    assert only_end(proxy) in want


@pytest.mark.parametrize("said", [upgrade_request(), POST], ids=["upgrade", "body"])
def test_a_client_leaves_while_the_backend_is_connected_to(lb, port, said, how):
    """The backend's accept queue is full: its SYNs are not answered."""
    with socket.socket() as hole:
        hole.bind((HOST, 0))
        hole.listen(0)
        back = hole.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        try:
            for f in fillers:
                f.setblocking(False)
                f.connect_ex((HOST, back))
            time.sleep(0.1)
            proxy = lb(http_conf(port, [("hole", back)], timeouts={"connect": "20s"}))
            s = connect(port)
            s.sendall(said)
            wait_for("the pick", lambda: proxy.active() == {"hole": 1})
            LEAVE[how](s)
            assert only_end(proxy) == {"reset": "client_reset", "close": "client_closed"}[how]
        finally:
            for f in fillers:
                f.close()


@pytest.mark.parametrize("how_first", LEAVE)
def test_a_client_leaves_while_lb_says_why_it_refused(lb, fake, port, how_first):
    """lb lingers behind its 400; the reason stays the first one."""
    proxy = lb(http_conf(port, [fake(recv_all).row()]))
    s = connect(port)
    s.sendall(b"BAD\r\n\r\n" + b"x" * 5000)
    assert status_of(recv_all(s)) == 400
    proxy.wait_active(1)
    LEAVE[how_first](s)
    assert only_end(proxy) == "bad_request"


# Within the handshake a reset is an answer that was cut short, too.
BACKEND_STAGES = {
    "before its answer": (b"", 502, {"backend_reset", "bad_response"}),
    "within its head": (b"HTTP/1.1 101 Switching Pro", 502, {"backend_reset", "bad_response"}),
    "with bytes queued": (GOOD_101, 101, {"backend_reset", "backend_closed"}),
}


@pytest.mark.parametrize(
    "answer, status, reasons", BACKEND_STAGES.values(), ids=BACKEND_STAGES.keys()
)
def test_a_backend_leaves(lb, fake, port, answer, status, reasons, how):
    """In each state: its client is answered, or gets what was said and then the same end."""
    stage = Stage(answer)
    stage.leave = LEAVE[how]
    proxy = lb(http_conf(port, [fake(stage.serve).row()], retries=0))
    with connect(port, 20) as s:
        s.sendall(upgrade_request())
        assert stage.has_head.wait(10)
        if status == 101:
            assert stage.is_full.wait(20 * SLOW)
        stage.go.set()
        head, rest = recv_head(s)
        assert status_of(head) == status
        if status == 101:
            assert is_reset(s) == (how == "reset")
        else:
            recv_all(s)
    assert only_end(proxy) in reasons


def test_a_backend_leaves_within_its_body(lb, fake, port, how):
    """A plain answer that is cut short is cut short for the client too: never a whole one."""

    def serve(s):
        recv_head(s)
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 50000)
        wait_taken(s)
        LEAVE[how](s)

    proxy = lb(http_conf(port, [fake(serve).row()]))
    with connect(port) as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        head, rest = recv_head(s)
        assert status_of(head) == 200
        body = rest + recv_exact(s, 50000 - len(rest))
        assert body == b"x" * 50000
        assert is_reset(s) or how == "close"
    assert only_end(proxy) in {"backend_reset", "backend_closed", "bad_response"}
