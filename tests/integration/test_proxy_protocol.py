# SPDX-License-Identifier: Apache-2.0
"""PROXY headers: lb reads them from the networks that a listener names, and from no others, and
writes them to the backends of a pool that asks for it. HAProxy is one of the senders."""

import contextlib
import json
import shutil
import socket
import ssl
import struct
import subprocess
import threading

import pytest

from lbtest import (
    HOST,
    SLOW,
    ask,
    connect,
    fields_of,
    free_port,
    http_conf,
    is_reset,
    recv_all,
    recv_exact,
    recv_head,
    status_of,
    wait_for,
)
from test_tls import context, make_cert

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
V1 = b"PROXY TCP4 192.0.2.7 198.51.100.9 4711 443\r\n"
GET = b"GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n"


def tlv(kind, value):
    return struct.pack(">BH", kind, len(value)) + value


def v2(src="192.0.2.7", dst="198.51.100.9", ports=(4711, 443), tlvs=b"", command=1):
    family = socket.AF_INET6 if ":" in src else socket.AF_INET
    ends = socket.inet_pton(family, src) + socket.inet_pton(family, dst) + struct.pack(">HH", *ports)
    kind = 0x21 if family == socket.AF_INET6 else 0x11
    rest = ends + tlvs
    return SIGNATURE + struct.pack(">BBH", 0x20 | command, kind, len(rest)) + rest


HEADERS = {"v1": V1, "v2": v2(tlvs=tlv(0x04, bytes(300)) + tlv(0x02, b"a.test"))}


@pytest.fixture
def log(tmp_path):
    """The access log: log.on(conf) turns it on, log.of(reason) is the only entry of this end."""

    class Log:
        path = tmp_path / "access.log"

        def on(self, conf):
            return {**conf, "access_log": {"format": "json", "to": str(self.path)}}

        def entries(self):
            if not self.path.exists():
                return []
            return [json.loads(line) for line in self.path.read_text().splitlines()]

        def of(self, reason):
            wait_for(f"an entry of {reason}", lambda: reason in [e["end"] for e in self.entries()])
            (entry,) = [e for e in self.entries() if e["end"] == reason]
            return entry

    return Log()


def field(head, name):
    return dict(fields_of(head))[name]


@pytest.fixture(scope="module")
def certs(tmp_path_factory):
    return {"a.test": make_cert(tmp_path_factory.mktemp("certs"), "a.test")}


def conf_in(port, backends, mode="http", tls=None, source=f"{HOST}/32", version=None, **listener):
    conf = http_conf(port, backends, mode=mode)
    told = {"from": [source]}
    if version is not None:
        told["version"] = version
    conf["listeners"][0].update({"proxy_protocol": told, **listener})
    if tls is not None:
        conf["listeners"][0]["tls"] = {"certificates": [tls["a.test"]]}
    return conf


def conf_out(port, backends, version, mode="http", tls=None, **pool):
    conf = http_conf(port, backends, mode=mode, proxy_protocol=version, **pool)
    if tls is not None:
        conf["listeners"][0]["tls"] = tls
    return conf


def recording(seen):
    """A serve() that notes the request's head, or what it was sent first, and answers."""

    def serve(s):
        seen.append(recv_head(s)[0])
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        s.close()

    return serve


def send_pieces(s, pieces):
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for piece in pieces:
        s.sendall(piece)


class HelloFirst:
    """A TLS client whose first bytes go out glued to others."""

    def __init__(self, s, certs, first):
        self.s, self.first = s, first
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.obj = context(certs).wrap_bio(self.incoming, self.outgoing, server_hostname="a.test")

    def _flush(self):
        out = self.first + self.outgoing.read()
        self.first = b""
        if out:
            self.s.sendall(out)

    def step(self, fn):
        while True:
            try:
                result = fn()
                self._flush()
                return result
            except ssl.SSLWantReadError:
                self._flush()
                part = self.s.recv(1 << 16)
                assert part
                self.incoming.write(part)

    def ask(self, request):
        self.step(self.obj.do_handshake)
        self.step(lambda: self.obj.write(request))
        return self.step(lambda: self.obj.read(1000))


# ---- in ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", HEADERS)
def test_the_address_is_the_clients(lb, fake, port, log, header):
    """In X-Forwarded-For, in the access log, and in `conns`."""
    seen, go = [], threading.Event()

    def serve(s):
        seen.append(recv_head(s)[0])
        go.wait(20 * SLOW)
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        s.close()

    proxy = lb(log.on(conf_in(port, [fake(serve).row()])))
    with connect(port) as s:
        s.sendall(HEADERS[header] + GET)
        wait_for("the request", lambda: seen)
        assert [r["client"] for r in proxy.conns()] == ["192.0.2.7:4711"]
        go.set()
        assert status_of(recv_all(s)) == 200
    assert field(seen[0], "x-forwarded-for") == "192.0.2.7"
    assert log.of("completed")["client"] == "192.0.2.7:4711"


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("mode", ("http", "tcp"))
def test_split_at_every_byte(lb, fake, port, header, mode):
    """Two pieces, cut at each place of the header and of what follows; all in one; one by one."""
    seen = []
    lb(conf_in(port, [fake(recording(seen)).row()], mode=mode))
    whole = HEADERS[header] + GET
    cuts = [(whole[:i], whole[i:]) for i in range(1, len(whole))]
    cuts += [(whole,), [whole[i : i + 1] for i in range(len(whole))]]
    for pieces in cuts:
        with connect(port) as s:
            send_pieces(s, pieces)
            assert status_of(recv_all(s)) == 200
    assert len(seen) == len(cuts)
    if mode == "http":
        assert {field(head, "x-forwarded-for") for head in seen} == {"192.0.2.7"}
    else:
        assert set(seen) == {GET}


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("mode", ("http", "tcp"))
@pytest.mark.parametrize("glued", (True, False))
def test_before_tls(lb, fake, port, certs, header, mode, glued):
    seen = []
    lb(conf_in(port, [fake(recording(seen)).row()], mode=mode, tls=certs))
    with connect(port) as s:
        if not glued:
            send_pieces(s, [HEADERS[header][i : i + 1] for i in range(len(HEADERS[header]))])
        client = HelloFirst(s, certs, HEADERS[header] if glued else b"")
        assert client.ask(GET).startswith(b"HTTP/1.1 200 ")
    if mode == "http":
        assert field(seen[0], "x-forwarded-for") == "192.0.2.7"
        assert field(seen[0], "x-forwarded-proto") == "https"
    else:
        assert seen[0] == GET


@pytest.mark.parametrize(
    "header",
    (
        b"PROXY UNKNOWN\r\n",
        b"PROXY UNKNOWN ffff:f...f:ffff 65535 x\r\n",
        SIGNATURE + b"\x20\x00\x00\x00",
        v2(command=0, tlvs=tlv(0x04, bytes(700))),
        SIGNATURE + b"\x21\x00\x00\x00",
    ),
)
def test_local_and_unknown_keep_the_sockets_address(lb, fake, port, log, header):
    seen = []
    lb(log.on(conf_in(port, [fake(recording(seen)).row()])))
    assert status_of(ask(port, header + GET)) == 200
    assert field(seen[0], "x-forwarded-for") == HOST
    assert log.of("completed")["client"].startswith(f"{HOST}:")


def test_ipv6_clients(lb, fake, port, log):
    seen = []
    lb(log.on(conf_in(port, [fake(recording(seen)).row()])))
    assert status_of(ask(port, v2("2001:db8::7", "2001:db8::9") + GET)) == 200
    assert log.of("completed")["client"] == "[2001:db8::7]:4711"
    assert "2001:db8::7" in field(seen[0], "x-forwarded-for")


@pytest.mark.parametrize(
    "bytes_, version",
    (
        (GET, None),
        (b"PROXX", None),
        (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n" + GET, None),
        (b"PROXY TCP4 " + b"1" * 200, None),
        (SIGNATURE + b"\x21\x11\x00\x04abcd" + GET, None),
        (SIGNATURE + b"\x21\x11\xff\xff", None),
        (V1 + GET, "v2"),
        (v2() + GET, "v1"),
        (b"\x16\x03\x01\x02\x00\x01", None),
    ),
)
@pytest.mark.parametrize("mode", ("http", "tcp", "tls"))
def test_without_a_right_header_it_is_closed(lb, fake, port, log, certs, mode, bytes_, version):
    """No byte goes to a backend, and none to the client."""
    seen = []
    conf = conf_in(port, [fake(recording(seen)).row()], mode="tcp" if mode == "tcp" else "http",
                   version=version, tls=certs if mode == "tls" else None)
    proxy = lb(log.on(conf))
    with connect(port) as s:
        s.sendall(bytes_)
        with contextlib.suppress(ConnectionResetError):
            assert s.recv(1000) == b""
    record = log.of("bad_proxy")
    assert record["client"].startswith(f"{HOST}:") and record["error"]
    proxy.wait_active(0)
    assert seen == []


@pytest.mark.parametrize("sent", (b"", b"PROXY TCP4 192.", v2()[:20]))
@pytest.mark.parametrize("mode", ("http", "tcp", "tls"))
def test_silence(lb, echo, port, certs, mode, sent):
    proxy = lb(
        conf_in(port, echo(1), mode="tcp" if mode == "tcp" else "http",
                tls=certs if mode == "tls" else None, timeouts={"handshake": "200ms"})
    )
    with connect(port) as s:
        s.sendall(sent)
        with contextlib.suppress(ConnectionResetError):
            assert s.recv(1000) == b""
    proxy.wait_end("handshake_timeout")


@pytest.mark.parametrize("sent", (b"", V1[:10]))
def test_a_client_that_leaves(lb, echo, port, sent):
    """A bare check of TCP is one; nothing but the access log tells of it."""
    proxy = lb(conf_in(port, echo(1)))
    s = connect(port)
    s.sendall(sent)
    s.close()
    proxy.wait_end("client_closed")
    proxy.wait_active(0)


@pytest.mark.parametrize("mode", ("http", "tcp"))
def test_from_other_networks_it_is_not_read(lb, fake, port, mode):
    """The header is the first of the connection's bytes like any others: nothing is guessed."""
    seen = []
    proxy = lb(conf_in(port, [fake(recording(seen)).row()], mode=mode, source="10.0.0.0/8"))
    assert status_of(ask(port, GET)) == 200
    answer = ask(port, V1 + GET)
    if mode == "http":
        assert status_of(answer) == 400
        assert [field(head, "x-forwarded-for") for head in seen] == [HOST]
    else:
        assert seen == [GET, V1 + GET]
    proxy.wait_active(0)


def test_mode_tcp_waits_for_the_header_only(lb, fake, port):
    """A client that lets the server speak first gets its words as soon as the header is there."""

    def serve(s):
        s.sendall(b"hello")
        s.sendall(s.recv(100))
        s.close()

    lb(conf_in(port, [fake(serve).row()], mode="tcp"))
    with connect(port) as s:
        s.sendall(V1)
        assert recv_exact(s, 5) == b"hello"
        s.sendall(b"bye")
        assert recv_all(s) == b"bye"


# ---- out -----------------------------------------------------------------------------------------


def read_v2(s):
    """(command, addresses as text, {type: value}) of a header that lb has sent."""
    fixed = recv_exact(s, 16)
    assert fixed[:12] == SIGNATURE and fixed[12] >> 4 == 2
    rest = recv_exact(s, struct.unpack(">H", fixed[14:])[0])
    ends = None
    if fixed[13] == 0x11:
        src, dst, sport, dport = struct.unpack(">4s4sHH", rest[:12])
        ends = (socket.inet_ntoa(src), socket.inet_ntoa(dst), sport, dport)
        rest = rest[12:]
    tlvs = {}
    while rest:
        kind, n = struct.unpack(">BH", rest[:3])
        tlvs[kind] = rest[3 : 3 + n]
        rest = rest[3 + n :]
    return fixed[12] & 0xF, ends, tlvs


def read_v1(s):
    line = b""
    while not line.endswith(b"\r\n"):
        line += recv_exact(s, 1)
    return line


@pytest.mark.parametrize("mode", ("http", "tcp"))
@pytest.mark.parametrize("version", ("v1", "v2"))
def test_a_backend_gets_the_header_first(lb, fake, port, log, mode, version):
    seen = []

    def serve(s):
        seen.append(read_v1(s) if version == "v1" else read_v2(s))
        recording(seen)(s)

    lb(log.on(conf_out(port, [fake(serve).row()], version, mode=mode)))
    with connect(port) as s:
        own = s.getsockname()[1]
        s.sendall(GET)
        assert status_of(recv_all(s)) == 200
    if version == "v1":
        assert seen[0] == b"PROXY TCP4 %s %s %d %d\r\n" % (HOST.encode(), HOST.encode(), own, port)
    else:
        command, ends, tlvs = seen[0]
        assert (command, ends) == (1, (HOST, HOST, own, port))
        assert list(tlvs) == [0x05] and tlvs[0x05].isdigit()
    assert seen[1].startswith(b"GET /x HTTP/1.1\r\n")
    record = log.of("completed" if mode == "http" else "backend_closed")
    if version == "v2":
        assert record["id"] == int(tlvs[0x05])
    header = len(seen[0]) if version == "v1" else 28 + 3 + len(tlvs[0x05])
    assert record["bytes_in"] == header + len(seen[1])


@pytest.mark.parametrize("records", ("openssl", "compact"))
@pytest.mark.parametrize("verify", (None, "optional", "required"))
def test_what_tls_has_found_out(lb, fake, port, tmp_path, records, verify):
    server, own = make_cert(tmp_path, "a.test"), make_cert(tmp_path, "c.test")
    seen = []

    def serve(s):
        seen.append(read_v2(s))
        recording(seen)(s)

    tls = {"certificates": [server], "records": records}
    if verify is not None:
        tls["client"] = {"ca": own["cert"], "verify": verify}
    lb(conf_out(port, [fake(serve).row()], "v2", tls=tls))
    ctx = context({"a.test": server})
    ctx.set_alpn_protocols(["http/1.1"])
    if verify == "required":
        ctx.load_cert_chain(own["cert"], own["key"])
    with ctx.wrap_socket(connect(port), server_hostname="a.test") as s:
        s.sendall(GET)
        assert status_of(s.recv(1000)) == 200
        version = s.version()
    command, _, tlvs = seen[0]
    assert command == 1 and sorted(tlvs) == [0x01, 0x02, 0x05, 0x20]
    assert (tlvs[0x01], tlvs[0x02]) == (b"http/1.1", b"a.test")
    client, verdict = struct.unpack(">BI", tlvs[0x20][:5])
    has_cert = verify == "required"
    assert (client, verdict == 0) == (0x07 if has_cert else 0x01, has_cert)
    assert tlv(0x21, version.encode()) in tlvs[0x20]


@pytest.mark.parametrize("header", HEADERS)
def test_from_one_to_the_next(lb, fake, port, header):
    """What a PROXY header told goes on: the client's address, and the one it has connected to."""
    seen = []

    def serve(s):
        seen.append(read_v2(s))
        recording(seen)(s)

    conf = conf_in(port, [fake(serve).row()])
    conf["pools"][0]["proxy_protocol"] = "v2"
    lb(conf)
    assert status_of(ask(port, HEADERS[header] + GET)) == 200
    assert seen[0][:2] == (1, ("192.0.2.7", "198.51.100.9", 4711, 443))


@pytest.mark.parametrize("kind", ("tcp", "http"))
@pytest.mark.parametrize("version", ("v1", "v2"))
def test_health_checks_say_that_they_are_lbs_own(lb, fake, port, kind, version):
    seen = []

    def serve(s):
        head = read_v1(s) if version == "v1" else read_v2(s)
        if kind == "http":
            recv_head(s)
            s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        seen.append(head)
        s.close()

    proxy = lb(
        conf_out(port, [fake(serve).row()], version, health={"type": kind, "interval": "100ms"})
    )
    wait_for("three checks", lambda: len(seen) >= 3)
    assert set(map(str, seen)) == {str(b"PROXY UNKNOWN\r\n" if version == "v1" else (0, None, {}))}
    backend = proxy.backends()["f"]
    assert backend["state"] == "up" and backend["check"]["failures"] == 0


# ---- HAProxy -------------------------------------------------------------------------------------


@pytest.fixture
def haproxy(tmp_path):
    """start(port, server, options) -> HAProxy in mode tcp, which sends PROXY headers."""
    started = []

    def start(port, server, options):
        conf = tmp_path / "haproxy.cfg"
        conf.write_text(
            f"""
global
    log stdout format raw local0 err
defaults
    mode tcp
    timeout connect 5s
    timeout client 30s
    timeout server 30s
listen l
    bind {HOST}:{port}
    server lb {server} {options}
"""
        )
        started.append(subprocess.Popen([shutil.which("haproxy"), "-db", "-f", conf]))

        def is_there():
            assert started[-1].poll() is None, "HAProxy has ended"
            with contextlib.suppress(OSError), connect(port):
                return True
            return False

        wait_for("HAProxy", is_there)

    yield start
    for p in started:
        p.terminate()
        p.wait(20 * SLOW)


@pytest.mark.parametrize("option", ("send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c"))
@pytest.mark.parametrize("mode", ("http", "tcp", "tls"))
def test_behind_haproxy(lb, fake, port, haproxy, log, certs, mode, option):
    """Its header, with a real client behind it, and its checks, which have LOCAL."""
    seen, front = [], free_port()
    conf = conf_in(port, [fake(recording(seen)).row()], mode="tcp" if mode == "tcp" else "http",
                   tls=certs if mode == "tls" else None)
    proxy = lb(log.on(conf))
    haproxy(front, f"{HOST}:{port}", f"{option} check check-send-proxy inter 100ms")
    with connect(front) as s:
        own = s.getsockname()[1]
        if mode == "tls":
            with context(certs).wrap_socket(s, server_hostname="a.test") as t:
                t.sendall(GET)
                assert status_of(t.recv(1000)) == 200
        else:
            s.sendall(GET)
            assert status_of(recv_all(s)) == 200
    wait_for("the entry", lambda: [e for e in log.entries() if e["client"] == f"{HOST}:{own}"])
    assert len(seen) >= 1
    assert proxy.stats()["ends"].get("bad_proxy", 0) == 0


@pytest.mark.parametrize("version", ("v1", "v2"))
def test_haproxy_as_a_backend(lb, fake, port, haproxy, version):
    """It takes lb's header for what it is: the address that it passes on is the client's."""
    seen, front = [], free_port()

    def serve(s):
        seen.append(read_v1(s))
        recording(seen)(s)

    backend = fake(serve)
    haproxy(free_port(), backend.address, f"send-proxy\n    bind {HOST}:{front} accept-proxy")
    conf = conf_in(port, [("h", front)])
    conf["pools"][0]["proxy_protocol"] = version
    lb(conf)
    assert status_of(ask(port, V1 + GET)) == 200
    assert V1 in seen
