# SPDX-License-Identifier: Apache-2.0
"""Logs: a line for each ended connection, the access log, and USR1."""

import contextlib
import json
import os
import re
import signal
import time

import pytest

from lbtest import (
    ACCEPT,
    GOOD_101,
    HOST,
    ask,
    connect,
    free_port,
    http_conf,
    recv_exact,
    recv_head,
    reset,
    run,
    status_of,
    upgrade_request,
    wait_for,
    ws_ask,
    ws_open,
)

GET = b"GET /secret-path?token=hunter2 HTTP/1.1\r\nHost: x\r\nCookie: sid=hunter2\r\n\r\n"
KEYS = {
    "time",
    "client",
    "listener",
    "route",
    "pool",
    "backend",
    "status",
    "bytes_in",
    "bytes_out",
    "duration_ms",
    "handshake_ms",
    "end",
    "id",
    "ws_close",
    "error",
}


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def wait_rows(path, n):
    wait_for(f"{n} lines in {path.name}", lambda: len(rows(path)) >= n)
    got = rows(path)
    assert len(got) == n
    return got


def test_the_access_log(lb, echo, port, tmp_path):
    path = tmp_path / "access.log"
    conf = http_conf(port, echo(1))
    conf["access_log"] = {"format": "json", "to": str(path)}
    conf["listeners"][0]["routes"] = [{"name": "socket", "websocket": True, "pool": "p"}]
    lb(conf)

    assert status_of(ask(port, GET)) == 200
    (plain,) = wait_rows(path, 1)
    assert set(plain) >= KEYS
    assert plain["client"].startswith(f"{HOST}:")
    assert (plain["listener"], plain["pool"], plain["backend"]) == ("l", "p", "e1")
    assert plain["status"] == 200
    assert plain["bytes_in"] > 0 and plain["bytes_out"] > 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", plain["time"])

    async def body():
        ws = await ws_open(port)
        await ws_ask(ws, "x" * 1000)
        await ws.close()

    run(body())
    tunnel = wait_rows(path, 2)[1]
    assert (tunnel["status"], tunnel["route"]) == (101, "socket")
    assert tunnel["bytes_in"] > 1000 and tunnel["bytes_out"] > 1000
    assert tunnel["end"] in ("client_closed", "backend_closed")
    assert 0 <= tunnel["handshake_ms"] <= tunnel["duration_ms"]

    assert status_of(ask(port, b"BAD\r\n\r\n")) == 400
    bad = wait_rows(path, 3)[2]
    assert (bad["status"], bad["end"]) == (400, "bad_request")
    assert plain["error"] == tunnel["error"] == ""
    assert len({plain["id"], tunnel["id"], bad["id"]}) == 3
    assert "hunter2" not in path.read_text(), "a secret was logged"


def test_usr1_reopens(lb, echo, port, tmp_path):
    path = tmp_path / "access.log"
    log = tmp_path / "lb.log"
    conf = http_conf(port, echo(1))
    conf["access_log"] = {"format": "json", "to": str(path)}
    conf["log"] = {"level": "info", "to": str(log)}
    proxy = lb(conf)
    ask(port, GET)
    wait_rows(path, 1)
    old, old_log = tmp_path / "access.log.1", tmp_path / "lb.log.1"
    path.rename(old)
    log.rename(old_log)
    proxy.signal(signal.SIGUSR1)
    wait_for("both files to be there again", lambda: path.exists() and log.exists())
    ask(port, GET)
    wait_rows(path, 1)
    assert len(rows(old)) == 1


def test_log_lines_in_json(lb, echo, port, tmp_path):
    log = tmp_path / "lb.log"
    conf = http_conf(port, echo(1))
    conf["log"] = {"level": "info", "format": "json", "to": str(log)}
    lb(conf)
    ask(port, GET)
    wait_for("a line of the end", lambda: any("e1" in json.dumps(r) for r in rows(log)))
    assert "hunter2" not in log.read_text()


def test_the_level_holds_back(lb, echo, port, tmp_path):
    log = tmp_path / "lb.log"
    conf = http_conf(port, echo(1))
    conf["log"] = {"level": "err", "to": str(log)}
    proxy = lb(conf)
    ask(port, GET)
    ask(port, b"BAD\r\n\r\n")
    proxy.stop()
    assert log.read_text() == ""


def test_a_client_can_not_write_lines_of_its_own(lb, echo, port, tmp_path):
    """What a peer says is logged, if at all, without control characters."""
    path = tmp_path / "access.log"
    conf = http_conf(port, echo(1))
    conf["access_log"] = {"format": "json", "to": str(path)}
    proxy = lb(conf)
    ask(port, b"GET /\x1b[2Jred\x07 HTTP/1.1\r\nHost: x\r\n\r\n")
    wait_rows(path, 1)
    assert "\x1b" not in path.read_text() + proxy.stderr()


FIELDS = "X-hunter2: hunter2\r\nSet-Cookie: hunter2\r\n"
SAID = f"HTTP/1.1 200 hunter2\r\n{FIELDS}Content-Length: 7\r\n\r\nhunter2"
CHUNKED = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
WS_HEAD = GOOD_101.decode()
UPGRADE = upgrade_request()

# (name, what is asked, what a backend answers, status)
SAYINGS = [
    ("reason, fields and body", GET, SAID, 200),
    ("a reason that drives a terminal", GET, SAID.replace(" hunter2", " \x1b[2Jhunter2"), 502),
    ("no response", GET, "hunter2\r\n\r\n", 502),
    ("a malformed field", GET, "HTTP/1.1 200 OK\r\nhunter2 hunter2: a\r\n\r\n", 502),
    ("a malformed length", GET, "HTTP/1.1 200 OK\r\nContent-Length: hunter2\r\n\r\n", 502),
    ("an unknown coding", GET, "HTTP/1.1 200 OK\r\nTransfer-Encoding: hunter2\r\n\r\n", 502),
    ("a wrong version", GET, "HTTP/hunter2 200 OK\r\n\r\n", 502),
    ("too large", GET, "HTTP/1.1 200 OK\r\nX: " + "hunter2" * 3000, 502),
    ("interim responses", GET, f"HTTP/1.1 103 hunter2\r\nLink: hunter2\r\n\r\n{SAID}", 103),
    ("cut short", GET, SAID[:-3], 200),
    ("a malformed chunk", GET, f"{CHUNKED}hunter2\r\n", 502),
    ("an extension and a trailer", GET, f"{CHUNKED}1;hunter2\r\na\r\n0\r\n{FIELDS}\r\n", 200),
    ("a 101 unasked", GET, WS_HEAD.replace("websocket", "hunter2"), 502),
    ("a refusal", UPGRADE, SAID.replace("200", "403"), 403),
    ("a wrong accept", UPGRADE, WS_HEAD.replace(ACCEPT, "hunter2"), 502),
    ("a WebSocket", UPGRADE, f"{WS_HEAD[:-2]}{FIELDS}\r\n\x88\x09\x03\xe8hunter2", 101),
]


def ask_to_the_end(port, request):
    """What was answered before the end, or before a reset: a response may be cut short."""
    got = b""
    with connect(port) as s, contextlib.suppress(ConnectionResetError):
        s.sendall(request)
        while part := s.recv(1 << 16):
            got += part
    return got


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_text_of_a_backend_is_logged(lb, fake, port, tmp_path, form):
    """Nor of one that is only checked; what is kept of an answer are its figures."""
    path, log = tmp_path / "access.log", tmp_path / "lb.log"
    sayings = iter(SAYINGS)
    checks = []

    def serve(s):
        recv_head(s)
        s.sendall(next(sayings)[2].encode("latin-1"))

    def serve_checks(s):
        recv_head(s)
        checks.append(SAYINGS[len(checks) % len(SAYINGS)][2])
        s.sendall(checks[-1].encode("latin-1"))

    conf = http_conf(port, [fake(serve).row()])
    health = {"type": "http", "path": "/", "interval": "20ms", "rise": 1, "fall": 1}
    checked = fake(serve_checks, name="g").row()
    conf["pools"].append({"name": "q", "backends": [checked], "health": health})
    conf["log"] = {"level": "debug", "format": form, "to": str(log)}
    conf["access_log"] = {"format": form, "to": str(path)}
    proxy = lb(conf)
    for name, request, _, status in SAYINGS:
        assert status_of(ask_to_the_end(port, request)) == status, name
    wait_for("all checks", lambda: len(checks) > len(SAYINGS))
    for command in ("stats json", "stats", "backends", "conns"):
        assert "hunter2" not in proxy.command(command)
    proxy.stop()
    text = log.read_text()
    assert text.count("connection ended") == len(SAYINGS)
    assert len(path.read_text().splitlines()) == len(SAYINGS)
    assert "response: malformed reason" in text  # of a check
    everything = text + path.read_text() + proxy.stderr()
    assert "hunter2" not in everything
    assert "\x1b" not in everything and "u001b" not in everything


def test_reasons(lb, echo, port, tmp_path):
    path = tmp_path / "access.log"
    conf = http_conf(port, echo(1))
    conf["access_log"] = {"format": "json", "to": str(path)}
    conf["pools"].append({"name": "dead", "backends": [f"{HOST}:{free_port()}"], "retries": 0})
    conf["listeners"][0]["routes"] = [{"path": "/dead", "pool": "dead"}]
    proxy = lb(conf)

    assert status_of(ask(port, upgrade_request("/dead"))) == 502
    assert wait_rows(path, 1)[0]["end"] == "connect_failed"

    with connect(port) as s:
        s.sendall(upgrade_request())
        assert status_of(s.recv(4096)) == 101
    end = wait_rows(path, 2)[1]["end"]
    assert end == "client_closed"

    s = connect(port)
    s.sendall(upgrade_request())
    assert status_of(s.recv(4096)) == 101
    reset(s)
    assert wait_rows(path, 3)[2]["end"] == "client_reset"

    async def body(text):
        ws = await ws_open(port)
        await ws.send(text)
        await ws.wait_closed()

    run(body("lb:reset"))
    assert wait_rows(path, 4)[3]["end"] == "backend_reset"

    s = connect(port)
    s.close()
    wait_for("all ends", lambda: sum(proxy.ends().values()) == 5)
    assert recv_nothing(path, 5)


def recv_nothing(path, at_most):
    return len(rows(path)) <= at_most


def test_a_stuck_reader_of_the_log_stalls_nobody(lb, echo, port, tmp_path):
    """The log is a pipe whose reader does not read: lines are dropped and counted, traffic goes on."""
    path = tmp_path / "stuck"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        conf = http_conf(port, echo(1))
        conf["access_log"] = {"format": "json", "to": str(path)}
        proxy = lb(conf)
        for _ in range(3000):
            assert status_of(ask(port, GET)) == 200
            if proxy.stats()["counters"]["log_lines_dropped"] > 0:
                break
        assert status_of(ask(port, GET)) == 200
        proxy.stop()
    finally:
        os.close(reader)


def test_a_pipe_needs_no_reader_yet(lb, echo, port, tmp_path):
    """Neither the start nor a reload waits for one; who comes later reads on from there."""
    first, second = tmp_path / "first", tmp_path / "second"
    os.mkfifo(first)
    os.mkfifo(second)
    conf = http_conf(port, echo(1))
    conf["access_log"] = {"format": "json", "to": str(first)}
    proxy = lb(conf)
    assert status_of(ask(port, GET)) == 200
    conf["access_log"]["to"] = str(second)
    proxy.reload_ok(conf)
    reader = os.open(second, os.O_RDONLY | os.O_NONBLOCK)
    got = []

    def is_told():
        assert status_of(ask(port, GET)) == 200
        with contextlib.suppress(BlockingIOError):
            got.append(os.read(reader, 65536))
        return any(got)

    try:
        wait_for("a line in the pipe", is_told)
        assert json.loads(b"".join(got).splitlines()[0])["status"] == 200
        proxy.stop()
    finally:
        os.close(reader)


def test_a_full_disk_stalls_nobody(lb, echo, port):
    conf = http_conf(port, echo(1))
    conf["access_log"] = {"format": "text", "to": "/dev/full"}
    lb(conf)
    for _ in range(50):
        assert status_of(ask(port, GET)) == 200


def test_every_listening_address_is_told(lb, echo, port):
    """At the start each one with its listener, mode and pool, then workers and engine; after a reload
    those that are new and those that are gone."""
    other, gone, added = free_port(), free_port(), free_port()
    conf = http_conf(port, echo(1))
    raw = {"name": "raw", "bind": [f"{HOST}:{other}", f"{HOST}:{gone}"], "mode": "tcp", "pool": "p"}
    routed = {"name": "r", "bind": f"{HOST}:0", "mode": "http", "pool": "p"}
    routed["routes"] = [{"host": "a.test", "pool": "p"}, {"host": "b.test", "pool": "p"}]
    only = {"name": "o", "bind": f"{HOST}:0", "mode": "http", "routes": [{"path": "/x", "pool": "p"}]}
    conf["listeners"] += [raw, routed, only]
    proxy = lb(conf)

    def told():
        found = re.findall(r" notice ((?:no longer )?listening .*|started .*)", proxy.stderr())
        return [re.sub(r"version=\S+ pid=\d+", "-", x) for x in found]

    ports = {x["name"]: x["bind"] for x in proxy.stats()["listeners"]}
    limit = proxy.stats()["connections"]["limit"]
    first = [
        f"listening address={HOST}:{port} listener=l mode=http pool=p",
        f"listening address={HOST}:{other} listener=raw mode=tcp pool=p",
        f"listening address={HOST}:{gone} listener=raw mode=tcp pool=p",
        f"listening address={ports['r']} listener=r mode=http routes=2 pool=p",
        f"listening address={ports['o']} listener=o mode=http routes=1 pool=-",
        f"started - engine={proxy.engine} workers=2 connections_limit={limit}",
    ]
    wait_for("the start", lambda: told() == first)
    proxy.reload_ok()
    raw["bind"] = [f"{HOST}:{other}", f"{HOST}:{added}"]
    proxy.reload_ok(conf)
    second = [
        f"no longer listening address={HOST}:{gone} listener=raw",
        f"listening address={HOST}:{added} listener=raw mode=tcp pool=p",
    ]
    wait_for("the reload", lambda: told() == first + second)


# ---- what an access line says of a WebSocket, and of a refusal ------------------------------------

MASK = b"\x11\x22\x33\x44"


def client_close(payload):
    masked = bytes(b ^ MASK[i % 4] for i, b in enumerate(payload))
    return bytes([0x88, 0x80 | len(payload)]) + MASK + masked


CLOSES = [
    ("the client's", client_close(b"\x03\xe9bye"), b"\x88\x02\x03\xe8", 1001),
    ("the client's, without a code", client_close(b""), b"\x88\x02\x03\xe8", 1005),
    ("the backend's", None, b"\x88\x02\x0f\xa0", 4000),
    ("none", b"", b"", 0),
]


@pytest.mark.parametrize("close, answer, code", [c[1:] for c in CLOSES], ids=[c[0] for c in CLOSES])
@pytest.mark.parametrize("is_slow", [False, True], ids=["whole", "bytewise"])
def test_the_close_code_is_that_of_who_closed_first(
    lb, fake, port, tmp_path, is_slow, close, answer, code
):
    """A ping before it, and the other side's Close behind it, which has another code."""
    path = tmp_path / "access.log"

    def send(s, data):
        for part in [data[i : i + 1] for i in range(len(data))] if is_slow else [data]:
            s.sendall(part)
            if is_slow:
                time.sleep(0.002)

    def serve(s):
        early = recv_head(s)[1]
        s.sendall(GOOD_101)
        if close is None:
            send(s, b"\x89\x02hi" + answer)
            recv_exact(s, 8)
        else:
            recv_exact(s, 8 + len(close) - len(early))
            send(s, answer)

    conf = http_conf(port, [fake(serve).row()])
    conf["access_log"] = {"format": "json", "to": str(path)}
    proxy = lb(conf)
    with connect(port) as s:
        s.sendall(upgrade_request())
        head, rest = recv_head(s)
        assert status_of(head) == 101
        (conn,) = json.loads(proxy.command("conns json"))["conns"]
        if close is None:
            recv_exact(s, 4 + len(answer) - len(rest))
            send(s, client_close(b"\x03\xe8"))
        else:
            send(s, b"\x89\x82" + MASK + b"\x79\x4b" + close)
        while s.recv(4096):
            pass
    (row,) = wait_rows(path, 1)
    assert row["ws_close"] == code
    assert row["id"] == conn["id"]
    assert row["error"] == ""


REFUSALS = [
    ("no Host", "GET / HTTP/1.1\r\n\r\n", 400),
    ("a bad header", "GET / HTTP/1.1\r\nHost: x\r\nhunter2 : x\r\n\r\n", 400),
    ("a bad key", "GET /?hunter2 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
     "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: hunter2\r\n"
     "Sec-WebSocket-Protocol: hunter2\r\n\r\n", 400),
    ("another version", "GET /?hunter2 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
     "Upgrade: websocket\r\nSec-WebSocket-Version: 12\r\n"
     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", 426),
    ("a method", "CONNECT hunter2:1 HTTP/1.1\r\nHost: hunter2:1\r\n\r\n", 501),
    ("two lengths", "POST /?hunter2 HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n"
     "Content-Length: 2\r\nAuthorization: hunter2\r\nCookie: hunter2\r\n\r\n", 400),
    ("no backend", "GET /?hunter2 HTTP/1.1\r\nHost: x\r\nAuthorization: hunter2\r\n\r\n", 502),
]


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_refusal_says_why_and_nothing_of_the_client(lb, port, tmp_path, form):
    """`error` is a text of lb's own. Whatever a client sends as query, Authorization, cookie or
    subprotocol is in no log."""
    path, log = tmp_path / "access.log", tmp_path / "lb.log"
    conf = http_conf(port, [("b", free_port())])
    conf["workers"] = 1  # the lines of two workers need not be in the order of the requests
    conf["log"] = {"level": "debug", "format": form, "to": str(log)}
    conf["access_log"] = {"format": form, "to": str(path)}
    proxy = lb(conf)
    said = []
    for name, request, status in REFUSALS:
        answer = ask(port, request.encode())
        assert status_of(answer) == status, name
        said.append(answer.split(b"\r\n\r\n", 1)[1].decode().strip())
    proxy.stop()
    lines = path.read_text().splitlines()
    ended = [line for line in log.read_text().splitlines() if "connection ended" in line]
    assert len(lines) == len(ended) == len(REFUSALS)
    for line, end, text, (name, _, status) in zip(lines, ended, said, REFUSALS):
        if form == "json":
            row, line_row = json.loads(line), json.loads(end)
            assert (row["status"], row["error"]) == (status, text), name
            assert line_row["msg"] == "connection ended" and line_row["level"] == "info"
            assert {k: v for k, v in line_row.items() if k not in ("msg", "level")} == row
        else:
            assert f" status={status} " in line and line.endswith(f'error="{text}"'), name
            assert end.endswith(f'error="{text}"'), name
    assert "hunter2" not in path.read_text() + log.read_text() + proxy.stderr()


def test_json_lines_have_fields(lb, port, tmp_path):
    log = tmp_path / "lb.log"
    conf = http_conf(port, [("b", free_port())])
    conf["pools"][0]["health"] = {"type": "tcp", "interval": "50ms"}
    conf["log"] = {"level": "notice", "format": "json", "to": str(log)}
    proxy = lb(conf)
    proxy.wait_state("b", "down")
    wait_for("both lines", lambda: len(rows(log)) >= 3)
    by_msg = {row["msg"]: row for row in rows(log)}
    started, down = by_msg["started"], by_msg["backend is down"]
    assert started["pid"] == proxy.pid and started["workers"] >= 1
    assert isinstance(started["connections_limit"], int)
    assert down["level"] == "warn"
    assert (down["pool"], down["backend"], down["first"]) == ("p", "b", True)
    assert down["result"] == "connect: Connection refused"
