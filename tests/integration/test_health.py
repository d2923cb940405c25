# SPDX-License-Identifier: Apache-2.0
"""Health checks: who is down is not picked, who comes back is."""

import asyncio
import base64
import contextlib
import hashlib
import json
import socket
import subprocess
import threading
import time

import pytest

import lbtest
from lbtest import (
    GOOD_101,
    LB,
    SLOW,
    Echo,
    ask,
    connect,
    fields_of,
    free_port,
    http_conf,
    in_thread,
    recv_exact,
    recv_head,
    run,
    status_of,
    upgrade_request,
    wait_for,
    ws_ask,
    ws_open,
)

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
QUICK = {"interval": "100ms", "timeout": "500ms", "rise": 2, "fall": 2}
CHECKS = [
    {"type": "tcp"},
    {"type": "http", "path": "/health"},
    {"type": "websocket", "path": "/ws"},
]


@pytest.mark.parametrize("check", CHECKS, ids=[c["type"] for c in CHECKS])
def test_down_and_up_again(lb, echo, port, tmp_path, check):
    e1, e2 = echo(2)
    proxy = lb(http_conf(port, [e1, e2], balance="round_robin", health={**check, **QUICK}))
    proxy.wait_state("e1", "up")
    proxy.wait_state("e2", "up")
    row = proxy.backends()["e1"]["check"]
    assert row["type"] == check["type"]
    assert row["result"]

    e1.stop()
    proxy.wait_state("e1", "down")
    for _ in range(6):
        assert dict(fields_of(ask(port, GET)))["x-backend"] == "e2"
    assert proxy.backends()["e1"]["failed"] == 0, "one that is down was tried"

    again = Echo("e1", tmp_path, port=e1.port)
    try:
        proxy.wait_state("e1", "up")
        names = {dict(fields_of(ask(port, GET)))["x-backend"] for _ in range(4)}
        assert names == {"e1", "e2"}
        proxy.stop()
        again.stop()
    finally:
        again.kill()


def test_all_down_is_503(lb, port):
    proxy = lb(http_conf(port, [("b", free_port())], health={"type": "tcp", **QUICK}))
    proxy.wait_state("b", "down")
    answer = ask(port, upgrade_request())
    assert status_of(answer) == 503
    assert 1 <= int(dict(fields_of(answer))["retry-after"]) <= 5
    proxy.wait_end("no_backend")


def test_without_checks_a_backend_is_up(lb, port):
    proxy = lb(http_conf(port, [("b", free_port())]))
    assert proxy.backends()["b"]["state"] == "up"


def test_the_first_result_decides_at_once(lb, port):
    health = {"type": "tcp", "interval": "100ms", "timeout": "1s", "rise": 100, "fall": 100}
    proxy = lb(http_conf(port, [("b", free_port())], health=health))
    proxy.wait_state("b", "down", timeout=3)


def test_http_checks_judge_the_status_and_say_who_they_are(lb, fake, port):
    heads = []
    status = ["200 OK"]

    def serve(s):
        heads.append(recv_head(s)[0])
        s.sendall(f"HTTP/1.1 {status[0]}\r\nContent-Length: 0\r\n\r\n".encode())

    b = fake(serve)
    health = {"type": "http", "path": "/live?x", "host": "app.test", "status": "200-299", **QUICK}
    proxy = lb(http_conf(port, [b.row()], health=health))
    proxy.wait_state("f", "up")
    fields = dict(fields_of(heads[0]))
    assert heads[0].startswith(b"GET /live?x HTTP/1.1\r\n")
    assert fields["host"] == "app.test"
    assert fields["user-agent"] == f"lb-health/{proxy.stats()['version']}"
    status[0] = "302 Found"
    proxy.wait_state("f", "down")
    status[0] = "204 No Content"
    proxy.wait_state("f", "up")


def test_interim_responses_and_large_heads_are_read(lb, fake, port):
    """The verdict falls on the final response, whose head may be as large as a client's."""

    def serve(s):
        recv_head(s)
        s.sendall(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        time.sleep(0.02)
        s.sendall(b"HTTP/1.1 204 No Content\r\nX-Large: " + b"x" * 15000 + b"\r\n\r\n")

    b = fake(serve)
    proxy = lb(http_conf(port, [b.row()], health={"type": "http", "path": "/", **QUICK}))
    wait_for("a verdict", lambda: proxy.backends()["f"]["state"] != "checking")
    row = proxy.backends()["f"]
    assert row["state"] == "up", row
    assert row["check"]["result"].startswith("204 in ")


def test_a_backend_that_never_answers_is_down(lb, fake, port):
    b = fake(lambda s: s.recv(1) and s.recv(65536) and s.recv(65536))
    proxy = lb(http_conf(port, [b.row()], health={"type": "http", "path": "/", **QUICK}))
    proxy.wait_state("f", "down")
    b.close()


def test_tunnels_stay_when_a_backend_goes_down(lb, fake, port):
    """A verdict is about new connections."""
    good = [True]

    def serve(s):
        head, _ = recv_head(s)
        if b"websocket" not in head.lower():
            s.sendall(b"HTTP/1.1 %s X\r\nContent-Length: 0\r\n\r\n" % (b"200" if good[0] else b"500"))
            return
        s.sendall(GOOD_101)
        while data := s.recv(65536):
            s.sendall(data)

    b = fake(serve)
    proxy = lb(http_conf(port, [b.row()], health={"type": "http", "path": "/", **QUICK}))
    proxy.wait_state("f", "up")
    with connect(port) as s:
        s.sendall(upgrade_request())
        assert status_of(recv_head(s)[0]) == 101
        good[0] = False
        proxy.wait_state("f", "down")
        s.sendall(b"raw bytes")
        assert recv_exact(s, 9) == b"raw bytes"
        assert proxy.backends()["f"]["active"] == 1


def test_health_keeps_its_state_across_a_reload(lb, echo, port):
    (e,) = echo(1)
    dead = ("dead", free_port())
    # The next check is seconds away: what is known after the reload was known before it.
    health = {"type": "tcp", "interval": "3s", "timeout": "1s"}
    proxy = lb(http_conf(port, [e, dead], health=health))
    proxy.wait_state("dead", "down")
    proxy.wait_state("e1", "up")
    proxy.reload_ok(http_conf(port, [e, dead], health=health, retries=5))
    states = {name: b["state"] for name, b in proxy.backends().items()}
    assert states == {"e1": "up", "dead": "down"}


def test_checks_go_on_while_draining_and_stop_in_maint(lb, fake, port):
    seen = []
    b = fake(lambda s: seen.append(1))
    proxy = lb(http_conf(port, [b.row()], health={"type": "tcp", **QUICK}))
    proxy.wait_state("f", "up")
    proxy.command("drain p/f")
    n = len(seen)
    wait_for("more checks", lambda: len(seen) > n + 2)
    proxy.command("maint p/f")
    assert proxy.backends()["f"]["state"] == "maint"

    def is_quiet():
        n = len(seen)
        time.sleep(0.5)
        return len(seen) == n

    wait_for("the checks to stop", is_quiet)
    proxy.command("ready p/f")
    proxy.wait_state("f", "up")


def test_checks_are_no_connections(lb, echo, port):
    proxy = lb(http_conf(port, echo(1), health={"type": "websocket", "path": "/", **QUICK}))
    proxy.wait_state("e1", "up")

    async def body():
        ws = await ws_open(port)
        assert await ws_ask(ws, "x") == "x"
        stats = await in_thread(proxy.stats)
        assert stats["connections"]["total"] == 1
        assert (await in_thread(proxy.backends))["e1"]["total"] == 1
        await ws.close()

    run(body())


PAGE = b"HTTP/1.1 200 OK\r\nContent-Length: 102400\r\nConnection: close\r\n\r\n" + b"x" * 102400


def answer_of(head):
    """The right answer to a handshake, and a Close frame behind it."""
    key = dict(fields_of(head))["sec-websocket-key"]
    accept = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
    return (
        b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
        + base64.b64encode(accept)
        + b"\r\n\r\n\x88\x02\x03\xe8"
    )


def n_time_wait(port):
    """Connections to a port that wait in TIME_WAIT on the side of who connected."""
    with open("/proc/net/tcp") as f:
        rows = [line.split() for line in f][1:]
    return sum(r[3] == "06" and int(r[2].split(":")[1], 16) == port for r in rows)


@pytest.mark.parametrize("check", CHECKS, ids=[c["type"] for c in CHECKS])
def test_a_thousand_checks_leave_nothing_behind(lb, fake, port, check):
    """The backend sees neither a reset nor the end of what it still sends, and it is not lb's side
    that waits in TIME_WAIT."""
    ends = []

    def serve(s):
        try:
            if check["type"] != "tcp":
                head, _ = recv_head(s)
                s.sendall(PAGE if check["type"] == "http" else answer_of(head))
                s.shutdown(socket.SHUT_WR)
            while s.recv(65536):
                pass
            ends.append("closed")
        except OSError:
            ends.append("reset")

    fakes = [fake(serve, name=f"f{i}") for i in range(10)]
    health = {**check, "interval": "20ms", "timeout": "20s"}
    proxy = lb(http_conf(port, [b.row() for b in fakes], health=health))
    wait_for("1,000 checks", lambda: len(ends) >= 1000, timeout=60)
    assert [n_time_wait(b.port) for b in fakes] == [0] * 10
    assert {row["state"] for row in proxy.backends().values()} == {"up"}
    assert set(ends[:1000]) == {"reset" if check["type"] == "tcp" else "closed"}


# ---- more checks than descriptors ----------------------------------------------------------------


class SlowBackends:
    """A hundred addresses of the loopback answer checks on one port, each after some time."""

    def __init__(self, seconds):
        self.seconds = seconds
        self.n_open = self.most = 0
        self.port = free_port()
        self.loop = asyncio.new_event_loop()
        self.server = self.loop.run_until_complete(
            asyncio.start_server(self._serve, "0.0.0.0", self.port, backlog=1000)
        )
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()

    async def _serve(self, reader, writer):
        self.n_open += 1
        self.most = max(self.most, self.n_open)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(self.seconds)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await writer.drain()
        self.n_open -= 1
        writer.close()

    def close(self):
        async def end():
            self.server.close()
            await self.server.wait_closed()

        asyncio.run_coroutine_threadsafe(end(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()


@pytest.fixture
def slow_backends():
    servers = []

    def start(seconds):
        servers.append(SlowBackends(seconds))
        return servers[-1]

    yield start
    for s in servers:
        s.close()


def test_few_descriptors_take_no_backend_down(lb, port, slow_backends):
    """600 backends that answer late are checked with 256 open files: as many checks as fit are under
    way, the others wait, and all are found up."""
    server = slow_backends(0.6)
    n, nofile = 600, 256
    rows = [
        {"name": f"b{i}", "address": f"127.0.{1 + i // 200}.{1 + i % 200}:{server.port}"}
        for i in range(n)
    ]
    health = {"type": "http", "path": "/", "interval": "20s", "timeout": "5s", "fall": 1}
    proxy = lb(http_conf(port, rows, health=health), nofile=nofile)

    def results():
        return [b["check"]["result"] for b in proxy.backends().values()]

    wait_for("every first check", lambda: all(results()), timeout=30)
    assert all(r.startswith("200 in ") for r in results()), set(results())
    assert {b["state"] for b in proxy.backends().values()} == {"up"}
    assert "backend is down" not in proxy.stderr()
    done = subprocess.run(
        lbtest.with_limits([*lbtest.WRAP, LB, "doctor", "--json", "-c", proxy.path], nofile=nofile),
        capture_output=True,
        text=True,
        timeout=20 * SLOW,
    )
    told = json.loads(done.stdout)
    assert told["checks"] == n
    assert 60 < told["checks_at_once"] < 128
    assert server.most <= told["checks_at_once"]
