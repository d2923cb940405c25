# SPDX-License-Identifier: Apache-2.0
"""The admin socket, lbctl, the HTTP port, and lb's own commands."""

import asyncio
import contextlib
import errno
import json
import os
import pwd
import re
import socket
import stat
import subprocess
import time

import pytest

from lbtest import (
    HOST,
    LB,
    LBCTL,
    SHADOWED,
    SLOW,
    WRAP,
    Lb,
    ask,
    connect,
    free_port,
    http_conf,
    in_thread,
    recv_all,
    run,
    status_of,
    wait_for,
    ws_ask,
    ws_close_all,
    ws_open,
    ws_open_many,
)

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def lb_run(*args, **kw):
    return subprocess.run([LB, *args], capture_output=True, text=True, timeout=20, **kw)


# ---- the socket ----------------------------------------------------------------------------------


def test_stats_has_its_keys(lb, echo, port):
    proxy = lb(http_conf(port, echo(2)))

    async def body():
        conns = await ws_open_many(port, 6, at_once=1)
        s = await in_thread(proxy.stats)
        await ws_close_all(conns)
        return s

    s = run(body())
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", s["version"])
    assert s["pid"] == proxy.pid
    assert s["uptime_s"] >= 0
    assert s["generation"] == 1
    assert s["engine"] == proxy.engine
    assert [w["id"] for w in s["workers"]] == [0, 1]
    assert s["connections"]["active"] == 6
    assert s["connections"]["total"] == 6
    assert s["connections"]["handshaking"] == 0
    assert s["connections"]["limit"] > 0
    (listener,) = s["listeners"]
    assert listener == {
        **listener,
        "name": "l",
        "bind": f"{HOST}:{port}",
        "active": 6,
        "accepted": 6,
        "rejected": 0,
    }
    (pool,) = s["pools"]
    assert (pool["name"], pool["balance"], pool["active"]) == ("p", "least_connections", 6)
    for b in pool["backends"]:
        assert (b["state"], b["weight"], b["active"], b["total"], b["failed"]) == ("up", 1, 3, 3, 0)
        assert b["bytes_in"] > 0 and b["bytes_out"] > 0
    assert s["ends"]["client_closed"] == 0


def test_commands_are_answered_in_order(lb, echo, port):
    proxy = lb(http_conf(port, echo(1)))
    answer = proxy.admin("stats json\nnonsense\nbackends json\nweight p/e1 3")
    first, second, third, fourth, end = answer.split("\n\n", 4)[:4] + [""]
    assert json.loads(first)["pid"] == proxy.pid
    assert second.startswith("error: ")
    assert json.loads(third)["pools"][0]["name"] == "p"
    assert not fourth.startswith("error: ")
    assert proxy.backends()["e1"]["weight"] == 3


def test_a_command_in_pieces(lb, echo, port):
    proxy = lb(http_conf(port, echo(1)))
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(10)
        s.connect(str(proxy.socket))
        for byte in b"stats json\r\n"[:10] + b"\n":
            s.sendall(bytes([byte]))
            time.sleep(0.005)
        data = b""
        while not data.endswith(b"\n\n"):
            data += s.recv(65536)
        assert json.loads(data)["pid"] == proxy.pid
        s.sendall(b"help\n")  # the connection is open for more
        assert s.recv(65536)


@pytest.mark.parametrize(
    "command",
    [
        "nonsense",
        "drain",
        "drain p",
        "drain p/none",
        "drain none/e1",
        "weight p/e1",
        "weight p/e1 257",
        "weight p/e1 -1",
        "weight p/e1 x",
        "conns pool=none limit=x",
        "backends none",
        "conns client=300.1.2.3",
        "x" * 5000,
    ],
)
def test_errors_are_one_line(shared, command):
    answer = shared.lb.admin(command)
    assert answer.startswith("error: ")
    assert answer.count("\n") == 1


def test_the_socket_has_its_mode(lb, echo, port):
    conf = http_conf(port, echo(1))
    proxy = lb(conf)
    assert stat.S_IMODE(os.stat(proxy.socket).st_mode) == 0o600
    conf = http_conf(free_port(), echo(1, first=2))
    conf["admin"] = {"mode": "0660"}
    other = lb(conf)
    assert stat.S_IMODE(os.stat(other.socket).st_mode) == 0o660


def test_conns_lists_the_living(lb, echo, port):
    echoes = echo(2)
    conf = http_conf(port, echoes)
    conf["pools"].append({"name": "q", "backends": [{"name": "other", "address": HOST + ":1"}]})
    proxy = lb(conf)

    async def body():
        conns = await ws_open_many(port, 10, at_once=1)
        await ws_ask(conns[0], "y" * 1000)
        rows = await in_thread(proxy.conns)
        assert len(rows) == 10
        assert len({r["id"] for r in rows}) == 10
        clients = {f"{HOST}:{c.local_address[1]}" for c in conns}
        assert {r["client"] for r in rows} == clients
        assert {(r["listener"], r["pool"]) for r in rows} == {("l", "p")}
        states = {(r["state"], r["conn_state"], r["request_state"]) for r in rows}
        assert states == {("relay", "tunnel", "")}
        assert max(r["bytes_in"] for r in rows) > 1000
        assert max(r["bytes_out"] for r in rows) > 1000
        for args, n in [
            ({"pool": "p"}, 10),
            ({"backend": "e1"}, 5),
            ({"limit": 3}, 3),
            ({"client": "127.0.0.0/8"}, 10),
            ({"client": "10.0.0.0/8"}, 0),
            ({"min-age": "1h"}, 0),
            ({"pool": "q"}, 0),
        ]:
            assert len(await in_thread(lambda a=args: proxy.conns(**a))) == n, args
        await ws_close_all(conns)

    run(body())
    proxy.wait_active(0)
    assert proxy.conns() == []


def test_drain_maint_ready(lb, echo, port):
    proxy = lb(http_conf(port, echo(2)))

    async def body():
        old = await ws_open_many(port, 4, at_once=1)
        for command, state in (("drain", "draining"), ("maint", "maint")):
            await in_thread(proxy.command, f"{command} p/e1")
            assert (await in_thread(proxy.backends))["e1"]["state"] == state
            new = await ws_open(port)
            assert new.response_headers["X-Backend"] == "e2"
            await new.close()
        for ws in old:
            assert await ws_ask(ws, "kept") == "kept"
        await ws_close_all(old)
        await in_thread(proxy.wait_active, 0)
        await in_thread(proxy.command, "ready p/e1")
        assert (await in_thread(proxy.backends))["e1"]["state"] == "up"
        names = {ws.response_headers["X-Backend"] for ws in await ws_open_many(port, 2, at_once=1)}
        assert names == {"e1", "e2"}

    run(body())


def test_weight_takes_effect(lb, echo, port):
    proxy = lb(http_conf(port, echo(2)))
    proxy.command("weight p/e1 3")

    async def body():
        conns = await ws_open_many(port, 8, at_once=1)
        assert await in_thread(proxy.active) == {"e1": 6, "e2": 2}
        await ws_close_all(conns)

    run(body())


def test_names_must_be_known(lb, echo, port):
    """Who was removed is told from who never was, and known to `conns` while it serves."""
    echoes = echo(2)
    proxy = lb(http_conf(port, echoes))
    assert proxy.admin("conns backend=e3") == (
        'error: unknown backend "e3", did you mean "e1"?\n'
    )
    p = proxy.ctl("conns", "--pool", "nope")
    assert (p.returncode, p.stdout) == (1, "")
    assert 'unknown pool "nope"' in p.stderr

    async def body():
        conns = await ws_open_many(port, 2, at_once=1)
        await in_thread(proxy.reload_ok, http_conf(port, echoes[1:]))
        for command in ("ready p/e1", "drain p/e1", "maint p/e1", "weight p/e1 2"):
            answer = await in_thread(proxy.admin, command)
            assert answer == 'error: backend "e1" was removed from the configuration\n'
        assert len(await in_thread(lambda: proxy.conns(pool="p", backend="e1"))) == 1

        other = http_conf(port, echoes[1:])
        other["listeners"][0]["pool"] = other["pools"][0]["name"] = "q"
        await in_thread(proxy.reload_ok, other)
        answer = await in_thread(proxy.admin, "drain p/e2")
        assert answer == 'error: pool "p" was removed from the configuration\n'
        assert len(await in_thread(lambda: proxy.conns(pool="p"))) == 2
        await ws_close_all(conns)

    run(body())
    wait_for("p to be forgotten", lambda: proxy.admin("conns pool=p").startswith("error: "))


@pytest.mark.parametrize("door", ["socket", "http"])
def test_the_idle_lock_nobody_out(lb, echo, port, door):
    """A thousand clients say nothing: those that came first make room for each that comes."""
    admin = free_port()
    conf = http_conf(port, echo(1))
    conf["admin"] = {"http": f"{HOST}:{admin}"}
    proxy = lb(conf)

    def come():
        if door == "http":
            return connect(admin)
        s = socket.socket(socket.AF_UNIX)
        s.connect(str(proxy.socket))  # without a time-out: where the queue is full, it waits
        s.settimeout(20 * SLOW)
        return s

    def is_open(s):
        s.setblocking(False)
        try:
            return s.recv(1) != b""
        except BlockingIOError:
            return True
        except ConnectionResetError:
            return False

    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(come()) for _ in range(1000)]
        with come() as s:
            s.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" if door == "http" else b"help\n")
            assert s.recv(65536)
            gone = [i for i, client in enumerate(idle) if not is_open(client)]
        assert gone == list(range(len(gone))), "those that came first"
        assert 1000 - 64 < len(gone) < 1000 - 60


# ---- lbctl ---------------------------------------------------------------------------------------


def test_lbctl_shows_tables_and_json(shared):
    p = shared.lb.ctl("backends")
    assert p.returncode == 0, p.stderr
    assert "e1" in p.stdout and "e2" in p.stdout and "up" in p.stdout
    p = shared.lb.ctl("--json", "backends")
    (pool,) = json.loads(p.stdout)["pools"]
    assert [b["name"] for b in pool["backends"]] == ["e1", "e2"]
    p = shared.lb.ctl("--json", "stats")
    assert json.loads(p.stdout)["pid"] == shared.lb.pid
    p = shared.lb.ctl("--json", "conns", "--pool", "p", "--limit", "5")
    assert json.loads(p.stdout) == {"conns": [], "total": 0}
    for args in (["stats"], ["conns"], ["help"]):
        p = shared.lb.ctl(*args)
        assert (p.returncode, p.stderr) == (0, "")
        assert p.stdout


def test_lbctl_changes_things(lb, echo, port):
    proxy = lb(http_conf(port, echo(1)))
    for args, key, want in [
        (["drain", "p/e1"], "state", "draining"),
        (["ready", "p/e1"], "state", "up"),
        (["maint", "p/e1"], "state", "maint"),
        (["weight", "p/e1", "9"], "weight", 9),
    ]:
        p = proxy.ctl(*args)
        assert p.returncode == 0, p.stderr
        assert proxy.backends()["e1"][key] == want
    assert proxy.ctl("reload").returncode == 0
    assert proxy.stats()["generation"] == 2


def test_conns_sorted_and_cut(lb, echo, port):
    """The list that is cut holds the first ones of the whole list, over all workers."""
    proxy = lb({"workers": 2, **http_conf(port, echo(1))})

    async def body():
        conns = await ws_open_many(port, 20)
        for i, ws in enumerate(conns):
            await ws.send("x" * (100 * i))
            await ws.recv()
        by_bytes = json.loads(await in_thread(proxy.admin, "conns sort=bytes limit=5 json"))
        assert by_bytes["total"] == 20
        moved = [c["bytes_in"] + c["bytes_out"] for c in by_bytes["conns"]]
        whole = json.loads(await in_thread(proxy.admin, "conns json"))["conns"]
        assert moved == sorted((c["bytes_in"] + c["bytes_out"] for c in whole), reverse=True)[:5]
        assert moved[0] - moved[4] > 4 * 2 * 90

        by_age = json.loads(await in_thread(proxy.admin, "conns sort=age json"))["conns"]
        assert {c["id"] for c in by_age} == {c["id"] for c in whole}
        ages = [c["age_s"] for c in by_age]
        assert ages == sorted(ages, reverse=True)

        text = (await in_thread(proxy.ctl, "conns", "--limit", "5")).stdout
        assert text.endswith("\n5 of 20 shown\n")
        assert "shown" not in (await in_thread(proxy.ctl, "conns")).stdout
        p = await in_thread(proxy.ctl, "conns", "--sort", "size")
        assert p.returncode == 1 and '"size": must be age or bytes' in p.stderr
        await ws_close_all(conns)

    run(body())


def test_a_drain_is_waited_for(lb, echo, port):
    proxy = lb(http_conf(port, echo(2)))

    def start(*args):
        return subprocess.Popen(
            [str(LBCTL), "-s", str(proxy.socket), *args], stdout=subprocess.PIPE, text=True
        )

    async def body():
        conns = await ws_open_many(port, 4)
        with start("drain", "p/e1", "--wait") as p:
            try:
                assert p.stdout.readline() == "ok: p/e1 is draining\n"
                assert await in_thread(p.stdout.readline) == "p/e1: 2 connections left\n"
                await ws_close_all(conns)
                lines = (await in_thread(p.stdout.read)).splitlines()
                assert lines[-1] == "p/e1: 0 connections left"
                assert p.wait(20 * SLOW) == 0
            finally:
                p.kill()

    run(body())
    assert proxy.admin("drain p/e1 status") == "ok: p/e1 is draining, 0 connections left\n"


def test_a_drain_that_is_undone_is_waited_for_no_more(lb, echo, port):
    proxy = lb(http_conf(port, echo(1)))

    async def body():
        conns = await ws_open_many(port, 1)
        waiting = asyncio.get_running_loop().run_in_executor(
            None, lambda: proxy.ctl("drain", "p/e1", "--wait")
        )
        while proxy.backends()["e1"]["state"] != "draining":
            await asyncio.sleep(0.01)
        assert (await in_thread(proxy.admin, "ready p/e1")).startswith("ok")
        p = await waiting
        assert p.returncode == 1
        assert "p/e1 is not draining any more" in p.stderr
        assert proxy.backends()["e1"]["state"] == "up", "the waiting has not drained it again"
        await ws_close_all(conns)

    run(body())


def test_tables_fit_a_terminal(shared):
    for args in (["stats"], ["backends"], ["conns"]):
        for line in shared.lb.ctl(*args).stdout.splitlines():
            assert len(line) <= 80, line
    assert "ADDRESS" in shared.lb.ctl("--wide", "backends").stdout


def test_lbctl_fails_loudly(lb, echo, port, tmp_path):
    proxy = lb(http_conf(port, echo(1)))
    p = proxy.ctl("drain", "p/none")
    assert p.returncode == 1
    assert "none" in p.stderr
    assert p.stdout == ""
    proxy.rewrite("nonsense: 1\n")
    p = proxy.ctl("reload")
    assert p.returncode == 1
    assert "nonsense" in p.stderr
    proxy.socket = tmp_path / "no-socket"
    p = proxy.ctl("stats")
    assert p.returncode == 1
    assert "no-socket" in p.stderr
    proxy.socket = proxy.dir / "admin.sock"


# ---- HTTP ----------------------------------------------------------------------------------------


def http_get(port, path):
    answer = ask(port, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    head, body = answer.split(b"\r\n\r\n", 1)
    return status_of(head), head, body.decode()


def test_the_http_port(lb, echo, port):
    admin = free_port()
    conf = http_conf(port, echo(1))
    conf["admin"] = {"http": f"{HOST}:{admin}"}
    proxy = lb(conf)
    assert status_of(ask(port, GET)) == 200
    assert http_get(admin, "/healthz")[0] == 200
    status, _, body = http_get(admin, "/stats")
    assert status == 200
    assert json.loads(body)["pid"] == proxy.pid
    assert http_get(admin, "/none")[0] == 404
    proxy.wait_active(0)
    status, head, body = http_get(admin, "/metrics")
    assert status == 200
    assert b"text/plain" in head
    lines = body.splitlines()
    assert "lb_connections_active 0" in lines
    assert "lb_connections_total 1" in lines
    assert 'lb_backend_up{pool="p",backend="e1"} 1' in lines
    assert 'lb_backend_connections_active{pool="p",backend="e1"} 0' in lines
    for start in (
        'lb_backend_bytes_total{pool="p",backend="e1",direction="in"}',
        'lb_ends_total{pool="",reason="client_closed"}',
        "# TYPE lb_handshake_seconds histogram",
        "# TYPE lb_response_seconds histogram",
    ):
        assert any(line.startswith(start) for line in lines), start
    # The text format: each metric is typed once, before its samples.
    types = [line.split()[2] for line in lines if line.startswith("# TYPE ")]
    assert len(types) == len(set(types))
    for line in lines:
        if line.startswith("#") or not line:
            continue
        name = re.match(r"[a-z_]+", line).group()
        assert re.sub(r"_(bucket|sum|count)$", "", name) in types or name in types, line
        float(line.rsplit(" ", 1)[1])


# ---- commands of lb itself -----------------------------------------------------------------------


def test_check(tmp_path):
    good = tmp_path / "good.yaml"
    conf = http_conf(free_port(), [("b", 9001)])
    good.write_text(json.dumps({**conf, "admin": {"socket": str(tmp_path / "s")}}))
    for more in ([], ["--syntax"]):
        p = lb_run("check", "-c", str(good), *more)
        assert (p.returncode, p.stdout, p.stderr) == (0, f"{good}: ok\n", "")

    bad = tmp_path / "bad.yaml"
    bad.write_text("listeners:\n  - name: l\n    bnd: 1.2.3.4:80\npools: []\nwerkers: 3\n")
    p = lb_run("check", "-c", str(bad))
    assert (p.returncode, p.stdout) == (1, "")
    lines = p.stderr.splitlines()
    assert any(line.startswith(f"{bad}:3:5: ") and "bind" in line for line in lines), lines
    assert any(line.startswith(f"{bad}:5:1: ") and "workers" in line for line in lines), lines


def test_version_and_help():
    p = lb_run("--version")
    assert p.returncode == 0
    assert re.search(r"\d+\.\d+\.\d+", p.stdout)
    p = lb_run("--help")
    assert p.returncode == 0
    assert "check" in p.stdout and "-c" in p.stdout


def test_usage_is_2():
    for args in (["--nonsense"], ["nonsense"], ["-c"]):
        p = lb_run(*args)
        assert p.returncode == 2, args
        assert p.stderr


def test_a_wrong_configuration_is_1(tmp_path):
    path = tmp_path / "lb.yaml"
    path.write_text("a: 1\nb: 2\n")
    p = lb_run("-c", str(path))
    assert p.returncode == 1
    assert ":1:1: " in p.stderr and ":2:1: " in p.stderr, "all mistakes"
    assert lb_run("-c", str(tmp_path / "none.yaml")).returncode == 1


def test_a_taken_address_is_3(engine, tmp_path, port):
    with socket.socket() as taken:
        taken.bind((HOST, port))
        taken.listen(1)
        proxy = Lb(http_conf(port, [("b", 1)]), engine, tmp_path, ready=False)
        try:
            assert proxy.wait() == 3
            assert f"{HOST}:{port}" in proxy.stderr()
        finally:
            proxy.destroy()


def check_70(proxy, why):
    """It does not start, and says why in one line."""
    try:
        assert proxy.wait() == 70
        # A build that measures coverage may not write its figures once it is another user.
        said = [x for x in proxy.stderr().splitlines() if not x.startswith("profiling:")]
        assert said == [f"{why}: {os.strerror(errno.EAGAIN)}"]
    finally:
        proxy.destroy()


def own_user():
    """One whom lb may become; as such it is held to a number of processes, which root is not."""
    return "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name


def test_a_thread_too_many_is_70(engine, tmp_path, port, monkeypatch):
    # LeakSanitizer would want a process of its own.
    monkeypatch.setenv("ASAN_OPTIONS", os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0")
    conf = {"user": own_user(), "log": {"level": "err"}, **http_conf(port, [("b", 1)])}
    proxy = Lb(conf, engine, tmp_path, ready=False, nproc=1)
    check_70(proxy, "cannot start the log's thread")


@pytest.mark.skipif(SHADOWED or WRAP, reason="sanitizers and valgrind need memory of their own")
def test_a_start_without_memory_is_70(engine, tmp_path, port):
    """The memory for two threads, where three are wanted."""
    conf = http_conf(port, [("b", 1)])
    proxy = Lb(conf, engine, tmp_path, ready=False, stack=64 << 20, data=180 << 20)
    check_70(proxy, "worker 1: cannot start its thread")


def test_an_unknown_user_is_1_with_its_place(engine, tmp_path, port):
    conf = {"user": "no-such-user-at-all", **http_conf(port, [("b", 1)])}
    proxy = Lb(conf, engine, tmp_path, ready=False)
    try:
        assert proxy.wait() == 1
        want = f'{proxy.path}:2:10: "user" is "no-such-user-at-all": no such user\n'
        assert proxy.stderr() == want
        p = lb_run("check", "-c", str(proxy.path))
        assert (p.returncode, p.stderr) == (1, want)
    finally:
        proxy.destroy()


def test_after_user_only_main_may_bind(lb, echo, port):
    """CAP_NET_BIND_SERVICE is main's, for a reload; no other thread has any capability."""
    is_root = os.geteuid() == 0
    proxy = lb({"user": own_user(), **http_conf(port, echo(1))})
    caps = {}
    for task in os.listdir(f"/proc/{proxy.pid}/task"):
        with open(f"/proc/{proxy.pid}/task/{task}/status") as f:
            fields = dict(line.split(":\t", 1) for line in f.read().splitlines() if ":\t" in line)
        thread = "main" if task == str(proxy.pid) else fields["Name"]
        caps[thread] = (int(fields["CapPrm"], 16), int(fields["CapEff"], 16))
    main = caps.pop("main")
    if SHADOWED:
        caps.pop("lb", None)  # the sanitizer's own
    assert main == ((1 << 10, 1 << 10) if is_root else (0, 0))
    assert {"lb-log", "lb-worker-0", "lb-worker-1"} <= set(caps)
    assert set(caps.values()) == {(0, 0)}, caps


def test_a_second_lb_does_not_share_the_address(lb, engine, tmp_path, echo, port):
    """SO_REUSEPORT would let it: the start must find the first one out."""
    lb(http_conf(port, echo(1)))
    second = Lb(http_conf(port, [("b", 1)]), engine, tmp_path, ready=False)
    try:
        assert second.wait() == 3
    finally:
        second.destroy()


def test_the_admin_socket_of_a_living_lb_is_not_taken(lb, engine, tmp_path, echo, port):
    first = lb(http_conf(port, echo(1)))
    conf = http_conf(free_port(), [("b", 1)])
    conf["admin"] = {"socket": str(first.socket)}
    second = Lb(conf, engine, tmp_path, ready=False)
    try:
        assert second.wait() == 3
        assert str(first.socket) in second.stderr()
    finally:
        second.destroy()
    assert first.stats()["pid"] == first.pid


def test_port_0_shows_its_real_port(lb, echo):
    proxy = lb(http_conf(0, echo(1)))
    (row,) = proxy.stats()["listeners"]
    real = int(row["bind"].rsplit(":", 1)[1])
    assert real > 0
    assert status_of(ask(real, GET)) == 200


def test_default_path(engine, tmp_path, echo, port):
    """Without -c: ./lb.yaml."""
    proxy = Lb(http_conf(port, echo(1)), engine, tmp_path)
    try:
        proxy.stop()
        p = subprocess.Popen([LB], cwd=proxy.dir, stderr=subprocess.DEVNULL)
        try:
            wait_for("lb to accept", lambda: accepts(port))
        finally:
            p.terminate()
            assert p.wait(10) == 0
    finally:
        proxy.destroy()


def accepts(port):
    try:
        with connect(port) as s:
            s.sendall(GET)
            return status_of(recv_all(s)) == 200
    except ConnectionRefusedError:
        return False


def test_another_user_is_told_the_way_in(lb, echo, port):
    """The socket is there, and not for this user: sudo, its group, or admin.mode."""
    proxy = lb(http_conf(port, echo(1)))
    as_nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]

    def ask_as_nobody():
        argv = [*as_nobody, LBCTL, "-s", proxy.socket, "stats"]
        return subprocess.run(argv, capture_output=True, text=True, timeout=20 * SLOW)

    os.chmod(proxy.dir, 0o700)
    got = ask_as_nobody()
    assert got.returncode == 1
    assert got.stderr.endswith("lbctl: this user may not enter the socket's folder: use sudo\n")
    os.chmod(proxy.dir, 0o755)
    os.chmod(proxy.socket, 0o600)
    assert ask_as_nobody().stderr.endswith(
        "lbctl: the socket is for user root alone: use sudo, or let its group in with admin.mode: 0660\n"
    )
    os.chmod(proxy.socket, 0o660)
    assert ask_as_nobody().stderr.endswith(
        "lbctl: the socket is for user root and group root: use sudo, or join that group\n"
    )
