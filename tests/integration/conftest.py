# SPDX-License-Identifier: Apache-2.0
"""Fixtures: lb on each engine, echoing backends, backends of a test's own."""

import contextlib
import os

import pytest

import lbtest
import netns

ENGINES = ("io_uring", "epoll")


def pytest_configure():
    """Each process that runs tests, of root at least, has a network of its own."""
    if os.geteuid() == 0:
        netns.move_into_new()


@contextlib.contextmanager
def lb_factory(engine, tmp):
    """Gives a function that starts an lb; at the end each is checked, then stopped for certain."""
    started = []

    def start(conf, **kw):
        lb = lbtest.Lb(conf, engine, tmp, **kw)
        started.append(lb)
        return lb

    try:
        yield start
        for lb in started:
            lb.finish()
    finally:
        for lb in started:
            lb.destroy()


@contextlib.contextmanager
def echo_factory(tmp):
    started = []

    def start(n=1, first=1, **kw):
        new = []
        for i in range(first, first + n):
            new.append(lbtest.Echo(f"e{i}", tmp, **kw))
            started.append(new[-1])
        return new

    start.started = started
    try:
        yield start
        for e in started:
            if e.is_running():
                e.stop()
    finally:
        for e in started:
            e.kill()


@contextlib.contextmanager
def fake_factory():
    started = []

    def start(serve, **kw):
        started.append(lbtest.Fake(serve, **kw))
        return started[-1]

    yield start
    for f in started:
        f.close()


@pytest.fixture(scope="module", params=ENGINES)
def engine(request):
    return request.param


@pytest.fixture
def lb(engine, fake, echo, tmp_path):
    """start(conf) -> a running lb. It is stopped before its backends are."""
    with lb_factory(engine, tmp_path) as start:
        yield start


@pytest.fixture
def echo(tmp_path):
    """start(n) -> n backends with the names e1, e2, ..."""
    with echo_factory(tmp_path) as start:
        yield start


@pytest.fixture
def fake():
    """start(serve) -> a backend whose connections are served by serve(sock)."""
    with fake_factory() as start:
        yield start


@pytest.fixture
def port():
    return lbtest.free_port()


class Shared:
    """An lb in front of two echoing backends, for tests that change nothing."""

    def __init__(self, lb, port, echoes):
        self.lb = lb
        self.port = port
        self.echoes = echoes


@pytest.fixture(scope="module")
def shared(engine, tmp_path_factory):
    tmp = tmp_path_factory.mktemp("shared")
    port = lbtest.free_port()
    with echo_factory(tmp) as echo, lb_factory(engine, tmp) as start:
        echoes = echo(2)
        yield Shared(start(lbtest.http_conf(port, echoes)), port, echoes)
