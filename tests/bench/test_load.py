# SPDX-License-Identifier: Apache-2.0
"""lb-load finds what is wrong: against servers that misbehave in one way each, a run must end as no
result, and against one that is right it must count every message."""

import base64
import hashlib
import json
import os
import socket
import struct
import subprocess
import threading
import time

import pytest

LOAD = os.path.join(os.environ["LB_BUILD"], "tests/bench/lb-load")
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
DELAY_S = 0.05


class Gone(Exception):
    """The client has closed."""


def read(peer, n):
    data = b""
    while len(data) < n:
        piece = peer.recv(n - len(data))
        if not piece:
            raise Gone
        data += piece
    return data


def read_frame(peer):
    """One frame of a client, which must be masked. Returns its payload."""
    first, second = read(peer, 2)
    assert first == 0x82 and second & 0x80
    n = second & 0x7F
    if n == 126:
        n = struct.unpack(">H", read(peer, 2))[0]
    elif n == 127:
        n = struct.unpack(">Q", read(peer, 8))[0]
    mask = read(peer, 4)
    key = (mask * (n // 4 + 1))[:n]
    data = int.from_bytes(read(peer, n), "big") ^ int.from_bytes(key, "big")
    return data.to_bytes(n, "big")


def frame(payload, first=0x82):
    n = len(payload)
    size = bytes([n]) if n < 126 else b"\x7e" + struct.pack(">H", n)
    return bytes([first]) + size + payload


def right(n, payload, earlier):
    return frame(payload)


def in_two_frames(n, payload, earlier):
    return frame(payload[:10], 0x02) + frame(payload[10:], 0x80)


def late(n, payload, earlier):
    time.sleep(DELAY_S)
    return frame(payload)


def one_bit(n, payload, earlier):
    return frame(payload if n < 3 else payload[:-1] + bytes([payload[-1] ^ 1]))


def another(n, payload, earlier):
    """The message before, on this connection or another."""
    return frame(payload if n < 3 else earlier)


def shorter(n, payload, earlier):
    return frame(payload if n < 3 else payload[:-1])


def longer(n, payload, earlier):
    return frame(payload if n < 3 else payload + b"x")


def twice(n, payload, earlier):
    return frame(payload) * (1 if n < 3 else 2)


def masked(n, payload, earlier):
    return frame(payload) if n < 3 else b"\x82\xc0" + bytes(4) + payload


def swallowed(n, payload, earlier):
    return frame(payload) if n < 3 else b""


def closed(n, payload, earlier):
    return frame(payload) if n < 3 else None


class Server:
    """A WebSocket server whose echo of a connection's n-th message is `answer`'s."""

    def __init__(self, answer, accept=None):
        self.answer, self.accept, self.earlier = answer, accept, b"y" * 64
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.run, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()

    def run(self):
        while True:
            try:
                peer = self.listener.accept()[0]
            except OSError:
                return  # closed
            threading.Thread(target=self.serve, args=[peer], daemon=True).start()

    def serve(self, peer):
        with peer:
            try:
                self.upgrade(peer)
                for n in range(1 << 30):
                    payload = read_frame(peer)
                    answer = self.answer(n, payload, self.earlier)
                    self.earlier = payload
                    if answer is None:
                        return
                    peer.sendall(answer)
            except (Gone, OSError):
                pass  # the client has gone

    def upgrade(self, peer):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += read(peer, 1)
        key = head.split(b"Sec-WebSocket-Key: ")[1].split(b"\r\n")[0]
        accept = self.accept or base64.b64encode(hashlib.sha1(key + GUID).digest())
        peer.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                     b"Connection: Upgrade\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n")


def run(port, plan, *options, seconds=0.5):
    """A whole run. Returns the exit status and the last report."""
    argv = [LOAD, plan, "-t", f"127.0.0.1:{port}", "-p", "2", *options]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True) as load:
        told = json.loads(load.stdout.readline())
        if told["event"] == "ready":
            load.stdin.write("start\n")
            load.stdin.flush()
            time.sleep(seconds)
            load.stdin.write("stop\n")
            load.stdin.flush()
            told = [json.loads(line) for line in load.stdout][-1]
        return load.wait(), told


@pytest.mark.parametrize("answer", [right, in_two_frames])
@pytest.mark.parametrize("plan", ["hold", "echo", "open"])
def test_a_right_server_gives_a_result(answer, plan):
    with Server(answer) as server:
        status, told = run(server.port, plan, "-c", "4", "-r", "100")
    assert status == 0, told
    assert told["ready"] == told["opened"] == 4
    assert told["messages"] >= 8
    assert told["failed"] == told["wrong"] == told["lost"] == told["overrun"] == 0


def test_churn_counts_handshakes():
    with Server(right) as server:
        status, told = run(server.port, "churn", "-c", "4")
    assert status == 0, told
    assert told["opened"] > 4 and told["messages"] == 0


def test_long_messages_are_whole():
    with Server(right) as server:
        status, told = run(server.port, "echo", "-c", "2", "-s", "60000")
    assert status == 0 and told["messages"] >= 4, told


def test_latency_is_at_least_the_servers():
    with Server(late) as server:
        status, told = run(server.port, "echo", "-c", "2")
    assert status == 0 and told["p50_ns"] >= DELAY_S * 1e9 * 0.99, told


@pytest.mark.parametrize("answer", [one_bit, another, shorter, longer, twice, masked])
def test_a_wrong_echo_is_no_result(answer):
    with Server(answer) as server:
        status, told = run(server.port, "echo", "-c", "2")
    assert status == 1 and told["wrong"] > 0, told


def test_a_lost_message_is_no_result():
    with Server(swallowed) as server:
        status, told = run(server.port, "echo", "-c", "2")
    assert status == 1 and told["lost"] > 0 and told["wrong"] == 0, told


def test_a_connection_that_ends_is_no_result():
    with Server(closed) as server:
        status, told = run(server.port, "echo", "-c", "2")
    assert status == 1 and told["failed"] > 0 and told["wrong"] == 0, told


@pytest.mark.parametrize("plan", ["hold", "churn"])
def test_a_wrong_accept_is_no_result(plan):
    with Server(right, accept=b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") as server:
        status, told = run(server.port, plan, "-c", "2")
    assert status == 1 and told["failed"] > 0 and told["opened"] == 0, told


def test_a_refused_connection_is_no_result():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # nobody listens
        status, told = run(unused.getsockname()[1], "hold", "-c", "2")
    assert status == 1 and told["failed"] > 0, told
