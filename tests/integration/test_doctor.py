# SPDX-License-Identifier: Apache-2.0
"""`lb doctor`, the forecast at start, and the warnings at 80 %: against what really happens."""

import contextlib
import json
import re
import subprocess
import time

import pytest

import lbtest
from lbtest import HOST, LB, SLOW, WRAP, http_conf, run, tcp_conf, wait_for, ws_close_all, ws_open_many
from test_limits import Crowd
from test_sources import A, B, Narrow

NOFILE = 256

# Bounds of the machine that other programs move between two looks.
SHARED = {"system_files", "memory", "conntrack", "tcp_mem"}

CONF = tcp_conf(8080, [("b", 9001), ("c", 9002)])


def doctor(path, *args, nofile=None, enter=(), **kw):
    """`lb doctor` of a file, as a finished process."""
    argv = lbtest.with_limits([*enter, *WRAP, LB, "doctor", "-c", path, *args], nofile=nofile)
    return subprocess.run(argv, capture_output=True, text=True, timeout=20 * SLOW, **kw)


def forecast(path, **kw):
    done = doctor(path, "--json", **kw)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    return json.loads(done.stdout)


def lines(proxy, part):
    return [x for x in proxy.stderr().splitlines() if part in x]


def ports_of_this_machine():
    """How many there are for each source and backend."""
    with open("/proc/sys/net/ipv4/ip_local_port_range") as f:
        low, high = map(int, f.read().split())
    with open("/proc/sys/net/ipv4/ip_local_reserved_ports") as f:
        ranges = [r.split("-") for r in f.read().strip().split(",") if r]
    reserved = {p for r in ranges for p in range(int(r[0]), int(r[-1]) + 1)}
    return sum(p not in reserved for p in range(low, high + 1))


# ---- the forecast and the truth ------------------------------------------------------------------


@pytest.mark.parametrize("n_workers", [1, 2])
def test_the_forecast_is_what_happens(lb, echo, port, n_workers):
    """Under a low limit of descriptors lb holds as many as were forecast, not one more or less,
    however unevenly the kernel spreads them: full workers pass connections on."""
    conf = tcp_conf(port, echo(1))
    conf["workers"] = n_workers
    proxy = lb(conf, nofile=NOFILE)
    told = forecast(proxy.path, nofile=NOFILE)
    n = told["connections"]
    assert told["bound_by"] == "descriptors"
    assert NOFILE // 4 * n_workers < n < NOFILE // 2 * n_workers
    conns = proxy.stats()["connections"]
    assert conns["forecast"] == conns["limit"] == n
    assert conns["forecast_by"] == "descriptors"
    said = f"forecast connections={n} bound_by=descriptors workers="
    wait_for("the forecast in the log", lambda: len(lines(proxy, said)) == 1)

    with contextlib.ExitStack() as stack:
        crowd = Crowd(stack, port)
        crowd.come(n + 20)
        crowd.look_until(n)
        crowd.look(0.5)
        assert len(crowd.served) == n
        assert proxy.stats()["connections"]["active"] == n

        # It recovers: as many come in as leave, until all were served.
        while crowd.waiting.get_map():
            left = len(crowd.waiting.get_map())
            crowd.leave(min(50, len(crowd.served)))
            wait_for("those who wait", lambda: crowd.look(0.1) or is_taken_in(crowd, left))
    proxy.wait_active(0)


def with_listeners(conf, ports):
    """The same with one listener, which has an address on each of these ports."""
    return {**conf, "listeners": [{**conf["listeners"][0], "bind": [f"{HOST}:{p}" for p in ports]}]}


def hold_all(proxy, port, nofile, enter=()):
    """As many connections as were forecast are served at this port, and no more: returns how many
    that is."""
    told = forecast(proxy.path, nofile=nofile, enter=enter)
    n = told["connections"]
    conns = proxy.stats()["connections"]
    assert (told["bound_by"], conns["forecast_by"]) == ("descriptors", "descriptors")
    assert conns["forecast"] == conns["limit"] == n
    with contextlib.ExitStack() as stack:
        crowd = Crowd(stack, port)
        crowd.come(n + 20)
        crowd.look_until(n)
        crowd.look(0.5)
        assert len(crowd.served) == n
        assert proxy.stats()["connections"]["active"] == n
        assert not lines(proxy, "Too many open files")
        while crowd.waiting.get_map():
            left = len(crowd.waiting.get_map())
            crowd.leave(min(50, len(crowd.served)))
            wait_for("those who wait", lambda: crowd.look(0.1) or is_taken_in(crowd, left))
    proxy.wait_active(0)
    return n


@pytest.mark.parametrize("n_workers", [1, 2])
def test_listening_sockets_are_counted(lb, echo, n_workers):
    """Each takes a descriptor of every worker's table: of the first file, and after reloads that
    add and remove some."""
    nofile = 400
    ports = [lbtest.free_port() for _ in range(60)]
    conf = {**tcp_conf(ports[0], echo(1)), "workers": n_workers}
    proxy = lb(with_listeners(conf, ports), nofile=nofile)
    many = hold_all(proxy, ports[0], nofile)
    proxy.reload_ok(with_listeners(conf, ports[:1]))
    few = hold_all(proxy, ports[0], nofile)
    assert few - many in (29 * n_workers, 30 * n_workers)
    proxy.reload_ok(with_listeners(conf, ports))
    assert hold_all(proxy, ports[-1], nofile) == many


def test_more_listeners_than_there_are_descriptors_for(lb, echo, port):
    """A start says what it needs, and so does a reload, which changes nothing."""
    nofile = 100
    ports = [port] + [lbtest.free_port() for _ in range(59)]
    conf = tcp_conf(port, echo(1))
    proxy = lb(with_listeners(conf, ports), ready=False, nofile=nofile)
    assert proxy.wait() == 3
    proxy.was_stopped = True
    why = "the limit of 100 open files leaves no room for connections: 2 workers with 60 listening "
    assert proxy.stderr().count(why) == 1
    assert forecast(proxy.path, nofile=nofile)["connections"] == 0

    proxy = lb(conf, nofile=nofile)
    answer = proxy.reload(with_listeners(conf, ports))
    assert answer.startswith("error: ") and why in answer
    assert len(proxy.stats()["listeners"]) == 1
    assert proxy.stats()["connections"]["limit"] > 0


def is_taken_in(crowd, left):
    return len(crowd.waiting.get_map()) < left


@pytest.fixture
def narrow(monkeypatch):
    with contextlib.ExitStack() as stack:
        n = Narrow(stack)
        monkeypatch.setattr(lbtest, "WRAP", [*n.space.enter, *lbtest.WRAP])
        yield n


def test_the_ports_are_what_happens(narrow, lb):
    """Two ports at each of two sources: four connections, and the fifth has none."""
    port = lbtest.free_port()
    proxy = lb(http_conf(port, [narrow.row], mode="tcp", source=[A, B]))
    told = forecast(proxy.path, enter=narrow.space.enter)
    assert (told["connections"], told["bound_by"]) == (4, "local_ports")
    for _ in range(4):
        narrow.open(port, "tcp")
        narrow.take()
    assert narrow.is_refused(port, "tcp")
    proxy.wait_end("no_port")
    rows = proxy.backends()["b"]["ports"]
    assert rows == [{"source": s, "used": 2, "limit": 2} for s in (A, B)]
    wait_for("the warning", lambda: lines(proxy, "local ports above 80 percent pool=p backend=b"))
    narrow.hang_up()


# ---- warnings ------------------------------------------------------------------------------------


def test_a_limit_warns_once_at_80_percent(lb, echo, port):
    conf = http_conf(port, echo(1))
    conf["limits"] = {"connections": 10}
    proxy = lb(conf)
    warned = "connections above 80 percent"

    async def body():
        conns = await ws_open_many(port, 7)
        await lbtest.in_thread(time.sleep, 1.5)  # main looks once a second
        assert not lines(proxy, warned)
        conns += await ws_open_many(port, 1)
        await lbtest.in_thread(wait_for, "the line", lambda: lines(proxy, warned))
        conns += await ws_open_many(port, 2)
        await lbtest.in_thread(time.sleep, 1.5)
        assert len(lines(proxy, warned)) == 1

        # Only when it was below 70 % it is news again.
        await ws_close_all(conns[6:])
        await lbtest.in_thread(proxy.wait_active, 6)
        await lbtest.in_thread(time.sleep, 3 * SLOW)  # main has looked for certain
        conns = conns[:6] + await ws_open_many(port, 3)
        await lbtest.in_thread(wait_for, "it again", lambda: len(lines(proxy, warned)) == 2)
        await ws_close_all(conns)

    run(body())
    first, second = lines(proxy, warned)
    assert "active=8 limit=10 bound_by=limits.connections" in first
    assert "active=9 limit=10 bound_by=limits.connections" in second
    assert not lines(proxy, "descriptors above")


def test_a_worker_warns_of_its_descriptors(lb, echo, port):
    conf = tcp_conf(port, echo(1))
    conf["workers"] = 1
    proxy = lb(conf, nofile=NOFILE)
    limit = proxy.stats()["workers"][0]["limit"]
    n = limit * 9 // 10
    with contextlib.ExitStack() as stack:
        crowd = Crowd(stack, port)
        crowd.come(n)
        crowd.look_until(n)
        want = f"descriptors above 80 percent worker=0 active={n} limit={limit}"
        wait_for("the line", lambda: lines(proxy, want))
        time.sleep(1.5)
        assert len(lines(proxy, "descriptors above")) == 1


# ---- what is told --------------------------------------------------------------------------------


def test_a_reload_tells_what_is_new(lb, echo, port):
    conf = http_conf(port, echo(1))
    proxy = lb({**conf, "limits": {"connections": 10}})
    proxy.reload_ok()
    proxy.reload_ok({**conf, "limits": {"connections": 9}})
    assert proxy.stats()["connections"]["forecast"] == 9
    wait_for("the line", lambda: lines(proxy, "forecast connections=9 "))
    assert len(lines(proxy, "forecast ")) == 2


def test_stats_have_the_headroom(lb, echo, port):
    conf = http_conf(port, echo(1), source=["127.0.0.5", "127.0.0.6"])
    conf["admin"] = {"http": f"{HOST}:{lbtest.free_port()}"}
    proxy = lb(conf)
    limit = ports_of_this_machine()

    async def body():
        conns = await ws_open_many(port, 4)
        stats = await lbtest.in_thread(proxy.stats)
        rows = stats["pools"][0]["backends"][0]["ports"]
        assert rows == [{"source": f"127.0.0.{i}", "used": 2, "limit": limit} for i in (5, 6)]
        assert stats["connections"]["forecast"] <= stats["connections"]["limit"]
        assert sum(w["limit"] for w in stats["workers"]) == stats["connections"]["limit"]

        where = int(conf["admin"]["http"].rsplit(":", 1)[1])
        request = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        text = (await lbtest.in_thread(lbtest.ask, where, request)).decode()
        for source in ("127.0.0.5", "127.0.0.6"):
            labels = f'{{pool="p",backend="e1",source="{source}"}}'
            assert f"\nlb_backend_ports_used{labels} 2\n" in text
            assert f"\nlb_backend_ports_limit{labels} {limit}\n" in text
        assert f"\nlb_connections_forecast {stats['connections']['forecast']}\n" in text
        await ws_close_all(conns)

    run(body())


# ---- the command ---------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "lb.yaml"
    path.write_text(json.dumps(CONF))
    return path


def test_the_json_agrees_with_the_table(path):
    told = forecast(path)
    text = doctor(path).stdout
    rows = text.splitlines()
    assert told["file"] == str(path)
    assert rows[0].split() == ["LIMIT", "ALLOWS", "NOW", "TO", "RAISE", "IT"]
    assert len({row.find(x["name"]) for x, row in zip(told["limits"], rows[1:])}) == 1  # aligned
    for limit, row in zip(told["limits"], rows[1:]):
        words = row.removeprefix("*").split()
        assert words[0] == limit["name"]
        assert row.startswith("*") == limit["binds"]
        assert limit["raise"] in row
        if limit["name"] not in SHARED:
            allows = "-" if limit["allows"] is None else str(limit["allows"])
            assert words[1] == allows
            assert limit["now"] in row
    held = [x for x in told["limits"] if x["kind"] == "held" and x["allows"] is not None]
    least = min(held, key=lambda x: x["allows"])
    assert [x["name"] for x in told["limits"] if x["binds"]] == [told["bound_by"]]
    assert (least["name"], least["allows"]) == (told["bound_by"], told["connections"])
    if told["bound_by"] not in SHARED:
        assert rows[-1] == f"{path}: {told['connections']} connections, bound by {least['name']}"


def test_what_it_says_to_type_helps(path):
    """More workers hold more, as it says."""
    before = forecast(path, nofile=NOFILE)
    raise_it = before["limits"][0]["raise"]
    workers = int(re.search(r"`workers: (\d+)`", raise_it)[1])
    path.write_text(json.dumps({**CONF, "workers": workers}))
    after = forecast(path, nofile=NOFILE)
    assert after["workers"] == workers == 2 * before["workers"]
    assert after["connections"] > before["connections"]


def test_the_file_at_hand_is_taken(path):
    done = subprocess.run(
        [*WRAP, LB, "doctor"], cwd=path.parent, capture_output=True, text=True, timeout=20 * SLOW
    )
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1].startswith("lb.yaml: ")


@pytest.mark.parametrize("text", ["workers: many\nnonsense: 1\n", None])
def test_a_bad_file_is_1(tmp_path, text):
    """With the mistakes as `lb check` tells them, and nothing on stdout."""
    path = tmp_path / "bad.yaml"
    if text is not None:
        path.write_text(text)
    done = doctor(path, "--json")
    check = subprocess.run(
        [*WRAP, LB, "check", "-c", path], capture_output=True, text=True, timeout=20 * SLOW
    )
    assert done.returncode == check.returncode == 1
    assert done.stdout == ""
    assert done.stderr == check.stderr != ""
