# SPDX-License-Identifier: Apache-2.0
"""/metrics, read as a collector reads it: the text format, and counters that never fall."""

import collections

import pytest
from prometheus_client.parser import text_string_to_metric_families

from lbtest import (
    HOST,
    ask,
    fields_of,
    free_port,
    http_conf,
    in_thread,
    run,
    status_of,
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
