# SPDX-License-Identifier: Apache-2.0
"""What may happen to lb itself: a full or slow disk, a thread that stands still, a machine that
sleeps, a wall clock that jumps, descriptors that run out, a hundred reloads with broken files
between."""

import asyncio
import contextlib
import copy
import ctypes
import json
import os
import select
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

import lbtest
from lbtest import (
    HOST,
    SLOW,
    ask,
    connect,
    free_port,
    http_conf,
    in_thread,
    recv_all,
    recv_head,
    run,
    status_of,
    upgrade_request,
    wait_for,
    ws_ask,
    ws_close_all,
    ws_frame,
    ws_open,
    ws_open_many,
)

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


# ---- the log's disk ------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 256 KiB."""
    path = tmp_path / "disk"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "lb-test", path], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", path], check=True)


def rows_of(path):
    """The whole lines of a log, and how many were broken off by the disk's end."""
    good, n_bad = [], 0
    for line in path.read_text().splitlines():
        try:
            good.append(json.loads(line))
        except json.JSONDecodeError:
            n_bad += 1
    return good, n_bad


def test_a_full_disk_under_the_logs(lb, echo, port, small_disk):
    """Both logs are on it. Requests are answered all the same, and once there is room again their
    lines are written, without a restart."""
    access = small_disk / "access.log"
    conf = http_conf(port, echo(1))
    conf["access_log"] = {"format": "json", "to": str(access)}
    conf["log"] = {"level": "info", "to": str(small_disk / "lb.log")}
    proxy = lb(conf)
    filler = small_disk / "filler"
    with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as f:
        while True:
            f.write(b"x" * 4096)
    for _ in range(200):
        assert status_of(ask(port, GET)) == 200
    n_written = len(rows_of(access)[0])
    assert n_written < 200, "the disk was not full"
    for name in ("access.log", "lb.log"):
        told = f'lb: err: cannot write log path={small_disk / name} error="No space left on device"'
        wait_for(f"a word about {name}", lambda told=told: told in proxy.stderr())
        assert proxy.stderr().count(told) == 1

    filler.unlink()
    for _ in range(20):
        assert status_of(ask(port, GET)) == 200
    wait_for("new lines", lambda: len(rows_of(access)[0]) >= n_written + 20)
    assert rows_of(access)[1] <= 2, "lines were broken"
    log = small_disk / "lb.log"
    wait_for("a word about what was lost", lambda: "log bytes lost" in log.read_text())
    wait_for("every end", lambda: proxy.ends() == {"completed": 220})


def test_a_disk_that_is_full_at_the_start(lb, echo, port, small_disk):
    """The access log's lines cannot be written from the first one on, and the log says so."""
    with contextlib.suppress(OSError), open(small_disk / "filler", "wb", buffering=0) as f:
        while True:
            f.write(b"x" * 4096)
    conf = http_conf(port, echo(1))
    conf["access_log"] = {"to": str(small_disk / "access.log")}
    proxy = lb(conf)
    assert status_of(ask(port, GET)) == 200
    told = f'cannot write log path={small_disk / "access.log"} error="No space left on device"'
    wait_for("a word about it", lambda: told in proxy.stderr())
    for _ in range(20):
        assert status_of(ask(port, GET)) == 200
    proxy.wait_active(0)
    assert proxy.stderr().count(told) == 1


def test_a_slow_disk_under_the_access_log(lb, echo, port, tmp_path):
    """A pipe whose reader takes its time: traffic does not wait for it, and each line arrives whole
    or is counted as dropped."""
    path = tmp_path / "slow"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    is_fast = threading.Event()
    parts = []

    def read():
        while not is_over.is_set():
            try:
                part = os.read(reader, 1 << 16 if is_fast.is_set() else 300)
            except BlockingIOError:
                part = b"-"
            if part == b"-" or not is_fast.is_set():
                time.sleep(0.01)
            if part not in (b"", b"-"):
                parts.append(part)

    is_over = threading.Event()
    thread = threading.Thread(target=read)
    try:
        conf = http_conf(port, echo(1))
        conf["access_log"] = {"format": "json", "to": str(path)}
        proxy = lb(conf)
        thread.start()
        n = 600
        for _ in range(n):
            assert status_of(ask(port, GET)) == 200
        is_fast.set()

        def all_accounted():
            lines = b"".join(parts).count(b"\n")
            return lines + proxy.stats()["counters"]["log_lines_dropped"] == n

        wait_for("every line to be read or counted", all_accounted, timeout=20)
        for line in b"".join(parts).splitlines():
            assert json.loads(line)["status"] == 200
        proxy.stop()
    finally:
        is_over.set()
        if thread.ident is not None:
            thread.join(10)
        os.close(reader)


# ---- a worker that stands still ------------------------------------------------------------------

PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT = 17, 0x4206, 0x4207
WALL = 0x40000000  # waitpid: threads too


@contextlib.contextmanager
def held_still(tid):
    """The kernel runs nothing of one thread meanwhile."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long] * 4
    libc.ptrace.restype = ctypes.c_long

    def ptrace(request):
        if libc.ptrace(request, tid, 0, 0) < 0:
            raise OSError(ctypes.get_errno(), f"ptrace {request:#x} of {tid}")

    ptrace(PTRACE_SEIZE)
    try:
        ptrace(PTRACE_INTERRUPT)
        os.waitpid(tid, WALL)
        yield
    finally:
        ptrace(PTRACE_DETACH)


def threads_of(pid):
    """name -> thread id"""
    return {
        (t / "comm").read_text().strip(): int(t.name) for t in Path(f"/proc/{pid}/task").iterdir()
    }


def moved_of(proxy, n_workers):
    return [proxy.stats()["workers"][i]["active"] for i in range(n_workers)]


def test_a_worker_held_still_holds_nobody_else(lb, echo, port):
    """The connections of the others go on, and so do the admin socket and the checks. Those of the
    held one wait, and so does a reload; when it runs again nothing of them is lost."""
    conf = http_conf(port, echo(2), health={"type": "tcp", "interval": "100ms"})
    conf["workers"] = 3
    proxy = lb(conf)
    tid = threads_of(proxy.pid)["lb-worker-0"]

    def open_one():
        """(worker, tunnel)"""
        before = moved_of(proxy, 3)
        s = connect(port, 20)
        s.sendall(upgrade_request())
        assert status_of(recv_head(s)[0]) == 101
        return [b - a for a, b in zip(before, moved_of(proxy, 3))].index(1), s

    tunnels = [open_one() for _ in range(24)]
    assert {w for w, _ in tunnels} == {0, 1, 2}
    question, answer = ws_frame(b"there?", 1), ws_frame(b"there?", 1, mask=b"")
    answers = []
    with held_still(tid):
        for _, s in tunnels:
            s.sendall(question)
        for w, s in tunnels:
            if w != 0:
                assert lbtest.recv_exact(s, len(answer)) == answer
        mine = [s for w, s in tunnels if w == 0]
        assert mine
        for s in mine:
            s.setblocking(False)
            with pytest.raises(BlockingIOError):
                s.recv(1)
            s.settimeout(20 * SLOW)
        assert proxy.stats()["connections"]["active"] == len(tunnels)
        assert len(proxy.backends()) == 2
        reload = threading.Thread(target=lambda: answers.append(proxy.reload(conf)))
        reload.start()
        # New ones: those that the kernel gave to the held one wait in its queue.
        new = [connect(port, 20) for _ in range(40)]
        for s in new:
            s.sendall(GET)
        served = []
        while part := select.select([s for s in new if s not in served], [], [], 0.5)[0]:
            served += part
        assert served, "nobody was served"
        assert len(served) < len(new), "the held one was not held"
        assert not answers, "a reload was answered without one of the workers"
        assert not proxy.ends().keys() - {"completed"}
    for s in mine:
        assert lbtest.recv_exact(s, len(answer)) == answer
    for s in new:
        assert status_of(recv_all(s)) == 200
        s.close()
    reload.join(20 * SLOW)
    assert len(answers) == 1 and not answers[0].startswith("error: ")
    for _, s in tunnels:
        s.close()
    proxy.wait_active(0)
    assert proxy.ends()["completed"] == 40


# ---- a machine that sleeps -----------------------------------------------------------------------


def test_a_machine_that_sleeps(lb, fake, echo, port):
    """All of lb stands still for longer than every timeout. When it wakes, what has arrived counts
    before what is late: nothing healthy is dropped, no check has failed; what is late is ended."""
    conf = http_conf(
        port,
        echo(1),
        timeouts={"idle": "1500ms", "upgrade": "1s", "response": "1s", "connect": "1s"},
        health={"type": "tcp", "interval": "100ms", "timeout": "500ms", "rise": 1, "fall": 1},
    )
    conf["listeners"][0]["timeouts"] = {"handshake": "1500ms"}
    proxy = lb(conf)
    proxy.wait_state("e1", "up")
    question, answer = ws_frame(b"there?", 1), ws_frame(b"there?", 1, mask=b"")

    tunnels = []
    for _ in range(20):
        s = connect(port, 20)
        s.sendall(upgrade_request())
        assert status_of(recv_head(s)[0]) == 101
        tunnels.append(s)
    halves = [connect(port, 20) for _ in range(5)]
    for s in halves:
        s.sendall(GET[:10])
    silent = connect(port, 20)
    proxy.wait_active(len(tunnels) + len(halves) + 1)
    proxy.signal(signal.SIGSTOP)
    try:
        time.sleep(1)
        for s in tunnels:
            s.sendall(question)
        for s in halves:
            s.sendall(GET[10:])
        time.sleep(2)
    finally:
        proxy.signal(signal.SIGCONT)
    for s in tunnels:
        assert lbtest.recv_exact(s, len(answer)) == answer
    for s in halves:
        assert status_of(recv_all(s)) == 200
        s.close()
    assert recv_all(silent) == b""  # it has asked for nothing
    silent.close()
    assert proxy.backends()["e1"]["state"] == "up"
    assert status_of(ask(port, GET)) == 200
    for s in tunnels:
        s.close()
    proxy.wait_active(0)
    ends = proxy.ends()
    assert (ends["handshake_timeout"], ends["completed"]) == (1, 6)
    assert "idle" not in ends


# ---- a wall clock that jumps ---------------------------------------------------------------------

FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"


def test_a_wall_clock_that_jumps(lb, echo, port, tmp_path, monkeypatch):
    """A day forward, then two back, for lb alone. Timeouts and checks do not notice, and a log line
    has the new time and its old durations."""
    clock = tmp_path / "clock"
    clock.write_text("+0")
    env = {
        "LD_PRELOAD": FAKETIME,
        "FAKETIME_TIMESTAMP_FILE": clock,
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0",
    }
    wrap = ["env", *(f"{k}={v}" for k, v in env.items()), *lbtest.WRAP]
    monkeypatch.setattr(lbtest, "WRAP", wrap)
    access = tmp_path / "access.log"
    conf = http_conf(
        port,
        echo(1),
        timeouts={"idle": "20s"},
        health={"type": "tcp", "interval": "100ms", "timeout": "1s", "fall": 1},
    )
    conf["access_log"] = {"format": "json", "to": str(access)}
    proxy = lb(conf)
    proxy.wait_state("e1", "up")

    def last_row():
        rows = rows_of(access)[0]
        return rows[-1] if rows else {"time": ""}

    async def body():
        ws = await ws_open(port)
        for jump, days in (("+1d", 1), ("-1d", -1)):
            clock.write_text(jump)
            assert await ws_ask(ws, jump) == jump
            assert status_of(await in_thread(ask, port, GET)) == 200
            day = time.strftime("%Y-%m-%d", time.gmtime(time.time() + days * 86400))
            await in_thread(wait_for, "the new day", lambda d=day: last_row()["time"][:10] == d)
            row = last_row()
            assert 0 <= row["handshake_ms"] <= row["duration_ms"] < 10000 * SLOW
        await asyncio.sleep(0.3)
        assert (await in_thread(proxy.backends))["e1"]["state"] == "up"
        assert await ws_ask(ws, "still here") == "still here"
        await ws.close()

    run(body())
    proxy.wait_active(0)
    assert proxy.ends().keys() <= {"completed", "client_closed", "backend_closed"}
    assert 0 <= proxy.stats()["uptime_s"] < 1000 * SLOW


# ---- descriptors ---------------------------------------------------------------------------------


def test_a_crowd_at_the_admin_socket_takes_no_descriptor_of_a_worker(lb, echo, port):
    """The main thread's table is full; connections are accepted, relayed and answered, and when
    the crowd has gone the admin socket answers again."""
    proxy = lb(http_conf(port, echo(1)), nofile=100)
    crowd = []
    try:
        for _ in range(150):
            s = socket.socket(socket.AF_UNIX)
            crowd.append(s)
            s.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                s.connect(str(proxy.socket))

        async def body():
            conns = await ws_open_many(port, 40)
            texts = [f"{i}" for i in range(len(conns))]
            assert await asyncio.gather(*map(ws_ask, conns, texts)) == texts
            await ws_close_all(conns)

        run(body())
    finally:
        for s in crowd:
            s.close()
    wait_for("the admin socket", lambda: proxy.stats()["connections"]["active"] == 0, timeout=10)
    assert sum(proxy.ends().values()) == 40


def test_descriptors_run_out_and_come_back(lb, echo, port):
    """Three times more clients than a table holds, again and again: each is served in the end, the
    pause is counted, and no connection ends for want of a descriptor."""
    conf = http_conf(port, echo(1))
    conf["workers"] = 1
    proxy = lb(conf, nofile=100)

    async def one():
        ws = await ws_open(port, open_timeout=30 * SLOW)
        assert await ws_ask(ws, "in") == "in"
        await asyncio.sleep(0.1)
        await ws.close()

    async def body():
        for _ in range(3):
            await asyncio.gather(*(one() for _ in range(120)))

    run(body())
    proxy.wait_active(0)
    assert proxy.stats()["counters"]["accept_pauses"] > 0
    ends = proxy.ends()
    assert sum(ends.values()) == 360
    assert ends.keys() <= {"client_closed", "backend_closed"}


# ---- reloads -------------------------------------------------------------------------------------

BROKEN = [
    "listeners: [",
    "",
    "listeners: []\npools: []\n",
    "\x00\x01\x02",
    "a: &a [*a]\n",
    "pools: [{name: p, backends: [127.0.0.1:1]}]\nlisteners: [{name: l, bind: nowhere, pool: p}]\n",
    "x" * 100000,
]


def test_100_reloads_under_load_with_broken_files_between(lb, echo, port):
    """Pools, weights, timeouts and listeners change each time; the file between is unreadable. All
    who come are served, tunnels talk throughout, and only the good ones count."""
    echoes = echo(3)
    other = free_port()
    confs = []
    for i in range(4):
        conf = http_conf(port, echoes[: 1 + i % 3], timeouts={"idle": f"{60 + i}s"})
        conf["listeners"][0]["timeouts"] = {"handshake": f"{10 + i}s"}
        if i % 2:
            conf["listeners"].append({"name": "o", "bind": f"{HOST}:{other}", "pool": "p"})
        confs.append(conf)
    proxy = lb(copy.deepcopy(confs[0]))
    is_over = threading.Event()
    statuses = []

    def stream():
        while not is_over.is_set():
            statuses.append(status_of(ask(port, GET)))

    threads = [threading.Thread(target=stream) for _ in range(2)]

    async def talk(ws):
        n = 0
        while not is_over.is_set():
            assert await ws_ask(ws, f"{n}") == f"{n}"
            n += 1
            await asyncio.sleep(0.01)
        return n

    async def body():
        tunnels = await ws_open_many(port, 20)
        talks = [asyncio.create_task(talk(ws)) for ws in tunnels]
        for t in threads:
            t.start()
        try:
            for i in range(100):
                await in_thread(proxy.reload_ok, confs[(i + 1) % len(confs)])
                answer = await in_thread(proxy.reload, BROKEN[i % len(BROKEN)])
                assert answer.startswith("error: "), (i, answer)
        finally:
            is_over.set()
        assert min(await asyncio.gather(*talks)) > 0
        await ws_close_all(tunnels)

    run(body())
    for t in threads:
        t.join(10)
    assert set(statuses) == {200}
    assert len(statuses) > 50
    assert proxy.stats()["generation"] == 101
    proxy.wait_active(0)
    assert set(proxy.ends()) <= {"completed", "client_closed", "backend_closed"}
    assert [ln["name"] for ln in proxy.stats()["listeners"]] == ["l"]


# ---- signals -------------------------------------------------------------------------------------

# By default each of these ends a process.
MEANINGLESS = [
    signal.SIGUSR2,
    signal.SIGALRM,
    signal.SIGVTALRM,
    signal.SIGPROF,
    signal.SIGIO,
    signal.SIGPWR,
    signal.SIGXCPU,
    16,  # SIGSTKFLT
    signal.SIGRTMIN,
    signal.SIGRTMIN + 1,
    signal.SIGRTMAX,
]


def test_a_signal_without_a_meaning_is_ignored_and_told(lb, echo, port):
    proxy = lb(http_conf(port, echo(1)))
    said = "signal ignored: it has no meaning for lb"
    for n, signo in enumerate(MEANINGLESS, 1):
        proxy.signal(signo)
        wait_for(f"signal {signo} in the log", lambda n=n: proxy.stderr().count(said) == n)
    assert f"{said} signal=USR2\n" in proxy.stderr()
    assert f"{said} signal={signal.SIGRTMAX:d}\n" in proxy.stderr()
    for signo in (signal.SIGPIPE, signal.SIGXFSZ):  # those two without a word
        proxy.signal(signo)
    assert status_of(ask(port, GET)) == 200
    proxy.reload_ok()
    assert proxy.stderr().count(said) == len(MEANINGLESS)


def test_a_log_at_the_limit_of_a_files_size_ends_nothing(lb, echo, port, tmp_path):
    """Beyond RLIMIT_FSIZE a write is SIGXFSZ, which by default ends the process."""
    access = tmp_path / "access.log"
    conf = http_conf(port, echo(1))
    conf["access_log"] = {"to": str(access)}
    log = tmp_path / "lb.log"  # a sanitizer's reports fill stderr up to its limit
    conf["log"] = {"level": "notice", "to": str(log)}
    limit = 4096
    proxy = lb(conf, fsize=limit)
    for _ in range(60):  # a line of the access log has more than 100 bytes
        assert status_of(ask(port, GET)) == 200
    wait_for("a full file", lambda: limit - 200 < access.stat().st_size <= limit)

    # What was lost is told as soon as a new file takes lines again.
    access.rename(tmp_path / "access.log.1")
    proxy.signal(signal.SIGUSR1)
    wait_for("the new file", access.exists)
    assert status_of(ask(port, GET)) == 200
    wait_for("the loss to be told", lambda: f"log bytes lost path={access} n=" in log.read_text())
