# SPDX-License-Identifier: Apache-2.0
"""mode: http, upgrades: the handshake's table of verdicts, and tunnels."""

import asyncio
import os
import socket
import subprocess
import time

import pytest
import websockets

import lbtest
from lbtest import (
    ACCEPT,
    GOOD_101,
    ask,
    connect,
    fields_of,
    free_port,
    http_conf,
    in_thread,
    recv_all,
    recv_exact,
    recv_head,
    run,
    status_of,
    upgrade_request,
    wait_for,
    ws_ask,
    ws_frame,
    ws_open,
)

WS_DIR = lbtest.ROOT / "tests" / "ws"
HOST = "Host: x\r\n"
WS = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


def get(fields, line="GET / HTTP/1.1"):
    return f"{line}\r\n{fields}\r\n".encode("latin-1")


# What is sent, and the status of the answer; lb closes behind each of them but the 101s.
REQUESTS = [
    ("plain", get(HOST), 200),
    ("an empty line before", b"\r\n" + get(HOST), 200),
    ("two empty lines before", b"\r\n\r\n" + get(HOST), 400),
    ("absolute form", get(HOST, "GET http://x/a HTTP/1.1"), 200),
    ("unknown method passes", get(HOST, "BREW / HTTP/1.1"), 200),
    ("asterisk form", get(HOST, "OPTIONS * HTTP/1.1"), 200),
    ("CONNECT", get(HOST, "CONNECT x:80 HTTP/1.1"), 501),
    ("bare LF", b"GET / HTTP/1.1\nHost: x\n\n", 400),
    ("bare CR in a value", get("Host: x\r\nA: b\rc\r\n"), 400),
    ("NUL in a value", get("Host: x\r\nA: b\0c\r\n"), 400),
    ("NUL in the target", get(HOST, "GET /\0 HTTP/1.1"), 400),
    ("folded line", get("Host: x\r\nA: b\r\n c\r\n"), 400),
    ("space before the colon", get("Host: x\r\nA : b\r\n"), 400),
    ("empty field name", get("Host: x\r\n: b\r\n"), 400),
    ("bad method", get(HOST, "G@T / HTTP/1.1"), 400),
    ("no target", get(HOST, "GET HTTP/1.1"), 400),
    ("two spaces", get(HOST, "GET  / HTTP/1.1"), 400),
    ("target in no form", get(HOST, "GET a HTTP/1.1"), 400),
    ("authority form of a GET", get(HOST, "GET x:80 HTTP/1.1"), 400),
    ("fragment in the target", get(HOST, "GET /a#b HTTP/1.1"), 400),
    ("no Host", get("A: b\r\n"), 400),
    ("two Hosts", get("Host: x\r\nHost: x\r\n"), 400),
    ("Host with a space", get("Host: x y\r\n"), 400),
    ("1.0 without Host", get("", "GET / HTTP/1.0"), 200),
    ("1.0 with Upgrade is plain", get(HOST + WS, "GET / HTTP/1.0"), 200),
    ("major version 2", get(HOST, "GET / HTTP/2.0"), 505),
    ("HTTP/2's preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    ("lower case version", get(HOST, "GET / http/1.1"), 400),
    ("both framings", get(HOST + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"), 400),
    ("differing lengths", get(HOST + "Content-Length: 1\r\nContent-Length: 2\r\n"), 400),
    ("length not all digits", get(HOST + "Content-Length: +1\r\n"), 400),
    ("length too large", get(HOST + "Content-Length: 99999999999999999999\r\n"), 400),
    ("unknown transfer coding", get(HOST + "Transfer-Encoding: gzip, chunked\r\n"), 400),
    ("dots within a segment", get(HOST, "GET /a..b/.c HTTP/1.1"), 200),
    ("Connection names Host", get(HOST + "Connection: host\r\n"), 400),
    ("Connection names Content-Length", get(HOST + "Connection: Content-Length\r\n"), 400),
    (
        "Connection names Sec-WebSocket-Key",
        get(HOST + WS + "Connection: Sec-WebSocket-Key\r\n"),
        400,
    ),
    ("upgrade", get(HOST + WS), 101),
    ("upgrade, lower case", get(HOST + WS.lower().replace("dghlihnhbxbszsbub25jzq==", lbtest.KEY)), 101),
    ("upgrade, Connection a list", get(HOST + WS.replace(": Upgrade", ": keep-alive, Upgrade")), 101),
    ("upgrade without a key", get(HOST + WS.split("Sec-WebSocket-Key")[0]), 400),
    ("upgrade with two keys", get(HOST + WS + f"Sec-WebSocket-Key: {lbtest.KEY}\r\n"), 400),
    ("key of 15 bytes", upgrade_request(key="dGhlIHNhbXBsZSBub24="), 400),
    ("key not base64", upgrade_request(key="dGhlIHNhbXBsZSBub25j!Q=="), 400),
    ("version 8", upgrade_request(version="8"), 426),
    ("upgrade by POST", get(HOST + WS, "POST / HTTP/1.1"), 400),
    ("upgrade with a body", get(HOST + WS + "Content-Length: 1\r\n") + b"x", 400),
    ("Connection does not name it", get(HOST + WS.replace("Connection: Upgrade\r\n", "")), 200),
    ("h2c is taken out", get(HOST + "Upgrade: h2c\r\nConnection: Upgrade\r\n"), 200),
    ("head over 16 KiB", get(HOST + "A: " + "b" * 17000 + "\r\n"), 431),
    ("head just within 16 KiB", get(HOST + "A: " + "b" * 16000 + "\r\n"), 200),
    ("101 fields", get(HOST + "A: b\r\n" * 100), 431),
]


@pytest.mark.parametrize("request_, want", [r[1:] for r in REQUESTS], ids=[r[0] for r in REQUESTS])
def test_verdict(shared, request_, want):
    with connect(shared.port) as s:
        s.sendall(request_)
        head, rest = recv_head(s)
        assert status_of(head) == want
        if want == 101:
            return
        body = rest + recv_all(s)
        if want == 200:
            return
        fields = dict(fields_of(head))
        assert fields["connection"].lower() == ("upgrade, close" if want == 426 else "close")
        assert len(body.splitlines()) == 1, "an error's body is a line"


def test_100_fields_pass(lb, fake, port):
    """With those that lb adds the backend gets more than 100: it must be one that takes them."""

    def serve(s):
        head, _ = recv_head(s)
        assert head.count(b"\r\nA: b") == 99
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    lb(http_conf(port, [fake(serve).row()]))
    assert status_of(ask(port, get(HOST + "A: b\r\n" * 99))) == 200


def test_426_says_what_is_spoken(shared):
    fields = dict(fields_of(ask(shared.port, upgrade_request(version="7"))))
    assert fields["sec-websocket-version"] == "13"
    assert fields["upgrade"].lower() == "websocket"
    assert fields["connection"] == "Upgrade, close"


def test_a_verdict_falls_at_the_byte_that_decides_it(shared):
    """No end of the head is needed to see that it is wrong."""
    with connect(shared.port) as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost : ")
        assert status_of(recv_all(s)) == 400


def test_the_answer_survives_bytes_that_nobody_read(shared):
    """Closing with unread bytes would be a reset that eats the answer."""
    for _ in range(10):
        with connect(shared.port) as s:
            s.sendall(b"BAD\r\n\r\n" + b"x" * 30000)
            assert status_of(recv_all(s)) == 400


def test_wrong_requests_are_counted(lb, echo, port):
    proxy = lb(http_conf(port, echo(1)))
    assert status_of(ask(port, b"GET / HTTP/1.1\r\n\r\n")) == 400
    proxy.wait_end("bad_request")


def test_handshake_timeout(lb, echo, port):
    conf = http_conf(port, echo(1))
    conf["listeners"][0]["timeouts"] = {"handshake": "300ms"}
    proxy = lb(conf)
    with connect(port) as s:
        for byte in b"GET ":  # a byte now and then does not help
            s.sendall(bytes([byte]))
            time.sleep(0.05)
        assert status_of(recv_all(s)) == 408
    proxy.wait_end("handshake_timeout")


# ---- tunnels -------------------------------------------------------------------------------------


def test_messages_of_all_sizes(shared):
    async def body():
        ws = await ws_open(shared.port, "/ws")
        assert ws.response_headers["X-Backend"] in ("e1", "e2")
        for n in (0, 1, 125, 126, 4095, 4096, 65535, 65536, 1 << 20, 3 << 20):
            data = os.urandom(n)
            assert await ws_ask(ws, data) == data, n
        assert await ws_ask(ws, "\u00fcber") == "\u00fcber"
        await ws.send(["frag", "ments ", "x" * 70000])
        assert await ws.recv() == "fragments " + "x" * 70000
        await asyncio.wait_for(await ws.ping(b"there?"), 5)
        await ws.close(4001, "enough")
        assert (ws.close_code, ws.close_reason) == (4001, "enough")

    run(body())


@pytest.mark.parametrize("splice", ["always", "never"])
def test_large_messages_by_every_relay(lb, echo, port, splice):
    lb(http_conf(port, echo(1), relay={"splice": splice}))

    async def body():
        ws = await ws_open(port)
        for n in (65536, 65537, 200000, 5 << 20):
            data = os.urandom(n)
            assert await ws_ask(ws, data) == data
            assert await ws_ask(ws, "small between") == "small between"
        await ws.close()

    run(body())


def test_many_messages_keep_their_order(shared):
    async def body():
        ws = await ws_open(shared.port)
        n = 3000

        async def send():
            for i in range(n):
                await ws.send(f"{i}:" + "m" * (i % 300))

        task = asyncio.create_task(send())
        for i in range(n):
            assert await ws.recv() == f"{i}:" + "m" * (i % 300)
        await task
        await ws.close()

    run(body())


def test_a_thousand_tunnels_at_once(lb, echo, port):
    proxy = lb(http_conf(port, echo(2)))

    async def body():
        conns = await lbtest.ws_open_many(port, 1000)
        assert (await in_thread(proxy.stats))["connections"]["active"] == 1000
        for i, ws in enumerate(conns):
            await ws.send(f"message {i}")
        for i, ws in enumerate(conns):
            assert await ws.recv() == f"message {i}"
        await lbtest.ws_close_all(conns)

    run(body())
    proxy.wait_active(0)


def test_the_ws_package_as_a_client(shared):
    """Another implementation, from npm: texts, binaries, pings, a close code."""
    p = subprocess.run(
        ["node", str(WS_DIR / "client.js"), f"ws://{lbtest.HOST}:{shared.port}/node"],
        capture_output=True,
        text=True,
        timeout=60 * lbtest.SLOW,
    )
    assert p.returncode == 0, p.stderr
    assert p.stdout == "ok\n"


def test_extensions_and_subprotocols_pass(lb, port, tmp_path):
    """The ws package on both sides negotiates permessage-deflate and a subprotocol through lb."""
    back = free_port()
    server = lbtest.Process(["node", WS_DIR / "server.js", str(back)], tmp_path / "ws-server")
    try:
        wait_for("the ws server", lambda: "listening" in server.stdout(), timeout=10)
        lb(http_conf(port, [("node", back)]))
        p = subprocess.run(
            ["node", str(WS_DIR / "client.js"), f"ws://{lbtest.HOST}:{port}/", "deflate"],
            capture_output=True,
            text=True,
            timeout=60 * lbtest.SLOW,
        )
        assert p.returncode == 0, p.stderr
        assert p.stdout == "ok\n"
    finally:
        server.kill()


def test_what_the_backend_is_told(shared):
    async def body():
        ws = await ws_open(
            shared.port,
            "/chat/room%20one?user=a&b=",
            origin="http://example.test",
            subprotocols=["v2.chat"],
            extra_headers=[
                ("X-Forwarded-For", "6.6.6.6"),
                ("X-Forwarded-Proto", "https"),
                ("X-Forwarded-Host", "evil"),
                ("Forwarded", "for=6.6.6.6"),
                ("Connection", "X-Hop, keep-alive"),
                ("X-Hop", "1"),
                ("Keep-Alive", "timeout=5"),
                ("Proxy-Connection", "keep-alive"),
                ("TE", "trailers"),
                ("X-Kept", "Yes, As It Is"),
                ("Cookie", "a=b; c=d"),
            ],
        )
        text = await ws_ask(ws, "lb:headers")
        await ws.close()
        return text.encode()

    head = run(body())
    assert head.startswith(b"GET /chat/room%20one?user=a&b= HTTP/1.1\r\n")
    fields = fields_of(head)
    names = [name for name, _ in fields]
    values = dict(fields)
    assert values["x-forwarded-for"] == "127.0.0.1"
    assert values["x-forwarded-proto"] == "http"
    assert values["x-forwarded-host"] == f"{lbtest.HOST}:{shared.port}"
    assert values["host"] == f"{lbtest.HOST}:{shared.port}"
    assert values["upgrade"].lower() == "websocket"
    assert values["connection"].lower() == "upgrade"
    assert values["x-kept"] == "Yes, As It Is"
    assert values["cookie"] == "a=b; c=d"
    assert values["origin"] == "http://example.test"
    assert values["sec-websocket-protocol"] == "v2.chat"
    for gone in ("x-hop", "keep-alive", "proxy-connection", "te", "forwarded", "via"):
        assert gone not in names
    assert len(names) == len(set(names)), "a field came twice"


def test_bytes_glued_to_the_request(shared):
    """The first frames may come with the head, in one packet or in pieces of a byte."""
    frames = ws_frame(b"first", 1) + ws_frame(b"second", 1)
    data = upgrade_request() + frames
    for step in (len(data), 1):
        with connect(shared.port) as s:
            for i in range(0, len(data), step):
                s.sendall(data[i : i + step])
            head, rest = recv_head(s)
            assert status_of(head) == 101
            assert (b"sec-websocket-accept", ACCEPT.encode()) in [
                (k.encode(), v.encode()) for k, v in fields_of(head)
            ]
            want = ws_frame(b"first", 1, mask=b"") + ws_frame(b"second", 1, mask=b"")
            rest += recv_exact(s, len(want) - len(rest))
            assert rest == want


def test_bytes_glued_to_the_101(lb, fake, port):
    """What a backend says right behind its 101, in the same packet."""

    def serve(s):
        recv_head(s)
        s.sendall(GOOD_101 + ws_frame(b"welcome", 1, mask=b""))
        recv_all(s)

    lb(http_conf(port, [fake(serve).row()]))
    with connect(port) as s:
        s.sendall(upgrade_request())
        head, rest = recv_head(s)
        assert status_of(head) == 101
        want = ws_frame(b"welcome", 1, mask=b"")
        assert rest + recv_exact(s, len(want) - len(rest)) == want


def test_frames_that_break_the_rules_pass(lb, fake, port):
    """A broken header is the endpoints' business; lb relays what it got."""
    noise = b"\xff\xff\xff\xff" * 5000
    got = []

    def serve(s):
        recv_head(s)
        s.sendall(GOOD_101 + noise)
        got.append(recv_exact(s, len(noise)))

    lb(http_conf(port, [fake(serve).row()]))
    with connect(port) as s:
        s.sendall(upgrade_request())
        head, rest = recv_head(s)
        s.sendall(noise)
        assert rest + recv_exact(s, len(noise) - len(rest)) == noise
        wait_for("the backend's end", lambda: got)
    assert got == [noise]


def test_another_upgrade_is_relayed_unseen(lb, fake, port):
    def serve(s):
        head, _ = recv_head(s)
        assert b"Upgrade: my-protocol" in head
        s.sendall(b"HTTP/1.1 101 OK\r\nUpgrade: my-protocol\r\nConnection: Upgrade\r\n\r\n")
        s.sendall(recv_exact(s, 6)[::-1])

    lb(http_conf(port, [fake(serve).row()]))
    with connect(port) as s:
        s.sendall(get(HOST + "Upgrade: my-protocol\r\nConnection: Upgrade\r\n"))
        head, rest = recv_head(s)
        assert status_of(head) == 101
        s.sendall(b"abcdef")
        assert rest + recv_all(s) == b"fedcba"


# ---- backends that answer wrongly ----------------------------------------------------------------

ANSWERS = [
    ("right", GOOD_101, 101, None),
    ("length 0", GOOD_101[:-2] + b"Content-Length: 0\r\n\r\n", 101, None),
    ("a length", GOOD_101[:-2] + b"Content-Length: 7\r\n\r\n", 101, None),
    ("chunked", GOOD_101[:-2] + b"Transfer-Encoding: chunked\r\n\r\n", 101, None),
    ("wrong accept, length 0", GOOD_101[:-2].replace(b"s3pP", b"aaaa") + b"Content-Length: 0\r\n\r\n",
     502, "bad_accept"),
    ("wrong accept", GOOD_101.replace(b"s3pP", b"aaaa"), 502, "bad_accept"),
    ("no accept", b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", 502, "bad_accept"),
    ("no Upgrade", GOOD_101.replace(b"Upgrade: websocket\r\n", b""), 502, None),
    ("no Connection", GOOD_101.replace(b"Connection: Upgrade\r\n", b""), 502, None),
    ("malformed", b"HTTP/1.1 101 S\r\nbad line\r\n\r\n", 502, "bad_response"),
    ("not HTTP", b"SSH-2.0-OpenSSH\r\n", 502, "bad_response"),
    ("cut short", b"HTTP/1.1 101 Swi", 502, "bad_response"),
    ("nothing", b"", 502, "bad_response"),
    ("too long", b"HTTP/1.1 200 OK\r\nA: " + b"b" * 17000 + b"\r\n\r\n", 502, "bad_response"),
]


@pytest.mark.parametrize("answer, status, reason", [a[1:] for a in ANSWERS], ids=[a[0] for a in ANSWERS])
def test_the_backends_answer_is_judged(lb, fake, port, answer, status, reason):
    def serve(s):
        recv_head(s)
        s.sendall(answer)
        if status == 101:
            recv_all(s)

    proxy = lb(http_conf(port, [fake(serve).row()], retries=0))
    with connect(port) as s:
        s.sendall(upgrade_request())
        head, _ = recv_head(s)
    assert status_of(head) == status
    if status != 101:
        wait_for("its failure", lambda: proxy.backends()["f"]["failed"] >= 1)
    if reason is not None:
        proxy.wait_end(reason)


def test_a_101_that_nobody_asked_for(lb, fake, port):
    def serve(s):
        recv_head(s)
        s.sendall(GOOD_101)

    proxy = lb(http_conf(port, [fake(serve).row()], retries=0))
    assert status_of(ask(port, get(HOST))) == 502
    assert proxy.backends()["f"]["failed"] == 1


def test_a_refusal_passes_as_it_is(lb, fake, port):
    def serve(s):
        recv_head(s)
        s.sendall(b"HTTP/1.1 403 No\r\nContent-Length: 6\r\nX-Why: because\r\n\r\nno way")

    proxy = lb(http_conf(port, [fake(serve).row()]))
    answer = ask(port, upgrade_request())
    assert status_of(answer) == 403
    assert b"X-Why: because\r\n" in answer
    assert answer.endswith(b"\r\n\r\nno way")
    assert proxy.backends()["f"]["failed"] == 0


@pytest.mark.parametrize("status, failed", [(400, 0), (403, 0), (500, 1), (503, 1)])
def test_an_upgrade_answered_5xx_is_the_backends_failure(lb, fake, port, status, failed):
    """What the client may have caused (4xx) is not."""
    answer = f"HTTP/1.1 {status} No\r\nContent-Length: 2\r\n\r\nno".encode()

    def refuse(s):
        recv_head(s)
        s.sendall(answer)
        recv_all(s)

    proxy = lb(http_conf(port, [fake(refuse).row()]))
    assert status_of(ask(port, upgrade_request())) == status
    proxy.wait_active(0)
    assert proxy.backends()["f"]["failed"] == failed
    assert status_of(ask(port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")) == status
    proxy.wait_active(0)
    assert proxy.backends()["f"]["failed"] == failed, "a plain request is the application's business"


def test_no_route_is_404(lb, echo, port):
    conf = http_conf(port, echo(1))
    del conf["listeners"][0]["pool"]
    conf["listeners"][0]["routes"] = [{"path": "/ws/*", "pool": "p"}]
    proxy = lb(conf)
    assert status_of(ask(port, get(HOST))) == 404
    assert status_of(ask(port, get(HOST, "GET /ws HTTP/1.1"))) == 404
    assert status_of(ask(port, get(HOST, "GET /ws/a HTTP/1.1"))) == 200
    proxy.wait_end("no_route", 2)


def test_nobody_listens_is_502(lb, port):
    proxy = lb(http_conf(port, [("d1", free_port()), ("d2", free_port())]))
    assert status_of(ask(port, upgrade_request())) == 502
    proxy.wait_end("connect_failed")
    failed = [b["failed"] for b in proxy.backends().values()]
    assert min(failed) >= 1, "each was tried"


def test_connect_timeout_is_504(lb, port):
    """A listening socket whose queue is full drops what comes."""
    with socket.socket() as hole:
        hole.bind((lbtest.HOST, 0))
        hole.listen(0)
        back = hole.getsockname()[1]
        fillers = []
        for _ in range(4):
            f = socket.socket()
            f.setblocking(False)
            f.connect_ex((lbtest.HOST, back))
            fillers.append(f)
        time.sleep(0.1)
        proxy = lb(
            http_conf(port, [("hole", back)], retries=0, timeouts={"connect": "300ms"})
        )
        assert status_of(ask(port, upgrade_request())) == 504
        proxy.wait_end("connect_timeout")
        for f in fillers:
            f.close()


def test_upgrade_timeout_is_504(lb, fake, port):
    b = fake(recv_all)
    proxy = lb(http_conf(port, [b.row()], retries=0, timeouts={"upgrade": "300ms"}))
    assert status_of(ask(port, upgrade_request())) == 504
    proxy.wait_end("response_timeout")


def test_no_usable_backend_is_503(lb, echo, port):
    (e,) = echo(1)
    conf = http_conf(port, [{"name": e.name, "address": e.address, "weight": 0}])
    proxy = lb(conf)
    answer = ask(port, upgrade_request())
    assert status_of(answer) == 503
    assert 1 <= int(dict(fields_of(answer))["retry-after"]) <= 5
    proxy.wait_end("no_backend")


def test_a_client_that_leaves_during_the_handshake(lb, fake, port):
    asked = []

    def serve(s):
        recv_head(s)
        asked.append(1)
        recv_all(s)

    proxy = lb(http_conf(port, [fake(serve).row()]))
    s = connect(port)
    s.sendall(upgrade_request())
    wait_for("the backend to be asked", lambda: asked)
    lbtest.reset(s)
    proxy.wait_active(0)
    assert sum(proxy.ends().values()) == 1


def test_a_backend_that_dies_under_a_tunnel(lb, echo, port):
    proxy = lb(http_conf(port, echo(1)))

    async def body():
        ws = await ws_open(port)
        assert await ws_ask(ws, "hello") == "hello"
        await ws.send("lb:reset")
        with pytest.raises(websockets.ConnectionClosedError):
            await ws.recv()

    run(body())
    proxy.wait_end("backend_reset")


def test_idle_ends_a_tunnel_only_where_asked(lb, echo, port):
    proxy = lb(http_conf(port, echo(1), timeouts={"idle": "400ms"}))

    async def body():
        ws = await ws_open(port)
        for _ in range(4):  # longer than the timeout in all, but never silent
            await asyncio.sleep(0.2)
            assert await ws_ask(ws, "alive") == "alive"
        with pytest.raises(websockets.ConnectionClosed):
            await asyncio.wait_for(ws.recv(), 5)

    run(body())
    proxy.wait_end("idle")
