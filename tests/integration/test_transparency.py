# SPDX-License-Identifier: Apache-2.0
"""Byte transparency: what each side of a WebSocket sees through lb is, byte for byte, what it sees
without lb. Every exchange runs twice, once directly and once through lb."""

import asyncio
import functools
import os
import random
import struct
import sys
import threading
import time
import zlib

import pytest
from conftest import fake_factory, lb_factory

import lbtest
from lbtest import (
    GOOD_101,
    SLOW,
    Process,
    connect,
    fields_of,
    free_port,
    http_conf,
    recv_exact,
    recv_head,
    run,
    status_of,
    upgrade_request,
    wait_for,
    ws_frame,
    ws_open,
)

PAUSE = 0.0015  # between writes, so that most of them are read one by one


# ---- what is sent --------------------------------------------------------------------------------


class Sent:
    """What one side writes: frames, and how their bytes are cut into writes."""

    def __init__(self, frames, writes=None, pause=0.0, glued=0):
        self.frames = frames
        self.bytes = b"".join(frames)
        self.writes = writes if writes is not None else [self.bytes]
        self.pause = pause
        self.glued = glued  # as many writes go out in one with the head
        assert b"".join(self.writes) == self.bytes


def cut(data, *at):
    """`data` in pieces that end at each of `at`."""
    ends = [0, *sorted(set(at)), len(data)]
    return [data[a:b] for a, b in zip(ends, ends[1:]) if a < b]


def frames_of(payloads, mask, opcode=2):
    return [ws_frame(p, opcode, mask=mask) for p in payloads]


def split_at_every_offset(mask):
    """One frame for each place where a frame may be cut in two, of each kind of header; of the
    longest payload only the header and the ends."""
    frames, writes = [], []
    for n in (0, 5, 126, 65536):
        frame = ws_frame(os.urandom(n), mask=mask)
        offsets = range(1, len(frame))
        if n > 1000:
            offsets = [*range(1, 20), len(frame) - 2, len(frame) - 1]
        for k in offsets:
            frames.append(frame)
            writes += cut(frame, k)
    return Sent(frames, writes, PAUSE)


def one_byte_writes(mask):
    frames = frames_of((os.urandom(n) for n in (0, 1, 125, 126, 300)), mask)
    data = b"".join(frames)
    return Sent(frames, cut(data, *range(len(data))), PAUSE)


def one_byte_writes_around_long_payloads(mask):
    """The header of a payload long enough for a pipe a byte at a time, and what follows it too."""
    frames = frames_of((os.urandom(n) for n in (70000, 3, 65536, 1 << 20, 0)), mask)
    writes = []
    for f in frames:
        writes += cut(f, *range(20), *range(max(0, len(f) - 3), len(f)))
    return Sent(frames, writes, PAUSE)


@functools.cache
def sixteen_mib(mask):
    return Sent(frames_of([b"a", os.urandom(16 << 20), b"b"], mask))


def ten_thousand_in_one_write(mask):
    return Sent(frames_of((struct.pack(">Q", i)[: i % 9] for i in range(10000)), mask, 1))


def every_opcode(mask):
    """Data, continuations and control frames, empty and not. The Close comes last."""
    frames = [
        ws_frame(b"text", 1, mask=mask),
        ws_frame(b"", 1, mask=mask),
        ws_frame(b"binary", 2, mask=mask),
        ws_frame(b"", 2, mask=mask),
        ws_frame(b"first", 1, fin=False, mask=mask),
        ws_frame(b"", 0, fin=False, mask=mask),
        ws_frame(b"last", 0, mask=mask),
        ws_frame(b"", 9, mask=mask),
        ws_frame(b"p" * 125, 9, mask=mask),
        ws_frame(b"", 10, mask=mask),
        ws_frame(b"q" * 125, 10, mask=mask),
        ws_frame(struct.pack(">H", 4444) + b"why", 8, mask=mask),
    ]
    return Sent(frames, frames, PAUSE)


def fragments_with_control_between(mask):
    """Messages of many fragments, long ones too, with a ping or a pong behind each."""
    frames = []
    for sizes in ((1,) * 40, (0, 126, 0), (70000, 1, 65536, 200000)):
        for i, n in enumerate(sizes):
            is_last = i == len(sizes) - 1
            opcode = 0 if i else 2
            frames.append(ws_frame(os.urandom(n), opcode, fin=is_last, mask=mask))
            frames.append(ws_frame(os.urandom(i), 9 + i % 2, mask=mask))
    return Sent(frames)


def glued_to_the_head(mask):
    """Behind the request and behind the 101, in the same packet, a frame and a half."""
    frames = frames_of([b"first", os.urandom(9000), b"third"], mask)
    data = b"".join(frames)
    return Sent(frames, cut(data, 5000), PAUSE, glued=1)


def glued_64_kib(mask):
    """More behind the head than a side may have waiting."""
    frames = frames_of([os.urandom(100), os.urandom(80000), b"end"], mask)
    return Sent(frames, glued=1)


def sizes_around_the_limits(mask):
    sizes = (65535, 65536, 65537, 0, 4096, 262144, 125, 262145, 127, 1 << 20, 1)
    return Sent(frames_of((os.urandom(n) for n in sizes), mask))


def cut_anywhere(mask):
    """Frames of all sizes, cut by chance, without regard to their boundaries."""
    dice = random.Random(4)
    frames = []
    for _ in range(150):
        n = int(2 ** dice.uniform(0, 17)) - 1
        frames.append(ws_frame(dice.randbytes(n), 2, rsv=dice.choice((0, 4)), mask=mask))
    data = b"".join(frames)
    places = [dice.randrange(len(data)) for _ in range(400)]
    return Sent(frames, cut(data, *places), PAUSE / 4)


EXCHANGES = [
    split_at_every_offset,
    one_byte_writes,
    one_byte_writes_around_long_payloads,
    sixteen_mib,
    ten_thousand_in_one_write,
    every_opcode,
    fragments_with_control_between,
    glued_to_the_head,
    glued_64_kib,
    sizes_around_the_limits,
    cut_anywhere,
]

# Headers that break RFC 6455 (5.2), which pass all the same. Behind them lb can not follow.
BROKEN = {
    "reserved opcodes": [bytes([0x80 | op, 0]) for op in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)],
    "RSV2 and RSV3": [b"\xa2\x00", b"\x92\x01a", b"\xf2\x00"],
    "a fragmented ping": [b"\x09\x00"],
    "a control frame of 126": [b"\x89\x7e\x00\x7e" + b"x" * 126],
    "lengths not minimal": [b"\x82\x7e\x00\x05hello", b"\x82\x7f" + b"\0" * 7 + b"\x01a"],
    "the length's highest bit": [b"\x82\x7f\x80" + b"\0" * 7 + b"x" * 1000],
    "the wrong masking": [ws_frame(b"abc", mask=b""), ws_frame(b"abc")],
    "a continuation of nothing": [ws_frame(b"abc", 0), ws_frame(b"abc", 0, mask=b"")],
    "a message within a message": [ws_frame(b"a", 1, fin=False), ws_frame(b"b", 1)],
    "noise": [random.Random(5).randbytes(200000)],
}


# ---- both sides ----------------------------------------------------------------------------------


def write_all(s, sent, n_done):
    for w in sent.writes[n_done:]:
        s.sendall(w)
        if sent.pause:
            time.sleep(sent.pause)


def converse(s, mine, theirs, n_done, rest):
    """Writes all of `mine` and reads all of `theirs` at once, with what comes behind, if
    anything; then half-closes. Returns what was read."""
    writer = threading.Thread(target=write_all, args=(s, mine, n_done))
    writer.start()
    try:
        seen = rest + recv_exact(s, len(theirs.bytes) - len(rest))
    finally:
        writer.join()
    return seen


class Recorder:
    """A backend that writes what a test has given it, and keeps what it has read."""

    def __init__(self):
        self.writes = None
        self.reads = None
        self.seen = None
        self.done = threading.Event()

    def expect(self, writes, reads):
        self.writes, self.reads, self.seen = writes, reads, None
        self.done.clear()

    def serve(self, s):
        _, rest = recv_head(s)
        glued = self.writes.glued
        s.sendall(GOOD_101 + b"".join(self.writes.writes[:glued]))
        seen = converse(s, self.writes, self.reads, glued, rest)
        self.seen = seen + lbtest.recv_all(s)
        self.done.set()


def exchange(port, path, recorder, up, down):
    """(what the backend saw, what the client saw), each to the end of its stream."""
    recorder.expect(down, up)
    with connect(port, 30) as s:
        s.sendall(upgrade_request(path) + b"".join(up.writes[: up.glued]))
        head, rest = recv_head(s)
        assert status_of(head) == 101
        seen = converse(s, up, down, up.glued, rest)
        s.shutdown(lbtest.socket.SHUT_WR)
        seen += lbtest.recv_all(s)
    assert recorder.done.wait(30 * SLOW), "the backend has not come to its end"
    return recorder.seen, seen


class Bench:
    def __init__(self, lb, port, backend, recorder):
        self.lb = lb
        self.port = port
        self.backend = backend
        self.recorder = recorder

    def counters(self):
        return self.lb.stats()["counters"]

    def compare(self, splice, up, down):
        """Runs the exchange without and with lb; returns what lb counted of it."""
        direct = exchange(self.backend.port, "/", self.recorder, up, down)
        assert direct == (up.bytes, down.bytes), "the exchange itself is wrong"
        before = self.counters()
        through = exchange(self.port, f"/{splice}", self.recorder, up, down)
        for side, a, b in zip(("backend", "client"), through, direct):
            assert a == b, f"the {side} saw other bytes: {first_difference(a, b)}"
        self.lb.wait_active(0)
        return {k: v - before[k] for k, v in self.counters().items()}


def first_difference(a, b):
    n = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
    return f"{len(a)} and {len(b)}, first at {n}: {a[n : n + 20]!r} and {b[n : n + 20]!r}"


@pytest.fixture(scope="module")
def bench(engine, tmp_path_factory):
    """One lb with a pool for each way a byte may take, all with the same backend."""
    tmp = tmp_path_factory.mktemp("transparency")
    recorder = Recorder()
    port = free_port()
    with fake_factory() as fake, lb_factory(engine, tmp) as start:
        backend = fake(recorder.serve)
        conf = http_conf(port, [])
        conf["listeners"][0]["routes"] = [
            {"path": f"/{splice}", "pool": splice} for splice in ("always", "never")
        ]
        del conf["listeners"][0]["pool"]
        conf["pools"] = [
            {"name": splice, "backends": [backend.row()], "relay": {"splice": splice}}
            for splice in ("always", "never")
        ]
        yield Bench(start(conf), port, backend, recorder)


@pytest.fixture(params=["always", "never"])
def splice(request):
    return request.param


MASKS = {"up": b"\x8a\x01\xfe\x55", "down": b""}


@pytest.mark.parametrize("kind", EXCHANGES, ids=[e.__name__ for e in EXCHANGES])
def test_same_bytes(bench, splice, kind):
    """And lb followed the frames: all of them are counted, in both directions."""
    up, down = kind(MASKS["up"]), kind(MASKS["down"])
    counted = bench.compare(splice, up, down)
    assert counted["frames_in"] == len(up.frames)
    assert counted["frames_out"] == len(down.frames)
    assert counted["protocol_errors"] == 0
    if splice == "never":
        assert counted["spliced_bytes"] == 0
    elif kind in (sixteen_mib, sizes_around_the_limits):
        assert counted["spliced_bytes"] > 0


@pytest.mark.parametrize("frames", BROKEN.values(), ids=BROKEN.keys())
def test_broken_frames_are_the_same_bytes(bench, splice, frames):
    """Alone, behind good frames and before good frames."""
    for tail in ([], frames_of([os.urandom(70000), b"x"], b"")):
        good = [*frames_of([b"good", os.urandom(66000)], MASKS["up"])]
        up = Sent([*good, *frames, *tail])
        down = Sent([*frames_of([b"good"], b""), *frames, *tail])
        assert bench.compare(splice, up, down)["protocol_errors"] >= 1


# ---- permessage-deflate --------------------------------------------------------------------------

EXTENSION = "Sec-WebSocket-Extensions: permessage-deflate\r\n"
TEXTS = [b"", b"hello", b"hello again" * 10, b"x" * 70000, b"1234567890" * 60000, b"end"]


def deflated(payloads, mask):
    """Compressed frames (RFC 7692) of one context, RSV1 set."""
    z = zlib.compressobj(9, zlib.DEFLATED, -15)
    frames = []
    for p in payloads:
        data = z.compress(p) + z.flush(zlib.Z_SYNC_FLUSH)
        assert data.endswith(b"\0\0\xff\xff")
        frames.append(ws_frame(data[:-4], 1, rsv=4, mask=mask))
    return frames


SERVERS = {
    "ws": ["node", lbtest.ROOT / "tests" / "ws" / "server.js"],
    "websockets": [sys.executable, lbtest.ROOT / "tests" / "peers" / "ws_server.py"],
}


@pytest.fixture(scope="module", params=SERVERS)
def deflating(request, engine, tmp_path_factory):
    """(port of a server that compresses, port of an lb before it)"""
    tmp = tmp_path_factory.mktemp("deflate")
    back, port = free_port(), free_port()
    server = Process([*SERVERS[request.param], back], tmp / "server")
    try:
        wait_for("the server", lambda: "listening" in server.stdout(), timeout=20)
        with lb_factory(engine, tmp) as start:
            conf = http_conf(port, [("d", back)])
            start(conf)
            yield back, port
    finally:
        server.kill()


def n_frames(data):
    """How many whole frames of a server are in `data`."""
    n = at = 0
    while at + 2 <= len(data):
        size = data[at + 1]
        head = {126: 4, 127: 10}.get(size, 2)
        if head > 2:
            size = int.from_bytes(data[at + 2 : at + head], "big")
        at += head + size
        n += at <= len(data)
    return n


def echo_deflated(port, writes):
    """(the answer's extensions, every byte behind its head)"""
    with connect(port, 30) as s:
        s.sendall(upgrade_request(extra=EXTENSION))
        head, seen = recv_head(s)
        assert status_of(head) == 101
        for w in writes:
            s.sendall(w)
        while n_frames(seen) < len(TEXTS):
            part = s.recv(1 << 16)
            assert part, f"the server ended the stream after {n_frames(seen)} answers"
            seen += part
        s.sendall(ws_frame(struct.pack(">H", 1000), 8))
        seen += lbtest.recv_all(s)
        return dict(fields_of(head))["sec-websocket-extensions"], seen


@pytest.mark.parametrize("size", [1, 1000, None], ids=["1 byte", "1000 bytes", "one write"])
def test_deflated_bytes_are_the_same(deflating, size):
    """What both ends agreed on, and every compressed byte of the answers."""
    back, port = deflating
    data = b"".join(deflated(TEXTS, b"\x01\x02\x03\x04"))
    writes = [data[i : i + (size or len(data))] for i in range(0, len(data), size or len(data))]
    direct = echo_deflated(back, writes)
    assert "permessage-deflate" in direct[0]
    assert len(direct[1]) > 1000
    assert echo_deflated(port, writes) == direct


def test_deflated_messages_come_back(deflating):
    """The library on both sides, its own compression, messages that do and do not compress."""
    _, port = deflating

    async def body():
        ws = await ws_open(port, compression="deflate")
        assert "permessage-deflate" in ws.response_headers["Sec-WebSocket-Extensions"]
        for m in ("a" * 100000, os.urandom(100000), "", b"", "end"):
            await ws.send(m)
            assert await asyncio.wait_for(ws.recv(), 20 * SLOW) == m
        await ws.close()

    run(body())
