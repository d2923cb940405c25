# SPDX-License-Identifier: Apache-2.0
"""The demo that scripts/demo starts once everything is built.

Starts three lb-echo and lb, opens WebSockets through lb, and shows what happens to them. Whatever it
has started is stopped when it ends, however it ends.
"""

import argparse
import asyncio
import collections
import contextlib
import json
import resource
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import websockets

HOST = "127.0.0.1"
PORT = 8080
BACKENDS = {"b1": 9001, "b2": 9002, "b3": 9003}
N_CONNS = 1000
N_MORE = 300
N_AT_ONCE = 100


class Trouble(Exception):
    """An error that the user is told in one line."""


def say(text):
    print(f"\n--- {text}", flush=True)


def check_ports():
    for port in (PORT, *BACKENDS.values()):
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind((HOST, port))
            except OSError:
                text = f"port {port} of {HOST} is in use: stop the program that listens there"
                raise Trouble(text) from None


def configuration(folder, backends):
    """An lb.yaml as JSON, which is YAML too."""
    return json.dumps(
        {
            "workers": 2,
            "stop_timeout": "2s",
            "admin": {"socket": str(folder / "admin.sock")},
            "listeners": [{"name": "public", "bind": f"{HOST}:{PORT}", "pool": "chat"}],
            "pools": [
                {
                    "name": "chat",
                    "balance": "least_connections",
                    "backends": [{"name": n, "address": f"{HOST}:{p}"} for n, p in backends],
                    "health": {"type": "websocket", "path": "/", "interval": "500ms", "fall": 2},
                }
            ],
        },
        indent=2,
    )


class Demo:
    def __init__(self, build, folder):
        self.build = build
        self.folder = folder
        self.conf = folder / "lb.yaml"
        self.children = {}
        self.open = []
        self.ends = collections.Counter()

    # ---- processes ----

    def start(self, name, argv):
        log = open(self.folder / f"{name}.log", "wb")
        with log:
            self.children[name] = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def start_backend(self, name):
        address = f"{HOST}:{BACKENDS[name]}"
        self.start(name, [self.build / "backends/lb-echo", "-l", address, "-n", name])

    def check_alive(self):
        for name, child in self.children.items():
            if child.poll() is not None:
                log = (self.folder / f"{name}.log").read_text(errors="replace").strip()
                raise Trouble(f"{name} has ended with status {child.returncode}:\n{log}")

    def stop_all(self):
        for child in self.children.values():
            if child.poll() is None:
                child.terminate()
        for child in self.children.values():
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    def lbctl(self, *args, is_shown=True):
        argv = [str(self.build / "lb/ctl/lbctl"), "-s", str(self.folder / "admin.sock"), *args]
        if is_shown:
            print(f"$ lbctl {' '.join(args)}", flush=True)
        p = subprocess.run(argv, capture_output=True, text=True, timeout=20)
        if is_shown:
            print((p.stdout + p.stderr).rstrip(), flush=True)
        return p

    async def wait_ready(self):
        for _ in range(200):
            self.check_alive()
            p = self.lbctl("--json", "backends", is_shown=False)
            if p.returncode == 0:
                backends = [b for pool in json.loads(p.stdout)["pools"] for b in pool["backends"]]
                if all(b["state"] == "up" for b in backends):
                    return
            await asyncio.sleep(0.05)
        raise Trouble("lb or its backends did not come up")

    # ---- connections ----

    async def live(self, ws):
        """One client: sends a message each second, checks the echo, and counts its end."""
        try:
            for i in range(1 << 30):
                await ws.send(f"message {i}")
                if await ws.recv() != f"message {i}":
                    raise Trouble("an echo came back changed")
                await asyncio.sleep(1)
        except websockets.ConnectionClosed as e:
            self.ends[e.rcvd.code if e.rcvd else 1006] += 1

    async def connect(self, n):
        for first in range(0, n, N_AT_ONCE):
            opened = await asyncio.gather(
                *(
                    websockets.connect(
                        f"ws://{HOST}:{PORT}/demo",
                        compression=None,
                        ping_interval=None,
                        close_timeout=1,
                    )
                    for _ in range(min(N_AT_ONCE, n - first))
                )
            )
            self.open += [asyncio.create_task(self.live(ws)) for ws in opened]
        await asyncio.sleep(1)

    def n_open(self):
        for task in self.open:
            if task.done() and task.exception():
                raise task.exception()
        return sum(1 for task in self.open if not task.done())

    # ---- the show ----

    async def play(self):
        check_ports()
        for name in BACKENDS:
            self.start_backend(name)
        self.conf.write_text(configuration(self.folder, list(BACKENDS.items())[:2]))
        self.start("lb", [self.build / "lb/daemon/lb", "-c", self.conf])
        await self.wait_ready()

        say(f"{N_CONNS} WebSockets through {HOST}:{PORT} to two backends, each sends every second")
        await self.connect(N_CONNS)
        self.lbctl("backends")
        print(f"clients: {self.n_open()} open")

        say("a third backend is written into lb.yaml, and lb is reloaded")
        self.conf.write_text(configuration(self.folder, BACKENDS.items()))
        if self.lbctl("reload").returncode != 0:
            raise Trouble("the reload failed")
        await self.wait_ready()
        say(f"{N_MORE} more connections: least_connections still counts the old ones")
        await self.connect(N_MORE)
        self.lbctl("backends")
        print(f"clients: {self.n_open()} open, none was disturbed")

        say("backend b1 is killed: its connections end, all others go on")
        before = self.n_open()
        self.children.pop("b1").kill()
        await asyncio.sleep(2)
        self.lbctl("backends")
        print(f"clients: {self.n_open()} open, {before - self.n_open()} were b1's")
        ends = self.lbctl("--json", "stats", is_shown=False)
        if ends.returncode == 0:
            counts = {k: v for k, v in json.loads(ends.stdout)["ends"].items() if v}
            print(f"lb's reasons: {counts}")

        say("b1's clients connect again: they are spread over the other backends")
        await self.connect(before - self.n_open())
        self.lbctl("backends")

        say("b1 is started again, and lb is reloaded by a signal (kill -HUP)")
        self.start_backend("b1")
        self.children["lb"].send_signal(signal.SIGHUP)
        await self.wait_ready()
        self.lbctl("backends")
        print(f"clients: {self.n_open()} open")
        if self.n_open() != N_CONNS + N_MORE:
            raise Trouble(f"{N_CONNS + N_MORE} connections should be open")
        self.check_alive()

    async def stay(self):
        socket_path = self.folder / "admin.sock"
        say("everything runs until Ctrl-C, for you to try")
        print(f"connect:    ws://{HOST}:{PORT}/ (any WebSocket client), curl http://{HOST}:{PORT}/")
        print(f"look:       {self.build}/lb/ctl/lbctl -s {socket_path} backends")
        print(f"            {self.build}/lb/ctl/lbctl -s {socket_path} conns --limit 5")
        print(f"change:     {self.conf}, then lbctl -s {socket_path} reload")
        print(f"logs:       {self.folder}/lb.log", flush=True)
        while True:
            self.check_alive()
            await asyncio.sleep(1)


def raise_nofile():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard != resource.RLIM_INFINITY and hard < N_CONNS + N_MORE + 200:
        raise Trouble(f"RLIMIT_NOFILE is {hard}: too small for the demo's own clients")


async def run(demo, is_once):
    task = asyncio.current_task()
    for signo in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signo, task.cancel)
    try:
        await demo.play()
        if not is_once:
            await demo.stay()
    finally:
        # Now, because it ends the clients' connections, and then no client has to be waited for.
        demo.stop_all()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=Path, required=True)
    parser.add_argument("--once", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lb-demo-") as folder:
        demo = Demo(args.build.resolve(), Path(folder))
        try:
            raise_nofile()
            asyncio.run(run(demo, args.once))
        except Trouble as e:
            print(f"demo: {e}", file=sys.stderr)
            return 1
        except asyncio.CancelledError:
            print("\nstopping", flush=True)
            return 1 if args.once else 0
        finally:
            demo.stop_all()
        with contextlib.suppress(BrokenPipeError):
            say("all stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
