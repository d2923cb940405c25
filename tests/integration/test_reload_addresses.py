# SPDX-License-Identifier: Apache-2.0
"""A reload may replace an address by one that includes it, and lb loses nobody. Addresses of other
programs are not shared."""

import os
import socket

import pytest

from lbtest import HOST, Lb, ask, connect, free_port, http_conf, recv_all, status_of, wait_for
from test_reload_accepted import Stream

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"

ONE, ALL, BOTH = ("127.0.0.1",), ("0.0.0.0",), ("0.0.0.0", "127.0.0.1")


def bound(conf, hosts, port):
    """The configuration with a listener on these hosts."""
    binds = [f"[{h}]:{port}" if ":" in h else f"{h}:{port}" for h in hosts]
    return {**conf, "listeners": [{"name": "l", "bind": binds, "pool": "p"}]}


@pytest.mark.parametrize("user", [None, "nobody"], ids=["same user", "user"])
def test_addresses_that_include_each_other_lose_nobody(lb, echo, port, user):
    """Clients of 127.0.0.1 come all the time, while it is served by itself, with all, by both.
    (One whose SYN meets a socket that closes comes again a second later: the kernel's timer.)"""
    conf = http_conf(port, echo(1))
    if user is not None:
        if os.geteuid() != 0:
            pytest.fail("this test needs root: another user's sockets")
        conf["user"] = user
    proxy = lb(bound(conf, ONE, port))
    if user is not None:
        os.chmod(proxy.dir, 0o755)
    with Stream(port) as stream:
        for hosts in (ALL, ONE, BOTH, ONE, ALL, BOTH, ALL, ONE) * 2:
            proxy.reload_ok(bound(conf, hosts, port))
            rows = {row["bind"] for row in proxy.stats()["listeners"]}
            assert rows == {f"{h}:{port}" for h in hosts}
            want = stream.n_served + 8
            wait_for("some more", lambda n=want: stream.n_served + len(stream.lost) >= n, 10)
    assert not stream.lost, (len(stream.lost), stream.n_served, stream.lost[0])


@pytest.mark.parametrize("old, new", [("::1", "::"), ("::", "::1"), ("127.0.0.1", "::")])
def test_addresses_of_ipv6(lb, echo, port, old, new):
    conf = http_conf(port, echo(1))
    proxy = lb(bound(conf, [old], port))
    for hosts in ([new], [old], [old, new], [new], [old]):
        proxy.reload_ok(bound(conf, hosts, port))
        for h in hosts:
            with socket.create_connection(("::1" if ":" in h else HOST, port), 5) as s:
                s.sendall(GET)
                assert status_of(recv_all(s)) == 200


def test_living_connections_keep_no_address(lb, echo, port):
    """The old listener has gone, its connection stays, and its address can be had again."""
    conf = http_conf(port, echo(1))
    proxy = lb(bound(conf, ONE, port))
    with connect(port) as s:
        s.sendall(GET[:20])
        wait_for("the client", lambda: proxy.stats()["connections"]["active"] == 1)
        for hosts in (ALL, ONE, ALL, ONE):
            proxy.reload_ok(bound(conf, hosts, port))
        s.sendall(GET[20:])
        assert status_of(recv_all(s)) == 200


def test_the_address_of_another_lb_is_not_shared(lb, echo, port, engine, tmp_path):
    """Both are the same user's and bind with SO_REUSEPORT, so that the kernel would allow it."""
    conf = http_conf(port, echo(1))
    proxy = lb(bound(conf, ONE, port))
    other = Lb(bound(http_conf(port, []) | conf, ["127.0.0.2"], port), engine, tmp_path)
    try:
        answer = proxy.reload(bound(conf, ALL, port))
        assert answer.startswith("error: ")
        assert f"0.0.0.0:{port}" in answer
        assert [row["bind"] for row in proxy.stats()["listeners"]] == [f"{HOST}:{port}"]
        assert status_of(ask(port, GET)) == 200
        other.stop()
        proxy.reload_ok(bound(conf, ALL, port))
    finally:
        other.destroy()
    assert status_of(ask(port, GET)) == 200


def test_another_program_on_all_addresses_is_found(lb, echo, port):
    """It has come to 0.0.0.0 after lb had taken one address there, and shares its port."""
    conf = http_conf(port, echo(1))
    other = free_port()
    proxy = lb(bound(conf, ONE, port))
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        s.bind(("0.0.0.0", port))
        s.listen(1)
        for hosts, p in ((ALL, port), (["127.0.0.2"], port)):
            answer = proxy.reload(bound(conf, hosts, p))
            assert answer.startswith("error: "), answer
            assert f"{hosts[0]}:{p}" in answer
        proxy.reload_ok(bound(conf, ONE, other))
        answer = proxy.reload(bound(conf, ONE, port))
        assert answer.startswith("error: "), answer
    proxy.reload_ok(bound(conf, ALL, port))
    assert status_of(ask(port, GET)) == 200


def test_lb_itself_is_in_the_way(lb, echo, port):
    """admin.http takes effect at a restart: until then lb has its old port."""
    old, new = free_port(), free_port()
    conf = {**http_conf(port, echo(1)), "admin": {"http": f"{HOST}:{old}"}}
    proxy = lb(conf)
    for host in ONE, ALL:
        proxy.rewrite({**bound(conf, host, old), "admin": {"http": f"{HOST}:{new}"}})
        got = proxy.ctl("reload")
        assert got.returncode == 1
        want = f"cannot bind {host[0]}:{old}: lb itself has this port, for the admin.http {HOST}:{old}"
        assert want in got.stderr and " ss " not in got.stderr, got.stderr
    proxy.reload_ok(conf)
