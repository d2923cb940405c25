# SPDX-License-Identifier: Apache-2.0
"""python3 ws_server.py PORT: python3-websockets as an echoing server on 127.0.0.1 that agrees to
permessage-deflate and to the subprotocol "v2.lb". A path that ends in /bye gets "goodbye" and a
close. Prints "listening" when it does."""

import asyncio
import sys

import websockets


async def serve(ws):
    if ws.path.endswith("/bye"):
        await ws.send("goodbye")
        return
    async for message in ws:
        await ws.send(message)


async def main(port):
    async with websockets.serve(
        serve,
        "127.0.0.1",
        port,
        subprotocols=["v2.lb"],
        max_size=None,
        close_timeout=0.3,
        ping_interval=None,
    ):
        print("listening", flush=True)
        await asyncio.Future()


asyncio.run(main(int(sys.argv[1])))
