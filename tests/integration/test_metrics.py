# SPDX-License-Identifier: Apache-2.0
"""/metrics, read as a collector reads it: the text format, and counters that never fall."""

import collections
import os
import time

import pytest
from prometheus_client.parser import text_string_to_metric_families

from lbtest import (
    GOOD_101,
    HOST,
    SLOW,
    ask,
    fields_of,
    free_port,
    http_conf,
    in_thread,
    recv_head,
    run,
    status_of,
    upgrade_request,
    wait_for,
    ws_close_all,
    ws_open_many,
)

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Metrics:
    """One scrape, held to the text format."""

    def __init__(self, admin):
        head, body = ask(admin, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").split(b"\r\n\r\n", 1)
        assert status_of(head) == 200
        assert dict(fields_of(head))["content-type"].startswith("text/plain; version=0.0.4")
        self.text = body.decode()
        self.check_lines()
        self.type = {}
        self.value = {}
        for family in text_string_to_metric_families(self.text):
            assert family.type in ("counter", "gauge", "histogram"), family
            assert family.documentation.endswith("."), family
            assert family.name not in self.type, family
            self.type[family.name] = family.type
            for s in family.samples:
                key = (s.name, *sorted(s.labels.items()))
                assert key not in self.value, key
                self.value[key] = s.value
                if family.type == "counter":
                    assert s.name.endswith("_total"), s
                if family.type in ("counter", "histogram"):
                    assert s.value >= 0, s
            if family.type == "histogram":
                self.check_histogram(family)

    def check_lines(self):
        """HELP, then TYPE, then the samples of a family, which comes once."""
        lines = self.text.splitlines()
        assert self.text.endswith("\n") and "" not in lines
        helped = [line.split()[2] for line in lines if line.startswith("# HELP ")]
        typed = [line.split()[2] for line in lines if line.startswith("# TYPE ")]
        assert helped == typed and len(typed) == len(set(typed))
        current = None
        for line in lines:
            if line.startswith("#"):
                current = line.split()[2]
            else:
                assert line.startswith(current), line

    @staticmethod
    def check_histogram(family):
        buckets = collections.defaultdict(list)
        count = {}
        for s in family.samples:
            labels = tuple(sorted((k, v) for k, v in s.labels.items() if k != "le"))
            if s.name.endswith("_bucket"):
                buckets[labels].append((float(s.labels["le"]), s.value))
            elif s.name.endswith("_count"):
                count[labels] = s.value
        for labels, rows in buckets.items():
            assert rows == sorted(rows) and [v for _, v in rows] == sorted(v for _, v in rows)
            assert rows[-1] == (float("inf"), count[labels])

    def __getitem__(self, key):
        name, labels = key if isinstance(key, tuple) else (key, {})
        return self.value[(name, *sorted(labels.items()))]

    def get(self, name, **labels):
        return self.value.get((name, *sorted(labels.items())))

    def never_less_than(self, before):
        """All counters of an earlier scrape are there and have not fallen."""
        for key, value in before.value.items():
            name = key[0]
            is_counter = name.endswith("_total") or before.type.get(name.rsplit("_", 1)[0]) == "histogram"
            if not is_counter:
                continue
            assert key in self.value or value == 0, f"{key} is gone"
            assert self.value.get(key, 0) >= value, f"{key} fell from {value}"


@pytest.fixture
def admin():
    return free_port()


def with_admin(admin, conf):
    conf["admin"] = {"http": f"{HOST}:{admin}"}
    return conf


QUICK = {"type": "tcp", "interval": "50ms", "timeout": "1s"}


def test_the_process_is_told(lb, echo, port, admin):
    """By the names that other programs have; the descriptors are those of all tables."""
    proxy = lb(with_admin(admin, http_conf(port, echo(1))))
    m = Metrics(admin)
    version = proxy.stats()["version"]
    assert m["lb_build_info", {"version": version, "engine": proxy.engine}] == 1
    assert 0 <= time.time() - m["process_start_time_seconds"] < 60 * SLOW
    assert 0 < m["process_resident_memory_bytes"] < m["process_virtual_memory_bytes"]
    assert m["process_threads"] == len(os.listdir(f"/proc/{proxy.pid}/task"))
    assert m.type["process_cpu_seconds"] == "counter"
    n_before = m["process_open_fds"]
    assert 0 < n_before < m["process_max_fds"]

    async def body():
        conns = await ws_open_many(port, 20)
        assert (await in_thread(Metrics, admin))["process_open_fds"] == n_before + 40
        await ws_close_all(conns)

    run(body())


def test_the_last_reload_is_told(lb, echo, port, admin):
    conf = with_admin(admin, http_conf(port, echo(1)))
    proxy = lb(conf)
    started = Metrics(admin)
    assert started["lb_config_last_reload_successful"] == 1
    assert 0 <= time.time() - started["lb_config_last_reload_timestamp_seconds"] < 60 * SLOW
    proxy.rewrite("nonsense: 1\n")
    assert proxy.ctl("reload").returncode == 1
    refused = Metrics(admin)
    assert refused["lb_config_last_reload_successful"] == 0
    assert proxy.stats()["reload"]["ok"] is False
    before = started["lb_config_last_reload_timestamp_seconds"]
    assert refused["lb_config_last_reload_timestamp_seconds"] > before
    proxy.reload_ok(conf)
    assert Metrics(admin)["lb_config_last_reload_successful"] == 1


def test_responses_are_counted_by_pool_and_class(lb, fake, port, admin):
    """A response that takes long is no handshake."""

    def serve(s):
        head = recv_head(s)[0]
        if b"websocket" in head.lower():
            s.sendall(GOOD_101)
            return
        time.sleep(0.3)
        status = head.split(b" ")[1].strip(b"/")
        s.sendall(b"HTTP/1.1 %s X\r\nContent-Length: 0\r\n\r\n" % status)

    conf = with_admin(admin, http_conf(port, [fake(serve).row()]))
    conf["pools"].append({"name": "dead", "backends": [f"{HOST}:{free_port()}"]})
    conf["listeners"][0]["routes"] = [{"path": "/dead", "pool": "dead"}]
    proxy = lb(conf)
    for path, status in (("/204", 204), ("/302", 302), ("/404", 404), ("/dead", 502)):
        assert status_of(ask(port, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())) == status
    assert status_of(ask(port, b"BAD\r\n\r\n")) == 400
    assert status_of(ask(port, upgrade_request())) == 101
    proxy.wait_active(0)
    m = Metrics(admin)
    got = {
        (pool, n): m["lb_responses_total", {"pool": pool, "class": f"{n}xx"}]
        for pool in ("p", "dead", "")
        for n in range(1, 6)
    }
    assert {k for k, v in got.items() if v} == {
        ("p", 1), ("p", 2), ("p", 3), ("p", 4), ("dead", 5), ("", 4)
    }
    assert set(got.values()) == {0, 1}
    of_p = {"pool": "p"}
    assert (m["lb_handshake_seconds_count", of_p], m["lb_response_seconds_count", of_p]) == (1, 3)
    assert m["lb_response_seconds_bucket", {**of_p, "le": "0.25"}] == 0
    assert proxy.stats()["pools"][0]["responses"]["3xx"] == 1


def test_the_state_of_a_backend_is_one_of_five(lb, echo, port, admin):
    proxy = lb(with_admin(admin, http_conf(port, echo(1), health=QUICK)))
    proxy.wait_state("e1", "up")

    def states():
        m = Metrics(admin)
        return {
            s: m["lb_backend_state", {"pool": "p", "backend": "e1", "state": s}]
            for s in ("up", "down", "draining", "maint", "checking")
        }

    for command, state in (("ready", "up"), ("drain", "draining"), ("maint", "maint")):
        proxy.command(f"{command} p/e1")
        assert {s for s, v in states().items() if v} == {state}
        assert sum(states().values()) == 1


def test_no_counter_falls_over_reloads(lb, echo, port, admin):
    """A backend moves to another address under the same name, while it has connections; another
    one is removed, and so is its pool. Their series stay, and go on when the name comes back."""
    e1, e2, e3 = echo(3)
    dead = {"name": "dead", "address": f"{HOST}:{free_port()}"}

    def conf(*rows):
        return with_admin(admin, http_conf(port, list(rows), balance="round_robin", health=QUICK))

    def row(e, name):
        return {"name": name, "address": e.address}

    labels = {"pool": "p", "backend": "b"}
    proxy = lb(conf(row(e1, "b"), row(e2, "c"), dead))
    proxy.wait_state("dead", "down")
    scrapes = [Metrics(admin)]

    def scrape():
        scrapes.append(Metrics(admin))
        scrapes[-1].never_less_than(scrapes[-2])
        return scrapes[-1]

    async def body():
        conns = await ws_open_many(port, 6, at_once=1)
        before = await in_thread(scrape)
        assert before["lb_backend_connections_total", labels] == 3

        await in_thread(proxy.reload_ok, conf(row(e3, "b")))
        assert (await in_thread(scrape))["lb_backend_connections_active", labels] == 3
        await ws_close_all(conns)
        await in_thread(
            wait_for,
            "the old ones to go",
            lambda: len(proxy.stats()["pools"][0]["backends"]) == 1,
        )

    run(body())
    after = scrape()
    assert after["lb_backend_connections_total", labels] == 3
    assert after["lb_backend_connections_total", {"pool": "p", "backend": "c"}] == 3
    assert after.get("lb_backend_up", pool="p", backend="c") is None
    assert proxy.stats()["pools"][0]["total"] == 6

    assert status_of(ask(port, GET)) == 200
    assert scrape()["lb_backend_connections_total", labels] == 4
    other = http_conf(port, [row(e1, "b")])
    other["pools"][0]["name"] = "q"
    other["listeners"][0]["pool"] = "q"
    proxy.reload_ok(with_admin(admin, other))
    wait_for("the pool to go", lambda: [p["name"] for p in proxy.stats()["pools"]] == ["q"])
    assert scrape()["lb_pool_connections_total", {"pool": "p"}] == 7
    proxy.reload_ok(conf(row(e2, "c"), row(e3, "b")))
    for _ in range(2):
        assert status_of(ask(port, GET)) == 200
    last = scrape()
    assert last["lb_backend_check_failures_total", {"pool": "p", "backend": "dead"}] >= 1
    assert last["lb_backend_connections_total", labels] == 5
    assert last["lb_backend_connections_total", {"pool": "p", "backend": "c"}] == 4
    assert last["lb_pool_connections_total", {"pool": "p"}] == 9


def test_ends_and_times_are_told_by_pool(lb, echo, fake, port, admin):
    """Over all pools, and the connections without one, they add up to what lb has in all."""

    def refuse(s):
        recv_head(s)
        s.sendall(b"HTTP/1.1 403 X\r\nContent-Length: 0\r\n\r\n")

    conf = with_admin(admin, http_conf(port, echo(1)))
    conf["pools"] += [
        {"name": "plain", "backends": [fake(refuse).row()]},
        {"name": "dead", "backends": [f"{HOST}:{free_port()}"]},
        {"name": "unused", "backends": [f"{HOST}:{free_port()}"]},
    ]
    conf["listeners"][0]["routes"] = [
        {"path": "/plain", "pool": "plain"},
        {"path": "/dead", "pool": "dead"},
        {"path": "/unused", "pool": "unused"},
    ]
    proxy = lb(conf)
    first = Metrics(admin)
    assert first["lb_ends_total", {"pool": "", "reason": "idle"}] == 0

    async def tunnels():
        await ws_close_all(await ws_open_many(port, 5))

    run(tunnels())
    for _ in range(3):
        assert status_of(ask(port, b"GET /plain HTTP/1.1\r\nHost: x\r\n\r\n")) == 403
    assert status_of(ask(port, b"GET /dead HTTP/1.1\r\nHost: x\r\n\r\n")) == 502
    assert status_of(ask(port, b"BAD\r\n\r\n")) == 400
    proxy.wait_active(0)

    m = Metrics(admin)
    m.never_less_than(first)
    ends = {(k[1][1], k[2][1]): v for k, v in m.value.items() if k[0] == "lb_ends_total" and v}
    tunnel_ends = {k: v for k, v in ends.items() if k[0] == "p"}
    assert sum(tunnel_ends.values()) == 5
    assert {k: v for k, v in ends.items() if k not in tunnel_ends} == {
        ("plain", "completed"): 3, ("dead", "connect_failed"): 1, ("", "bad_request"): 1
    }
    stats = proxy.stats()
    for reason, n in stats["ends"].items():
        assert sum(v for (_, r), v in ends.items() if r == reason) == n
    outcomes = {"tunnel": 5, "completed": 3, "connect_failed": 1, "bad_request": 1}
    assert {k: v for k, v in stats["requests"].items() if v} == outcomes
    for outcome, n in stats["requests"].items():
        assert m["lb_requests_total", {"outcome": outcome}] == n
    times = {k: v for k, v in m.value.items() if k[0].endswith("_seconds_count")}
    assert times == {
        ("lb_handshake_seconds_count", ("pool", "p")): 5,
        ("lb_response_seconds_count", ("pool", "plain")): 3,
    }
    assert stats["handshake_seconds"]["count"] == 5 and stats["response_seconds"]["count"] == 3
