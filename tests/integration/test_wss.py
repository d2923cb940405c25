# SPDX-License-Identifier: Apache-2.0
"""The recipe of docs/wss.md: nginx terminates TLS in front of lb. Its two files are read from the
page; the test replaces addresses, ports and paths, nothing else."""

import contextlib
import re
import ssl
import subprocess

import lbtest
import websockets
from lbtest import HOST, Process, connect, free_port, in_thread, run, wait_for

PAGE = lbtest.ROOT / "docs" / "wss.md"

NGINX = """daemon off; master_process off; pid {dir}/nginx.pid; error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
access_log off; client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy;
fastcgi_temp_path {dir}/fastcgi; uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
{block}
}}
"""


def block(language):
    (text,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
    return text


def replaced(text, pairs):
    """Each text must be there: else the page has changed and the test tests something else."""
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, str(new))
    return text


def make_certificate(tmp_path):
    key, cert = tmp_path / "chat.key", tmp_path / "chat.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        + ["-nodes", "-days", "2", "-subj", "/CN=chat.example.com"]
        + ["-addext", "subjectAltName=DNS:chat.example.com", "-keyout", key, "-out", cert],
        check=True,
        capture_output=True,
    )
    return key, cert


def is_open(port):
    with contextlib.suppress(ConnectionRefusedError), connect(port):
        return True
    return False


def test_the_recipe_with_nginx(lb, engine, echo, port, tmp_path):
    key, cert = make_certificate(tmp_path)
    echoes = echo(2)
    text = replaced(
        block("yaml"),
        [
            ("127.0.0.1:8080", f"{HOST}:{port}"),
            ("10.0.0.11:9000", echoes[0].address),
            ("10.0.0.12:9000", echoes[1].address),
        ],
    )
    proxy = lb(text + f"\nengine: {engine}\nworkers: 2\nadmin: {{socket: admin.sock}}\n")
    tls = free_port()
    server = replaced(
        block("nginx"),
        [
            ("listen 443 ssl", f"listen {HOST}:{tls} ssl"),
            ("127.0.0.1:8080", f"{HOST}:{port}"),
            ("/etc/ssl/chat.pem", cert),
            ("/etc/ssl/private/chat.key", key),
        ],
    )
    conf = tmp_path / "nginx.conf"
    conf.write_text(NGINX.format(dir=tmp_path, block=server))
    nginx = Process(["nginx", "-p", tmp_path, "-e", "stderr", "-c", conf], tmp_path / "nginx")
    try:
        wait_for("nginx", lambda: is_open(tls))

        async def body():
            trust = ssl.create_default_context(cafile=cert)
            async with websockets.connect(
                f"wss://chat.example.com:{tls}/ws",
                host=HOST,
                ssl=trust,
                server_hostname="chat.example.com",
            ) as ws:
                for message in ("over TLS", "x" * 100_000):
                    await ws.send(message)
                    assert await ws.recv() == message
                (conn,) = await in_thread(lambda: proxy.conns(pool="chat"))
                assert conn["client"].startswith("127.0.0.1:")
                assert conn["state"] == "relay"

        run(body())
    finally:
        nginx.kill()
