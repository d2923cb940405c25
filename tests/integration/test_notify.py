# SPDX-License-Identifier: Apache-2.0
"""What lb tells the service manager that asked for it ($NOTIFY_SOCKET), see sd_notify(3)."""

import signal
import socket
import time

import pytest

from lbtest import connect, http_conf, in_thread, run, tcp_conf, wait_for, ws_open


class Manager:
    """The socket of a service manager, and what was heard on it but for READY and RELOADING."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(str(path))
        self.sock.setblocking(False)
        self.heard = []

    def hear(self):
        while True:
            try:
                message = self.sock.recv(4096).decode()
            except BlockingIOError:
                return self.heard
            if message.startswith(("STATUS=", "STOPPING=")):
                self.heard.append(message)

    def wait(self, message):
        wait_for(message, lambda: self.hear()[-1:] == [message])


@pytest.fixture
def manager(tmp_path, monkeypatch):
    m = Manager(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with m.sock:
        yield m


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
    assert manager.hear() == [
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
    while len(manager.hear()) < 4:  # three more
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
    assert len(manager.heard) - 1 <= time.monotonic() - began + 1
