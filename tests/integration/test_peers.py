# SPDX-License-Identifier: Apache-2.0
"""Real peers: five clients, each through lb to three backends."""

import asyncio
import hashlib
import os
import subprocess
import sys
import threading

import pytest
from conftest import fake_factory, lb_factory

import lbtest
from lbtest import (
    ACCEPT,
    HOST,
    KEY,
    SLOW,
    Process,
    connect,
    fields_of,
    free_port,
    recv_exact,
    recv_head,
    run,
    wait_for,
    ws_ask,
    ws_open,
)

PEERS = lbtest.ROOT / "tests" / "peers"
WS_DIR = lbtest.ROOT / "tests" / "ws"
FILE = os.urandom(3 << 20)

# The paths that the backends answer at.
BACKENDS = {"ws": "/ws/a", "websockets": "/py/a", "nginx": "/nginx/a"}


def is_open(port):
    with connect(port):
        return True


def start_nginx(tmp, port, back):
    """Its own configuration, files and processes; returns the running Process."""
    files = tmp / "files"
    files.mkdir()
    (files / "file.bin").write_bytes(FILE)
    (files / "page.html").write_bytes((PEERS / "page.html").read_bytes())
    text = (PEERS / "nginx.conf").read_text()
    for name, value in (("DIR", tmp), ("PORT", port), ("BACK", back)):
        text = text.replace(f"@{name}@", str(value))
    conf = tmp / "nginx.conf"
    conf.write_text(text)
    return Process(["nginx", "-p", tmp, "-e", "stderr", "-c", conf], tmp / "nginx")


class Reports:
    """The backend behind /report: keeps the bodies of POSTs."""

    def __init__(self):
        self.bodies = []
        self.came = threading.Event()

    def serve(self, s):
        head, rest = recv_head(s)
        n = int(dict(fields_of(head)).get("content-length", "0"))
        self.bodies.append((rest + recv_exact(s, n - len(rest))).decode())
        s.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
        self.came.set()


class Peers:
    def __init__(self, lb, port, reports):
        self.lb = lb
        self.port = port
        self.reports = reports


@pytest.fixture(scope="module")
def peers(engine, tmp_path_factory):
    """An lb whose routes lead to three WebSocket backends, and to nginx's files."""
    tmp = tmp_path_factory.mktemp("peers")
    port, ws, py, nginx = (free_port() for _ in range(4))
    reports = Reports()
    started = []
    try:
        started.append(Process(["node", WS_DIR / "server.js", ws], tmp / "ws"))
        started.append(Process([sys.executable, PEERS / "ws_server.py", py], tmp / "py"))
        for p in started:
            wait_for(f"{p.argv[1]}", lambda p=p: "listening" in p.stdout(), timeout=20)
        started.append(start_nginx(tmp, nginx, ws))

        def nginx_answers():
            try:
                return is_open(nginx)
            except ConnectionRefusedError:
                assert started[-1].is_running(), started[-1].stderr()
                return False

        wait_for("nginx", nginx_answers, timeout=20)
        with fake_factory() as fake, lb_factory(engine, tmp) as start:
            report = fake(reports.serve)
            pools = {"ws": ws, "py": py, "nginx": nginx, "report": report.port}
            routes = [
                {"path": "/ws/*", "pool": "ws"},
                {"path": "/py/*", "pool": "py"},
                {"path": "/report", "pool": "report"},
            ]
            listener = {"name": "l", "bind": f"{HOST}:{port}", "routes": routes, "pool": "nginx"}
            conf = {
                "listeners": [listener],
                "pools": [
                    {"name": name, "backends": [f"{HOST}:{p}"]} for name, p in pools.items()
                ],
            }
            yield Peers(start(conf), port, reports)
    finally:
        for p in started:
            p.kill()


def ran(argv, timeout=60.0, **kw):
    """Runs a client to its end; what it wrote to stderr is the failure's text."""
    p = subprocess.run(
        [str(a) for a in argv], capture_output=True, timeout=timeout * SLOW, **kw
    )
    assert p.returncode == 0, f"{argv[0]}: {p.returncode}: {p.stderr.decode(errors='replace')}"
    return p.stdout


@pytest.fixture(params=BACKENDS.values(), ids=BACKENDS.keys())
def path(request):
    return request.param


def test_npm_ws(peers, path):
    """Texts, binaries, a ping, a close code, permessage-deflate and a subprotocol."""
    argv = ["node", WS_DIR / "client.js", f"ws://{HOST}:{peers.port}{path}", "deflate"]
    assert ran(argv) == b"ok\n"


def test_python_wsproto(peers, path):
    """The same, with fragments and control frames between, read in pieces of odd sizes."""
    argv = [sys.executable, PEERS / "wsproto_client.py", peers.port, path]
    assert ran(argv) == b"ok\n"


def test_python_websockets(peers, path):
    """The same with deflate, many messages under way at once, both kinds of close."""

    async def body():
        ws = await ws_open(
            peers.port, path, compression="deflate", subprotocols=["v1.lb", "v2.lb"]
        )
        assert ws.subprotocol == "v2.lb"
        assert "permessage-deflate" in ws.response_headers["Sec-WebSocket-Extensions"]
        messages = ["", "a" * 126, "\u00fcber", b"", b"\0" * 65536, os.urandom(2 << 20)]
        messages += [f"message {i}" for i in range(500)]

        async def send():
            for m in messages:
                await ws.send(m)

        task = asyncio.create_task(send())
        for m in messages:
            assert await asyncio.wait_for(ws.recv(), 20 * SLOW) == m
        await task
        await ws.send(["frag", "men", "ts"])
        assert await ws.recv() == "fragments"
        await asyncio.wait_for(await ws.ping(b"there?"), 10 * SLOW)
        await ws.close(4004, "enough")
        assert (ws.close_code, ws.close_reason) == (4004, "enough")

    run(body())


def test_a_hundred_of_python_websockets(peers, path):
    """Side by side, so that their bytes could be mixed up."""

    async def body():
        conns = await lbtest.ws_open_many(peers.port, 100, path, at_once=20)
        texts = [f"{i} " * (i + 1) for i in range(len(conns))]
        for _ in range(3):
            got = await asyncio.gather(*(ws_ask(ws, t) for ws, t in zip(conns, texts)))
            assert got == texts
        await lbtest.ws_close_all(conns)

    run(body())


def test_curl_gets_a_file(peers):
    """nginx's file, whole; by a second request on the same command line too, and in ranges."""
    url = f"http://{HOST}:{peers.port}/file.bin"
    out = ran(["curl", "-sS", "--fail", url, url])
    assert hashlib.sha256(out).digest() == hashlib.sha256(FILE * 2).digest()
    assert ran(["curl", "-sS", "--fail", "-r", "1000-1999", url]) == FILE[1000:2000]
    code = ran(["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", url + ".not"])
    assert code == b"404"


def test_curl_is_told_of_100_and_uploads(peers, tmp_path):
    """A large body with Expect: 100-continue, by its length and in chunks."""
    text = "line of a body\n" * 100000
    source = tmp_path / "body"
    source.write_text(text)
    url = f"http://{HOST}:{peers.port}/report"
    before = len(peers.reports.bodies)
    ran(["curl", "-sS", "--fail", "-H", "Expect: 100-continue", "--data-binary", f"@{source}",
         "--expect100-timeout", "0.2", url])
    assert peers.reports.bodies[before:] == [text]


def test_curl_sees_the_101(peers):
    """The upgrade's answer and the frames behind it, to the end of the stream."""
    fields = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"]
    fields.append(f"Sec-WebSocket-Key: {KEY}")
    argv = ["curl", "-sS", "-i", "-N", "--http1.1"]
    for f in fields:
        argv += ["-H", f]
    out = ran([*argv, f"http://{HOST}:{peers.port}/py/bye"])
    head, rest = out.split(b"\r\n\r\n", 1)
    assert head.startswith(b"HTTP/1.1 101 ")
    got = dict(fields_of(head))
    assert got["sec-websocket-accept"] == ACCEPT
    assert (got["upgrade"].lower(), got["connection"].lower()) == ("websocket", "upgrade")
    assert rest == b"\x81\x07goodbye\x88\x02\x03\xe8"


def chromium(url, profile, out):
    """A headless browser on `url`."""
    flags = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-extensions",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
        "--no-default-browser-check",
        "--no-proxy-server",
        f"--user-data-dir={profile}",
        f"--crash-dumps-dir={profile}",
    ]
    return Process(["chromium", *flags, url], out)


def test_chromium(peers, tmp_path):
    """A browser loads its page through lb, opens a WebSocket to each backend and reports by POST:
    every message came back, the close was clean, deflate and subprotocol were agreed on."""
    peers.reports.came.clear()
    before = len(peers.reports.bodies)
    query = "&".join(f"path={p}" for p in BACKENDS.values())
    url = f"http://{HOST}:{peers.port}/page.html?{query}"
    browser = chromium(url, tmp_path / "profile", tmp_path / "chromium")
    try:
        assert peers.reports.came.wait(60 * SLOW), browser.stderr()[-3000:]
    finally:
        browser.signal(15)
        try:
            browser.wait(10)
        finally:
            browser.kill()
    (report,) = peers.reports.bodies[before:]
    for line, path in zip(report.split("\n"), BACKENDS.values(), strict=True):
        assert line.startswith(f"{path} 8|4003|enough|true|v2.lb|permessage-deflate"), line


def test_no_peer_broke_the_framing(peers):
    """lb followed every frame of those who came: this runs after them."""
    counters = peers.lb.stats()["counters"]
    assert counters["protocol_errors"] == 0
    assert counters["messages_in"] > 1000
    assert peers.lb.ends().keys() <= {"client_closed", "backend_closed", "completed"}
