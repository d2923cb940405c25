# SPDX-License-Identifier: Apache-2.0
"""Which backend a connection gets."""

import asyncio
import collections

import pytest

from lbtest import (
    ask,
    fields_of,
    free_port,
    http_conf,
    in_thread,
    run,
    status_of,
    upgrade_request,
    ws_close_all,
    ws_open,
    ws_open_many,
)


def rows(echoes, **by_name):
    """Backends' rows, with more keys for some: rows(echoes, e1={"weight": 2})"""
    return [{"name": e.name, "address": e.address, **by_name.get(e.name, {})} for e in echoes]


def backend(port, fields="", path="/"):
    answer = ask(port, f"GET {path} HTTP/1.1\r\nHost: x\r\n{fields}\r\n".encode())
    assert status_of(answer) == 200, answer
    return dict(fields_of(answer))["x-backend"]


def test_round_robin_by_weight(lb, echo, port):
    lb(http_conf(port, rows(echo(3), e1={"weight": 2}, e3={"weight": 0}), balance="round_robin"))
    got = collections.Counter(backend(port) for _ in range(30))
    assert got == {"e1": 20, "e2": 10}


@pytest.mark.parametrize("n_workers", [1, 4])
def test_least_connections_levels(lb, echo, port, n_workers):
    """Exact for picks that do not overlap, on however many workers."""
    conf = http_conf(port, rows(echo(3), e1={"weight": 2}), balance="least_connections")
    conf["workers"] = n_workers
    proxy = lb(conf)

    async def body():
        conns = await ws_open_many(port, 40, at_once=1)
        assert await in_thread(proxy.active) == {"e1": 20, "e2": 10, "e3": 10}
        await ws_close_all(conns)

    run(body())


def test_least_connections_refills_what_closed(lb, echo, port):
    proxy = lb(http_conf(port, echo(2), balance="least_connections"))

    async def body():
        conns = await ws_open_many(port, 20, at_once=1)
        of_e1 = [c for c in conns if c.response_headers["X-Backend"] == "e1"]
        await ws_close_all(of_e1)
        await in_thread(proxy.wait_active, 10)
        more = await ws_open_many(port, 10, at_once=1)
        assert await in_thread(proxy.active) == {"e1": 10, "e2": 10}
        await ws_close_all(conns + more)

    run(body())


@pytest.mark.parametrize("n_workers", [1, 2])
def test_least_connections_takes_idle_ones_in_turn(lb, echo, port, n_workers):
    """Requests one after another find all backends idle: each gets every third."""
    conf = http_conf(port, echo(3), balance="least_connections")
    conf["workers"] = n_workers
    proxy = lb(conf)
    got = []
    for _ in range(30):
        got.append(backend(port))
        proxy.wait_active(0)
    assert got == got[:3] * 10 and set(got) == {"e1", "e2", "e3"}


@pytest.mark.parametrize("n_workers", [1, 2])
def test_least_connections_shares_idle_ones_by_weight(lb, echo, port, n_workers):
    """Requests one after another find all backends idle: the heavy one does not get all of them."""
    conf = http_conf(port, rows(echo(2), e1={"weight": 2}), balance="least_connections")
    conf["workers"] = n_workers
    proxy = lb(conf)
    got = collections.Counter()
    for _ in range(30):
        got[backend(port)] += 1
        proxy.wait_active(0)
    assert 19 <= got["e1"] <= 21 and got.total() == 30, got


def test_random_of_two_is_near_level(lb, echo, port):
    proxy = lb(http_conf(port, echo(4), balance="random"))

    async def body():
        conns = await ws_open_many(port, 200)
        active = (await in_thread(proxy.active)).values()
        assert sum(active) == 200
        assert max(active) - min(active) <= 20, active
        await ws_close_all(conns)

    run(body())


def test_first_fills_one_after_another(lb, echo, port):
    proxy = lb(
        http_conf(
            port, rows(echo(2), e1={"max_connections": 5}, e2={"max_connections": 5}), balance="first"
        )
    )

    async def body():
        conns = await ws_open_many(port, 7, at_once=1)
        assert await in_thread(proxy.active) == {"e1": 5, "e2": 2}
        await ws_close_all(conns)

    run(body())


def test_max_connections_is_never_exceeded(lb, echo, port):
    """80 at once for 30 slots, from 4 workers: 30 get in, the others are told so."""
    conf = http_conf(
        port, rows(echo(3), **{f"e{i}": {"max_connections": 10} for i in (1, 2, 3)}), balance="random"
    )
    conf["workers"] = 4
    proxy = lb(conf)

    async def body():
        results = await asyncio.gather(*(ws_open(port) for _ in range(80)), return_exceptions=True)
        conns = [r for r in results if not isinstance(r, Exception)]
        refused = [r.status_code for r in results if isinstance(r, Exception)]
        assert refused == [503] * 50
        assert await in_thread(proxy.active) == {"e1": 10, "e2": 10, "e3": 10}
        await ws_close_all(conns)
        await in_thread(proxy.wait_active, 0)
        (again,) = await ws_open_many(port, 1)
        await again.close()

    run(body())
    proxy.wait_end("no_backend", 50)


def test_hash_of_the_source_stays(lb, echo, port):
    lb(http_conf(port, echo(4), balance="hash", hash={"key": "source"}))
    assert len({backend(port) for _ in range(10)}) == 1


HASHES = [
    ("header", "header:X-User", lambda i: (f"x-user: u{i}\r\n", "/")),
    ("cookie", "cookie:sid", lambda i: (f"Cookie: a=b; sid=u{i}\r\n", "/")),
    ("query", "query:user", lambda i: ("", f"/?a=b&user=u{i}")),
    ("path", "path", lambda i: ("", f"/room/{i}?x={i % 3}")),
]


@pytest.mark.parametrize("key, request_", [h[1:] for h in HASHES], ids=[h[0] for h in HASHES])
def test_hash_spreads_keys_and_keeps_them(lb, echo, port, key, request_):
    echoes = echo(4)
    conf = http_conf(port, echoes, balance="hash", hash={"key": key})
    proxy = lb(conf)
    n = 60
    before = [backend(port, *request_(i)) for i in range(n)]
    assert before == [backend(port, *request_(i)) for i in range(n)]
    assert len(set(before)) == 4
    # One is taken away: only its own keys move.
    proxy.reload_ok(http_conf(port, echoes[:3], balance="hash", hash={"key": key}))
    after = [backend(port, *request_(i)) for i in range(n)]
    assert all(a == b for a, b in zip(after, before) if b != "e4")


def of_host(port, host):
    """The backend of a request to a host; of one in HTTP/1.0 without Host where there is none."""
    line = f"1.1\r\nHost: {host}" if host is not None else "1.0"
    answer = ask(port, f"GET / HTTP/{line}\r\n\r\n".encode())
    assert status_of(answer) == 200, answer
    return dict(fields_of(answer))["x-backend"]


def test_hash_of_the_host(lb, echo, port):
    """However a host is spelled, its connections meet at one backend; many hosts are spread. Who
    names none goes where its source leads."""
    echoes = echo(4)
    by_source = free_port()
    lb(http_conf(port, echoes, balance="hash", hash={"key": "host"}))
    lb(http_conf(by_source, echoes, balance="hash", hash={"key": "source"}))
    seen = set()
    for i in range(30):
        spellings = [f"{name}{i}.example.com" for name in ("room", "Room", "ROOM")]
        for rest in ("EXAMPLE.com.", "example.com:8080", "Example.com.:1"):
            spellings.append(f"room{i}.{rest}")
        (one,) = {of_host(port, s) for s in spellings}
        seen.add(one)
    assert len(seen) == 4
    assert {of_host(port, None) for _ in range(5)} == {backend(by_source)}


def test_two_balancers_agree(lb, echo, port):
    """The order is a function of names and weights, not of places in the file or of the process."""
    echoes = echo(4)
    other = free_port()
    hashing = {"balance": "hash", "hash": {"key": "header:X-User"}}
    lb(http_conf(port, echoes, **hashing))
    lb(http_conf(other, echoes[::-1], **hashing))
    for i in range(40):
        assert backend(port, f"X-User: {i}\r\n") == backend(other, f"X-User: {i}\r\n")


def test_a_backend_that_refuses_is_passed_over(lb, echo, port):
    (alive,) = echo(1)
    proxy = lb(
        http_conf(
            port,
            [("dead1", free_port()), ("dead2", free_port()), alive],
            balance="round_robin",
            retries=2,
        )
    )
    for _ in range(9):
        assert backend(port) == "e1"
    failed = {name: b["failed"] for name, b in proxy.backends().items()}
    assert failed["dead1"] > 0 and failed["dead2"] > 0 and failed["e1"] == 0


def test_retries_are_bounded(lb, echo, port):
    (alive,) = echo(1)
    lb(
        http_conf(
            port,
            [("dead1", free_port()), ("dead2", free_port()), alive],
            balance="first",
            retries=1,
        )
    )
    assert status_of(ask(port, upgrade_request())) == 502
