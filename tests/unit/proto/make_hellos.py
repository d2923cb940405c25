#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""make_hellos.py: collects ClientHellos of real clients for test_client_hello.c.

Each client connects to a socket of this script's on loopback, which reads its hello, answers
nothing and closes. Writes hellos.inc beside this file, and a seed per hello to
tests/fuzz/corpus/client_hello. What the rows expect is what the client was asked to send, so it
does not come from the parser that is tested.

Needs openssl, curl, wget, node and chromium of Debian. The rows of clients that are missing would be
lost, so their absence is an error.
"""

import pathlib
import socket
import ssl
import subprocess
import sys
import tempfile
import threading

HERE = pathlib.Path(__file__).resolve().parent
SEEDS = HERE.parents[1] / "fuzz/corpus/client_hello"
HOST = "chat.example.com"
LONG = ".".join(["l" * 63] * 3 + ["l" * 57, "de"])  # 252 bytes
MANY = [f"protocol-number-{n}" for n in range(200)]


def size_of(data):
    """How many bytes the records of the first handshake message have; None when it is not whole."""
    at, message = 0, b""
    while len(data) >= at + 5:
        n = int.from_bytes(data[at + 3 : at + 5], "big")
        message += data[at + 5 : at + 5 + n]
        at += 5 + n
        if len(message) >= 4 and len(message) >= 4 + int.from_bytes(message[1:4], "big"):
            return at if len(data) >= at else None
    return None


class Listener:
    """Accepts until it has a hello that contains `needle`."""

    def __init__(self, needle):
        self.needle, self.hello = needle, None
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        self.sock.settimeout(60)
        while self.hello is None:
            conn = self.sock.accept()[0]
            conn.settimeout(5)
            data = b""
            try:
                while size_of(data) is None:
                    more = conn.recv(65536)
                    if not more:
                        break
                    data += more
            except TimeoutError:
                pass
            conn.close()
            if size_of(data) is not None and self.needle in data:
                self.hello = data[: size_of(data)]

    def take(self):
        self.thread.join(60)
        self.sock.close()
        if self.hello is None:
            sys.exit(f"no hello with {self.needle} has come")
        return self.hello


def by_program(argv, needle=HOST.encode()):
    """The hello of a program; PORT in its words is replaced."""
    listener = Listener(needle)
    argv = [word.replace("PORT", str(listener.port)) for word in argv]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as program:
        hello = listener.take()
        program.stdin.close()
        program.terminate()
    return hello


def s_client(*options, needle=HOST.encode()):
    return by_program(["openssl", "s_client", "-connect", "127.0.0.1:PORT", *options], needle)


def curl(*options):
    return by_program(["curl", "-sk", "--connect-to", f"{HOST}:443:127.0.0.1:PORT", *options, f"https://{HOST}/"])


def wget():
    # GnuTLS. wget has no option for another address; a proxy is asked for it.
    listener = Listener(HOST.encode())

    proxy = socket.create_server(("127.0.0.1", 0))

    def connect():
        conn = proxy.accept()[0]
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += conn.recv(4096)
        conn.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        out = socket.create_connection(("127.0.0.1", listener.port))
        conn.settimeout(2)
        try:
            while data := conn.recv(65536):
                out.sendall(data)
        except (TimeoutError, ConnectionError):
            pass
        out.close()
        conn.close()

    threading.Thread(target=connect, daemon=True).start()
    url = f"http://127.0.0.1:{proxy.getsockname()[1]}"
    argv = ["wget", "-q", "-O", "-", "-t", "1", "-e", f"https_proxy={url}", f"https://{HOST}/"]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as program:
        hello = listener.take()
        program.terminate()
    return hello


def node(options):
    return by_program(["node", "-e", f"require('tls').connect({{port: PORT, host: '127.0.0.1', {options}}}).on('error', () => 0)"])


def chromium():
    with tempfile.TemporaryDirectory() as profile:
        return by_program(["timeout", "60", "chromium", "--headless", "--no-sandbox", "--disable-gpu",
                           f"--user-data-dir={profile}", "--host-resolver-rules=MAP * 127.0.0.1:PORT",
                           f"https://{HOST}/"])


def python(alpn=(), version=None, resumed=False, host=HOST):
    """The hello of Python's ssl, the second one after a handshake in memory where `resumed`."""
    with tempfile.TemporaryDirectory() as folder:
        pem = f"{folder}/pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-subj", f"/CN={HOST}", "-keyout", pem, "-out", f"{folder}/crt"],
                       check=True, capture_output=True)
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(f"{folder}/crt", pem)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    if alpn:
        client.set_alpn_protocols(alpn)
    if version:
        client.maximum_version = version

    def begin(session=None):
        pipes = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = client.wrap_bio(pipes[0], pipes[1], server_hostname=host, session=session)
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            pass
        return tls, pipes

    tls, (to_client, to_server) = begin()
    if not resumed:
        return to_server.read()
    peer = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for step in (peer.do_handshake, tls.do_handshake):
            try:
                step()
            except ssl.SSLWantReadError:
                pass
    peer.write(b"x")
    tls.read(1)
    return begin(tls.session)[1][1].read()


V12, V13 = 0x0303, 0x0304

# Name, what makes the hello, host, ALPN, the highest version, whether it has ECH.
ROWS = [
    ("s_client", lambda: s_client("-servername", HOST), HOST, [], V13, False),
    ("s_client, a name in mixed case", lambda: s_client("-servername", "Chat.EXAMPLE.com", needle=b"Chat"),
     "Chat.EXAMPLE.com", [], V13, False),
    ("s_client, the longest name", lambda: s_client("-servername", LONG, needle=b"llll"), LONG, [], V13, False),
    ("s_client without a name", lambda: s_client("-noservername", needle=b"\x16"), "", [], V13, False),
    ("s_client, an address as a name", lambda: s_client("-servername", "127.0.0.1", needle=b"127.0.0.1"),
     "", [], V13, False),
    ("s_client, ALPN", lambda: s_client("-servername", HOST, "-alpn", "mqtt,http/1.1,h2"), HOST,
     ["mqtt", "http/1.1", "h2"], V13, False),
    ("s_client, TLS 1.2", lambda: s_client("-servername", HOST, "-tls1_2"), HOST, [], V12, False),
    ("s_client, TLS 1.1", lambda: s_client("-servername", HOST, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0"), HOST, [],
     0x0302, False),
    ("s_client, TLS 1.3", lambda: s_client("-servername", HOST, "-tls1_3"), HOST, [], V13, False),
    ("s_client, a key of ffdhe8192", lambda: s_client("-servername", HOST, "-groups", "ffdhe8192"), HOST, [], V13,
     False),
    ("s_client, a key of P-521", lambda: s_client("-servername", HOST, "-curves", "P-521"), HOST, [], V13, False),
    ("s_client, records of 512 bytes", lambda: s_client("-servername", HOST, "-groups", "ffdhe8192", "-alpn", "h2",
                                                        "-max_send_frag", "512"), HOST, ["h2"], V13, False),
    ("s_client, 200 protocols in records of 512 bytes",
     lambda: s_client("-servername", HOST, "-alpn", ",".join(MANY), "-max_send_frag", "512"), HOST, MANY, V13, False),
    ("curl", curl, HOST, ["h2", "http/1.1"], V13, False),
    ("curl, HTTP/1.1 only", lambda: curl("--http1.1"), HOST, ["http/1.1"], V13, False),
    ("curl, TLS 1.2 only", lambda: curl("--tls-max", "1.2", "--no-alpn"), HOST, [], V12, False),
    ("wget, GnuTLS", wget, HOST, [], V13, False),
    ("python", python, HOST, [], V13, False),
    ("python, ALPN", lambda: python(alpn=["http/1.1"]), HOST, ["http/1.1"], V13, False),
    ("python, an address is not sent", lambda: python(host="127.0.0.1"), "", [], V13, False),
    ("python, resumed with TLS 1.3", lambda: python(resumed=True), HOST, [], V13, False),
    ("python, resumed with TLS 1.2", lambda: python(resumed=True, version=ssl.TLSVersion.TLSv1_2), HOST, [], V12,
     False),
    ("node", lambda: node(f"servername: '{HOST}'"), HOST, [], V13, False),
    ("node, ALPN", lambda: node(f"servername: '{HOST}', ALPNProtocols: ['h2', 'http/1.1']"), HOST,
     ["h2", "http/1.1"], V13, False),
    ("chromium, with a post-quantum key and GREASE", chromium, HOST, ["h2", "http/1.1"], V13, True),
]


def c_string(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def wrapped(text, indent):
    """A C string in pieces that fit a line."""
    return ("\n" + indent).join(c_string(text[at : at + 80]) for at in range(0, len(text) or 1, 80))


def main():
    SEEDS.mkdir(parents=True, exist_ok=True)
    lines = ["/* SPDX-License-Identifier: Apache-2.0 */",
             "/* ClientHellos of real clients. Written by make_hellos.py; not to be edited. */",
             "/* clang-format off */"]
    for name, make, host, alpn, version, has_ech in ROWS:
        hello = make()
        print(f"{name}: {len(hello)} bytes")
        seed = name.replace(",", "").replace(" ", "_").replace("/", "_").replace(".", "_")
        (SEEDS / seed).write_bytes(hello)
        lines += [f"\t{{ {c_string(name)},",
                  "\t  " + wrapped(host, "\t  ") + ",",
                  "\t  " + wrapped(" ".join(alpn), "\t  ") + ",",
                  f"\t  0x{version:04x}, {str(has_ech).lower()},",
                  "\t  " + wrapped(hello.hex(), "\t  ") + " },"]
    lines.append("/* clang-format on */")
    (HERE / "hellos.inc").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
