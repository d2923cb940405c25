# SPDX-License-Identifier: Apache-2.0
"""A stop: what is open may end by itself, what was queued is served, and time is bounded."""

import asyncio
import copy
import re
import signal
import sys
import time

import pytest
import websockets

import lbtest
from lbtest import (
    HOST,
    ask,
    connect,
    free_port,
    http_conf,
    in_thread,
    recv_all,
    run,
    status_of,
    wait_for,
    ws_ask,
    ws_open,
    ws_open_many,
)

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize("signo", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_without_connections_it_ends_at_once(lb, echo, port, signo):
    conf = http_conf(port, echo(1))
    conf["stop_timeout"] = "30s"
    proxy = lb(conf)
    began = time.monotonic()
    proxy.stop(signo)
    assert time.monotonic() - began < 10
    assert not proxy.socket.exists()


# What a process blocks and what is pending for it both stay when it becomes another program, so
# that the signals wait for lb from its first instruction on.
PENDING = """
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [int(n) for n in sys.argv[1].split(",")])
for n in sys.argv[1].split(","):
    os.kill(os.getpid(), int(n))
os.execv(sys.argv[2], sys.argv[2:])
"""


@pytest.mark.parametrize(
    "signals, is_at_once",
    [
        ([signal.SIGTERM], False),
        ([signal.SIGINT], False),
        ([signal.SIGQUIT], False),
        ([signal.SIGHUP, signal.SIGTERM], False),
        ([signal.SIGTERM, signal.SIGINT], True),
        ([signal.SIGTERM, signal.SIGINT, signal.SIGQUIT], True),
    ],
)
def test_a_stop_that_comes_during_the_start_is_obeyed(
    lb, echo, port, monkeypatch, signals, is_at_once
):
    wrap = [sys.executable, "-c", PENDING, ",".join(str(int(s)) for s in signals)]
    monkeypatch.setattr(lbtest, "WRAP", [*wrap, *lbtest.WRAP])
    proxy = lb(http_conf(port, echo(1)), ready=False)
    proxy.stop(0)
    said = proxy.stderr()
    assert said.count(" notice started ") == 1
    assert said.count(" notice stopping active=0 ") == 1
    assert (" notice stopping at once " in said) == is_at_once
    assert "notice stopped connections_ended=0 connections_cut=0\n" in said
    assert not proxy.socket.exists()


def test_it_waits_for_connections_to_end(lb, echo, port):
    conf = http_conf(port, echo(1))
    conf["stop_timeout"] = "20s"
    proxy = lb(conf)

    def is_refused():
        try:
            connect(port).close()
        except ConnectionRefusedError:
            return True
        except ConnectionResetError:
            pass
        return False

    async def body():
        ws = await ws_open(port)
        proxy.signal(signal.SIGTERM)
        await in_thread(wait_for, "nobody to listen", is_refused)
        assert await ws_ask(ws, "still served") == "still served"
        assert proxy.is_running()
        began = time.monotonic()
        await ws.close()
        await in_thread(proxy.stop, 0)
        assert time.monotonic() - began < 10

    run(body())


def test_a_stop_behind_a_reload_opens_no_listener(lb, echo, port):
    """SIGTERM right behind SIGHUP: more new listeners than the workers take in one batch are half
    handed over then. None of them accepts while lb waits for its connections to end."""
    conf = http_conf(port, echo(1))
    conf["stop_timeout"] = "20s"
    proxy = lb(conf)
    ports = [free_port() for _ in range(150)]
    more = copy.deepcopy(conf)
    more["listeners"] += [
        {"name": f"n{p}", "bind": f"{HOST}:{p}", "pool": "p"} for p in ports
    ]

    async def body():
        ws = await ws_open(port)
        proxy.rewrite(more)
        proxy.signal(signal.SIGSTOP)
        proxy.signal(signal.SIGHUP)
        proxy.signal(signal.SIGTERM)
        proxy.signal(signal.SIGCONT)
        await in_thread(wait_for, "the stop", lambda: "notice stopping" in proxy.stderr())
        await in_thread(
            wait_for,
            "the end of the reload",
            lambda: re.search("reload refused: lb is stopping|reloaded", proxy.stderr()),
        )
        for p in [port, *ports]:
            with pytest.raises(ConnectionRefusedError):
                await in_thread(connect, p)
        assert await ws_ask(ws, "still served") == "still served"
        await ws.close()
        await in_thread(proxy.stop, 0)

    run(body())


def test_stop_timeout_ends_the_rest(lb, echo, port):
    conf = http_conf(port, echo(1))
    conf["stop_timeout"] = "500ms"
    proxy = lb(conf)

    async def body():
        conns = await ws_open_many(port, 20)
        began = time.monotonic()
        await in_thread(proxy.stop)
        assert 0.4 < time.monotonic() - began < 10
        for ws in conns:
            with pytest.raises(websockets.ConnectionClosed):
                await ws.recv()

    run(body())


def test_a_second_signal_ends_it_at_once(lb, echo, port):
    conf = http_conf(port, echo(1))
    conf["stop_timeout"] = "60s"
    proxy = lb(conf)

    async def body():
        await ws_open_many(port, 3)
        proxy.signal(signal.SIGTERM)
        await asyncio.sleep(0.3)
        assert proxy.is_running()
        began = time.monotonic()
        await in_thread(proxy.stop, signal.SIGINT)
        assert time.monotonic() - began < 10

    run(body())


def test_stop_delay_goes_on_accepting_with_healthz_at_503(lb, echo, port):
    admin = free_port()
    conf = http_conf(port, echo(1))
    conf["admin"] = {"http": f"{HOST}:{admin}"}
    conf["stop_delay"] = "3s"
    proxy = lb(conf)
    healthz = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    assert status_of(ask(admin, healthz)) == 200
    began = time.monotonic()
    proxy.signal(signal.SIGTERM)
    wait_for("503", lambda: status_of(ask(admin, healthz)) == 503, timeout=2)
    assert status_of(ask(port, GET)) == 200
    proxy.was_stopped = True
    assert proxy.wait() == 0
    assert time.monotonic() - began > 2.9


def test_what_the_kernel_has_queued_is_served(lb, echo, port):
    """Clients that connected before the stop, but were not yet accepted, are not reset."""
    conf = http_conf(port, echo(1))
    conf["stop_timeout"] = "20s"
    proxy = lb(conf)
    proxy.signal(signal.SIGSTOP)
    queued = [connect(port) for _ in range(50)]
    proxy.signal(signal.SIGTERM)
    proxy.signal(signal.SIGCONT)
    for s in queued:
        s.sendall(GET)
    for s in queued:
        assert status_of(recv_all(s)) == 200
        s.close()
    proxy.stop(0)


def test_whom_a_limit_held_back_is_served(lb, echo, port):
    """They wait in the kernel's queue when the stop begins."""
    conf = http_conf(port, echo(1))
    conf["workers"] = 1
    conf["stop_timeout"] = "20s"
    conf["limits"] = {"connections": 3}
    proxy = lb(conf)
    held = [connect(port) for _ in range(3)]
    proxy.wait_active(3)
    queued = [connect(port) for _ in range(5)]
    for s in queued:
        s.sendall(GET)
    time.sleep(0.2)
    proxy.signal(signal.SIGTERM)
    for s in held:
        s.sendall(GET)
        assert status_of(recv_all(s)) == 200
        s.close()
    for s in queued:
        assert status_of(recv_all(s)) == 200
        s.close()
    proxy.stop(0)


def test_a_plain_request_under_way_is_finished(lb, fake, port):
    def serve(s):
        s.recv(65536)
        time.sleep(0.7)
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow")

    conf = http_conf(port, [fake(serve).row()])
    conf["stop_timeout"] = "10s"
    proxy = lb(conf)
    with connect(port) as s:
        s.sendall(GET)
        time.sleep(0.2)
        proxy.signal(signal.SIGTERM)
        assert recv_all(s).endswith(b"\r\n\r\nslow")
    proxy.stop(0)


def test_the_socket_file_of_another_lb_stays(lb, echo, port):
    """Somebody has removed the admin socket's file while the first lb drains, and a second lb has
    made its own at the same path: the first removes only its own."""
    echoes = echo(1)
    conf = http_conf(port, echoes)
    conf["stop_timeout"] = "20s"
    first = lb(conf)
    held = connect(port)
    first.wait_active(1)
    first.signal(signal.SIGTERM)
    wait_for("the drain", lambda: "stopping active=1" in first.stderr())
    first.socket.unlink()
    conf = http_conf(free_port(), echoes)
    conf["admin"] = {"socket": str(first.socket)}
    second = lb(conf, ready=False)
    wait_for("the second one", lambda: " started " in second.stderr())
    held.close()
    first.stop(0)
    assert first.socket.exists()
    second.socket = first.socket
    assert second.stats()["connections"]["active"] == 0
    second.stop()
    assert not first.socket.exists()


def test_a_stop_tells_how_many_were_cut(lb, echo, port):
    """Two end by themselves, one of them between the signal and the end; three are cut. Those that
    had ended before the stop are not counted."""
    conf = http_conf(port, echo(1))
    conf["stop_timeout"] = "60s"
    proxy = lb(conf)
    for _ in range(4):
        assert status_of(ask(port, GET)) == 200
    proxy.wait_end("completed", 4)

    async def body():
        conns = await ws_open_many(port, 5)
        proxy.signal(signal.SIGTERM)
        await in_thread(wait_for, "the stop", lambda: "stopping active=5" in proxy.stderr())
        await conns[0].close()
        await conns[1].close()
        await in_thread(proxy.wait_active, 3)
        await in_thread(proxy.stop)

    run(body())
    assert "notice stopped connections_ended=2 connections_cut=3\n" in proxy.stderr()


def test_a_stop_of_an_idle_lb_cuts_nobody(lb, echo, port):
    proxy = lb(http_conf(port, echo(1)))
    proxy.stop()
    assert "notice stopped connections_ended=0 connections_cut=0\n" in proxy.stderr()
