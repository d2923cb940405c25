# SPDX-License-Identifier: Apache-2.0
"""What the integration tests share: lb and its backends as processes, clients, and raw sockets.

Everything that is started is remembered and stopped by its process id, also when a test fails. The
executables are those of the build directory LB_BUILD (by default build/).
"""

import asyncio
import contextlib
import copy
import json
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import websockets

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("LB_BUILD", ROOT / "build")).resolve()
LB = BUILD / "lb" / "daemon" / "lb"
LBCTL = BUILD / "lb" / "ctl" / "lbctl"
ECHO = BUILD / "backends" / "lb-echo"

HOST = "127.0.0.1"

# What lb is run under: "valgrind -q ...", or nothing.
WRAP = os.environ.get("LB_WRAP", "").split()

# Sanitizer builds and valgrind are slower; every wait of a test is multiplied by this.
SLOW = float(os.environ.get("LB_SLOW", "1"))

# Memory has a sanitizer's own beside it, and what was freed is kept: its size says nothing.
SHADOWED = LB.exists() and any(w in LB.read_bytes() for w in (b"__asan_init", b"__tsan_init"))

BAD_WORDS = (
    "AddressSanitizer",
    "LeakSanitizer",
    "ThreadSanitizer",
    "MemorySanitizer",
    "UndefinedBehaviorSanitizer",
    "runtime error:",
    "BUG at",
    "== ERROR SUMMARY",
)


# ---- waiting and ports ---------------------------------------------------------------------------


def wait_for(what, probe, timeout=5.0, every=0.02):
    """Calls `probe` until it returns something true, and returns that."""
    end = time.monotonic() + timeout * SLOW
    while True:
        got = probe()
        if got:
            return got
        if time.monotonic() > end:
            raise AssertionError(f"waited in vain for: {what}")
        time.sleep(every)


_given_ports = set()


def free_port():
    """A port below 10000 that nobody is bound to and that was not given before."""
    for _ in range(1000):
        port = random.randrange(3000, 9900)
        if port in _given_ports:
            continue
        with socket.socket() as s:
            try:
                s.bind(("0.0.0.0", port))
            except OSError:
                continue
        _given_ports.add(port)
        return port
    raise AssertionError("no free port below 10000")


@contextlib.contextmanager
def hole():
    """The port of a socket whose accept queue is full: connects to it are not answered."""
    with contextlib.ExitStack() as stack:
        s = stack.enter_context(socket.socket())
        s.bind((HOST, 0))
        s.listen(0)
        for _ in range(4):
            f = stack.enter_context(socket.socket())
            f.setblocking(False)
            f.connect_ex((HOST, s.getsockname()[1]))
        time.sleep(0.1)
        yield s.getsockname()[1]


# ---- processes -----------------------------------------------------------------------------------


def fds_by_task(pid):
    """Open descriptors of each thread, which may have a table of its own; pipes are left out: lb
    keeps those that it has used."""
    count = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        n = 0
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for fd in (task / "fd").iterdir():
                with contextlib.suppress(FileNotFoundError):
                    n += not os.readlink(fd).startswith("pipe:")
            count[int(task.name)] = n
    return count


def fd_leaks(before, after, n_listeners_more=0):
    """The threads that have more descriptors than before, but for listeners that a reload added (a
    negative number: removed). They may have fewer: a health check was under way at the start."""
    return {
        tid: (before[tid], n)
        for tid, n in after.items()
        if tid in before and n > before[tid] + max(n_listeners_more, 0)
    }


def threads_of(pid):
    """The names of a process's threads, those too that the kernel has started for it."""
    names = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            names.append((task / "comm").read_text().rstrip("\n"))
    return names


def uring_threads(names):
    """io_uring's own: it starts one where an operation cannot be done without waiting (iou-wrk-PID),
    or to poll for submissions (iou-sqp-PID). lb asks for nothing that needs any."""
    return [name for name in names if name.startswith("iou-")]


def without_fd_races(text):
    """Drops ThreadSanitizer's reports of races on a descriptor's number: it believes in one table
    for the whole process, and each worker has its own. Races on memory stay."""
    rule = "=" * 18 + "\n"
    parts = text.split(rule)
    return rule.join(
        p
        for p in parts
        if not ("WARNING: ThreadSanitizer: data race" in p and "Location is file descriptor " in p)
    )


def bad_lines(text):
    """What no process may write to its stderr."""
    lines = without_fd_races(text).splitlines()
    return [
        line
        for line in lines
        if any(word in line for word in BAD_WORDS)
        and not line.startswith("ThreadSanitizer: reported ")  # how many; each was judged
    ]


def with_limits(argv, **limits):
    """A command with limits by the names of prlimit(1), those that are numbers. Not by a function
    that runs between fork and exec: where there are threads that may hang, and whoever started it
    with it."""
    options = [f"--{name}={n}" for name, n in limits.items() if n is not None]
    return ["prlimit", *options, *argv] if options else argv


class Process:
    """A child whose output goes to files, stopped for certain by kill()."""

    def __init__(self, argv, out, **limits):
        self.argv = with_limits([str(a) for a in argv], **limits)
        self.stdout_path = Path(f"{out}.stdout")
        self.stderr_path = Path(f"{out}.stderr")

        with open(self.stdout_path, "ab") as o, open(self.stderr_path, "ab") as e:
            self.popen = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=o, stderr=e)
        self.pid = self.popen.pid

    def is_running(self):
        return self.popen.poll() is None

    def stdout(self):
        return self.stdout_path.read_text(errors="replace")

    def stderr(self):
        return self.stderr_path.read_text(errors="replace")

    def signal(self, signo):
        self.popen.send_signal(signo)

    def wait(self, timeout=10.0):
        return self.popen.wait(timeout * SLOW)

    def kill(self):
        if self.is_running():
            self.popen.kill()
        self.popen.wait()


class Echo(Process):
    """A backend: lb-echo under a name on a port."""

    def __init__(self, name, tmp, port=None, engine=None):
        self.name = name
        self.port = port or free_port()
        self.address = f"{HOST}:{self.port}"
        argv = [ECHO, "-l", self.address, "-n", name]
        if engine is not None:
            argv += ["-e", engine]
        super().__init__(argv, Path(tmp) / f"echo-{name}-{self.port}-{random.randrange(1 << 30)}")
        try:
            wait_for(f"{name} to listen", self._is_ready)
        except AssertionError:
            self.kill()
            raise

    def _is_ready(self):
        assert self.is_running(), f"lb-echo ended: {self.stderr()}"
        return f"listening on {self.address}" in self.stdout()

    def stop(self):
        if self.is_running():
            self.signal(signal.SIGTERM)
        assert self.wait() == 0, f"lb-echo ended with {self.popen.returncode}: {self.stderr()}"
        assert not bad_lines(self.stderr()), self.stderr()


class Lb(Process):
    """A running lb with a configuration of its own and a directory for its files."""

    def __init__(self, conf, engine, tmp, ready=True, **limits):
        self.tmp = Path(tmp)
        self.engine = engine
        self.dir = Path(tempfile.mkdtemp(prefix="lb-test-"))  # short: a socket's path has 107 bytes
        self.socket = self.dir / "admin.sock"
        self.path = self.dir / "lb.yaml"
        self.was_stopped = False
        self.rewrite(conf)
        super().__init__([*WRAP, LB, "-c", self.path], self.dir / "lb", **limits)
        try:
            if ready:
                self.wait_ready()
                self.fds = fds_by_task(self.pid)
                self.n_listeners = len(self.stats()["listeners"])
        except BaseException:
            self.destroy()
            raise

    # -- the configuration

    def full(self, conf):
        """What a test gave, and what every test wants."""
        conf = copy.deepcopy(conf)
        conf.setdefault("engine", self.engine)
        conf.setdefault("workers", 2)
        conf.setdefault("stop_timeout", "1s")
        conf.setdefault("log", {"level": "info"})
        conf.setdefault("admin", {})
        conf["admin"].setdefault("socket", str(self.socket))
        return conf

    def rewrite(self, conf):
        """A dict is completed and written as JSON, which is YAML; text is written as it is."""
        if isinstance(conf, dict):
            conf = json.dumps(self.full(conf), indent=1)
        new = self.path.with_suffix(".new")
        new.write_text(conf)
        new.rename(self.path)

    # -- talking to it

    def wait_ready(self):
        def probe():
            if not self.is_running():
                raise AssertionError(f"lb ended with {self.popen.returncode}: {self.stderr()}")
            try:
                return self.admin("stats json").startswith("{")
            except OSError:
                return False

        wait_for("lb's admin socket", probe, timeout=10)

    def admin(self, command):
        """The answer to one command, or several, a line each, without the last empty line."""
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(20 * SLOW)
            s.connect(str(self.socket))
            s.sendall(command.encode() + b"\n")
            s.shutdown(socket.SHUT_WR)
            answer = recv_all(s).decode()
        assert answer.endswith("\n\n") or answer == "\n", f"no empty line at the end: {answer!r}"
        return answer[:-1]

    def command(self, command):
        answer = self.admin(command)
        assert not answer.startswith("error: "), answer
        return answer

    def ctl(self, *args):
        """Runs lbctl; returns its finished process, output as text."""
        return subprocess.run(
            [LBCTL, "-s", self.socket, *args], capture_output=True, text=True, timeout=20 * SLOW
        )

    def stats(self):
        return json.loads(self.command("stats json"))

    def conns(self, **what):
        args = "".join(f" {k}={v}" for k, v in what.items())
        return json.loads(self.command(f"conns{args} json"))["conns"]

    def backends(self, pool="p"):
        """name -> row of stats"""
        pools = {p["name"]: p for p in self.stats()["pools"]}
        return {b["name"]: b for b in pools[pool]["backends"]}

    def active(self, pool="p"):
        return {name: b["active"] for name, b in self.backends(pool).items()}

    def ends(self):
        """Reasons and their counts, without zeros."""
        return {k: v for k, v in self.stats()["ends"].items() if v}

    def wait_active(self, n, timeout=5.0):
        wait_for(
            f"{n} active connections",
            lambda: self.stats()["connections"]["active"] == n,
            timeout=timeout,
        )

    def wait_end(self, reason, n=1, timeout=5.0):
        try:
            wait_for(f"{n} x {reason}", lambda: self.ends().get(reason, 0) >= n, timeout=timeout)
        except AssertionError:
            raise AssertionError(f"no {reason}, but {self.ends()}") from None

    def wait_state(self, backend, state, pool="p", timeout=8.0):
        wait_for(
            f"{backend} to be {state}",
            lambda: self.backends(pool)[backend]["state"] == state,
            timeout=timeout,
        )

    # -- reload and end

    def reload(self, conf=None):
        """Writes `conf` and reloads; returns the answer, which may be an error."""
        if conf is not None:
            self.rewrite(conf)
        return self.admin("reload")

    def reload_ok(self, conf=None):
        answer = self.reload(conf)
        assert not answer.startswith("error: "), answer

    def hup(self, conf=None):
        """Writes `conf` and reloads by signal; waits until the generation has risen."""
        if conf is not None:
            self.rewrite(conf)
        was = self.stats()["generation"]
        self.signal(signal.SIGHUP)
        wait_for("the next generation", lambda: self.stats()["generation"] == was + 1)

    def check_fds(self):
        """Once no connection is left, every table is as it was after the start."""
        self.wait_active(0)
        more = len(self.stats()["listeners"]) - self.n_listeners

        def is_back():
            return not fd_leaks(self.fds, fds_by_task(self.pid), more)

        try:
            wait_for("descriptors to be closed", is_back, timeout=3)
        except AssertionError:
            leaks = fd_leaks(self.fds, fds_by_task(self.pid), more)
            raise AssertionError(f"descriptors left (thread: before, now): {leaks}") from None

    def stop(self, signo=signal.SIGTERM):
        """Ends it and checks how it ended; the second call does nothing."""
        if self.was_stopped:
            return
        self.was_stopped = True
        if self.is_running():
            self.signal(signo)
        status = self.wait(15)
        assert status == 0, f"lb ended with {status}: {self.stderr()[-3000:]}"
        assert not bad_lines(self.stderr()), self.stderr()[-6000:]

    def finish(self):
        """What every test ends with."""
        if not self.was_stopped:
            assert self.is_running(), f"lb died: {self.stderr()[-6000:]}"
            self.check_fds()
            assert not uring_threads(threads_of(self.pid)), threads_of(self.pid)
        self.stop()

    def destroy(self):
        self.kill()
        text = self.stderr()
        print(f"--- lb's stderr ---\n{text[-6000:]}")
        shutil.rmtree(self.dir, ignore_errors=True)


# ---- configurations ------------------------------------------------------------------------------


def http_conf(port, backends, mode="http", **pool):
    """One listener `l`, one pool `p`; `backends` are Echos, (name, port) pairs or dicts."""
    rows = []
    for b in backends:
        if isinstance(b, Process):
            b = {"name": b.name, "address": b.address}
        elif isinstance(b, tuple):
            b = {"name": b[0], "address": f"{HOST}:{b[1]}"}
        rows.append(b)
    return {
        "listeners": [{"name": "l", "bind": f"{HOST}:{port}", "mode": mode, "pool": "p"}],
        "pools": [{"name": "p", "backends": rows, **pool}],
    }


def tcp_conf(port, backends, **pool):
    return http_conf(port, backends, mode="tcp", **pool)


# ---- WebSocket clients ---------------------------------------------------------------------------


def run(coro, timeout=60.0):
    """Runs one coroutine to its end."""

    async def bounded():
        return await asyncio.wait_for(coro, timeout * SLOW)

    return asyncio.run(bounded())


async def ws_open(port, path="/", **kw):
    kw.setdefault("compression", None)
    kw.setdefault("max_size", None)
    kw.setdefault("ping_interval", None)
    kw.setdefault("open_timeout", 10 * SLOW)
    kw.setdefault("close_timeout", 2 * SLOW)
    return await websockets.connect(f"ws://{HOST}:{port}{path}", **kw)


async def ws_open_many(port, n, path="/", at_once=50, **kw):
    """Opens `n` WebSockets, some at a time."""
    opened = []
    while len(opened) < n:
        part = min(at_once, n - len(opened))
        opened += await asyncio.gather(*(ws_open(port, path, **kw) for _ in range(part)))
    return opened


async def ws_close_all(conns):
    await asyncio.gather(*(c.close() for c in conns), return_exceptions=True)


async def ws_ask(ws, text):
    await ws.send(text)
    return await asyncio.wait_for(ws.recv(), 10 * SLOW)


async def in_thread(fn, *args):
    """Calls what blocks (lb.stats, ...) while connections of this loop stay alive."""
    return await asyncio.get_running_loop().run_in_executor(None, fn, *args)


KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455, 1.3

# What a backend answers to upgrade_request().
GOOD_101 = (
    f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    f"Sec-WebSocket-Accept: {ACCEPT}\r\n\r\n"
).encode()


def upgrade_request(path="/", host="test", extra="", key=KEY, version="13"):
    return (
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: {version}\r\n{extra}\r\n"
    ).encode()


def ws_frame(payload, opcode=2, fin=True, mask=b"\x11\x22\x33\x44", rsv=0):
    """A frame; masked unless `mask` is empty."""
    n = len(payload)
    bit = 0x80 if mask else 0
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    if n < 126:
        head += bytes([bit | n])
    elif n < 1 << 16:
        head += bytes([bit | 126]) + struct.pack(">H", n)
    else:
        head += bytes([bit | 127]) + struct.pack(">Q", n)
    if not mask:
        return head + payload
    key = (mask * (n // 4 + 1))[:n]
    masked = (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(n, "big")
    return head + mask + masked


# ---- raw sockets ---------------------------------------------------------------------------------


def connect(port, timeout=10.0):
    s = socket.create_connection((HOST, port), timeout=timeout * SLOW)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def recv_all(s):
    """Everything until the end of the stream."""
    parts = []
    while True:
        part = s.recv(1 << 16)
        if not part:
            return b"".join(parts)
        parts.append(part)


def recv_exact(s, n):
    parts = []
    while n > 0:
        part = s.recv(min(n, 1 << 16))
        if not part:
            raise ConnectionAbortedError(f"the stream ended {n} bytes early")
        parts.append(part)
        n -= len(part)
    return b"".join(parts)


def recv_head(s):
    """(head with its empty line, what came behind it)"""
    data = b""
    while b"\r\n\r\n" not in data:
        part = s.recv(1 << 16)
        if not part:
            raise ConnectionAbortedError(f"the stream ended within a head: {data!r}")
        data += part
    head, rest = data.split(b"\r\n\r\n", 1)
    return head + b"\r\n\r\n", rest


def ask(port, request, timeout=10.0):
    """Sends a request and returns everything that is answered until lb closes."""
    with connect(port, timeout) as s:
        s.sendall(request)
        return recv_all(s)


def status_of(answer):
    """The status of a response, or 0 where there is none."""
    line = answer.split(b"\r\n", 1)[0].split(b" ")
    return int(line[1]) if len(line) > 1 and line[0].startswith(b"HTTP/1.") else 0


def fields_of(head):
    """Fields of a head as a list of (name in lower case, value)."""
    lines = head.split(b"\r\n\r\n", 1)[0].decode("latin-1").split("\r\n")[1:]
    return [(k.lower(), v.strip()) for k, v in (line.split(":", 1) for line in lines)]


def reset(s):
    """Closes with a RST."""
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def is_reset(s):
    """Reads to the end: whether that was a reset."""
    try:
        while s.recv(1 << 16):
            pass
        return False
    except ConnectionResetError:
        return True


class Fake:
    """A backend of a test's own: `serve(sock)` runs in a thread for each connection."""

    def __init__(self, serve, port=None, name="f"):
        self.name = name
        self.serve = serve
        self.port = port or free_port()
        self.address = f"{HOST}:{self.port}"
        self.errors = []
        self.n_accepted = 0
        self.socks = []
        self.threads = []
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((HOST, self.port))
        self.listener.listen(200)
        self.acceptor = threading.Thread(target=self._accept, daemon=True)
        self.acceptor.start()

    def _accept(self):
        while True:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            self.n_accepted += 1
            s.settimeout(20 * SLOW)
            self.socks.append(s)
            t = threading.Thread(target=self._serve, args=(s,), daemon=True)
            self.threads.append(t)
            t.start()

    def _serve(self, s):
        try:
            self.serve(s)
        except ConnectionError:
            pass  # lb may close on it at any time
        except Exception as e:  # told to the test by close()
            self.errors.append(e)
        finally:
            s.close()

    def row(self):
        return {"name": self.name, "address": self.address}

    def close(self):
        """Stops; what a connection's thread raised fails the test."""
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.acceptor.join(5)
        for t in self.threads:
            t.join(0.5 * SLOW)
        for s in self.socks:
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)
        for t in self.threads:
            t.join(5)
        assert not self.errors, self.errors
