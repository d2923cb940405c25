#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""make_proxy_headers.py: collects the PROXY headers of HAProxy for test_proxy_header.c.

HAProxy relays connections of this script's to a socket of this script's, once for each of its ways
to send a header. Writes proxy_headers.inc beside this file, and a seed for each header to
tests/fuzz/corpus/proxy_header. What the rows expect is what the connection had, so it does not
come from the parser that is tested.

Needs haproxy and openssl of Debian, and ::1.
"""

import pathlib
import socket
import ssl
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
SEEDS = HERE.parents[1] / "fuzz/corpus/proxy_header"
SNI, CN, ID = "chat.example.com", "device 17", "lb-unique-0001"
PAYLOAD = b"<payload>"

# Name; options of HAProxy's server line; how the client comes: 4, 6, unix, tls, or check.
ROWS = [
    ("v1 over IPv4", "send-proxy", "4"),
    ("v1 over IPv6", "send-proxy", "6"),
    ("v1 from a unix socket", "send-proxy", "unix"),
    ("v2 over IPv4", "send-proxy-v2", "4"),
    ("v2 over IPv6", "send-proxy-v2", "6"),
    ("v2 from a unix socket", "send-proxy-v2", "unix"),
    ("v2 with a checksum and a unique id", "send-proxy-v2 proxy-v2-options crc32c,unique-id", "4"),
    ("v2 from a unix socket with a checksum", "send-proxy-v2 proxy-v2-options crc32c,unique-id", "unix"),
    ("v2 with all of TLS", "send-proxy-v2 proxy-v2-options "
     "ssl,cert-cn,ssl-cipher,cert-sig,cert-key,authority,crc32c,unique-id", "tls"),
    ("v2 with TLS, no client certificate asked for", "send-proxy-v2-ssl", "4"),
    ("v2 of a health check", "send-proxy-v2 check check-send-proxy inter 200", "check"),
    ("v1 of a health check", "send-proxy check check-send-proxy inter 200", "check"),
]


def certificate(folder):
    def run(*argv):
        subprocess.run(["openssl", *argv], check=True, capture_output=True, cwd=folder)

    run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={SNI}", "-keyout", "key", "-out", "crt")
    run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={CN}", "-keyout", "ckey", "-out", "ccrt")
    pem = (folder / "crt").read_text() + (folder / "key").read_text()
    (folder / "pem").write_text(pem)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


def config(folder, options, kind, ports):
    mode = " ssl crt pem ca-file ccrt verify optional alpn h2,http/1.1" if kind == "tls" else ""
    return f"""
global
    crt-base {folder}
    ca-base {folder}
defaults
    mode tcp
    timeout connect 2s
    timeout client 2s
    timeout server 2s
frontend f
    bind 127.0.0.1:{ports['4']}{mode}
    bind [::1]:{ports['6']}
    bind unix@{folder}/sock
    unique-id-format {ID}
    tcp-request inspect-delay 2s
    tcp-request content accept if {{ req.len gt 0 }}
    default_backend b
backend b
    server s 127.0.0.1:{ports['backend']} {options}
"""


def connect(folder, kind, ports):
    """The client's connection, and the addresses that the header should name."""
    if kind == "unix":
        s = socket.socket(socket.AF_UNIX)
        s.connect(f"{folder}/sock")
        return s, None
    host = "::1" if kind == "6" else "127.0.0.1"
    s = socket.create_connection((host, ports["6" if kind == "6" else "4"]))
    ends = s.getsockname()[:2], s.getpeername()[:2]
    if kind == "tls":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.load_cert_chain(folder / "ccrt", folder / "ckey")
        context.set_alpn_protocols(["http/1.1"])
        s = context.wrap_socket(s, server_hostname=SNI)
    return s, ends


def header_of(folder, options, kind):
    ports = {"4": free_port(), "6": free_port(), "backend": free_port()}
    (folder / "cfg").write_text(config(folder, options, kind, ports))
    backend = socket.create_server(("127.0.0.1", ports["backend"]))
    backend.settimeout(10)
    with subprocess.Popen(["haproxy", "-f", folder / "cfg", "-db"], stderr=subprocess.DEVNULL) as haproxy:
        try:
            client, ends = None, None
            for _ in range(50):
                if kind == "check":
                    break
                try:
                    client, ends = connect(folder, kind, ports)
                    break
                except OSError:
                    time.sleep(0.1)
            if client:
                client.sendall(PAYLOAD)
            conn, peer = backend.accept()
            if kind == "check":
                ends = peer[:2], conn.getsockname()[:2]
            conn.settimeout(2)
            data = b""
            try:
                while not data.endswith(PAYLOAD) and (more := conn.recv(65536)):
                    data += more
            except (TimeoutError, ConnectionResetError):
                pass
            if client:
                client.close()
            conn.close()
        finally:
            haproxy.terminate()
            backend.close()
    if client and not data.endswith(PAYLOAD):
        sys.exit(f"no payload behind {data!r}")
    return data.removesuffix(PAYLOAD), ends


def c_string(text):
    return '"' + text + '"'


def wrapped(text):
    return "\n\t  ".join(c_string(text[at : at + 80]) for at in range(0, len(text) or 1, 80))


def main():
    SEEDS.mkdir(parents=True, exist_ok=True)
    lines = ["/* SPDX-License-Identifier: Apache-2.0 */",
             "/* PROXY headers of HAProxy. Written by make_proxy_headers.py; not to be edited. */",
             "/* clang-format off */"]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        certificate(folder)
        for name, options, kind in ROWS:
            header, ends = header_of(folder, options, kind)
            print(f"{name}: {header!r}")
            # HAProxy sends LOCAL for a client without addresses, too.
            is_local = kind in ("check", "unix") and "v2" in options
            texts = ["", ""]
            if ends and not is_local:
                texts = [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in ends]
            has_id, is_tls = "unique-id" in options, kind == "tls"
            fields = [c_string(name), c_string(texts[0]), c_string(texts[1]), c_string(ID if has_id and not is_local else ""),
                      c_string(SNI if is_tls else ""), c_string(CN if is_tls else ""),
                      str(is_local).lower(), str("crc32c" in options and not is_local).lower()]
            lines += ["\t{ " + ", ".join(fields) + ",", "\t  " + wrapped(header.hex()) + " },"]
            (SEEDS / f"haproxy_{name.replace(',', '').replace(' ', '_')}").write_bytes(header)
    lines.append("/* clang-format on */")
    (HERE / "proxy_headers.inc").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
