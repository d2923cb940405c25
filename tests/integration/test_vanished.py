# SPDX-License-Identifier: Apache-2.0
"""Peers that vanish without a FIN or a RST, and peers that are alive but take no byte.

lb runs in a network namespace of the test's own, with a second one behind a virtual wire.
"""

import contextlib
import re
import socket
import subprocess
import threading
import time

import pytest

import lbtest
from lbtest import (
    GOOD_101,
    HOST,
    SLOW,
    connect,
    free_port,
    is_reset,
    recv_exact,
    recv_head,
    status_of,
    upgrade_request,
    wait_for,
    ws_frame,
)
from netns import Namespace

NEAR = "10.77.0.1"  # where lb is
ROUTER = "10.77.0.2"  # the other end of the wire
FAR = "10.78.0.1"  # whom lb loses, behind that


class World:
    """Two namespaces and the wire between them."""

    def __init__(self, stack):
        self.near = Namespace(stack)
        self.far = Namespace(stack, above=self.near)
        self.near.ip("link set lo up")
        self.near.ip(f"link add near type veth peer name far netns {self.far.pid}")
        self.near.ip(f"addr add {NEAR}/24 dev near")
        self.near.ip("link set near up")
        self.far.ip(f"addr add {ROUTER}/24 dev far")
        self.far.ip(f"addr add {FAR}/32 dev far")
        self.far.ip("link set far up")
        self.far.sysctl("ipv4/ip_forward", 1)
        self.far.sysctl("ipv4/icmp_ratelimit", 0)
        self.near.ip(f"route add {FAR}/32 via {ROUTER}")

    def cut_link(self):
        """The wire is pulled: lb's machine sees that, too."""
        self.far.ip("link set far down")

    def be_unreachable(self):
        """The router says that nothing leads there any more: in the end that is the kernel's error,
        and not a time-out."""
        self.far.ip(f"addr del {FAR}/32 dev far")
        self.far.ip(f"route add unreachable {FAR}/32")

    def fall_silent(self):
        """The far machine gets everything, but nothing that it says arrives any more."""
        self.far.ip(f"route add blackhole {NEAR}/32")


@pytest.fixture
def world(monkeypatch):
    with contextlib.ExitStack() as stack:
        w = World(stack)
        monkeypatch.setattr(lbtest, "WRAP", [*w.near.enter, *lbtest.WRAP])
        yield w


class Backend:
    """Accepts one connection at a time and hands each to the test, after a 101 where asked."""

    def __init__(self, stack, listener, address):
        self.listener = listener
        stack.callback(listener.close)
        listener.bind((address, 0))
        listener.listen(10)
        self.row = {"name": "b", "address": f"{address}:{listener.getsockname()[1]}"}

    def take(self, stack, mode):
        s, _ = self.listener.accept()
        stack.callback(s.close)
        s.settimeout(20 * SLOW)
        if mode == "http":
            assert b"Sec-WebSocket-Key" in recv_head(s)[0]
            s.sendall(GOOD_101)
        return s


MODES = ("http", "tcp")


def conf_of(bind, backends, **pool):
    """A listener and a pool for every mode in `backends`."""
    ports = {name: free_port() for name in backends}
    listeners = [
        {"name": name, "bind": f"{bind}:{port}", "mode": name.split("-")[0], "pool": name}
        for name, port in ports.items()
    ]
    pools = [{"name": name, "backends": [b.row], **pool} for name, b in backends.items()]
    return {"listeners": listeners, "pools": pools}, ports


def begin(client, mode):
    if mode == "http":
        client.sendall(upgrade_request())


def tunnel_is_up(client, backend, mode):
    """A byte both ways, and the 101 before them."""
    if mode == "http":
        head, rest = recv_head(client)
        assert status_of(head) == 101 and rest == b""
    frames = {
        "http": (ws_frame(b"a"), ws_frame(b"b", mask=b"")),
        "tcp": (b"a", b"b"),
    }
    there, back = frames[mode]
    client.sendall(there)
    assert recv_exact(backend, len(there)) == there
    backend.sendall(back)
    assert recv_exact(client, len(back)) == back


def send_one(s, mode, is_client):
    s.sendall(ws_frame(b"lost", mask=b"mask" if is_client else b"") if mode == "http" else b"lost")


def has_ended(s):
    """Reads until the stream is over, by a FIN or a reset."""
    try:
        is_reset(s)
        return True
    except TimeoutError:
        return False


def ends_of(proxy, n):
    """listener -> reason, of the `n` connections that the log tells the end of"""

    def lines():
        return re.findall(r"connection ended .* listener=(\S+) .* end=(\S+)", proxy.stderr())

    wait_for(f"{n} lines of the log", lambda: len(lines()) >= n)
    assert len(dict(lines())) == len(lines()) == n, lines()
    return dict(lines())


@pytest.mark.parametrize("how", [World.cut_link, World.fall_silent, World.be_unreachable])
def test_who_vanishes_is_found_out(world, lb, how):
    """With bytes waiting, timeouts.user is how long it takes; each side, in each mode. The other
    side sees its end, whoever is idle stays, and a backend that vanishes before its answer is a
    502 for the client."""
    with contextlib.ExitStack() as stack:
        near, far = world.near, world.far
        backends = {}
        for mode in MODES:
            backends[f"{mode}-client"] = Backend(stack, near.socket(), HOST)
            backends[f"{mode}-backend"] = Backend(stack, far.socket(), FAR)
        backends["tcp-idle"] = Backend(stack, near.socket(), HOST)
        backends["http-post"] = Backend(stack, far.socket(), FAR)
        conf, ports = conf_of("0.0.0.0", backends, timeouts={"user": "2s"})
        proxy = lb(conf)

        pairs = {}
        for name, b in backends.items():
            mode, who = name.split("-")
            where = (far, FAR, NEAR) if who in ("client", "idle") else (near, HOST, HOST)
            client = where[0].connect(*where[1:], ports[name])
            if who == "post":
                client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nfirst")
                backend = b.take(stack, "tcp")
                head, rest = recv_head(backend)
                assert rest + recv_exact(backend, 5 - len(rest)) == b"first"
            else:
                begin(client, mode)
                backend = b.take(stack, mode)
                tunnel_is_up(client, backend, mode)
            pairs[name] = (client, backend)
        proxy.wait_active(6)

        how(world)
        for mode in MODES:
            send_one(pairs[f"{mode}-client"][1], mode, is_client=False)
            send_one(pairs[f"{mode}-backend"][0], mode, is_client=True)
        post = pairs["http-post"][0]
        post.sendall(b"more")

        assert status_of(recv_head(post)[0]) == 502
        post.close()
        for mode in MODES:
            assert has_ended(pairs[f"{mode}-client"][1])
            assert has_ended(pairs[f"{mode}-backend"][0])
        proxy.wait_active(1, timeout=10)
        ends = ends_of(proxy, 5)
        for mode in MODES:
            assert ends[f"{mode}-client"] == "client_vanished"
            assert ends[f"{mode}-backend"] == "backend_vanished"
        assert proxy.ends()["client_vanished"] == 2
        assert sum(proxy.ends().values()) == 5
        for name in backends:
            (row,) = proxy.backends(name).values()
            assert (row["active"], row["total"]) == (name == "tcp-idle", 1), name
            assert row["failed"] == (name == "http-post"), name
        (row,) = proxy.conns()
        assert row["listener"] == "tcp-idle"

        # The idle one's backend closes: lb passes that on and has no answer to wait for.
        pairs["tcp-idle"][1].close()
        proxy.wait_active(0, timeout=10)


def test_who_takes_no_byte_is_stalled(lb):
    """Alive, acknowledging, but not reading for timeouts.user while bytes wait: that is told apart
    from one that vanished, on each side, in each mode."""
    with contextlib.ExitStack() as stack:
        backends = {}
        for mode in MODES:
            for who in ("client", "backend"):
                listener = socket.socket()
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                backends[f"{mode}-{who}"] = Backend(stack, listener, HOST)
        conf, ports = conf_of(HOST, backends, timeouts={"user": "1s"})
        proxy = lb(conf)

        floods = []
        for name, b in backends.items():
            mode, who = name.split("-")
            client = socket.socket()
            stack.callback(client.close)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.settimeout(20 * SLOW)
            client.connect((HOST, ports[name]))
            begin(client, mode)
            backend = b.take(stack, mode)
            tunnel_is_up(client, backend, mode)
            sender = backend if who == "client" else client
            much = bytes(32 << 20)  # all sockets on the way hold less
            if mode == "http":
                much = ws_frame(much, mask=b"" if who == "client" else b"mask")
            floods.append(Flood(stack, sender, much))

        for f in floods:
            assert f.was_cut_off()
        proxy.wait_active(0)
        want = {name: f"{name.split('-')[1]}_stalled" for name in backends}
        assert ends_of(proxy, 4) == want
        assert proxy.ends() == {"client_stalled": 2, "backend_stalled": 2}


class Flood:
    """A thread that sends more than fits anywhere."""

    def __init__(self, stack, sock, data):
        self.error = None
        self.thread = threading.Thread(target=self._run, args=(sock, data), daemon=True)
        self.thread.start()
        stack.callback(self.thread.join, 30 * SLOW)

    def _run(self, sock, data):
        try:
            sock.sendall(data)
        except OSError as e:
            self.error = e

    def was_cut_off(self):
        self.thread.join(30 * SLOW)
        return isinstance(self.error, ConnectionError)


def timers(enter, what):
    """The kind and the seconds left of the timer of each established socket that matches `what`."""
    out = subprocess.run(
        [*enter, "ss", "-Htno", "state", "established", what],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    found = []
    for line in out.splitlines():
        timer = re.search(r"timer:\((\w+),(?:(\d+)min)?(?:(\d+)(?:\.\d+)?sec)?", line)
        kind, minutes, seconds = timer.groups() if timer else ("none", 0, 0)
        found.append((kind, 60 * int(minutes or 0) + int(seconds or 0)))
    return found


def keepalives(enter, what, n):
    """The seconds left of `n` keepalive timers. Before, a byte may be not yet acknowledged."""

    def left():
        found = timers(enter, what)
        kept = [seconds for kind, seconds in found if kind == "keepalive"]
        return kept if len(kept) == len(found) == n else None

    return wait_for("keepalive timers", left)


@pytest.mark.parametrize("mode", MODES)
def test_idle_sockets_have_keepalive_on_both_sides(lb, world, mode):
    """Accepted sockets inherit it from the listening one, connected ones get it: 40 to 60 s. Those
    who come together do not all send theirs together, minute after minute."""
    n = 16
    with contextlib.ExitStack() as stack:
        b = Backend(stack, world.far.socket(), FAR)
        conf, ports = conf_of(NEAR, {mode: b})
        proxy = lb(conf)
        for _ in range(n):  # within some two seconds
            begin(world.far.connect(FAR, NEAR, ports[mode]), mode)
            b.take(stack, mode)
            time.sleep(0.12)
        proxy.wait_active(n)
        backend_port = b.row["address"].split(":")[1]
        for what in (f"sport = :{ports[mode]}", f"dport = :{backend_port}"):
            left = keepalives(world.near.enter, what, n)
            assert min(left) >= 20 and max(left) <= 60, what
            assert max(left) - min(left) >= 5, what


@pytest.mark.parametrize("mode", MODES)
def test_who_is_on_this_machine_is_not_asked(lb, echo, mode):
    (e,) = echo(1)
    port = free_port()
    proxy = lb(lbtest.http_conf(port, [e], mode=mode))
    with connect(port) as s:
        s.sendall(upgrade_request())
        assert status_of(recv_head(s)[0]) == 101
        proxy.wait_active(1)
        for what in (f"sport = :{port}", f"dport = :{e.port}"):
            wait_for("no timer", lambda w=what: timers([], w) == [("none", 0)])
