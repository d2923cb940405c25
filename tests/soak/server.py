# SPDX-License-Identifier: Apache-2.0
"""python3 server.py NAME HTTP-PORT TCP-PORT: a plain backend of the soak, on 127.0.0.1.

Over HTTP it sends a request's body back, framed as it came (with its length, or in chunks); over
TCP it sends back what it reads, to the end of the stream. Prints "listening" when it does; ends on
TERM.
"""

import asyncio
import contextlib
import signal
import sys

HOST = "127.0.0.1"
PIECE = 1 << 16


async def read_chunks(reader):
    """The body of a chunked request, which brings no trailers."""
    parts = []
    while True:
        n = int(await reader.readuntil(b"\r\n"), 16)
        parts.append(await reader.readexactly(n))
        await reader.readexactly(2)
        if n == 0:
            return b"".join(parts)


async def serve_http(name, reader, writer):
    head = await reader.readuntil(b"\r\n\r\n")
    fields = dict(
        line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line
    )
    fixed = f"HTTP/1.1 200 OK\r\nX-Backend: {name}\r\nConnection: close\r\n".encode()
    if b"transfer-encoding" in fields:
        body = await read_chunks(reader)
        writer.write(fixed + b"Transfer-Encoding: chunked\r\n\r\n")
        for at in range(0, len(body), PIECE):
            part = body[at : at + PIECE]
            writer.write(b"%x\r\n%b\r\n" % (len(part), part))
        writer.write(b"0\r\n\r\n")
    else:
        body = await reader.readexactly(int(fields.get(b"content-length", b"0")))
        writer.write(fixed + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    await writer.drain()


async def serve_tcp(reader, writer):
    while True:
        part = await reader.read(PIECE)
        if not part:
            break
        writer.write(part)
        await writer.drain()
    writer.write_eof()


async def guarded(serve, reader, writer):
    """A peer may leave at any time, lb's checks do."""
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        await serve(reader, writer)
    with contextlib.suppress(ConnectionError):
        writer.close()
        await writer.wait_closed()


async def main(name, http_port, tcp_port):
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)

    def on_http(reader, writer):
        return guarded(lambda r, w: serve_http(name, r, w), reader, writer)

    def on_tcp(reader, writer):
        return guarded(serve_tcp, reader, writer)

    http = await asyncio.start_server(on_http, HOST, http_port, backlog=1000)
    tcp = await asyncio.start_server(on_tcp, HOST, tcp_port, backlog=1000)
    print("listening", flush=True)
    await stopped.wait()
    http.close()
    tcp.close()


signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the conductor, who ends this one
asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
