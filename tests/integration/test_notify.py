# SPDX-License-Identifier: Apache-2.0
"""What lb tells the service manager that asked for it ($NOTIFY_SOCKET), see sd_notify(3)."""

import re
import signal
import socket
import time

import pytest

from lbtest import connect, http_conf, in_thread, run, tcp_conf, wait_for, ws_open


class Manager:
    """The socket of a service manager, and the messages that came."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(str(path))
        self.sock.setblocking(False)
        self.all = []

    def heard(self):
        """Every message so far."""
        while True:
            try:
                self.all.append(self.sock.recv(4096).decode())
            except BlockingIOError:
                return self.all

    def states(self):
        """The messages of what lb goes through, without those of its status."""
        return [m for m in self.heard() if not m.startswith("STATUS=")]

    def words(self):
        """The first lines of these."""
        return [m.split("\n")[0] for m in self.states()]

    def statuses(self):
        """The messages of lb's status, and the one of its stop."""
        return [m for m in self.heard() if m.startswith(("STATUS=", "STOPPING="))]

    def wait(self, status):
        wait_for(status, lambda: self.statuses()[-1:] == [status])


@pytest.fixture
def manager(tmp_path, monkeypatch):
    m = Manager(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with m.sock:
        yield m


def test_a_start_is_told_once(manager, lb, echo, port):
    proxy = lb(http_conf(port, echo(1)))
    proxy.stop()
    assert manager.words() == ["READY=1", "STOPPING=1"]


def test_every_reload_is_told_with_its_end(manager, lb, echo, port):
    """Whether the file is taken or refused: READY=1 once for each RELOADING=1."""
    conf = http_conf(port, echo(1))
    proxy = lb(conf)
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    proxy.reload_ok()
    wait_for("the end of the first", lambda: len(manager.states()) == 3)
    assert proxy.reload("nonsense: 1\n").startswith("error: ")
    wait_for("the end of the second", lambda: len(manager.states()) == 5)
    proxy.hup(conf)
    wait_for("the end of the third", lambda: len(manager.states()) == 7)
    proxy.stop()
    assert manager.words() == ["READY=1", *["RELOADING=1", "READY=1"] * 3, "STOPPING=1"]
    for text in manager.states():
        if text.startswith("RELOADING=1"):
            at = int(re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=(\d+)", text).group(1))
            assert before <= at <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            before = at


@pytest.mark.parametrize("more", [{}, {"stop_delay": "1h"}], ids=["draining", "delaying"])
def test_a_reload_during_a_stop_is_not_told(manager, lb, echo, port, more):
    proxy = lb({"stop_timeout": "1h", **more, **tcp_conf(port, echo(1))})
    with connect(port):
        proxy.wait_active(1)
        proxy.signal(signal.SIGTERM)
        wait_for("the stop to begin", lambda: "STOPPING=1" in manager.words())
        proxy.signal(signal.SIGHUP)
        refusal = "reload refused: lb is stopping"
        wait_for("the reload to be refused", lambda: refusal in proxy.stderr())
        proxy.stop()  # the second signal
    assert manager.words() == ["READY=1", "STOPPING=1"]


def test_the_manager_hears_of_connections_and_generations(manager, lb, echo, port):
    conf = http_conf(port, echo(1))
    conf["stop_timeout"] = "20s"
    conf["stop_delay"] = "200ms"
    proxy = lb(conf)
    manager.wait("STATUS=0 connections, generation 1")

    async def body():
        first = await ws_open(port)
        await in_thread(manager.wait, "STATUS=1 connection, generation 1")
        second = await ws_open(port)
        await in_thread(manager.wait, "STATUS=2 connections, generation 1")
        await in_thread(proxy.reload_ok)
        await in_thread(manager.wait, "STATUS=2 connections, generation 2")
        await second.close()
        await in_thread(manager.wait, "STATUS=1 connection, generation 2")
        proxy.signal(signal.SIGTERM)
        await in_thread(manager.wait, "STATUS=stopping, 1 connection left")
        await first.close()
        await in_thread(proxy.stop, 0)

    run(body())
    assert manager.statuses() == [
        "STATUS=0 connections, generation 1",
        "STATUS=1 connection, generation 1",
        "STATUS=2 connections, generation 1",
        "STATUS=2 connections, generation 2",
        "STATUS=1 connection, generation 2",
        # What the stop may take, and ten seconds.
        "STOPPING=1\nEXTEND_TIMEOUT_USEC=30200000",
        "STATUS=stopping, 1 connection left",
    ]


def test_however_often_it_changes_the_status_is_told_once_a_second(manager, lb, echo, port):
    proxy = lb(tcp_conf(port, echo(1)))
    manager.wait("STATUS=0 connections, generation 1")
    began = time.monotonic()
    held = []
    while len(manager.statuses()) < 4:  # three more
        held.append(connect(port))
        proxy.wait_active(len(held))
        if len(held) == 20:
            for s in held:
                s.close()
            held.clear()
            proxy.wait_active(0)
        assert time.monotonic() - began < 30
    for s in held:
        s.close()
    assert len(manager.statuses()) - 1 <= time.monotonic() - began + 1
