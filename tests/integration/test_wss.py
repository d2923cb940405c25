# SPDX-License-Identifier: Apache-2.0
"""The recipes of docs/wss.md: TLS by lb itself, and by nginx in front of lb. Their files are read
from the page; the tests replace addresses, ports, paths and the user, nothing else."""

import contextlib
import os
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


def block(heading, language):
    """The one block of that language below a heading."""
    (part,) = [p for p in PAGE.read_text().split("\n## ") if p.startswith(heading + "\n")]
    (text,) = re.findall(rf"^```{language}\n(.*?)^```$", part, re.M | re.S)
    return text


def replaced(text, pairs):
    """Each text must be there: else the page has changed and the test tests something else."""
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, str(new))
    return text


def make_certificate(tmp_path, days=2):
    key, cert = tmp_path / "chat.key", tmp_path / "chat.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        + ["-nodes", "-days", str(days), "-subj", "/CN=chat.example.com"]
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
        block("A proxy in front", "yaml"),
        [
            ("127.0.0.1:8080", f"{HOST}:{port}"),
            ("10.0.0.11:9000", echoes[0].address),
            ("10.0.0.12:9000", echoes[1].address),
        ],
    )
    proxy = lb(text + f"\nengine: {engine}\nworkers: 2\nadmin: {{socket: admin.sock}}\n")
    tls = free_port()
    server = replaced(
        block("A proxy in front", "nginx"),
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


def own_file(key, cert, port):
    """The page's file, for the certificate of a test."""
    return replaced(
        block("TLS by lb itself", "yaml"),
        [
            ("user: lb\n", "admin: {socket: admin.sock}\n"),
            ('["0.0.0.0:443", "[::]:443"]', f"{HOST}:{port}"),
            ("/etc/lb/chat.pem", cert),
            ("/etc/lb/chat.key", key),
        ],
    )


def test_the_file_of_lb_itself(tmp_path):
    """lb could start with it; that clients are served is tested elsewhere."""
    path = tmp_path / "lb.yaml"
    path.write_text(own_file(*make_certificate(tmp_path), free_port()))
    p = subprocess.run(
        [*lbtest.WRAP, lbtest.LB, "check", "-c", path],
        capture_output=True,
        text=True,
        timeout=60 * lbtest.SLOW,
    )
    assert (p.returncode, p.stdout, p.stderr) == (0, f"{path}: ok\n", "")


def test_the_hook_of_certbot(lb, port, tmp_path):
    """It installs a renewed certificate, and lb has it."""
    key, cert = make_certificate(tmp_path)
    proxy = lb(own_file(key, cert, port))
    lineage = tmp_path / "lineage"
    lineage.mkdir()
    renewed_key, renewed = make_certificate(lineage, days=60)
    renewed_key.rename(lineage / "privkey.pem")
    renewed.rename(lineage / "fullchain.pem")
    hook = tmp_path / "hook"
    hook.write_text(
        replaced(
            block("TLS by lb itself", "bash"),
            [
                ("-o root -g lb ", ""),
                ("/etc/lb/chat.pem", cert),
                ("/etc/lb/chat.key", key),
                ("lbctl reload", f"{lbtest.LBCTL} -s {proxy.socket} reload"),
            ],
        )
    )
    hook.chmod(0o755)
    subprocess.run([hook], env={**os.environ, "RENEWED_LINEAGE": lineage}, check=True, timeout=60)
    (shown,) = proxy.stats()["certificates"]
    assert shown["days_left"] in (59, 60)
    assert (key.stat().st_mode & 0o777, cert.stat().st_mode & 0o777) == (0o640, 0o644)
