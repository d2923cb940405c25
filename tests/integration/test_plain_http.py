# SPDX-License-Identifier: Apache-2.0
"""mode: http, requests that are no upgrade: bodies are framed exactly, both ways."""

import os
import threading
import time

import pytest

from lbtest import (
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


def body_of(answer):
    return answer.split(b"\r\n\r\n", 1)[1]


def unchunk(data):
    """(payload, what comes behind the last chunk's trailers)"""
    out = b""
    while True:
        size, data = data.split(b"\r\n", 1)
        n = int(size.split(b";")[0], 16)
        if n == 0:
            trailers, rest = (b"", data[2:]) if data[:2] == b"\r\n" else data.split(b"\r\n\r\n", 1)
            return out, trailers, rest
        out += data[:n]
        assert data[n : n + 2] == b"\r\n"
        data = data[n + 2 :]


def canned(response, keep=False):
    """A backend that reads a head and answers with bytes; `keep` leaves its connection open."""

    def serve(s):
        recv_head(s)
        s.sendall(response)
        if keep:
            recv_all(s)

    return serve


# ---- requests ------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, 1, 4096, 70000, 3 << 20])
def test_a_body_with_its_length(shared, n):
    data = os.urandom(n)
    head = f"POST /up HTTP/1.1\r\nHost: x\r\nContent-Length: {n}\r\n\r\n".encode()
    with connect(shared.port, timeout=30) as s:
        # It is echoed while it is sent: all of it does not fit into the buffers on the way.
        sender = threading.Thread(target=s.sendall, args=(head + data,))
        sender.start()
        answer = recv_all(s)
        sender.join()
    assert status_of(answer) == 200
    line, rest = body_of(answer).split(b"\n", 1)
    assert line in (b"e1 POST /up", b"e2 POST /up")
    assert rest == data


def test_a_body_in_chunks(shared):
    data = os.urandom(200000)
    chunks = b"".join(
        f"{len(data[i : i + 9999]):X};ext=\"a b\"\r\n".encode() + data[i : i + 9999] + b"\r\n"
        for i in range(0, len(data), 9999)
    )
    head = b"POST /up HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = ask(shared.port, head + chunks + b"0\r\nTrailer: kept\r\n\r\n")
    payload, trailers, rest = unchunk(body_of(answer))
    assert payload.split(b"\n", 1)[1] == data
    assert trailers == b"Trailer: kept"
    assert rest == b""


def test_a_chunked_body_a_byte_at_a_time(shared):
    data = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    with connect(shared.port) as s:
        for i in range(len(data)):
            s.sendall(data[i : i + 1])
        payload, _, _ = unchunk(body_of(recv_all(s)))
    assert payload.endswith(b" POST /\nabc")


def test_malformed_chunks_never_reach_the_backend_whole(lb, fake, port):
    got = []

    def serve(s):
        got.append(recv_all(s))

    proxy = lb(http_conf(port, [fake(serve).row()]))
    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with connect(port) as s:
        s.sendall(head + b"3\r\nabc\r\n0x1\r\nGET /smuggled HTTP/1.1\r\n\r\n")
        try:
            assert status_of(recv_all(s)) in (0, 400)
        except ConnectionResetError:
            pass
    proxy.wait_active(0)
    assert b"smuggled" not in b"".join(got)


@pytest.mark.parametrize(
    "request_",
    [
        GET,
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    ],
    ids=["no body", "length", "chunked"],
)
def test_input_behind_a_request_is_never_forwarded(lb, fake, port, request_):
    got = []

    def serve(s):
        head, rest = recv_head(s)
        s.settimeout(0.3)
        try:
            while part := s.recv(65536):
                rest += part
        except TimeoutError:
            pass
        got.append(head + rest)
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    lb(http_conf(port, [fake(serve).row()]))
    answer = ask(port, request_ + b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.endswith(b"\r\n\r\nok")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert len(got) == 1
    assert b"smuggled" not in got[0]


def test_what_the_backend_is_told(lb, fake, port):
    got = []

    def serve(s):
        head, _ = recv_head(s)
        got.append(head)
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    lb(http_conf(port, [fake(serve).row()]))
    ask(
        port,
        b"GET http://real.test/a?b=c HTTP/1.1\r\nHost: claimed\r\nX-Forwarded-For: 1.2.3.4\r\n"
        b"Connection: keep-alive, x-hop\r\nX-Hop: 1\r\nAccept: */*\r\nX-A: 1\r\nX-A: 2\r\n\r\n",
    )
    assert got[0].startswith(b"GET /a?b=c HTTP/1.1\r\n")
    fields = fields_of(got[0])
    assert ("host", "real.test") in fields
    assert ("x-forwarded-for", "127.0.0.1") in fields
    assert ("x-forwarded-host", "real.test") in fields
    assert ("connection", "close") in fields
    assert [v for k, v in fields if k == "x-a"] == ["1", "2"]
    assert "x-hop" not in dict(fields)
    assert len([k for k, _ in fields if k == "host"]) == 1


def test_http_1_0_goes_on_as_1_1(lb, fake, port):
    got = []

    def serve(s):
        got.append(recv_head(s)[0])
        s.sendall(b"HTTP/1.0 200 OK\r\n\r\nold")

    row = fake(serve).row()
    lb(http_conf(port, [row]))
    answer = ask(port, b"GET / HTTP/1.0\r\n\r\n")
    assert got[0].startswith(b"GET / HTTP/1.1\r\n")
    assert ("host", row["address"]) in fields_of(got[0])
    assert answer.endswith(b"\r\n\r\nold")


# ---- responses -----------------------------------------------------------------------------------

RESPONSES = [
    ("length", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
    ("length 0", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b""),
    ("204", b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    ("304 with a length", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", b""),
    ("chunked", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
     b"2\r\nhi\r\n0\r\n\r\n"),
]


@pytest.mark.parametrize("response, body", [r[1:] for r in RESPONSES], ids=[r[0] for r in RESPONSES])
def test_the_end_of_a_response_is_seen(lb, fake, port, response, body):
    """The backend keeps its connection open: lb must know the end by itself."""
    lb(http_conf(port, [fake(canned(response, keep=True)).row()]))
    answer = ask(port, GET)
    assert answer.split(b"\r\n")[0] == response.split(b"\r\n")[0]
    assert body_of(answer) == body
    assert ("connection", "close") in fields_of(answer)


def test_what_follows_a_response_is_dropped(lb, fake, port):
    response = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\nsmuggled"
    lb(http_conf(port, [fake(canned(response, keep=True)).row()]))
    assert body_of(ask(port, GET)) == b"ok"


def test_a_response_until_close(lb, fake, port):
    data = os.urandom(1 << 20)
    lb(http_conf(port, [fake(canned(b"HTTP/1.1 200 OK\r\n\r\n" + data)).row()]))
    assert body_of(ask(port, GET)) == data


def test_head_has_no_body(lb, fake, port):
    response = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
    lb(http_conf(port, [fake(canned(response, keep=True)).row()]))
    answer = ask(port, b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert ("content-length", "1000") in fields_of(answer)
    assert body_of(answer) == b""


def test_lbs_own_answer_to_head_has_no_body(lb, port):
    conf = http_conf(port, [("b", 1)])
    del conf["listeners"][0]["pool"]
    conf["listeners"][0]["routes"] = [{"path": "/nowhere", "pool": "p"}]
    lb(conf)
    answer = ask(port, b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert status_of(answer) == 404
    assert body_of(answer) == b""


def test_100_continue(lb, fake, port):
    def serve(s):
        head, rest = recv_head(s)
        assert b"Expect: 100-continue" in head and rest == b""
        s.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        data = recv_exact(s, 5)
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + data[::-1])

    lb(http_conf(port, [fake(serve).row()]))
    with connect(port) as s:
        s.sendall(
            b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
        )
        head, rest = recv_head(s)
        assert status_of(head) == 100 and rest == b""
        s.sendall(b"12345")
        answer = recv_all(s)
    assert status_of(answer) == 200
    assert body_of(answer) == b"54321"


def test_103_passes_before_the_answer(lb, fake, port):
    response = (
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    )
    lb(http_conf(port, [fake(canned(response)).row()]))
    answer = ask(port, GET)
    assert status_of(answer) == 103
    assert b"Link: </a>\r\n" in answer
    assert answer.endswith(b"\r\n\r\nok")


def test_an_answer_before_the_body_is_whole(lb, fake, port):
    """A backend may refuse an upload without reading it."""
    response = b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno"
    lb(http_conf(port, [fake(canned(response)).row()]))
    with connect(port) as s:
        s.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\nsome")
        assert status_of(recv_all(s)) == 413


def test_a_response_cut_short_is_no_whole_response(lb, fake, port):
    """The client must be able to see that bytes are missing."""
    response = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel"
    lb(http_conf(port, [fake(canned(response)).row()]))
    with connect(port) as s:
        s.sendall(GET)
        try:
            answer = recv_all(s)
        except ConnectionResetError:
            return
    assert b"0\r\n\r\n" not in answer


def test_response_timeout(lb, fake, port):
    proxy = lb(
        http_conf(port, [fake(recv_all).row()], retries=0, timeouts={"response": "300ms"})
    )
    assert status_of(ask(port, GET)) == 504
    proxy.wait_end("response_timeout")


def test_a_body_that_stops_moving_is_ended(lb, fake, port):
    def serve(s):
        recv_head(s)
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        recv_all(s)

    proxy = lb(http_conf(port, [fake(serve).row()], timeouts={"body": "300ms"}))
    with connect(port) as s:
        began = time.monotonic()
        s.sendall(GET)
        try:
            recv_all(s)
        except ConnectionResetError:
            pass
        assert time.monotonic() - began > 0.2
    proxy.wait_active(0)


def test_a_slow_reader_gets_all(lb, fake, port):
    data = os.urandom(8 << 20)
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(data)}\r\n\r\n".encode()
    lb(http_conf(port, [fake(canned(head + data)).row()]))
    with connect(port, 30) as s:
        s.sendall(GET)
        got = b""
        while len(got) < 500000:
            got += s.recv(20000)
            time.sleep(0.005)
        got += recv_all(s)
    assert body_of(got) == data


# ---- routes --------------------------------------------------------------------------------------


def test_routes_are_tried_in_order(lb, echo, port):
    chat, web, canary, beta = echo(4)

    def pool(name, e):
        return {"name": name, "backends": [{"name": e.name, "address": e.address}]}

    lb(
        {
            "listeners": [
                {
                    "name": "l",
                    "bind": f"127.0.0.1:{port}",
                    "routes": [
                        {"header": {"x-canary": "1"}, "pool": "canary"},
                        {"host": "*.beta.test", "pool": "beta"},
                        {"name": "chat", "host": "chat.test", "path": "/ws/*", "pool": "chat"},
                        {"websocket": False, "pool": "web"},
                    ],
                }
            ],
            "pools": [
                pool("chat", chat),
                pool("web", web),
                pool("canary", canary),
                pool("beta", beta),
            ],
        }
    )

    def backend(host, path, extra=""):
        request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{extra}\r\n"
        return dict(fields_of(ask(port, request.encode())))["x-backend"]

    assert backend("chat.test", "/ws/1") == chat.name
    assert backend("CHAT.test.:8080", "/ws/1?q") == chat.name
    assert backend("chat.test", "/ws") == web.name
    assert backend("chat.test", "/WS/1") == web.name
    assert backend("a.b.beta.test", "/") == beta.name
    assert backend("beta.test", "/") == web.name
    assert backend("chat.test", "/ws/1", "X-Other: 1\r\nX-CANARY: 1\r\n") == canary.name
    assert backend("chat.test", "/ws/1", "X-Canary: 11\r\n") == chat.name

    # No row is left for an upgrade of another host.
    request = (
        "GET /ws/1 HTTP/1.1\r\nHost: other\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    assert status_of(ask(port, request.encode())) == 404


def test_ends_of_plain_requests_are_counted(lb, echo, port):
    proxy = lb(http_conf(port, echo(1)))
    for _ in range(3):
        assert status_of(ask(port, GET)) == 200
    wait_for("three ends", lambda: sum(proxy.ends().values()) == 3)
    b = proxy.backends()["e1"]
    assert (b["total"], b["active"], b["failed"]) == (3, 0, 0)
    assert b["bytes_in"] > 0 and b["bytes_out"] > 0
