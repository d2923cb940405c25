# SPDX-License-Identifier: Apache-2.0
"""source: the local addresses that lb connects from take turns, and each has a port range of its
own per backend."""

import contextlib

import pytest

import lbtest
from lbtest import HOST, SLOW, ask, free_port, http_conf, is_reset, recv_head, reset, status_of, wait_for
from netns import Namespace

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
A, B = "127.0.0.5", "127.0.0.6"
N_PORTS = 2  # that the namespace has for connections


def answer_with_peer(s):
    """The body is the address that lb connects from."""
    recv_head(s)
    peer = s.getpeername()[0].encode()
    s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(peer), peer))


def source_of(port):
    return ask(port, GET).split(b"\r\n\r\n", 1)[1].decode()


@pytest.mark.parametrize("n", [1, 2, 3])
def test_sources_take_turns(lb, fake, port, n):
    sources = [f"127.0.0.{5 + i}" for i in range(n)]
    lb(http_conf(port, [fake(answer_with_peer).row()], source=sources))
    got = [source_of(port) for _ in range(3 * n)]
    assert sorted(got[:n]) == sources
    assert got == got[:n] * 3


def test_a_source_is_for_backends_of_its_family(lb, fake, port):
    """IPv6 sources are passed over for an IPv4 backend, however many there are."""
    backends = [fake(answer_with_peer).row(), {"name": "six", "address": "[::1]:9", "weight": 0}]
    lb(http_conf(port, backends, source=["::1", A, B]))
    got = [source_of(port) for _ in range(9)]
    assert set(got) == {A, B}


def test_backends_whose_family_has_no_source(lb, fake, port):
    """They are connected to from wherever the kernel likes."""
    backends = [fake(answer_with_peer).row(), {"name": "six", "address": "[::1]:9", "weight": 0}]
    lb(http_conf(port, backends, source=["::1"]))
    assert source_of(port) == HOST


class Narrow:
    """A namespace with few ports, a backend that hands its connections over, and clients that use
    none of those ports."""

    def __init__(self, stack):
        self.stack = stack
        self.space = Namespace(stack)
        self.space.ip("link set lo up")
        first = 9000
        self.space.sysctl("ipv4/ip_local_port_range", f"{first} {first + N_PORTS - 1}")
        self.listener = self.space.socket()
        self.listener.bind((HOST, 8000))
        self.listener.listen(10)
        self.row = {"name": "b", "address": f"{HOST}:8000"}
        self.n_clients = 0
        self.socks = []

    def open(self, port, mode):
        """A client that has sent its request."""
        s = self.space.socket()
        s.bind(("127.0.0.9", 7000 + self.n_clients))
        self.n_clients += 1
        self.socks.append(s)
        s.connect((HOST, port))
        if mode == "http":
            s.sendall(GET)
        return s

    def take(self):
        """(a connection that lb made, the source of it)"""
        s, peer = self.listener.accept()
        self.stack.callback(s.close)
        self.socks.append(s)
        s.settimeout(20 * SLOW)
        return s, peer[0]

    def is_refused(self, port, mode):
        """Whether a new client is told that lb has no way to the backend: by a 503, or in mode tcp
        by a reset."""
        try:
            s = self.open(port, mode)
        except ConnectionResetError:
            return mode == "tcp"
        with s:
            return is_reset(s) if mode == "tcp" else status_of(recv_head(s)[0]) == 503

    def hang_up(self):
        for s in self.socks:
            s.close()


@pytest.fixture
def narrow(monkeypatch):
    with contextlib.ExitStack() as stack:
        n = Narrow(stack)
        monkeypatch.setattr(lbtest, "WRAP", [*n.space.enter, *lbtest.WRAP])
        yield n


@pytest.mark.parametrize("mode", ["http", "tcp"])
def test_ports_run_out_at_one_source_and_then_at_all(narrow, lb, mode):
    """A source without a port is passed over; without any there is a reason of its own, which is
    nobody's failure; a port that comes back is used."""
    port = free_port()
    proxy = lb(http_conf(port, [narrow.row], mode=mode, source=[A, B]))

    def pair():
        client = narrow.open(port, mode)
        return client, *narrow.take()

    pairs = [pair() for _ in range(2 * N_PORTS)]
    sources = [source for _, _, source in pairs]
    assert sources in ([A, B] * N_PORTS, [B, A] * N_PORTS)

    for n in (1, 2):  # whoever's turn it is
        assert narrow.is_refused(port, mode)
        proxy.wait_end("no_port", n)
    assert proxy.ends() == {"no_port": 2}
    assert proxy.backends()["b"]["failed"] == 0
    assert proxy.backends()["b"]["total"] == 2 * N_PORTS

    # Both ports of one source come back (a reset leaves none behind): it serves every turn.
    for client, backend, source in pairs:
        if source == A:
            reset(backend)
            client.close()
    proxy.wait_active(N_PORTS)
    again = [pair()[2] for _ in range(N_PORTS)]
    assert again == [A] * N_PORTS
    assert narrow.is_refused(port, mode)
    proxy.wait_end("no_port", 3)
    assert proxy.backends()["b"]["active"] == 2 * N_PORTS
    narrow.hang_up()


@pytest.mark.parametrize("has_source", [True, False], ids=["one source", "no source"])
def test_without_a_port_another_backend_is_tried(narrow, lb, has_source):
    """Ports are counted for each backend: where one has none left, the next may have."""
    port = free_port()
    other = narrow.space.socket()
    other.bind((HOST, 8001))
    other.listen(10)
    rows = [narrow.row, {"name": "c", "address": f"{HOST}:8001"}]
    source = {"source": [A]} if has_source else {}
    proxy = lb(http_conf(port, rows, mode="tcp", balance="first", **source))
    kept = [(narrow.open(port, "tcp"), narrow.take()) for _ in range(N_PORTS)]
    late = narrow.open(port, "tcp")
    s, peer = other.accept()
    with s:
        assert peer[0] == (A if has_source else HOST)
        late.sendall(b"hello")
        assert s.recv(5) == b"hello"
        assert proxy.active() == {"b": len(kept), "c": 1}
        assert [b["failed"] for b in proxy.backends().values()] == [0, 0]
    narrow.hang_up()


# ---- health checks ------------------------------------------------------------------------------


def test_checks_come_from_the_sources_in_turn(lb, fake, port):
    peers = []

    def serve(s):
        peers.append(s.getpeername()[0])
        answer_with_peer(s)

    backends = [fake(serve).row(), {"name": "six", "address": "[::1]:9", "weight": 0}]
    health = {"type": "http", "interval": "20ms", "timeout": "2s"}
    proxy = lb(http_conf(port, backends, source=["::1", A, B], health=health))
    wait_for("ten checks", lambda: len(peers) >= 10)
    proxy.wait_state("f", "up")
    assert peers[:10] in ([A, B] * 5, [B, A] * 5)


def hold_ports(space, source):
    """Takes all ports that a source has for connections to the backend."""
    socks = []
    for i in range(N_PORTS):
        s = space.socket()
        socks.append(s)

        def bind(s=s, i=i):
            try:
                s.bind((source, 9000 + i))
            except OSError:  # a check has it just now
                return False
            return True

        wait_for(f"port {9000 + i} of {source}", bind)
        s.connect((HOST, 8000))
    return socks


@pytest.mark.parametrize("sources", [[A, B], []], ids=["two sources", "no source"])
def test_a_check_without_a_port_gives_no_verdict(narrow, lb, sources):
    """As long as one source has a port, checks are made from there; without any port the backend
    keeps its state, though one bad check would bring it down for good."""
    stack = narrow.stack
    health = {"type": "tcp", "interval": "20ms", "timeout": "2s", "fall": 1, "rise": 100}
    conf = http_conf(free_port(), [narrow.row], health=health)
    if sources:
        conf["pools"][0]["source"] = sources
    proxy = lb(conf)

    def result():
        return proxy.backends()["b"]["check"]["result"]

    proxy.wait_state("b", "up")
    held = []
    for source in sources or [HOST]:
        assert result().startswith("connected in ")
        held += hold_ports(narrow.space, source)
    for s in held:
        stack.callback(s.close)
    wait_for("no check", lambda: result() == "no check: no local port is left")
    assert proxy.backends()["b"]["state"] == "up"
    for s in held:
        reset(s)
    wait_for("a check", lambda: result().startswith("connected in "))
    assert proxy.backends()["b"]["state"] == "up"
