# SPDX-License-Identifier: Apache-2.0
"""The soak's operator: a thread that changes the configuration, drains, kills and restarts.

One thing after another, each checked: a good file is taken and a broken one refused, a drained
backend is given nothing new, a dead one is found to be down and a live one to be up.
"""

import copy
import itertools
import os
import random
import signal
import socket
import threading
import time

from fixture import ECHOES, access_lines
from judge import Event
from lbtest import HOST, wait_for

STEP_S = 10.0  # before each thing
DRAINED_S = 5.0  # for which a drained backend's connections are counted
NOTICED_S = 20.0  # until a check has noticed, on a busy machine


class Operator:
    def __init__(self, fixture, seed):
        self.fixture = fixture
        self.conf = fixture.first_conf()
        self.random = random.Random(seed)
        self.is_over = threading.Event()
        self.thread = None
        self.events = []
        self.faults = []
        self.away = None  # the event of the temporary listener's absence
        self.n_access_lines = 0
        self.squatter = socket.socket()
        self.squatter.bind((HOST, 0))
        self.squatter.listen(1)
        self.victims = itertools.cycle(("e1", "w1", "e2", "e3", "w2", "e4"))
        self.breakages = itertools.cycle((self.unknown_key, self.no_pool, self.taken_address))

    def pool(self, name):
        return next(p for p in self.conf["pools"] if p["name"] == name)

    def begin(self, what, pool="", backend="", listener=""):
        e = Event(what, pool, backend, listener)
        self.events.append(e)
        return e

    def check(self, is_true, fault):
        if not is_true:
            self.faults.append(f"{time.strftime('%X')} {fault}")

    # -- reloads

    def reload(self):
        event = self.begin("reload")
        was = self.fixture.lb.stats()["generation"]
        if self.random.random() < 0.5:
            answer = self.fixture.lb.reload(self.conf)
            self.check(not answer.startswith("error: "), f"a good file was refused: {answer}")
        else:
            self.fixture.lb.rewrite(self.conf)
            self.fixture.lb.signal(signal.SIGHUP)
            wait_for(
                "a reload by HUP",
                lambda: self.fixture.lb.stats()["generation"] > was,
                timeout=NOTICED_S,
            )
        is_next = self.fixture.lb.stats()["generation"] == was + 1
        self.check(is_next, "a reload did not raise the generation by one")
        event.over()

    def change_settings(self):
        chat = self.pool("chat")
        for row in chat["backends"]:
            row["weight"] = self.random.randint(1, 4)
        chat["balance"] = self.random.choice(
            ("least_connections", "round_robin", "random", "hash", "least_connections")
        )
        chat["relay"] = {"splice": self.random.choice(("auto", "always", "never"))}
        chat["timeouts"] = {
            "connect": self.random.choice(("3s", "5s")),
            "idle": self.random.choice(("off", "30m")),
            "user": self.random.choice(("120s", "90s")),
        }
        self.reload()

    def listener_goes_or_comes(self):
        if self.away is None:
            self.away = self.begin("away", listener="temporary")
            self.conf["listeners"] = [x for x in self.conf["listeners"] if x["name"] != "temporary"]
            self.reload()
        else:
            self.conf["listeners"].append(self.fixture.listener("temporary", "http", "chat"))
            self.reload()
            self.away.over()
            self.away = None

    def backend_leaves_or_returns(self):
        """What is removed keeps its connections, so it explains no trouble of theirs."""
        rows = self.pool("chat")["backends"]
        if len(rows) == len(ECHOES):
            rows.pop(self.random.randrange(len(rows)))
        else:
            there = {row["name"] for row in rows}
            rows.extend(self.fixture.row(n) for n in ECHOES if n not in there)
        self.reload()

    # -- files that must be refused

    def unknown_key(self, conf):
        conf["pools"][0]["ballance"] = "first"

    def no_pool(self, conf):
        conf["listeners"][0]["pool"] = "nobody"

    def taken_address(self, conf):
        conf["listeners"].append(
            {"name": "taken", "bind": f"{HOST}:{self.squatter.getsockname()[1]}", "pool": "chat"}
        )

    def break_file(self):
        """It also leaves out what there is, which must not be seen."""
        event = self.begin("refused")
        broken = copy.deepcopy(self.conf)
        broken["pools"][0]["backends"] = broken["pools"][0]["backends"][:1]
        next(self.breakages)(broken)
        was = self.fixture.lb.stats()["generation"]
        answer = self.fixture.lb.reload(broken)
        self.check(answer.startswith("error: "), "a broken file was taken")
        is_same = self.fixture.lb.stats()["generation"] == was
        self.check(is_same, "a broken file raised the generation")
        self.fixture.lb.rewrite(self.conf)
        event.over()

    # -- backends

    def row_of(self, pool, name):
        return self.fixture.lb.backends(pool)[name]

    def drain(self):
        name = self.random.choice([row["name"] for row in self.pool("chat")["backends"]])
        event = self.begin("drain", "chat", name)
        p = self.fixture.lb.ctl("drain", f"chat/{name}")
        self.check(p.returncode == 0, f"lbctl drain: {p.stderr}")
        before = self.row_of("chat", name)
        self.is_over.wait(DRAINED_S)
        after = self.row_of("chat", name)
        self.check(after["state"] == "draining", f"{name} is {after['state']} while drained")
        n_new = after["total"] - before["total"]
        self.check(n_new == 0, f"{name} was given {n_new} connections while drained")
        p = self.fixture.lb.ctl("ready", f"chat/{name}")
        self.check(p.returncode == 0, f"lbctl ready: {p.stderr}")
        event.over()

    def kill(self):
        """By KILL or by TERM; back once lb has noticed."""
        name = next(self.victims)
        pools = ("chat",) if name in ECHOES else ("web", "raw")
        if name in ECHOES and name not in self.fixture.lb.backends("chat"):
            return  # it is not in the file, and nobody is on it any more
        watched = [p for p in pools if not self.row_of(p, name).get("removed")]
        events = [self.begin("kill", p, name) for p in pools]
        backend = self.fixture.backends[name]
        backend.signal(self.random.choice((signal.SIGKILL, signal.SIGTERM)))
        backend.wait()
        for e in events:
            e.over()
        self.wait_states(name, watched, "down")
        self.fixture.start_backend(name)
        self.wait_states(name, watched, "up")

    def wait_states(self, name, pools, state):
        for p in pools:
            wait_for(
                f"{p}/{name} to be {state}",
                lambda p=p: self.row_of(p, name)["state"] == state,
                timeout=NOTICED_S,
            )

    # -- the access log

    def rotate(self):
        """As logrotate does: rename, USR1; the old file is whole once the new one is there."""
        path = self.fixture.lb.dir / "access.log"
        old = self.fixture.lb.dir / "access.log.1"
        os.rename(path, old)
        self.fixture.lb.signal(signal.SIGUSR1)
        wait_for("a new access log", path.exists, timeout=NOTICED_S)
        time.sleep(1)  # lines that were on their way
        self.n_access_lines += access_lines(old)
        old.unlink()

    # -- the thread

    def all_steps(self):
        return (
            self.change_settings,
            self.kill,
            self.listener_goes_or_comes,
            self.drain,
            self.break_file,
            self.backend_leaves_or_returns,
            self.rotate,
        )

    def start(self, steps):
        """One after another, again and again, until stop()."""
        self.is_over.clear()
        self.thread = threading.Thread(target=self._run, args=(steps,), daemon=True)
        self.thread.start()

    def _run(self, steps):
        for step in itertools.cycle(steps):
            if self.is_over.wait(STEP_S):
                return
            try:
                step()
            except Exception as e:  # whatever it was, the run goes on and fails in the end
                self.faults.append(f"{time.strftime('%X')} {step.__name__}: {e!r}")

    def stop(self):
        """Waits for the step that is being taken."""
        self.is_over.set()
        if self.thread is not None:
            self.thread.join()
            self.thread = None

    def settle(self):
        """The first file again, so that what lb holds can be compared with the beginning."""
        self.conf = self.fixture.first_conf()
        self.reload()
        if self.away is not None:
            self.away.over()
            self.away = None
