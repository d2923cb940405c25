# SPDX-License-Identifier: Apache-2.0
"""python3 client.py JSON: one process of the soak's clients; soak.py starts several.

The JSON is a dict: ports (public, tcp, temporary), conns (WebSockets that stay open), rate (new
connections a second besides), seed. It writes a line of JSON for each trouble at once and its
figures every second; a line on its stdin, or its end, lets it finish: every connection is brought
to its planned end, and the last line is {"what": "bye"}.
"""

import asyncio
import collections
import contextlib
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integration"))

from websocket_peer import BINARY, PING, PONG, Peer, Trouble  # noqa: E402 (the path comes first)

LIFE_S = 180.0  # of a connection that stays, in the mean
PAUSE_S = 5.0  # between its messages, in the mean
PAUSE_MAX_S = 20.0  # well below timeouts.half_closed: nobody reads while it lasts
SIZES = (10, 256 << 10)  # of a message, all orders of magnitude alike
PROMPT = 1024  # the round trip of messages up to this is measured
STALL_S = (2.0, 12.0)  # for which a slow reader does not read
N_STALLED = 6  # messages of the greatest size that it then has waiting for it
AT_ONCE = 20  # connections that stay, opened at once at the start

# What the other connections do, and how often.
SHORT = {
    "chat": 10,
    "plain": 6,
    "tcp": 4,
    "temporary": 3,
    "half_close": 2,
    "reset": 2,
    "slow": 1,
    "rubbish": 1,
}

RUBBISH = b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"


class Clients:
    def __init__(self, plan):
        self.ports = plan["ports"]
        self.conns = plan["conns"]
        self.rate = plan["rate"]
        self.random = random.Random(plan["seed"])
        self.noise = self.random.randbytes(2 * SIZES[1])
        self.count = collections.Counter()
        self.latencies_us = []
        self.is_over = asyncio.Event()
        self.at_once = asyncio.Semaphore(AT_ONCE)

    # -- telling

    def tell(self, what, **more):
        print(json.dumps({"what": what, **more}), flush=True)

    def tell_figures(self):
        self.tell("figures", count=dict(self.count), latencies_us=self.latencies_us)
        self.count.clear()
        self.latencies_us.clear()

    async def tell_always(self):
        while True:
            await asyncio.sleep(1)
            self.tell_figures()

    # -- pieces of a life

    def payload(self, low=SIZES[0], high=SIZES[1]):
        """Bytes that a mix-up of connections, places or lengths would not leave as they are."""
        n = int(low * (high / low) ** self.random.random())
        at = self.random.randrange(len(self.noise) - n)
        return self.noise[at : at + n]

    async def pause(self, mean):
        """A pause of some length; cut short where the run is over."""
        seconds = min(self.random.expovariate(1 / mean), PAUSE_MAX_S)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.is_over.wait(), seconds)

    @contextlib.asynccontextmanager
    async def peer(self, kind, port, pool):
        """A peer; what goes wrong with it is told, and forgotten."""
        p = Peer(self.ports[port], pool)
        try:
            yield p
        except Trouble as e:
            self.tell(
                "trouble",
                activity=kind,
                kind=e.kind,
                text=str(e),
                port=port,
                pool=pool,
                backend=p.backend,
                since=p.since,
                until=time.monotonic(),
            )
        finally:
            p.drop()

    async def connect(self, p):
        await p.connect()
        self.count["opened"] += 1

    async def upgrade(self, p):
        await self.connect(p)
        await p.upgrade()

    async def message(self, p, **size):
        payload = self.payload(**size)
        if self.random.random() < 0.1:
            await p.send(payload[:125], PING)
            await p.expect(payload[:125], PONG)
        n_frames = self.random.choice((1, 1, 1, 1, 3))
        before = time.monotonic()
        await p.echo(payload, BINARY, n_frames)
        if len(payload) <= PROMPT:
            self.latencies_us.append(int((time.monotonic() - before) * 1e6))
        self.count["messages"] += 1
        self.count["bytes"] += len(payload)

    # -- lives

    async def stay(self):
        """A WebSocket that stays open, talks now and then, and ends in one of the ways."""
        async with self.peer("stay", "public", "chat") as p:
            async with self.at_once:
                await self.upgrade(p)
            end = time.monotonic() + self.random.expovariate(1 / LIFE_S)
            while time.monotonic() < end and not self.is_over.is_set():
                await self.message(p)
                await self.pause(PAUSE_S)
            await self.random.choice((self.end_gently, self.end_half_closed, self.end_reset))(p)

    async def stay_always(self):
        while not self.is_over.is_set():
            await self.stay()
            await self.pause(0.5)

    async def chat(self):
        async with self.peer("chat", "public", "chat") as p:
            await self.upgrade(p)
            for _ in range(self.random.randrange(4)):
                await self.message(p)
            await p.close_gently()

    async def temporary(self):
        """Through the listener that comes and goes, and for longer than that may be there."""
        async with self.peer("temporary", "temporary", "chat") as p:
            await self.upgrade(p)
            for _ in range(3):
                await self.message(p, high=4096)
                await self.pause(PAUSE_S)
            await p.close_gently()

    async def plain(self):
        """A request with a body, its length told or in chunks."""
        body = self.payload()
        async with self.peer("plain", "public", "web") as p:
            await self.connect(p)
            head = b"POST /plain HTTP/1.1\r\nHost: soak\r\n"
            if self.random.random() < 0.5:
                await p.write(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
                await p.read_head(200)
                answer = await p.read(len(body), "body")
            else:
                half = len(body) // 2
                chunks = b"".join(
                    b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:half], body[half:])
                )
                await p.write(head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")
                await p.read_head(200)
                answer = await self.read_chunks(p)
            if answer != body:
                raise Trouble("wrong", f"a body of {len(body)} B came back otherwise")
            await p.read_end()
            await p.close()

    @staticmethod
    async def read_chunks(p):
        parts = []
        while True:
            line = await p.read(2, "chunk")
            while not line.endswith(b"\r\n"):
                line += await p.read(1, "chunk")
            n = int(line, 16)
            parts.append(await p.read(n, "chunk"))
            await p.read(2, "chunk")
            if n == 0:
                return b"".join(parts)

    async def tcp(self):
        """Bytes through a listener that relays them unseen; half-closed before they are read."""
        data = self.payload()
        async with self.peer("tcp", "tcp", "raw") as p:
            await self.connect(p)

            async def send():
                await p.write(data)
                p.half_close()

            sending = asyncio.ensure_future(send())
            try:
                answer = await p.read(len(data), "echo")
            except Trouble:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)
                raise
            await sending
            if answer != data:
                raise Trouble("wrong", f"{len(data)} B came back otherwise")
            await p.read_end()
            await p.close()

    async def half_close(self):
        async with self.peer("half_close", "public", "chat") as p:
            await self.upgrade(p)
            await self.end_half_closed(p)

    async def reset(self):
        async with self.peer("reset", "public", "chat") as p:
            await self.upgrade(p)
            await self.message(p)
            await self.end_reset(p)

    async def slow(self):
        """Asks for more than is buffered on the way, and reads none of it for a while."""
        payloads = [self.payload(low=SIZES[1]) for _ in range(N_STALLED)]
        async with self.peer("slow", "public", "chat") as p:
            await self.upgrade(p)

            async def send():
                for payload in payloads:
                    await p.send(payload)

            sending = asyncio.ensure_future(send())
            try:
                await asyncio.sleep(self.random.uniform(*STALL_S))
                for payload in payloads:
                    await p.expect(payload)
            except Trouble:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)
                raise
            await sending
            self.count["messages"] += len(payloads)
            await p.close_gently()

    async def rubbish(self):
        """lb judges it, so no backend is to blame whatever happens."""
        async with self.peer("rubbish", "public", None) as p:
            await self.connect(p)
            await p.write(RUBBISH)
            await p.read_head(400)
            self.count["rubbish"] += 1
            await p.close()

    # -- ends

    async def end_gently(self, p):
        await p.close_gently()

    async def end_half_closed(self, p):
        """All that was sent before comes back behind the half-close."""
        payloads = [self.payload(high=16 << 10) for _ in range(3)]
        for payload in payloads:
            await p.send(payload)
        p.half_close()
        for payload in payloads:
            await p.expect(payload)
        await p.read_end()
        await p.close()

    async def end_reset(self, p):
        """With bytes under way, both ways."""
        await p.send(self.payload())
        p.reset()

    # -- the whole

    async def short_always(self):
        """New connections at the rate, whatever became of those before."""
        names, weights = list(SHORT), list(SHORT.values())
        tasks = set()
        while not self.is_over.is_set():
            (name,) = self.random.choices(names, weights)
            task = asyncio.ensure_future(getattr(self, name)())
            tasks.add(task)
            task.add_done_callback(self.done_with(tasks))
            await self.pause(1 / self.rate)
        if tasks:
            await asyncio.gather(*tasks)

    @staticmethod
    def done_with(tasks):
        def done(task):
            tasks.discard(task)
            task.result()  # what is no Trouble is a mistake of the soak's own: it ends the process

        return done

    async def run(self):
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(give_up)
        loop.add_reader(sys.stdin.fileno(), self.is_over.set)
        telling = asyncio.ensure_future(self.tell_always())
        await asyncio.gather(self.short_always(), *(self.stay_always() for _ in range(self.conns)))
        loop.remove_reader(sys.stdin.fileno())
        telling.cancel()
        self.tell_figures()
        self.tell("bye")


def give_up(loop, context):
    """An error in the soak itself must not pass for quiet."""
    loop.default_exception_handler(context)
    os._exit(70)


async def main():
    await Clients(json.loads(sys.argv[1])).run()


signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the conductor, who ends this one
asyncio.run(main())
