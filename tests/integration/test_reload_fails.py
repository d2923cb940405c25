# SPDX-License-Identifier: Apache-2.0
"""A reload that fails, at whatever stage, leaves everything as it was: all or nothing."""

import contextlib
import copy
import os
import socket
import time

import pytest

from lbtest import (
    HOST,
    SLOW,
    connect,
    fds_by_task,
    free_port,
    http_conf,
    recv_exact,
    recv_head,
    status_of,
    upgrade_request,
    wait_for,
    ws_frame,
)

# What time alone moves.
LIVE = ("reload", "uptime_s", "since_s", "accept_pauses")


def at_rest(value):
    """The figures of `stats` without those that time moves, and without what is told of the last
    reload itself."""
    if isinstance(value, dict):
        return {k: at_rest(v) for k, v in value.items() if k not in LIVE}
    if isinstance(value, list):
        return [at_rest(v) for v in value]
    return value


def settled(proxy):
    """The figures, once what clients have got already is counted, too."""

    def probe():
        first = at_rest(proxy.stats())
        time.sleep(0.05)
        return first if at_rest(proxy.stats()) == first else None

    return wait_for("figures that stay", probe)


def settled_tables(pid):
    """The tables of descriptors, once that of the last admin connection is closed, too."""

    def probe():
        first = fds_by_task(pid)
        time.sleep(0.05)
        return first if fds_by_task(pid) == first else None

    return wait_for("tables that stay", probe)


def listening_on(pid):
    """Addresses that anybody listens on with a descriptor of this process, with how many sockets."""
    inodes = set()
    for task in os.listdir(f"/proc/{pid}/task"):
        for fd in os.scandir(f"/proc/{pid}/task/{task}/fd"):
            with contextlib.suppress(FileNotFoundError):  # an admin connection that is closed
                link = os.readlink(fd.path)
                if link.startswith("socket:["):
                    inodes.add(link[8:-1])
    count = {}
    with open("/proc/net/tcp") as f:
        for line in f.readlines()[1:]:
            _, local, _, state, *rest = line.split()
            if state == "0A" and rest[5] in inodes:
                count[local] = count.get(local, 0) + 1
    return count


class Tunnel:
    """A WebSocket over a raw socket that can be asked whether it still works."""

    def __init__(self, port, timeout=10.0):
        self.sock = connect(port, timeout)
        try:
            self.sock.sendall(upgrade_request())
            assert status_of(recv_head(self.sock)[0]) == 101
        except BaseException:
            self.sock.close()
            raise
        self.sock.settimeout(10 * SLOW)

    def works(self):
        self.sock.sendall(ws_frame(b"still here"))
        want = ws_frame(b"still here", mask=b"")
        return recv_exact(self.sock, len(want)) == want


def no_pool(conf, taken):
    conf["listeners"][0]["pool"] = "none"


def bad_value(conf, taken):
    conf["pools"][0]["timeouts"] = {"idle": "soon"}


def taken_address(conf, taken):
    conf["listeners"].append({"name": "taken", "bind": taken, "pool": "p"})


def strange_address(conf, taken):
    conf["listeners"].append({"name": "strange", "bind": "192.0.2.1:80", "pool": "p"})


STAGES = [
    (no_pool, "lbctl"),
    (bad_value, "lbctl"),
    (bad_value, "HUP"),
    (taken_address, "lbctl"),
    (taken_address, "HUP"),
    (strange_address, "lbctl"),
]


@pytest.mark.parametrize("fail, how", STAGES, ids=[f"{s[0].__name__}-{s[1]}" for s in STAGES])
def test_nothing_changes(lb, echo, port, fail, how):
    """Each failing file also brings a new address, a new backend, another weight, other settings,
    and leaves a listener and a backend out: none of it may be seen."""
    e1, e2, e3 = echo(3)
    kept, new = free_port(), free_port()
    conf = http_conf(port, [e1, e2], timeouts={"idle": "1h"})
    conf["listeners"].append({"name": "kept", "bind": f"{HOST}:{kept}", "pool": "p"})
    proxy = lb(conf)
    tunnels = [Tunnel(port), Tunnel(kept)]
    proxy.command("drain p/e2")
    proxy.command("weight p/e1 7")
    before = settled(proxy)
    sockets = listening_on(proxy.pid)
    tables = settled_tables(proxy.pid)

    bad = http_conf(port, [e2, e3], timeouts={"idle": "100ms"}, balance="first")
    bad["limits"] = {"connections": 1}
    bad["listeners"][0]["name"] = "renamed"
    bad["listeners"].append({"name": "new", "bind": f"{HOST}:{new}", "pool": "p"})
    with socket.socket() as squatter:
        squatter.bind((HOST, 0))
        squatter.listen(1)
        fail(bad, f"{HOST}:{squatter.getsockname()[1]}")
        if how == "HUP":
            proxy.rewrite(bad)
            proxy.signal(1)
            wait_for("the refusal", lambda: "reload refused" in proxy.stderr())
        else:
            assert proxy.reload(bad).startswith("error: ")

    assert at_rest(proxy.stats()) == before
    wait_for("the same sockets", lambda: listening_on(proxy.pid) == sockets)
    wait_for("tables as they were", lambda: fds_by_task(proxy.pid) == tables)
    time.sleep(0.3)  # the idle time-out of the file that was refused
    for t in tunnels:
        assert t.works()
    with pytest.raises(ConnectionRefusedError):
        connect(new)
    more = [Tunnel(port), Tunnel(kept)]
    assert proxy.active() == {"e1": 3, "e2": 1}, "e2 is drained, and e3 is not there"
    for t in tunnels + more:
        t.sock.close()

    # And the next good one is the next generation.
    proxy.wait_active(0)
    proxy.reload_ok(conf)
    assert proxy.stats()["generation"] == 2


def test_a_worker_without_a_free_descriptor(lb, echo, port):
    """Its table is full when the new socket is passed to it: the whole reload is refused, the
    workers that had room give theirs back, and it succeeds later."""
    conf = http_conf(port, echo(1))
    proxy = lb(conf, nofile=120)
    with_many = copy.deepcopy(conf)
    ports = [free_port() for _ in range(40)]  # more than a worker keeps free for this
    with_many["listeners"] += [
        {"name": f"m{p}", "bind": f"{HOST}:{p}", "pool": "p"} for p in ports
    ]
    clients = fill(proxy, port)
    before = settled(proxy)
    sockets = listening_on(proxy.pid)
    tables = settled_tables(proxy.pid)

    answer = proxy.reload(with_many)
    assert answer.startswith("error: ")
    assert "Too many open files" in answer
    assert at_rest(proxy.stats()) == before
    wait_for("the same sockets", lambda: listening_on(proxy.pid) == sockets)
    wait_for("tables as they were", lambda: fds_by_task(proxy.pid) == tables)
    for p in ports:
        with pytest.raises(ConnectionRefusedError):
            connect(p)
    for t in clients:
        assert t.works()
        t.sock.close()

    proxy.wait_active(0)
    few = copy.deepcopy(conf)
    few["listeners"] += with_many["listeners"][1:4]
    proxy.reload_ok(few)
    assert proxy.stats()["generation"] == 2
    assert [Tunnel(p).works() for p in ports[:3]] == [True] * 3


def fill(proxy, port):
    """WebSockets until every worker has as many as it takes."""
    tunnels = []
    limit = proxy.stats()["connections"]["limit"]
    per_worker = limit // len(proxy.stats()["workers"])
    end = time.monotonic() + 20 * SLOW
    while min(w["active"] for w in proxy.stats()["workers"]) < per_worker:
        assert time.monotonic() < end, proxy.stats()["workers"]
        with contextlib.suppress(TimeoutError):  # who waits at a worker that is full goes again
            tunnels.append(Tunnel(port, timeout=0.3))
    return tunnels
