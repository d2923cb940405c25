# SPDX-License-Identifier: Apache-2.0
"""lb behind a container's walls (container.py): the default seccomp profiles, few capabilities, a
read-only root, another user, few descriptors, control groups."""

import json
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import container
import lbtest
from container import NOBODY, cgroup
from lbtest import (
    HOST,
    LB,
    ROOT,
    SLOW,
    ask,
    fds_by_task,
    http_conf,
    in_thread,
    run,
    status_of,
    tcp_conf,
    wait_for,
    ws_ask,
    ws_close_all,
    ws_open_many,
)
from test_doctor import forecast, hold_all, lines, with_listeners

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"

NOFILE = 1024

# Both ways to a descriptor table of one's own.
NO_TABLES = ["--refuse", "close_range=EPERM"]


@pytest.fixture
def profile(engine):
    """Options of container.py for the engine that lb is to choose by itself."""
    return ["--uring"] if engine == "io_uring" else []


@pytest.fixture
def inside(profile, monkeypatch):
    """inside(options) -> what lb and doctor are started by from now on."""

    def enter(*options):
        walls = container.enter(*profile, *options)
        monkeypatch.setattr(lbtest, "WRAP", [*walls, *lbtest.WRAP])
        return walls

    return enter


@pytest.fixture
def open_dirs(monkeypatch):
    """Another user may read what the tests write for lb."""
    mkdtemp = tempfile.mkdtemp

    def open_one(**kw):
        path = mkdtemp(**kw)
        Path(path).chmod(0o755)
        return path

    monkeypatch.setattr(lbtest.tempfile, "mkdtemp", open_one)


def problems(proxy):
    return [x for x in proxy.stderr().splitlines() if " warn " in x or " err " in x]


def fallbacks(proxy, engine):
    """The words about the engine, which are as many as they should be."""
    said = lines(proxy, "engine falls back to epoll")
    assert len(said) == (engine == "epoll"), said
    return said


# ---- the walls -----------------------------------------------------------------------------------


def test_the_walls_are_there(engine, profile):
    """Each wall is run into by a program that is no lb."""
    look = """
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
def errno_of(*args):
    ctypes.set_errno(0)
    return errno.errorcode.get(ctypes.get_errno(), "none") if libc.syscall(*args) < 0 else "done"
CLONE_FILES, CLONE_NEWUSER, MS_REMOUNT = 0x400, 0x10000000, 32
print("unshare", errno_of(272, CLONE_FILES))
print("clone", errno_of(56, CLONE_NEWUSER | 17, 0, 0, 0, 0))
print("clone3", errno_of(435, 0, 0))
print("close_range", errno_of(436, 0x7fffffff, 0xffffffff, 2))
print("io_uring_setup", errno_of(425, 0, 0))
print("uid", os.getuid(), os.getgid(), os.getgroups())
print("root", os.access("/etc", os.W_OK), os.access("/run/lb", os.W_OK))
try:
    os.mkdir("/run/lb/x")
    open("/tmp/lb-test-x", "w")
except OSError as e:
    print("tmp", errno.errorcode[e.errno])
caps = [l.split()[1] for l in open("/proc/self/status") if l.startswith(("CapBnd", "CapEff"))]
print("caps", *caps)
"""
    if os_machine() != "x86_64":
        pytest.fail("the numbers of system calls in this test are those of x86-64")
    walls = container.enter(*profile, "--read-only", f"--uid={NOBODY}")
    done = subprocess.run(
        [*walls, sys.executable, "-c", look], capture_output=True, text=True, timeout=20 * SLOW
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "unshare EPERM",
        "clone EPERM",
        "clone3 ENOSYS",
        "close_range done",
        f"io_uring_setup {'EFAULT' if engine == 'io_uring' else 'EPERM'}",
        f"uid {NOBODY} {NOBODY} []",
        "root False True",
        "tmp EROFS",
        "caps 0000000000000000 00000000a80425fb",
    ]


def os_machine():
    return subprocess.run(["uname", "-m"], capture_output=True, text=True).stdout.strip()


# ---- a table of its own for each worker ----------------------------------------------------------


@pytest.mark.parametrize("uid", [0, NOBODY])
def test_lb_runs_in_a_container(lb, echo, port, engine, inside, open_dirs, uid):
    """Under the profile, with a read-only root and 1,024 open files: it starts without a warning,
    each worker has a table of its own, and connections, reload, doctor and stop are as anywhere."""
    walls = inside("--read-only", f"--uid={uid}")
    conf = tcp_conf(port, echo(2))
    conf["engine"] = "auto"
    conf["admin"] = {"socket": "/run/lb/admin.sock"}
    proxy = lb(conf, ready=False, nofile=NOFILE)
    proxy.socket = Path(f"/proc/{proxy.pid}/root/run/lb/admin.sock")
    proxy.wait_ready()
    proxy.fds, proxy.n_listeners = fds_by_task(proxy.pid), 1
    stats = proxy.stats()
    assert (stats["engine"], stats["descriptor_tables"]) == (engine, "own")
    fallbacks(proxy, engine)
    assert not problems(proxy)

    async def body():
        conns = await ws_open_many(port, 40)
        before = await in_thread(fds_by_task, proxy.pid)
        assert len(set(before.values())) > 1, before
        assert sum(before.values()) > 80
        await in_thread(proxy.reload_ok, conf)
        for i, ws in enumerate(conns):
            assert await ws_ask(ws, f"{i}") == f"{i}"
        await ws_close_all(conns)

    run(body())
    told = forecast(proxy.path, nofile=NOFILE, enter=walls)
    assert told["descriptor_tables"] == "own"
    assert told["connections"] == stats["connections"]["forecast"] == stats["connections"]["limit"]
    proxy.check_fds()
    proxy.stop()
    assert not problems(proxy)


# ---- one table for all ---------------------------------------------------------------------------

# Ways in which a system has no table for a worker; without close_range what it inherits could not
# be closed, so that unshare alone is no way.
WITHOUT_TABLES = [
    ["--refuse", "close_range=EPERM"],
    ["--refuse", "close_range=ENOSYS"],
    ["--refuse", "close_range=ENOSYS", "--allow", "unshare"],
]


@pytest.mark.parametrize("refused", WITHOUT_TABLES)
def test_without_tables_of_their_own_all_share_one(lb, echo, port, engine, inside, refused):
    """lb warns once, runs, and says everywhere how many connections fit: as many as really do."""
    walls = inside(*refused)
    ports = [port, *(lbtest.free_port() for _ in range(29))]
    conf = {**tcp_conf(port, echo(2)), "engine": "auto"}
    proxy = lb(conf, nofile=NOFILE)
    stats = proxy.stats()
    assert (stats["engine"], stats["descriptor_tables"]) == (engine, "shared")
    assert "in one descriptor table" in proxy.ctl("stats").stdout
    (warning,) = problems(proxy)
    assert "all threads share one descriptor table: " in warning
    assert f" workers=2 open_files={NOFILE}" in warning

    told = forecast(proxy.path, nofile=NOFILE, enter=walls)
    assert told["descriptor_tables"] == "shared"
    row = told["limits"][0]
    assert row["now"].startswith(f"{NOFILE} open files (ulimit -Hn) in one table for all threads, ")
    assert "allow close_range(2) in the seccomp profile" in row["raise"]
    few = hold_all(proxy, port, NOFILE, walls)
    assert NOFILE // 4 < few < NOFILE // 2

    # Reloads add listeners and remove them: the sockets work, and are counted.
    proxy.reload_ok(with_listeners(conf, ports))
    fewer = hold_all(proxy, ports[-1], NOFILE, walls)
    assert few - 31 <= fewer <= few - 29
    proxy.reload_ok(conf)
    assert hold_all(proxy, port, NOFILE, walls) == few
    assert len(set(fds_by_task(proxy.pid).values())) == 1
    proxy.finish()
    assert [x for x in problems(proxy) if "share one descriptor table" in x] == [warning]


def test_websockets_in_one_table(lb, echo, port, inside):
    """Both streams, bulk through pipes, a health check and a stop: nothing depends on the tables."""
    inside(*WITHOUT_TABLES[0])
    conf = http_conf(port, echo(2), health={"type": "websocket", "interval": "1s"})
    conf["workers"] = 4
    conf["pools"][0]["relay"] = {"splice": "always"}
    proxy = lb(conf, nofile=NOFILE)
    for name in ("e1", "e2"):
        proxy.wait_state(name, "up")
    text = "x" * 300000

    async def body():
        conns = await ws_open_many(port, 60)
        for ws in conns:
            assert await ws_ask(ws, text) == text
        await ws_close_all(conns)

    run(body())
    proxy.finish()


def test_too_few_descriptors_for_one_table(lb, echo, port, inside):
    inside(*WITHOUT_TABLES[0])
    proxy = lb(tcp_conf(port, echo(1)), ready=False, nofile=80)
    assert proxy.wait() == 3
    proxy.was_stopped = True
    assert re.search(r"the limit of 80 open files leaves .* need \d+ in one table", proxy.stderr())


# ---- control groups ------------------------------------------------------------------------------


def test_auto_workers_within_a_cpu_quota(lb, echo, port, inside):
    """Half a CPU is one worker, on however many CPUs."""
    conf = {**http_conf(port, echo(1)), "workers": "auto", "engine": "auto"}
    with cgroup("cpu", cfs_period_us="100000", cfs_quota_us="50000") as group:
        walls = inside(f"--cgroup={group}")
        proxy = lb(conf)
        assert len(proxy.stats()["workers"]) == 1
        assert status_of(ask(port, GET)) == 200
        told = forecast(proxy.path, enter=walls)
        assert (told["workers"], told["cpu_quota_milli"]) == (1, 500)
        proxy.finish()


def test_the_memory_limit_of_a_container(lb, echo, port, inside):
    """It is what the forecast is bound by, here and in the log."""
    conf = {**http_conf(port, echo(1)), "engine": "auto"}
    limit = 160 << 20  # less than what the descriptors allow, and enough for a sanitizer's shadow
    with cgroup("memory", limit_in_bytes=f"{limit}") as group:
        walls = inside(f"--cgroup={group}")
        proxy = lb(conf)
        told = forecast(proxy.path, enter=walls)
        assert told["bound_by"] == "memory"
        assert 0 < told["connections"] < limit // 9000
        row = next(x for x in told["limits"] if x["name"] == "memory")
        assert " available in the cgroup" in row["now"]
        assert lines(proxy, "bound_by=memory")
        assert status_of(ask(port, GET)) == 200
        proxy.finish()
