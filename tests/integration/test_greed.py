# SPDX-License-Identifier: Apache-2.0
"""Clients that hold what others need, or go on for ever: nobody else notices, and they end."""

import os
import pwd
import re
import socket
import time
from pathlib import Path

import pytest

from lbtest import (
    SLOW,
    connect,
    http_conf,
    recv_all,
    recv_exact,
    recv_head,
    reset,
    status_of,
    tcp_conf,
    threads_of,
    upgrade_request,
    uring_threads,
    wait_for,
)

# ---- heads ---------------------------------------------------------------------------------------


def answer(port, n_bytes):
    """The status that an upgrade with a cookie of so many bytes gets."""
    with connect(port) as s:
        s.sendall(upgrade_request(extra="Cookie: a=" + "x" * n_bytes + "\r\n"))
        return status_of(recv_head(s)[0])


def test_unfinished_heads_take_nothing_from_others(lb, echo, port):
    """600 clients of one worker stop in the middle of a head of more than 4 KiB."""
    proxy = lb(http_conf(port, echo(1)) | {"workers": 1})
    part = b"GET / HTTP/1.1\r\nHost: a\r\nCookie: " + b"x" * 4300
    held = []
    try:
        for _ in range(600):
            held.append(connect(port))
            held[-1].sendall(part[:2000])
        for s in held:
            s.sendall(part[2000:])
        wait_for(
            "all of them", lambda: proxy.stats()["connections"]["handshaking"] == 600, timeout=8
        )
        assert [answer(port, n) for n in (10, 3800, 6000, 12000)] == [101, 101, 101, 101]
    finally:
        for s in held:
            s.close()


# ---- threads -------------------------------------------------------------------------------------


def floods(s):
    while True:
        s.sendall(b"x" * 65536)


def test_clients_that_half_close_and_do_not_read_take_no_threads(lb, fake, port):
    """A send that waited in the kernel when its client's FIN came was one thread of io_uring's each:
    400 such clients had 114 of them at once."""
    proxy = lb(tcp_conf(port, [fake(floods).row()]))
    held = []
    try:
        for _ in range(200):
            held.append(connect(port))
        wait_for(
            "all to be full",
            lambda: all(r["bytes_out"] > 1 << 16 for r in proxy.conns(limit=200)),
            timeout=20,
        )
        for s in held:
            s.shutdown(socket.SHUT_WR)
        for _ in range(100):
            assert uring_threads(threads_of(proxy.pid)) == []
            time.sleep(0.01)
    finally:
        for s in held:
            reset(s)
    proxy.wait_active(0, timeout=20)


def wakes_of(pid, name):
    """How often the threads of this name have slept and been woken."""
    n = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        if (task / "comm").read_text().startswith(name):
            n += int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", (task / "status").read_text(), re.M)[1])
    return n


@pytest.mark.parametrize("splice", ["always", "never"])
def test_clients_that_half_close_and_do_not_read_wake_nobody(lb, fake, port, splice):
    """Each was tried again every 5 ms on io_uring. They are not forgotten: one that reads again gets
    all that its backend has to say."""
    proxy = lb(tcp_conf(port, [fake(floods).row()], relay={"splice": splice}))
    held = []
    try:
        for _ in range(100):
            held.append(connect(port))
        wait_for(
            "all to be full",
            lambda: all(r["bytes_out"] > 1 << 16 for r in proxy.conns(limit=100)),
            timeout=20,
        )
        for s in held:
            s.shutdown(socket.SHUT_WR)

        def sleeps():
            was = wakes_of(proxy.pid, "lb-worker")
            time.sleep(1)
            return wakes_of(proxy.pid, "lb-worker") - was < 50

        wait_for("the workers to sleep", sleeps, timeout=10)
        for s in held[:5]:
            recv_exact(s, 16 << 20)
    finally:
        for s in held:
            reset(s)
    proxy.wait_active(0, timeout=20)


# ---- time ----------------------------------------------------------------------------------------


def silent(s):
    while s.recv(1 << 16):
        pass


def test_early_bytes_do_not_prolong_the_wait_for_an_upgrade(lb, fake, port):
    proxy = lb(http_conf(port, [fake(silent).row()], timeouts={"upgrade": "1s"}))
    with connect(port) as s:
        s.sendall(upgrade_request())
        s.settimeout(0.3)
        end = time.monotonic() + 8 * SLOW
        while True:
            assert time.monotonic() < end, "not answered although the time is long over"
            s.sendall(b"\x82")
            try:
                assert status_of(s.recv(1 << 16)) == 504
                break
            except TimeoutError:
                pass
    proxy.wait_end("response_timeout")


def test_interims_do_not_prolong_the_wait_for_a_response(lb, fake, port):
    def drips(s):
        s.recv(1 << 16)
        for _ in range(int(20 * SLOW)):
            time.sleep(0.4)
            s.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")

    proxy = lb(http_conf(port, [fake(drips).row()], timeouts={"response": "1s"}))
    with connect(port) as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        got = recv_all(s)
    assert got.count(b"100 Continue") < 8 * SLOW
    assert b"\r\n\r\nHTTP/1.1 504 " in got
    proxy.wait_end("response_timeout")


# ---- files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("link", ["symbolic", "hard"])
def test_what_a_log_is_linked_to_is_given_to_nobody(lb, echo, port, tmp_path, link):
    """The folder of the logs is `user`'s: it must not get a file of root's by a name in there."""
    nobody = pwd.getpwnam("nobody")
    for folder in (tmp_path, *tmp_path.parents[:2]):
        os.chmod(folder, 0o755)
    logs = tmp_path / "logs"
    logs.mkdir()
    os.chown(logs, nobody.pw_uid, nobody.pw_gid)
    secret = tmp_path / "secret"
    secret.write_text("root's\n")
    os.chmod(secret, 0o600)
    if link == "symbolic":
        os.symlink(secret, logs / "access.log")
    else:
        os.link(secret, logs / "access.log")
    conf = http_conf(port, echo(1))
    conf["user"] = "nobody"
    conf["access_log"] = {"to": str(logs / "access.log")}
    conf["log"] = {"level": "info", "to": str(logs / "lb.log")}
    lb(conf)
    assert os.stat(secret).st_uid == 0
    assert os.stat(logs / "lb.log").st_uid == nobody.pw_uid  # its own it is given
