# SPDX-License-Identifier: Apache-2.0
"""Slowloris and its kin, by Debian's slowhttptest with 5,000 connections: while they last every
real client is answered, and afterwards nothing is left of them."""

import threading
import time

import pytest
from test_peers import start_nginx

from lbtest import (
    HOST,
    SLOW,
    Process,
    connect,
    free_port,
    http_conf,
    in_thread,
    recv_all,
    run,
    status_of,
    wait_for,
    ws_ask,
    ws_close_all,
    ws_open,
    ws_open_many,
)

N = 5000

# Each mode's flags, what it asks for (nginx waits for whole bodies under /nginx/), and what it goes
# on to: so many connections at a time, or in all where they are short. slowhttptest opens slow
# readers slowly.
MODES = {
    "slow headers": (["-H", "-i", "1", "-x", "10"], "file.bin", "active", N * 9 // 10),
    "slow bodies": (["-B", "-i", "1", "-x", "10", "-s", "8192"], "nginx/", "active", N * 9 // 10),
    "ranges": (["-R", "-a", "1", "-b", "500"], "file.bin", "total", N),
    "slow reads": (["-X", "-w", "10", "-y", "20", "-z", "5"], "file.bin", "active", N // 4),
}


@pytest.fixture(scope="module")
def nginx(tmp_path_factory):
    """A port that serves files, to thousands at a time."""
    port = free_port()
    p = start_nginx(tmp_path_factory.mktemp("nginx"), port, free_port())
    try:

        def is_open():
            assert p.is_running(), p.stderr()
            try:
                connect(port).close()
            except ConnectionRefusedError:
                return False
            return True

        wait_for("nginx", is_open, timeout=20)
        yield port
    finally:
        p.kill()


class Client(threading.Thread):
    """Sends a request, one connection after another, and keeps what was answered."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port = port
        self.is_over = threading.Event()
        self.answers = []

    def run(self):
        request = b"GET /real HTTP/1.1\r\nHost: x\r\n\r\n"
        while not self.is_over.is_set():
            try:
                with connect(self.port, 20) as s:
                    s.sendall(request)
                    answer = recv_all(s)
                self.answers.append((status_of(answer), answer.split(b"\r\n\r\n", 1)[-1]))
            except OSError as e:
                self.answers.append((0, repr(e).encode()))
            time.sleep(0.01)


@pytest.mark.parametrize("flags, target, what, until", MODES.values(), ids=MODES.keys())
def test_every_real_client_is_answered(
    lb, echo, nginx, port, tmp_path, flags, target, what, until
):
    """Those who send requests, and those who open or have WebSockets."""
    conf = http_conf(port, [("nginx", nginx)])
    (e,) = echo(1)
    conf["pools"].append({"name": "real", "backends": [e.address]})
    conf["listeners"][0]["routes"] = [
        {"websocket": True, "pool": "real"},
        {"path": "/real", "pool": "real"},
    ]
    conf["listeners"][0]["timeouts"] = {"handshake": "60s"}
    proxy = lb(conf)
    url = f"http://{HOST}:{port}/{target}"
    argv = ["slowhttptest", *flags, "-c", N, "-r", N, "-l", 60, "-p", 5, "-u", url]
    clients = [Client(port) for _ in range(2)]

    async def body():
        old = await ws_open_many(port, 10)
        attack = await in_thread(Process, argv, tmp_path / "slowhttptest")
        try:
            for c in clients:
                c.start()
            n = 0
            reached = 0
            end = time.monotonic() + 120 * SLOW
            while reached < until or n < 10:
                assert time.monotonic() < end, f"the attack hangs: {what} is {reached}"
                reached = (await in_thread(proxy.stats))["connections"][what]
                new = await ws_open(port)
                for ws in (new, *old):
                    assert await ws_ask(ws, f"{n}") == f"{n}"
                await new.close()
                n += 1
        finally:
            attack.kill()
            for c in clients:
                c.is_over.set()
            for c in clients:
                if c.ident is not None:
                    await in_thread(c.join, 20)
        await ws_close_all(old)

    run(body(), timeout=90)
    for c in clients:
        assert len(c.answers) > 3
        assert set(c.answers) == {(200, b"e1 GET /real\n")}
    proxy.wait_active(0, timeout=20)
    assert sum(proxy.ends().values()) == proxy.stats()["connections"]["total"]
