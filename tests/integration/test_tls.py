# SPDX-License-Identifier: Apache-2.0
"""TLS of clients: lb decrypts what comes and encrypts what goes, in mode http and in mode tcp, with
both record layers and both versions. The clients are Python's ssl, which is OpenSSL."""

import asyncio
import contextlib
import hashlib
import json
import os
import socket
import ssl
import subprocess
import threading
import time
import urllib.parse

import pytest

import lbtest
from lbtest import (
    HOST,
    SLOW,
    ask,
    connect,
    free_port,
    http_conf,
    in_thread,
    recv_all,
    recv_head,
    reset,
    run,
    status_of,
    upgrade_request,
    wait_for,
    ws_ask,
    ws_close_all,
    ws_frame,
)

import websockets

MB = 1 << 20
RECORDS = ("openssl", "compact")
VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)


def make_cert(folder, name, days=30, subject=None):
    """A certificate of its own authority for `name`, and its key."""
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
         "-keyout", key, "-out", cert, "-days", str(days), "-utf8", "-subj", f"/CN={subject or name}",
         "-addext", f"subjectAltName=DNS:{name}"],
        check=True, capture_output=True,
    )
    return {"cert": str(cert), "key": str(key)}


@pytest.fixture(scope="module")
def certs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certs")
    return {name: make_cert(folder, name) for name in ("a.test", "b.test")}


@pytest.fixture(params=RECORDS)
def records(request):
    return request.param


def tls_conf(port, backends, certs, records="openssl", mode="http", tls=None, **pool):
    conf = http_conf(port, backends, mode=mode, **pool)
    conf["listeners"][0]["tls"] = {
        "certificates": [certs["a.test"], certs["b.test"]], "records": records, **(tls or {})
    }
    return conf


def context(certs, name="a.test", version=None):
    """A client's context that trusts the certificate of `name`."""
    ctx = ssl.create_default_context(cafile=certs[name]["cert"])
    if version is not None:
        ctx.minimum_version = ctx.maximum_version = version
    return ctx


def dial(port, ctx, name="a.test", session=None):
    s = connect(port)
    return ctx.wrap_socket(s, server_hostname=name, session=session, suppress_ragged_eofs=False)


def read_to_end(s):
    """What comes until close_notify; a FIN without it raises."""
    parts = []
    while part := s.recv(1 << 16):
        parts.append(part)
    return b"".join(parts)


def raw_socket(s):
    """The socket of a TLS connection, without its TLS."""
    raw = socket.socket(fileno=s.detach())
    raw.settimeout(10 * SLOW)
    return raw


def holding():
    """(list of a backend's sockets, a serve() that keeps them open until end() is called, end)"""
    held, ended = [], threading.Event()

    def serve(s):
        held.append(s)
        ended.wait(20 * SLOW)

    return held, serve, ended.set


GET = b"GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n"

# ---- what passes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_websockets(lb, echo, port, certs, records, version):
    proxy = lb(tls_conf(port, echo(2), certs, records))

    async def body():
        opened = [
            await websockets.connect(
                f"wss://a.test:{port}/", host=HOST, server_hostname="a.test",
                ssl=context(certs, version=version),
                compression=None, max_size=None, ping_interval=None,
            )
            for _ in range(4)
        ]
        for size in (1, 125, 16383, 16384, 16385, 70000, 3 * MB):
            text = os.urandom(size // 2 + 1).hex()[:size]
            for ws in opened:
                assert await ws_ask(ws, text) == text
        rows = await in_thread(proxy.conns)
        assert {r["state"] for r in rows} == {"relay"} and len(rows) == 4
        assert max(r["bytes_in"] for r in rows) > 3 * MB
        await ws_close_all(opened)

    run(body())
    proxy.wait_active(0)
    counters = proxy.stats()["counters"]
    assert counters["tls_handshakes"] == 4 and counters["tls_failed"] == 0
    assert counters["frames_in"] == 4 * 8


def test_a_plain_request_ends_by_close_notify(lb, fake, port, certs, records):
    seen = []

    def serve(s):
        seen.append(recv_head(s)[0])
        s.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + b"until the end")
        s.close()

    proxy = lb(tls_conf(port, [fake(serve).row()], certs, records))
    with dial(port, context(certs)) as s:
        s.sendall(GET)
        answer = read_to_end(s)
    assert answer.endswith(b"\r\n\r\nuntil the end") and status_of(answer) == 200
    assert b"\r\nX-Forwarded-Proto: https\r\n" in seen[0]
    proxy.wait_end("completed")


def test_an_answer_of_lbs_own(lb, port, certs, records):
    proxy = lb(tls_conf(port, [("none", free_port())], certs, records))
    with dial(port, context(certs)) as s:
        s.sendall(GET)
        assert status_of(read_to_end(s)) == 502
    with dial(port, context(certs)) as s:
        s.sendall(b"BAD\r\n\r\n")
        assert status_of(read_to_end(s)) == 400
    proxy.wait_end("bad_request")


@pytest.mark.parametrize("version", VERSIONS)
def test_tcp_both_ways_at_once(lb, fake, port, certs, records, version):
    """Bulk in both directions, of different lengths; each side's bytes arrive whole."""
    up, down = os.urandom(MB) * 12 + b"u", os.urandom(MB) * 9 + b"d"
    got = {}

    def serve(s):
        t = threading.Thread(target=s.sendall, args=(down,))
        t.start()
        got["up"] = hashlib.sha256(lbtest.recv_exact(s, len(up))).digest()
        t.join()
        s.close()

    proxy = lb(tls_conf(port, [fake(serve).row()], certs, records, mode="tcp"))

    async def body():
        ctx = context(certs, version=version)
        reader, writer = await asyncio.open_connection(HOST, port, ssl=ctx, server_hostname="a.test")

        async def send():
            for i in range(0, len(up), 1 << 16):
                writer.write(up[i : i + (1 << 16)])
                await writer.drain()

        sending = asyncio.create_task(send())
        came = await reader.readexactly(len(down))
        await sending
        assert await reader.read(1) == b""
        writer.close()
        return came

    came = run(body())
    assert hashlib.sha256(came).digest() == hashlib.sha256(down).digest()
    wait_for("the backend", lambda: "up" in got)
    assert got["up"] == hashlib.sha256(up).digest()
    proxy.wait_active(0)


def test_a_byte_at_a_time(lb, echo, port, certs, records):
    """A client whose every segment has one byte, from the hello on."""
    lb(tls_conf(port, echo(1), certs, records))
    raw = connect(port)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    obj = context(certs).wrap_bio(incoming, outgoing, server_hostname="a.test")

    def flush():
        for b in outgoing.read():
            raw.send(bytes([b]))

    def step(fn):
        while True:
            try:
                result = fn()
                flush()
                return result
            except ssl.SSLWantReadError:
                flush()
                part = raw.recv(1 << 16)
                assert part
                incoming.write(part)

    step(obj.do_handshake)
    step(lambda: obj.write(GET))
    assert step(lambda: obj.read(1000)).startswith(b"HTTP/1.1 200 ")
    raw.close()


def test_many_at_once(lb, echo, port, certs, records):
    proxy = lb(tls_conf(port, echo(2), certs, records))

    async def body():
        ctx = context(certs)

        async def one():
            ws = await websockets.connect(
                f"wss://a.test:{port}/", host=HOST, server_hostname="a.test", ssl=ctx,
                compression=None, ping_interval=None, open_timeout=30 * SLOW,
            )
            assert await ws_ask(ws, "x" * 100) == "x" * 100
            return ws

        opened = await asyncio.gather(*(one() for _ in range(150)))
        await ws_close_all(opened)

    run(body())
    proxy.wait_active(0)
    assert proxy.stats()["counters"]["tls_handshakes"] == 150


# ---- names and resumption ------------------------------------------------------------------------


def test_the_certificate_goes_by_the_name(lb, echo, port, certs):
    lb(tls_conf(port, echo(1), certs))
    for name in ("a.test", "b.test"):
        with dial(port, context(certs, name), name) as s:
            s.sendall(GET)
            assert status_of(read_to_end(s)) == 200
    ctx = context(certs, "a.test")  # an unknown name gets the first one
    ctx.check_hostname = False
    with dial(port, ctx, "other.test") as s:
        s.sendall(GET)
        assert status_of(read_to_end(s)) == 200


def test_an_unknown_name_is_refused_where_that_is_asked_for(lb, echo, port, certs):
    proxy = lb(tls_conf(port, echo(1), certs, tls={"strict_sni": True}))
    ctx = context(certs)
    ctx.check_hostname = False
    with pytest.raises(ssl.SSLError, match="(?i)unrecognized.name"):
        dial(port, ctx, "other.test")
    proxy.wait_end("tls_failed")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_ticket_is_good_for_the_next_connection(lb, echo, port, certs, records, version):
    proxy = lb(tls_conf(port, echo(1), certs, records))
    ctx = context(certs, version=version)
    session = None
    for _ in range(4):
        with dial(port, ctx, session=session) as s:
            s.sendall(GET)
            read_to_end(s)
            assert s.session_reused == (session is not None)
            session = s.session
        proxy.reload_ok()  # the keys of tickets outlive it
    assert proxy.stats()["counters"]["tls_resumed"] == 3


def test_a_reload_changes_the_certificate(lb, echo, port, certs, tmp_path, records):
    """New connections get the new one; a tunnel from before lives on."""
    mine = make_cert(tmp_path, "a.test")
    conf = tls_conf(port, echo(1), {"a.test": mine, "b.test": certs["b.test"]}, records)
    proxy = lb(conf)
    old = {"a.test": {"cert": str(tmp_path / "old.pem")}}
    (tmp_path / "old.pem").write_bytes((tmp_path / "a.test.pem").read_bytes())
    tunnel = dial(port, context(old))
    tunnel.sendall(upgrade_request(host="a.test"))
    assert status_of(recv_head(tunnel)[0]) == 101
    make_cert(tmp_path, "a.test")
    proxy.reload_ok()
    with pytest.raises(ssl.SSLCertVerificationError):
        dial(port, context(old))
    with dial(port, context({"a.test": mine})) as s:
        s.sendall(GET)
        assert status_of(read_to_end(s)) == 200
    tunnel.sendall(ws_frame(b"still there"))
    assert b"still there" in tunnel.recv(1000)
    tunnel.close()


# ---- clients' certificates, logs -----------------------------------------------------------------


def client_context(certs, own, **kw):
    ctx = context(certs, **kw)
    ctx.load_cert_chain(own["cert"], own["key"])
    return ctx


@pytest.fixture
def spoofing(fake):
    """A backend that remembers the fields of its requests as [(name, value)]."""
    seen = []

    def serve(s):
        seen.append(lbtest.fields_of(recv_head(s)[0]))
        s.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    return seen, fake(serve).row()


SPOOFED = (
    b"GET / HTTP/1.1\r\nHost: a.test\r\nX-Client-Cert-Verify: SUCCESS\r\n"
    b"x_client-cert_subject: CN=root\r\nX-CLIENT-CERT-NEW: y\r\n\r\n"
)


def cert_fields(fields):
    return {k.replace("_", "-"): v for k, v in fields if "client" in k}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_clients_certificate_goes_on(lb, spoofing, port, certs, records, tmp_path, version):
    seen, row = spoofing
    own = make_cert(tmp_path, "zoe", subject="Zoë, of test")
    tls = {"client": {"ca": own["cert"], "verify": "required"}}
    proxy = lb(tls_conf(port, [row], certs, records, tls=tls))
    with dial(port, client_context(certs, own, version=version)) as s:
        s.sendall(SPOOFED)
        assert status_of(read_to_end(s)) == 204
    got = cert_fields(seen[0])
    der = ssl.PEM_cert_to_DER_cert(open(own["cert"]).read())
    assert got["x-client-cert-verify"] == "SUCCESS"
    assert urllib.parse.unquote(got["x-client-cert-subject"]).replace("\\", "") == "CN=Zoë, of test"
    assert got["x-client-cert-issuer"] == got["x-client-cert-subject"]
    assert got["x-client-cert-sha256"].lower() == hashlib.sha256(der).hexdigest()
    assert set(got) == {f"x-client-cert-{k}" for k in ("verify", "subject", "issuer", "serial", "sha256")}
    # One without a certificate, and one with another's, are refused.
    for ctx in (context(certs, version=version), client_context(certs, certs["b.test"], version=version)):
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            with dial(port, ctx) as s:
                s.sendall(GET)
                read_to_end(s)
    proxy.wait_end("tls_failed", 2)
    assert len(seen) == 1


def test_a_very_long_subject_is_left_out(lb, spoofing, port, certs, records, tmp_path):
    """lb's buffers for heads are bounded, the names in a certificate are not."""
    seen, row = spoofing
    own = make_cert(tmp_path, "long", subject="x" + "".join(f"/OU={i:060}" for i in range(400)))
    tls = {"client": {"ca": own["cert"], "verify": "required"}}
    lb(tls_conf(port, [row], certs, records, tls=tls))
    with dial(port, client_context(certs, own)) as s:
        s.sendall(GET)
        assert status_of(read_to_end(s)) == 204
    assert set(cert_fields(seen[0])) == {f"x-client-cert-{k}" for k in ("verify", "serial", "sha256")}


def test_a_certificate_that_may_be_missing(lb, spoofing, port, certs, tmp_path):
    seen, row = spoofing
    own = make_cert(tmp_path, "me")
    tls = {"client": {"ca": own["cert"], "verify": "optional"}}
    lb(tls_conf(port, [row], certs, tls=tls))
    with dial(port, context(certs)) as s:
        s.sendall(SPOOFED)
        assert status_of(read_to_end(s)) == 204
    assert cert_fields(seen[0]) == {"x-client-cert-verify": "NONE"}


def test_nobody_claims_a_certificate(lb, spoofing, port):
    """The fields are removed on listeners without TLS, too."""
    seen, row = spoofing
    lb(http_conf(port, [row]))
    assert status_of(ask(port, SPOOFED)) == 204
    assert cert_fields(seen[0]) == {}


@pytest.mark.parametrize("version", VERSIONS)
def test_the_access_log_has_the_handshake(lb, echo, port, certs, records, tmp_path, version):
    log = tmp_path / "access.log"
    plain = free_port()
    conf = tls_conf(port, echo(1), certs, records)
    conf["listeners"].append({"name": "plain", "bind": f"{HOST}:{plain}", "mode": "http", "pool": "p"})
    conf["access_log"] = {"to": str(log), "format": "json"}
    proxy = lb(conf)
    with dial(port, context(certs, "b.test", version=version), "b.test") as s:
        s.sendall(GET)
        read_to_end(s)
        cipher = s.cipher()[0]
    assert status_of(ask(plain, GET)) == 200
    with connect(port) as s:
        s.sendall(GARBAGE[1][1])
        recv_all(s)
    proxy.wait_end("tls_failed")
    wait_for("three lines", lambda: log.exists() and len(log.read_text().splitlines()) == 3)
    lines = {line["listener"] + line["end"]: line for line in map(json.loads, log.read_text().splitlines())}
    done = lines["lcompleted"]
    assert (done["sni"], done["client_cert"]) == ("b.test", "")
    assert done["tls_version"] == ("TLSv1.2" if version == VERSIONS[0] else "TLSv1.3")
    assert done["cipher"] and ("TLS_" in done["cipher"]), cipher
    assert "sni" not in lines["plaincompleted"]
    assert lines["ltls_failed"]["error"] != ""


# ---- what fails ----------------------------------------------------------------------------------


def test_http_without_tls_is_told(lb, echo, port, certs):
    proxy = lb(tls_conf(port, echo(1), certs))
    answer = ask(port, GET)
    assert status_of(answer) == 400 and b"HTTPS" in answer
    proxy.wait_end("bad_request")


def test_other_bytes_are_closed(lb, echo, port, certs):
    proxy = lb(tls_conf(port, echo(1), certs, mode="tcp"))
    with connect(port) as s:
        s.sendall(b"hello?\n")
        with contextlib.suppress(ConnectionResetError):
            assert recv_all(s) == b""
    proxy.wait_end("tls_failed")


GARBAGE = [
    ("a record of nothing", b"\x16\x03\x01\x00\x00" * 40),
    ("no hello in it", b"\x16\x03\x01\x00\x04\x02\x00\x00\x00"),
    ("too long a record", b"\x16\x03\x01\xff\xff" + b"x" * 5000),
    ("half a hello, then garbage", b"\x16\x03\x01\x00\x20\x01\x00\x00\x1c\x03\x03" + b"\0" * 40),
]


@pytest.mark.parametrize("row", GARBAGE, ids=[r[0] for r in GARBAGE])
def test_garbage_gets_an_alert(lb, echo, port, certs, row):
    proxy = lb(tls_conf(port, echo(1), certs))
    with connect(port) as s:
        s.sendall(row[1])
        with contextlib.suppress(ConnectionResetError):
            answer = recv_all(s)
            assert answer == b"" or answer[0] == 21  # an alert
    proxy.wait_end("tls_failed")
    assert proxy.stats()["counters"]["tls_failed"] == 1


def test_a_client_that_trusts_not(lb, echo, port, certs):
    proxy = lb(tls_conf(port, echo(1), certs))
    with pytest.raises(ssl.SSLCertVerificationError):
        dial(port, context(certs, "b.test"), "a.test")
    proxy.wait_active(0)
    assert sum(proxy.ends().values()) == 1


def test_no_hello_in_time(lb, echo, port, certs):
    conf = tls_conf(port, echo(1), certs)
    conf["listeners"][0]["timeouts"] = {"handshake": "300ms"}
    proxy = lb(conf)
    silent, half = connect(port), connect(port)
    half.sendall(b"\x16\x03\x01\x02\x00\x01")
    proxy.wait_end("handshake_timeout", 2)
    for s in (silent, half):
        with contextlib.suppress(ConnectionResetError):
            assert recv_all(s) == b""
        s.close()
    # The time for the request's head counts from the accept, the handshake included.
    with dial(port, context(certs)) as s:
        time.sleep(0.1)
        s.sendall(b"GET / HTTP/1.1\r\n")
        assert status_of(read_to_end(s)) == 408


def hello_of(certs):
    """A client's hello, as it goes over the wire."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    obj = context(certs).wrap_bio(incoming, outgoing, server_hostname="a.test")
    with contextlib.suppress(ssl.SSLWantReadError):
        obj.do_handshake()
    return outgoing.read()


def test_stuck_handshakes_make_room(lb, echo, port, certs, records):
    """Clients that stop behind their hello use up what handshakes there may be; others still get in,
    a second later, and the stuck ones that are not needed for that are left alone."""
    conf = tls_conf(port, echo(1), certs, records, tls={"max_handshakes": 3})
    conf["workers"] = 1
    proxy = lb(conf)
    hello = hello_of(certs)
    stuck = [connect(port) for _ in range(20)]
    for s in stuck:
        s.sendall(hello)
    for _ in range(3):
        with dial(port, context(certs)) as s:
            s.sendall(GET)
            assert status_of(read_to_end(s)) == 200
    assert proxy.ends()["handshake_shed"] >= 1
    assert proxy.ends()["completed"] == 3
    for s in stuck:
        s.close()
    proxy.wait_active(0)


def test_a_fin_without_close_notify_is_counted(lb, fake, port, certs, records):
    got = []

    def serve(s):
        got.append(recv_all(s))
        s.close()

    proxy = lb(tls_conf(port, [fake(serve).row()], certs, records, mode="tcp"))
    s = dial(port, context(certs))
    s.sendall(b"all of it")
    wait_for("the tunnel", lambda: proxy.conns() and proxy.conns()[0]["bytes_in"] == 9)
    raw = raw_socket(s)
    raw.shutdown(socket.SHUT_WR)
    wait_for("the backend", lambda: got)
    raw.close()
    assert got == [b"all of it"]
    proxy.wait_active(0)
    assert proxy.stats()["counters"]["tls_truncated"] == 1


def test_resets_pass_on(lb, fake, port, certs, records):
    """A backend's reset reaches the client as one, without a close_notify, and the other way."""
    held, serve, end = holding()
    proxy = lb(tls_conf(port, [fake(serve).row()], certs, records, mode="tcp"))
    s = dial(port, context(certs))
    wait_for("the tunnel", lambda: held and proxy.conns()[0]["state"] == "relay")
    reset(held[0])
    with pytest.raises((ConnectionResetError, ssl.SSLEOFError)):
        s.recv(1)
    proxy.wait_end("backend_reset")
    s = dial(port, context(certs))
    wait_for("the tunnel", lambda: len(held) == 2 and proxy.conns()[0]["state"] == "relay")
    raw = raw_socket(s)
    reset(raw)
    proxy.wait_end("client_reset")
    assert lbtest.is_reset(held[1])
    end()


def test_a_changed_record_ends_the_connection(lb, fake, port, certs, records):
    held, serve, end = holding()
    proxy = lb(tls_conf(port, [fake(serve).row()], certs, records, mode="tcp"))
    s = dial(port, context(certs))
    wait_for("the backend", lambda: held)
    raw = raw_socket(s)
    raw.sendall(b"\x17\x03\x03\x00\x20" + b"x" * 32)
    with contextlib.suppress(ConnectionResetError):
        recv_all(raw)
    proxy.wait_end("tls_failed")
    raw.close()
    end()


def test_a_stop_ends_tls_tunnels(lb, echo, port, certs, records):
    proxy = lb(tls_conf(port, echo(1), certs, records))
    tunnels = [dial(port, context(certs)) for _ in range(3)]
    for s in tunnels:
        s.sendall(upgrade_request(host="a.test"))
        assert status_of(recv_head(s)[0]) == 101
    proxy.stop()
    for s in tunnels:
        with contextlib.suppress(OSError):
            while s.recv(1000):
                pass
        s.close()
