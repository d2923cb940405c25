# SPDX-License-Identifier: Apache-2.0
"""A client's side of one connection, over asyncio: connect, upgrade, frames, ends.

Everything that is read is held against what was sent. What goes wrong is a `Trouble`, with what is
needed to judge it: the kind, the backend where it is known, and the time in which it happened.
"""

import asyncio
import contextlib
import re
import socket
import struct
import time

from lbtest import ACCEPT, HOST, status_of, upgrade_request, ws_frame

PATIENCE_S = 90.0  # for one answer: longer than what lb itself waits for one

BINARY, CLOSE, PING, PONG = 2, 8, 9, 10


class Trouble(Exception):
    """kind: refused, lost (the stream ended early), status (of an answer), late, or wrong (a byte
    is not what was sent)."""

    def __init__(self, kind, text):
        super().__init__(text)
        self.kind = kind


class Peer:
    """One connection through lb. `pool` says who can be to blame; `backend` is known from an
    answer's X-Backend."""

    def __init__(self, port, pool):
        self.port = port
        self.pool = pool
        self.backend = None
        self.since = time.monotonic()

    async def connect(self):
        try:
            self.reader, self.writer = await asyncio.wait_for(
                asyncio.open_connection(HOST, self.port), PATIENCE_S
            )
        except ConnectionRefusedError as e:
            raise Trouble("refused", str(e)) from None
        except (OSError, asyncio.TimeoutError) as e:
            raise Trouble("lost", f"connect: {e!r}") from None
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    # -- bytes

    async def _in_time(self, coro, what):
        try:
            return await asyncio.wait_for(coro, PATIENCE_S)
        except asyncio.TimeoutError:
            raise Trouble("late", f"{what}: nothing for {PATIENCE_S:.0f} s") from None
        except asyncio.IncompleteReadError as e:
            raise Trouble("lost", f"{what}: the stream ended after {len(e.partial)} B") from None
        except ConnectionError as e:
            raise Trouble("lost", f"{what}: {e!r}") from None

    async def write(self, data):
        self.writer.write(data)
        await self._in_time(self.writer.drain(), "write")

    async def read(self, n, what="read"):
        return await self._in_time(self.reader.readexactly(n), what)

    async def read_end(self, what="end"):
        """The stream must end here, and with a FIN."""
        rest = await self._in_time(self.reader.read(1), what)
        if rest:
            raise Trouble("wrong", f"{what}: a byte more than was sent")

    async def read_head(self, want):
        """An answer's head, whose status must be `want`."""
        head = await self._in_time(self.reader.readuntil(b"\r\n\r\n"), "head")
        name = re.search(rb"(?i)\r\nx-backend: (\w+)\r\n", head)
        if name:
            self.backend = name[1].decode()
        if status_of(head) != want:
            raise Trouble("status", head.split(b"\r\n", 1)[0].decode("latin-1"))
        return head

    # -- WebSocket

    async def upgrade(self, path="/ws"):
        await self.write(upgrade_request(path, host="soak"))
        head = await self.read_head(101)
        if f"\r\nsec-websocket-accept: {ACCEPT.lower()}\r\n".encode() not in head.lower():
            raise Trouble("wrong", "the 101 has another Sec-WebSocket-Accept")

    async def send(self, payload, opcode=BINARY, n_frames=1):
        """One message, in so many fragments."""
        size = len(payload) // n_frames + 1
        for i in range(n_frames):
            part = payload[i * size : (i + 1) * size]
            is_last = i == n_frames - 1
            await self.write(ws_frame(part, opcode if i == 0 else 0, fin=is_last))

    async def recv_frame(self):
        """(opcode, fin, payload)"""
        first, second = await self.read(2, "frame")
        n = second & 0x7F
        if n == 126:
            (n,) = struct.unpack(">H", await self.read(2, "frame"))
        elif n == 127:
            (n,) = struct.unpack(">Q", await self.read(8, "frame"))
        if second & 0x80 or n > 1 << 24:
            raise Trouble("wrong", f"a frame that begins with {first:02x} {second:02x}")
        return first & 0x0F, bool(first & 0x80), await self.read(n, "payload")

    async def expect(self, payload, opcode=BINARY):
        """The next message must be this one."""
        got, at = b"", opcode
        while True:
            code, fin, part = await self.recv_frame()
            if code != at:
                raise Trouble("wrong", f"opcode {code} instead of {at}")
            got += part
            if fin:
                break
            at = 0
        if got != payload:
            raise Trouble("wrong", f"a message of {len(payload)} B came back as {len(got)} others")

    async def echo(self, payload, opcode=BINARY, n_frames=1):
        """Sends and reads at once, as a message may be longer than what is buffered on the way."""
        sending = asyncio.ensure_future(self.send(payload, opcode, n_frames))
        try:
            await self.expect(payload, opcode)
        except Trouble:
            sending.cancel()
            with contextlib.suppress(Trouble, asyncio.CancelledError):
                await sending
            raise
        await sending

    # -- ends

    async def close_gently(self):
        """A Close frame each way, then the stream's end."""
        code = struct.pack(">H", 1000)
        await self.write(ws_frame(code, CLOSE))
        await self.expect(code, CLOSE)
        await self.read_end()
        await self.close()

    def half_close(self):
        try:
            self.writer.write_eof()
        except OSError as e:
            raise Trouble("lost", f"half-close: {e!r}") from None

    def reset(self):
        sock = self.writer.get_extra_info("socket")
        with contextlib.suppress(OSError):  # it may be gone already
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def close(self):
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()

    def drop(self):
        """For what is beyond repair."""
        if hasattr(self, "writer"):
            self.writer.transport.abort()
