# SPDX-License-Identifier: Apache-2.0
"""mode: http, requests that are no upgrade, when a side does not do its part: malformed chunks at
every moment, bodies that stall, interim responses that nobody reads."""

import socket
import threading
import time

import pytest

from lbtest import (
    HOST,
    SLOW,
    ask,
    connect,
    fields_of,
    http_conf,
    recv_all,
    recv_exact,
    recv_head,
    status_of,
    wait_for,
)

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED_HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def ms(n):
    """A duration of lb.yaml, longer where everything is slow."""
    return f"{round(n * SLOW)}ms"


def recv_until_reset(s):
    """What was delivered before the reset that must come."""
    got = b""
    while True:
        try:
            part = s.recv(1 << 16)
        except ConnectionResetError:
            return got
        assert part, f"an end instead of a reset, after {got!r}"
        got += part


# ---- malformed chunks ----------------------------------------------------------------------------


def test_a_malformed_chunk_while_the_response_is_awaited(lb, fake, port):
    """The backend has a part of the request already: the client is answered, and that is not the
    backend's failure."""
    has_begun = threading.Event()

    def serve(s):
        _, rest = recv_head(s)
        assert rest + recv_exact(s, 6 - len(rest)) == b"1\r\na\r\n"
        has_begun.set()
        assert b"smuggled" not in recv_all(s)

    proxy = lb(http_conf(port, [fake(serve).row()]))
    with connect(port) as s:
        s.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        assert has_begun.wait(20 * SLOW)
        s.sendall(b"zz\r\nGET /smuggled HTTP/1.1\r\n\r\n")
        assert status_of(recv_all(s)) == 400
    proxy.wait_active(0)
    assert proxy.ends() == {"bad_request": 1}
    assert proxy.backends()["f"]["failed"] == 0


def test_a_malformed_chunk_after_the_response_began(lb, fake, port):
    """No second answer can be given: the client is reset. That is not the backend's failure."""
    got = []

    def serve(s):
        head, rest = recv_head(s)
        s.sendall(CHUNKED_HEAD + b"3\r\nabc\r\n")
        got.append(rest)
        while part := s.recv(1 << 16):
            got.append(part)

    proxy = lb(http_conf(port, [fake(serve).row()]))
    with connect(port) as s:
        s.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        head, rest = recv_head(s)
        assert status_of(head) == 200
        assert rest + recv_exact(s, 8 - len(rest)) == b"3\r\nabc\r\n"
        wait_for("the first chunk", lambda: b"".join(got))  # the reset would take it away
        s.sendall(b"zz\r\nGET /smuggled HTTP/1.1\r\n\r\n")
        assert recv_until_reset(s) == b""
    proxy.wait_active(0)
    assert proxy.ends() == {"bad_request": 1}
    assert proxy.backends()["f"]["failed"] == 0
    assert b"".join(got).startswith(b"1\r\na\r\n")
    assert b"smuggled" not in b"".join(got)


CUT = [
    ("alone", b"", b"zz\r\n"),
    ("behind good ones", b"2\r\nhi\r\n", b"2\r\nhi\r\nzz\r\n"),
    ("size too large", b"", b"10000000000000000\r\n"),
    ("no end of a chunk", b"2\r\nhi", b"2\r\nhithere"),
]


@pytest.mark.parametrize("good, bytes_", [c[1:] for c in CUT], ids=[c[0] for c in CUT])
def test_a_malformed_chunk_in_the_middle_of_a_response(lb, fake, port, good, bytes_):
    """What came before it is delivered, then the client is reset: it must not take the response for
    a whole one. It is the backend's failure."""
    has_begun = threading.Event()

    def serve(s):
        recv_head(s)
        s.sendall(CHUNKED_HEAD + b"3\r\nabc\r\n")
        assert has_begun.wait(20 * SLOW)
        s.sendall(bytes_)
        recv_all(s)

    proxy = lb(http_conf(port, [fake(serve).row()]))
    with connect(port) as s:
        s.sendall(GET)
        head, rest = recv_head(s)
        assert status_of(head) == 200
        assert rest + recv_exact(s, 8 - len(rest)) == b"3\r\nabc\r\n"
        has_begun.set()
        assert recv_until_reset(s)[: len(good)] == good
    proxy.wait_active(0)
    assert proxy.ends() == {"bad_response": 1}
    assert proxy.backends()["f"]["failed"] == 1


@pytest.mark.parametrize("bytes_", [c[2] for c in CUT], ids=[c[0] for c in CUT])
def test_a_malformed_chunk_that_came_with_the_head(lb, fake, port, bytes_):
    """Nothing is sent yet: the client has a proper answer."""

    def serve(s):
        recv_head(s)
        s.sendall(CHUNKED_HEAD + bytes_)
        recv_all(s)

    proxy = lb(http_conf(port, [fake(serve).row()]))
    answer = ask(port, GET)
    assert status_of(answer) == 502
    assert answer.count(b"HTTP/1.1 ") == 1
    assert ("connection", "close") in fields_of(answer)
    proxy.wait_active(0)
    assert proxy.ends() == {"bad_response": 1}
    assert proxy.backends()["f"]["failed"] == 1


# ---- time ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [b"", b"ab"], ids=["nothing of it", "a part of it"])
def test_a_request_whose_body_stalls(lb, fake, port, sent):
    """408: it is the client that is waited for, so it is no failure of the backend's."""
    proxy = lb(http_conf(port, [fake(recv_all).row()], timeouts={"body": ms(400)}))
    began = time.monotonic()
    answer = ask(port, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n" + sent)
    assert status_of(answer) == 408
    assert time.monotonic() - began >= 0.39 * SLOW
    proxy.wait_active(0)
    assert proxy.ends() == {"idle": 1}
    b = proxy.backends()["f"]
    assert (b["total"], b["failed"]) == (1, 0)


def test_the_response_is_waited_for_from_the_end_of_the_request(lb, fake, port):
    """A body that takes longer than timeouts.response, and moves, is in time. Then the backend has
    that long, and not more."""
    n_answered = []

    def serve(s):
        head, rest = recv_head(s)
        recv_exact(s, 6 - len(rest))
        if not n_answered:
            n_answered.append(1)
            s.sendall(OK)
        recv_all(s)

    times = {"response": ms(1000), "body": ms(10000)}
    proxy = lb(http_conf(port, [fake(serve).row()], retries=0, timeouts=times))
    for want in (200, 504):
        with connect(port, 30) as s:
            s.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\n")
            for _ in range(6):
                time.sleep(0.3 * SLOW)
                ended = time.monotonic()
                s.sendall(b"b")
            answer = recv_all(s)
        assert status_of(answer) == want
        if want == 504:
            assert time.monotonic() - ended >= 0.9 * SLOW
    proxy.wait_active(0)
    assert proxy.ends() == {"completed": 1, "response_timeout": 1}
    assert proxy.backends()["f"]["failed"] == 1


# ---- interim responses ---------------------------------------------------------------------------


@pytest.mark.parametrize("is_half_closed", [False, True], ids=["open", "half_closed"])
def test_interim_responses_that_nobody_reads_have_an_end(lb, fake, port, is_half_closed):
    """What waits for the client is bounded. Once it reads, it has every interim response whole, and
    then an answer. One that has half-closed behind its request has, too: io_uring cannot wait for
    room at such a socket."""
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: " + b"x" * 3000 + b"\r\n\r\n"
    was_cut_off = threading.Event()

    def serve(s):
        recv_head(s)
        try:
            while True:
                s.sendall(interim)
        except ConnectionError:
            was_cut_off.set()

    proxy = lb(http_conf(port, [fake(serve).row()]))
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.settimeout(20 * SLOW)
        s.connect((HOST, port))
        s.sendall(GET)
        if is_half_closed:
            s.shutdown(socket.SHUT_WR)
        wait_for("the backend's failure", lambda: proxy.backends()["f"]["failed"] == 1, 20)
        assert was_cut_off.wait(20 * SLOW)
        got = recv_all(s)
    while got.startswith(interim):
        got = got[len(interim) :]
    assert status_of(got) == 502
    proxy.wait_active(0)
    assert proxy.ends() == {"bad_response": 1}
    assert proxy.backends()["f"]["failed"] == 1


def test_interim_responses_are_not_for_http_1_0(lb, fake, port):
    """RFC 9110, 15.2: a server must not send one to a 1.0 client."""
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"

    def serve(s):
        recv_head(s)
        s.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" + interim)
        s.sendall(interim + OK)
        recv_all(s)

    proxy = lb(http_conf(port, [fake(serve).row()]))
    answer = ask(port, b"GET / HTTP/1.0\r\n\r\n")
    assert status_of(answer) == 200
    assert answer.count(b"HTTP/1.") == 1
    assert answer.endswith(b"\r\n\r\nok")
    proxy.wait_active(0)
    assert proxy.ends() == {"completed": 1}


def test_interim_responses_for_nobody_are_bounded_by_time_only(lb, fake, port):
    """They are dropped, many times as many as may wait for a client of 1.1; they do not prolong the
    wait for the response, and its end is the backend's failure."""
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: " + b"x" * 3000 + b"\r\n\r\n"
    n_sent = []

    def answers(s):
        recv_head(s)
        for _ in range(1000):
            s.sendall(interim)
        s.sendall(OK)
        recv_all(s)

    def goes_on(s):
        recv_head(s)
        while True:
            s.sendall(interim)
            n_sent.append(len(interim))

    serve = [answers, goes_on]
    row = fake(lambda s: serve.pop(0)(s)).row()
    proxy = lb(http_conf(port, [row], timeouts={"response": ms(2000)}))
    answer = ask(port, b"GET / HTTP/1.0\r\n\r\n")
    assert status_of(answer) == 200
    assert answer.endswith(b"\r\n\r\nok")
    began = time.monotonic()
    answer = ask(port, b"GET / HTTP/1.0\r\n\r\n", timeout=30)
    assert time.monotonic() - began >= 1.9 * SLOW
    assert status_of(answer) == 504
    assert answer.count(b"HTTP/1.") == 1
    assert sum(n_sent) > 1 << 20
    proxy.wait_active(0)
    assert proxy.ends() == {"completed": 1, "response_timeout": 1}
    assert proxy.backends()["f"]["failed"] == 1
