# SPDX-License-Identifier: Apache-2.0
"""mode: http, deviations that real clients and backends send: taken where they have one reading.

What goes on is spelt in one way, so that whoever comes next has nothing to guess. The other half,
what stays refused, is in test_strict.py.
"""

import base64
import hashlib
import itertools
import os
import socket

import pytest

from lbtest import (
    ACCEPT,
    GOOD_101,
    connect,
    fields_of,
    http_conf,
    recv_all,
    recv_exact,
    recv_head,
    status_of,
    upgrade_request,
    wait_for,
    ws_frame,
)

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


# ---- a 101 that says something of a body ---------------------------------------------------------

# Shiny's httpuv, RStudio, drogon, libhv and RxNetty send one of these.
FRAMINGS = {
    "length 0": b"Content-Length: 0\r\n",
    "a length": b"Content-Length: 12\r\n",
    "chunked": b"Transfer-Encoding: chunked\r\n",
    "both": b"Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
}


@pytest.mark.parametrize("framing", FRAMINGS.values(), ids=FRAMINGS.keys())
def test_a_101_with_a_framing(lb, fake, port, framing):
    """It has no body, so that its framing means nothing; the client sees none of it."""
    frame = ws_frame(b"welcome", 1, mask=b"")

    def serve(s):
        recv_head(s)
        s.sendall(GOOD_101[:-2] + framing + b"\r\n" + frame)
        s.sendall(recv_exact(s, 4))
        recv_all(s)

    lb(http_conf(port, [fake(serve).row()], retries=0))
    with connect(port) as s:
        s.sendall(upgrade_request())
        head, rest = recv_head(s)
        assert status_of(head) == 101
        names = [name for name, _ in fields_of(head)]
        assert sorted(names) == ["connection", "sec-websocket-accept", "upgrade"]
        assert rest + recv_exact(s, len(frame) - len(rest)) == frame
        s.sendall(b"\x8a\x80abcd"[:4])
        assert recv_exact(s, 4) == b"\x8a\x80ab"


@pytest.mark.parametrize("framing", FRAMINGS.values(), ids=FRAMINGS.keys())
def test_a_check_takes_a_101_with_a_framing(lb, fake, port, framing):
    def serve(s):
        head, _ = recv_head(s)
        key = dict(fields_of(head))["sec-websocket-key"]
        digest = hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        answer = GOOD_101.replace(ACCEPT.encode(), base64.b64encode(digest))
        s.sendall(answer[:-2] + framing + b"\r\n")
        recv_all(s)

    health = {"type": "websocket", "path": "/", "interval": "100ms", "timeout": "1s", "fall": 1}
    proxy = lb(http_conf(port, [fake(serve).row()], health=health))
    wait_for("a check", lambda: proxy.backends()["f"]["check"]["result"])
    assert proxy.backends()["f"]["check"]["result"].startswith("101 in ")


def test_an_interim_response_with_a_framing(lb, fake, port):
    def serve(s):
        recv_head(s)
        s.sendall(
            b"HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\nLink: </a>\r\n\r\n"
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        )

    lb(http_conf(port, [fake(serve).row()]))
    with connect(port) as s:
        s.sendall(GET)
        answer = recv_all(s)
    assert answer.startswith(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n")


# ---- chunk framing -------------------------------------------------------------------------------

# Most ESP32 devices write a size in a field of fixed width.
ESP32 = b"6     \r\nhello \r\n5     \r\nworld\r\n0     \r\n\r\n"
CANONICAL = b"6\r\nhello \r\n5\r\nworld\r\n0\r\n\r\n"
CHUNKED_200 = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("step", [1, 3, 1000])
def test_spaces_behind_a_size(lb, fake, port, step):
    """In whatever pieces they come."""

    def serve(s):
        recv_head(s)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        data = CHUNKED_200 + ESP32
        for i in range(0, len(data), step):
            s.sendall(data[i : i + step])
        recv_all(s)

    proxy = lb(http_conf(port, [fake(serve).row()]))
    with connect(port) as s:
        s.sendall(GET)
        answer = recv_all(s)
    assert answer.split(b"\r\n\r\n", 1)[1] == CANONICAL
    assert proxy.backends()["f"]["failed"] == 0


def test_chunks_of_every_spelling_and_size(lb, fake, port):
    """Payload that is moved behind shortened framing arrives whole, and much of it, too."""
    data = os.urandom(1 << 20)
    came = goes = b""
    rest = data
    for i in itertools.count():
        n = min(len(rest), (1, 10, 4095, 4096, 70000)[i % 5])
        came += f"{n:0{i % 16 + 1}X}".encode() + (b"", b" ", b";a=b", b" ;", b";")[i // 2 % 5]
        came += b"\r\n" + rest[:n] + b"\r\n"
        goes += f"{n:x}\r\n".encode() + rest[:n] + b"\r\n"
        rest = rest[n:]
        if n == 0:
            break

    def serve(s):
        recv_head(s)
        s.sendall(CHUNKED_200 + came)
        recv_all(s)

    lb(http_conf(port, [fake(serve).row()]))
    with connect(port, timeout=30) as s:
        s.sendall(GET)
        assert recv_all(s).split(b"\r\n\r\n", 1)[1] == goes


# ---- HTTP/1.0 clients ----------------------------------------------------------------------------

GET_1_0 = b"GET / HTTP/1.0\r\n\r\n"


def test_a_chunked_response_to_http_1_0(lb, fake, port):
    """Its payload, and the end of the connection."""
    data = os.urandom(300000)
    chunks = b"".join(
        f"{len(data[i : i + 7777]):x};a\r\n".encode() + data[i : i + 7777] + b"\r\n"
        for i in range(0, len(data), 7777)
    )

    def serve(s):
        recv_head(s)
        s.sendall(CHUNKED_200[:-2] + b"Trailer: A\r\n\r\n" + chunks + b"0\r\nA: b\r\n\r\n")
        recv_all(s)  # the connection stays open: lb must know the end by itself

    proxy = lb(http_conf(port, [fake(serve).row()]))
    with connect(port) as s:
        s.sendall(GET_1_0)
        head, body = recv_head(s)
        body += recv_all(s)
    assert head == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
    assert body == data
    proxy.wait_end("completed")


@pytest.mark.parametrize("sent", [b"3\r\nabc\r\n", b"5\r\nabc", b"3\r\nabc\r\n0\r\n"])
def test_a_chunked_response_to_http_1_0_that_is_cut_short(lb, fake, port, sent):
    """Only a reset can say so: what came is delivered first."""

    def serve(s):
        recv_head(s)
        s.sendall(CHUNKED_200 + sent)

    proxy = lb(http_conf(port, [fake(serve).row()]))
    with connect(port) as s:
        s.sendall(GET_1_0)
        head, body = recv_head(s)
        with pytest.raises(ConnectionResetError):
            while part := s.recv(65536):
                body += part
    assert status_of(head) == 200
    assert body == b"abc"
    proxy.wait_end("backend_closed")


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("method, status", [("HEAD", 200), ("GET", 304)])
def test_two_framings_where_no_body_follows(lb, fake, port, version, method, status):
    def serve(s):
        recv_head(s)
        s.sendall(
            f"HTTP/1.1 {status} x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n"
            "A: b\r\n\r\n".encode()
        )
        recv_all(s)

    lb(http_conf(port, [fake(serve).row()]))
    with connect(port) as s:
        s.sendall(f"{method} / HTTP/{version}\r\nHost: x\r\n\r\n".encode())
        answer = recv_all(s)
    coding = [("transfer-encoding", "chunked")] if version == "1.1" else []
    assert status_of(answer) == status
    assert fields_of(answer) == [*coding, ("a", "b"), ("connection", "close")]
    assert answer.endswith(b"\r\n\r\n")


# ---- upgrades to other protocols -----------------------------------------------------------------

EXEC = b"POST /exec/1/start HTTP/1.1\r\nHost: x\r\nUpgrade: tcp\r\nConnection: Upgrade\r\n"
UPGRADED = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
BODIES = {
    "length": (b"Content-Length: 16\r\n", b'{"Detach":false}', b'{"Detach":false}'),
    "chunks": (
        b"Transfer-Encoding: chunked\r\n",
        b'010;a\r\n{"Detach":false}\r\n0\r\nHost: a\r\n\r\n',
        b'10\r\n{"Detach":false}\r\n0\r\n\r\n',
    ),
}


@pytest.mark.parametrize("step", [1, 10000])
@pytest.mark.parametrize("glued", [b"", b"stdin "], ids=["alone", "glued"])
@pytest.mark.parametrize("fields, body, seen", BODIES.values(), ids=BODIES.keys())
def test_a_body_then_a_tunnel(lb, fake, port, fields, body, seen, glued, step):
    """docker exec: the body goes first, and what follows it waits for the 101."""
    got = []

    def serve(s):
        head, rest = recv_head(s)
        got.append(head)
        rest += recv_exact(s, len(seen) - len(rest))
        s.settimeout(0.1)
        with pytest.raises(TimeoutError):
            rest += s.recv(1)
        s.settimeout(20)
        got.append(rest)
        s.sendall(UPGRADED + b"stdout ")
        got.append(recv_exact(s, len(glued) + 4))
        s.sendall(b"bye")

    proxy = lb(http_conf(port, [fake(serve).row()]))
    data = EXEC + fields + b"\r\n" + body + glued
    with connect(port) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for i in range(0, len(data), step):
            s.sendall(data[i : i + step])
        head, rest = recv_head(s)
        assert status_of(head) == 101
        rest += recv_exact(s, 7 - len(rest))
        s.sendall(b"more")
        assert rest + recv_all(s) == b"stdout bye"
    assert b"Connection: Upgrade\r\nUpgrade: tcp\r\n" in got[0]
    assert got[1:] == [seen, glued + b"more"]
    proxy.wait_active(0)
    assert proxy.ends() == {"backend_closed": 1}


def test_a_large_body_then_a_tunnel(lb, fake, port):
    """Larger than what is held on its way; the 101 comes before it is whole, and waits for it."""
    data = os.urandom(3 << 20)
    got = []

    def serve(s):
        _, rest = recv_head(s)
        s.sendall(UPGRADED)
        got.append(rest + recv_exact(s, len(data) + 4 - len(rest)))
        s.sendall(b"bye")

    proxy = lb(http_conf(port, [fake(serve).row()]))
    with connect(port, timeout=30) as s:
        s.sendall(EXEC + f"Content-Length: {len(data)}\r\n\r\n".encode() + data[:1000])
        s.settimeout(0.2)
        with pytest.raises(TimeoutError):
            s.recv(1)
        s.settimeout(30)
        s.sendall(data[1000:] + b"more")
        head, rest = recv_head(s)
        assert status_of(head) == 101
        assert rest + recv_all(s) == b"bye"
    assert got == [data + b"more"]
    proxy.wait_active(0)


@pytest.mark.parametrize("is_whole", [True, False])
def test_a_refused_upgrade_with_a_body_is_a_plain_request(lb, fake, port, is_whole):
    """Its body is sent to its end, and nothing behind that."""
    behind = []

    def serve(s):
        _, body = recv_head(s)
        body += recv_exact(s, (6 if is_whole else 3) - len(body))
        s.sendall(b"HTTP/1.1 404 No\r\nContent-Length: 6\r\n\r\n")
        body += recv_exact(s, 6 - len(body))
        s.sendall(body)
        behind.append(recv_all(s))

    proxy = lb(http_conf(port, [fake(serve).row()]))
    with connect(port) as s:
        s.sendall(EXEC + b"Content-Length: 6\r\n\r\nabc" + (b"defSTDIN" if is_whole else b""))
        head, rest = recv_head(s)
        assert status_of(head) == 404
        if not is_whole:
            s.sendall(b"defSTDIN")
        assert rest + recv_all(s) == b"abcdef"
    wait_for("the backend's end", lambda: behind)
    assert behind == [b""]
    proxy.wait_active(0)
    assert proxy.ends() == {"completed": 1}


OTHERS = {
    "websocket": b"Upgrade: websocket\r\n",
    "a websocket with an Accept": GOOD_101[len(b"HTTP/1.1 101 Switching Protocols\r\n") : -2],
    "another": b"Upgrade: bar\r\n",
    "another beside it": b"Upgrade: foo, bar\r\n",
    "another version": b"Upgrade: foo/2\r\n",
}


@pytest.mark.parametrize("fields", OTHERS.values(), ids=OTHERS.keys())
def test_a_101_to_what_was_not_asked_for(lb, fake, port, fields):
    def serve(s):
        recv_head(s)
        s.sendall(b"HTTP/1.1 101 S\r\nConnection: Upgrade\r\n" + fields + b"\r\n")
        recv_all(s)

    proxy = lb(http_conf(port, [fake(serve).row()], retries=0))
    with connect(port) as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: foo\r\nConnection: Upgrade\r\n\r\n")
        assert status_of(recv_all(s)) == 502
    proxy.wait_end("bad_accept")
    assert proxy.backends()["f"]["failed"] == 1


# ---- who asks for nothing ------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [b"", b"\r", b"\r\n"], ids=["nothing", "CR", "an empty line"])
def test_who_asks_for_nothing_is_told_nothing(lb, echo, port, sent):
    """A browser's preconnect would take a 408 for the answer to its next request."""
    conf = http_conf(port, echo(1))
    conf["listeners"][0]["timeouts"] = {"handshake": "200ms"}
    proxy = lb(conf)
    with connect(port) as s:
        s.sendall(sent)
        assert recv_all(s) == b""
    proxy.wait_end("handshake_timeout")
    assert proxy.ends() == {"handshake_timeout": 1}


def test_who_has_begun_to_ask_is_told(lb, echo, port):
    conf = http_conf(port, echo(1))
    conf["listeners"][0]["timeouts"] = {"handshake": "200ms"}
    proxy = lb(conf)
    with connect(port) as s:
        s.sendall(b"\r\nG")
        assert status_of(recv_all(s)) == 408
    proxy.wait_end("handshake_timeout")


# ---- names with underscores ----------------------------------------------------------------------

UNDERSCORES = "X_Forwarded_For: 1.2.3.4\r\nContent_Length: 99\r\nx_key: b\r\n"


@pytest.mark.parametrize("rule", [None, "drop", "pass", "refuse"])
@pytest.mark.parametrize("where", ["field", "trailer"])
def test_names_with_underscores(lb, fake, port, rule, where):
    """CGI and WSGI make one variable of X_Forwarded_For and X-Forwarded-For."""
    got = []

    def serve(s):
        data = b"".join(recv_head(s))
        while not data.endswith(b"0\r\n\r\n" if where == "field" else b"A: b\r\n\r\n"):
            part = s.recv(65536)
            if part == b"":
                return
            data += part
        got.append(data)
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    conf = http_conf(port, [fake(serve).row()])
    if rule is not None:
        conf["listeners"][0]["http"] = {"underscores": rule}
    proxy = lb(conf)
    field, trailer = (UNDERSCORES, "") if where == "field" else ("", UNDERSCORES)
    with connect(port) as s:
        s.sendall(
            f"POST / HTTP/1.1\r\nHost: x\r\n{field}Transfer-Encoding: chunked\r\n\r\n"
            f"0\r\n{trailer}".encode()
        )
        s.sendall(b"\r\n" if where == "field" else b"A: b\r\n\r\n")
        status = status_of(recv_all(s))
    if rule == "refuse":
        assert status == 400
        proxy.wait_end("bad_request")
        return
    assert status == 200
    assert (UNDERSCORES.encode() in got[0]) == (rule == "pass")
    assert (b"_" in got[0]) == (rule == "pass")


def test_a_route_and_a_hash_by_a_name_with_an_underscore(lb, echo, port):
    a, b = echo(2)
    conf = http_conf(port, [a])
    conf["pools"].append({"name": "q", "backends": [{"name": b.name, "address": b.address}]})
    conf["listeners"][0] |= {
        "http": {"underscores": "pass"},
        "routes": [{"header": {"x_key": "b"}, "pool": "q"}],
    }
    lb(conf)
    for fields, name in (("", a.name), ("X_KEY: b\r\n", b.name)):
        with connect(port) as s:
            s.sendall(f"GET / HTTP/1.1\r\nHost: x\r\n{fields}\r\n".encode())
            assert dict(fields_of(recv_all(s)))["x-backend"] == name


# ---- targets -------------------------------------------------------------------------------------


@pytest.fixture
def paths(lb, fake, port):
    """A function that makes an lb with http settings and a route for /api/*, and returns another
    that asks it for a target: the status, the pool, and the target that the backend saw."""

    def serve(name):
        def answer(s):
            target = recv_head(s)[0].split(b" ")[1]
            body = name + b" " + target
            s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

        return answer

    def make(has_path=True, **http):
        conf = http_conf(port, [fake(serve(b"web"), name="w").row()])
        conf["pools"].append({"name": "api", "backends": [fake(serve(b"api"), name="a").row()]})
        route = {"path": "/api/*"} if has_path else {"header": {"x-none": "1"}}
        conf["listeners"][0] |= {"http": http, "routes": [{**route, "pool": "api"}]}
        proxy = lb(conf)

        def ask(target):
            with connect(port) as s:
                s.sendall(b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n")
                answer = recv_all(s)
            if status_of(answer) != 200:
                proxy.wait_end("bad_request")
                return status_of(answer)
            return tuple(answer.split(b"\r\n\r\n", 1)[1].split(b" ", 1))

        return ask

    return make


def test_dot_segments_are_refused_where_a_route_has_a_path(paths):
    ask = paths()
    assert ask(b"/api/a") == (b"api", b"/api/a")
    for target in (b"/api/../a", b"/a/%2e%2E/api/", b"/.", b"/a/."):
        assert ask(target) == 400
    assert ask(b"/api/?/../") == (b"api", b"/api/?/../")


def test_dot_segments_pass_where_no_route_has_a_path(paths):
    """Go's client sends them."""
    ask = paths(has_path=False)
    assert ask(b"/a/../b/%2e/c") == (b"web", b"/a/../b/%2e/c")


def test_dot_segments_can_be_refused_everywhere(paths):
    assert paths(has_path=False, dot_segments="refuse")(b"/a/../b") == 400


def test_dot_segments_are_normalised(paths):
    """What is matched is what is sent on."""
    ask = paths(dot_segments="normalise")
    for target, pool, path in (
        (b"/api/../a?q=/../", b"web", b"/a?q=/../"),
        (b"/a/../api/b", b"api", b"/api/b"),
        (b"/a/%2e%2E/api/./b/.", b"api", b"/api/b/"),
        (b"/api/..%2fa", b"api", b"/api/..%2fa"),
        (b"/api/%2e.", b"web", b"/"),
        (b"/../../api/", b"api", b"/api/"),
        (b"http://y/a/../api/b", b"api", b"/api/b"),
    ):
        assert ask(target) == (pool, path)


def test_dot_segments_pass_as_they_came(paths):
    ask = paths(dot_segments="pass")
    assert ask(b"/api/../a") == (b"api", b"/api/../a")
    assert ask(b"/a/../api/") == (b"web", b"/a/../api/")


def test_targets_in_utf_8(paths):
    """Well-formed UTF-8 and nothing else, and only where the listener says so."""
    word = "/\u00fc/\u20ac?\U0001f600".encode()
    ask = paths(targets="relaxed")
    assert ask(b"/api" + word) == (b"api", b"/api" + word)
    for target in (b"/\xfc", b"/\xc0\xae\xc0\xae/", b"/\xed\xa0\x80", b"/a?\xc3", b"/\xc3\xbc#a", b"/\x7f"):
        assert ask(target) == 400


def test_targets_are_strict_by_default(paths):
    assert paths()("/\u00fc".encode()) == 400
