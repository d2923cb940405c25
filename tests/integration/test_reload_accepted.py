# SPDX-License-Identifier: Apache-2.0
"""No connection that was accepted before, during or after a reload is refused because of it."""

import contextlib
import copy
import threading
import time

import pytest

from lbtest import (
    HOST,
    connect,
    fields_of,
    free_port,
    hole,
    http_conf,
    recv_all,
    recv_exact,
    status_of,
    wait_for,
)

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
N_RELOADS = 60


class Stream:
    """Clients that come one after the other, each with its own thread, until stop(); `lost` says
    what went wrong. A slow one sends half of its request, and the rest a moment later."""

    def __init__(self, port, n_fast=2, n_slow=2):
        self.port = port
        self.lost = []
        self.n_served = 0
        self.is_over = threading.Event()
        pauses = [0] * n_fast + [0.004] * n_slow
        self.threads = [threading.Thread(target=self.run, args=(p,)) for p in pauses]

    def one(self, pause_s):
        with connect(self.port) as s:
            s.sendall(GET[:20])
            time.sleep(pause_s)
            s.sendall(GET[20:])
            answer = recv_all(s)
        if status_of(answer) != 200:
            self.lost.append(answer[:200])

    def run(self, pause_s):
        while not self.is_over.is_set():
            try:
                self.one(pause_s)
                self.n_served += 1
            except OSError as e:
                self.lost.append(repr(e))

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *what):
        self.is_over.set()
        for t in self.threads:
            t.join(20)


def renamed(conf, name):
    conf = copy.deepcopy(conf)
    conf["pools"][0]["name"] = name
    conf["listeners"][0]["pool"] = name
    return conf


def with_backend(conf, echo):
    conf = copy.deepcopy(conf)
    conf["pools"][0]["backends"] = [{"name": echo.name, "address": echo.address}]
    return conf


CHANGES = [
    ("the pool is renamed", lambda conf, echoes, i: renamed(conf, f"p{i}")),
    ("the pool goes to and fro", lambda conf, echoes, i: renamed(conf, "pq"[i % 2])),
    ("all its backends are replaced", lambda conf, echoes, i: with_backend(conf, echoes[i % 2])),
    (
        "the pool is renamed and its backends are replaced",
        lambda conf, echoes, i: with_backend(renamed(conf, f"p{i}"), echoes[i % 2]),
    ),
]


@pytest.mark.parametrize("change", [c[1] for c in CHANGES], ids=[c[0] for c in CHANGES])
def test_60_reloads_under_a_stream_of_new_connections(lb, echo, port, change):
    echoes = echo(2)
    conf = http_conf(port, echoes)
    proxy = lb(conf)
    with Stream(port) as stream:
        for i in range(N_RELOADS):
            proxy.reload_ok(change(conf, echoes, i))
            want = stream.n_served + 8
            wait_for("some more clients", lambda n=want: stream.n_served + len(stream.lost) >= n)
    assert not stream.lost, (len(stream.lost), stream.n_served, stream.lost[0])
    assert stream.n_served > N_RELOADS
    assert set(proxy.ends()) == {"completed"}, proxy.ends()

    # Nothing of the old configurations is left.
    wait_for("old pools to go", lambda: len(proxy.stats()["pools"]) == 1)


@pytest.mark.parametrize("mode", ["http", "tcp"])
@pytest.mark.parametrize("is_listener_kept", [True, False], ids=["kept", "removed"])
def test_a_retry_over_a_reload(lb, echo, port, mode, is_listener_kept):
    """A connect that times out when its pool is gone is tried again at the backends it had."""
    (good,) = echo(1)
    n = 10
    with hole() as back:
        conf = http_conf(
            port, [("hole", back), good], mode, balance="first", retries=1, timeouts={"connect": "2s"}
        )
        proxy = lb(conf)
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(connect(port)) for _ in range(n)]
            for s in clients:
                s.sendall(GET)
            wait_for("the picks", lambda: proxy.active() == {"hole": n, "e1": 0})
            new = renamed(conf, "q")
            if not is_listener_kept:
                new["listeners"][0]["bind"] = f"{HOST}:{free_port()}"
            proxy.reload_ok(new)
            assert {p["name"] for p in proxy.stats()["pools"]} == {"p", "q"}
            for s in clients:
                answer = recv_exact(s, len(GET)) if mode == "tcp" else recv_all(s)
                assert answer == GET or status_of(answer) == 200
        proxy.wait_active(0)
    wait_for("the old pool to go", lambda: [p["name"] for p in proxy.stats()["pools"]] == ["q"])


def add_route(conf, **what):
    """Another pool "r" that only this route leads to; the listener has no other pool."""
    conf = copy.deepcopy(conf)
    del conf["listeners"][0]["pool"]
    conf["listeners"][0]["routes"] = [{**what, "pool": conf["pools"][0]["name"]}]
    return conf


def change_port(conf):
    conf["listeners"][0]["bind"] = f"{HOST}:{free_port()}"


# What becomes of the listener while a request is half here, and which backend has to answer.
HALFWAY = [
    ("its pool is renamed", lambda c: None, "e2"),
    ("it is renamed", lambda c: c["listeners"][0].update(name="other"), "e2"),
    ("its route goes", lambda c: c.update(add_route(c, path="/elsewhere")), "e1"),
    ("it changes its mode", lambda c: c["listeners"][0].update(mode="tcp"), "e1"),
    ("it is removed", change_port, "e1"),
]


@pytest.mark.parametrize("change, want", [h[1:] for h in HALFWAY], ids=[h[0] for h in HALFWAY])
def test_a_request_that_is_half_here(lb, echo, port, change, want):
    """It is routed by the newest configuration, or by its own where that has no place for it."""
    e1, e2 = echo(2)
    conf = http_conf(port, [e1])
    proxy = lb(conf)
    with connect(port) as s:
        s.sendall(GET[:20])
        wait_for("the client", lambda: proxy.stats()["connections"]["handshaking"] == 1)
        new = with_backend(renamed(conf, "q"), e2)
        change(new)
        proxy.reload_ok(new)
        s.sendall(GET[20:])
        answer = recv_all(s)
    assert status_of(answer) == 200
    assert dict(fields_of(answer))["x-backend"] == want
    wait_for("the old pool to go", lambda: [p["name"] for p in proxy.stats()["pools"]] == ["q"])
