# SPDX-License-Identifier: Apache-2.0
"""The soak's processes: lb, its backends, and the clients. All are ended by their ids, always."""

import contextlib
import json
import os
import queue
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from lbtest import HOST, Echo, Lb, Process, free_port, wait_for

HERE = Path(__file__).resolve().parent
PYTHON = "/usr/bin/python3"  # Debian's, whatever else is first on PATH

ECHOES = ("e1", "e2", "e3", "e4")
PLAIN = ("w1", "w2")


class PlainServer(Process):
    """server.py: a backend of the pool `web` and, on its other port, of `raw`."""

    def __init__(self, name, tmp, http_port, tcp_port):
        argv = [PYTHON, HERE / "server.py", name, http_port, tcp_port]
        super().__init__(argv, Path(tmp) / f"{name}-{time.monotonic_ns()}")
        wait_for(f"{name} to listen", lambda: "listening" in self.stdout(), timeout=20)

    def stop(self):
        self.signal(15)
        self.wait()


class ClientProcess:
    """client.py; what it tells is put on `told`, line by line, by a thread."""

    def __init__(self, plan, stderr_path, told):
        self.stderr_path = stderr_path
        self.is_done = False
        with open(stderr_path, "wb") as err:
            self.popen = subprocess.Popen(
                [PYTHON, HERE / "client.py", json.dumps(plan)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=err,
            )
        self.thread = threading.Thread(target=self._listen, args=(told,), daemon=True)
        self.thread.start()

    def _listen(self, told):
        for line in self.popen.stdout:
            message = json.loads(line)
            self.is_done = message["what"] == "bye"
            told.put(message)

    def finish(self):
        """Asks it to end; wait() waits until it has."""
        with contextlib.suppress(BrokenPipeError):
            self.popen.stdin.close()

    def wait(self, timeout):
        self.popen.wait(timeout)
        self.thread.join(10)
        return self.popen.returncode == 0 and self.is_done

    def fault(self):
        """Why it is not running as it should, or None."""
        if self.popen.poll() is None:
            return None
        words = self.stderr_path.read_text(errors="replace")[-2000:]
        return f"a client process ended with {self.popen.returncode}: {words}"

    def kill(self):
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait()


class Fixture:
    def __init__(self, engine):
        self.tmp = Path(tempfile.mkdtemp(prefix="lb-soak-"))
        self.ports = {name: free_port() for name in ("public", "tcp", "temporary")}
        self.addresses = {name: (free_port(),) for name in ECHOES}
        self.addresses |= {name: (free_port(), free_port()) for name in PLAIN}
        self.backends = {}
        self.clients = []
        self.told = queue.Queue()
        self.lb = None
        self.engine = engine

    def start(self):
        for name in self.addresses:
            self.start_backend(name)
        self.lb = Lb(self.first_conf(), self.engine, self.tmp)
        wait_for("every backend to be up", self.is_all_up, timeout=20)

    def start_backend(self, name):
        ports = self.addresses[name]
        if name in ECHOES:
            self.backends[name] = Echo(name, self.tmp, port=ports[0])
        else:
            self.backends[name] = PlainServer(name, self.tmp, *ports)

    def is_all_up(self):
        pools = self.lb.stats()["pools"]
        return all(b["state"] == "up" for p in pools for b in p["backends"])

    # -- the configuration

    def row(self, name, which=0):
        return {"name": name, "address": f"{HOST}:{self.addresses[name][which]}", "weight": 1}

    def listener(self, name, mode, pool, **more):
        return {
            "name": name,
            "bind": f"{HOST}:{self.ports[name]}",
            "mode": mode,
            "pool": pool,
            **more,
        }

    def first_conf(self):
        health = {"interval": "1s", "timeout": "1s", "rise": 1, "fall": 2}
        return {
            "workers": 2,
            "log": {"level": "notice"},
            "access_log": {"format": "json", "to": "access.log"},
            "stop_timeout": "2s",
            "listeners": [
                self.listener(
                    "public",
                    "http",
                    "chat",
                    routes=[{"name": "plain", "websocket": False, "pool": "web"}],
                ),
                self.listener("tcp", "tcp", "raw"),
                self.listener("temporary", "http", "chat"),
            ],
            "pools": [
                {
                    "name": "chat",
                    "balance": "least_connections",
                    "backends": [self.row(n) for n in ECHOES],
                    "health": {"type": "websocket", "path": "/ws", **health},
                    "timeouts": {"connect": "3s"},
                    "relay": {"splice": "auto"},
                },
                {
                    "name": "web",
                    "backends": [self.row(n) for n in PLAIN],
                    "health": {"type": "http", "path": "/health", **health},
                },
                {
                    "name": "raw",
                    "balance": "round_robin",
                    "backends": [self.row(n, 1) for n in PLAIN],
                    "health": {"type": "tcp", **health},
                },
            ],
        }

    # -- clients

    def start_clients(self, n, conns, rate, seed):
        for i in range(n):
            plan = {
                "ports": self.ports,
                "conns": conns // n,
                "rate": rate / n,
                "seed": seed * 1000 + i,
            }
            path = self.tmp / f"client-{seed}-{i}.stderr"
            self.clients.append(ClientProcess(plan, path, self.told))

    def stop_clients(self, timeout=180):
        """Returns what was wrong with how they ended."""
        for c in self.clients:
            c.finish()
        faults = []
        for c in self.clients:
            try:
                is_good = c.wait(timeout)
            except subprocess.TimeoutExpired:
                is_good = False
                faults.append(f"a client process did not end within {timeout} s")
                c.kill()
            if not is_good:
                faults.append(c.fault())
        self.clients = []
        return faults

    # -- the end

    def stop(self):
        """lb first, which must end well; then the backends."""
        self.lb.stop()
        for b in self.backends.values():
            b.stop()

    def kill_lb(self):
        if self.lb is not None:
            self.lb.kill()

    def destroy(self):
        """Leaves nothing behind, whatever has happened."""
        self.kill_lb()
        for process in [*self.clients, *self.backends.values()]:
            process.kill()
        if self.lb is not None:
            shutil.rmtree(self.lb.dir, ignore_errors=True)
        shutil.rmtree(self.tmp, ignore_errors=True)


# ---- what a process holds ------------------------------------------------------------------------


def memory_kib(pid):
    """(Pss, RSS)"""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    row = {line.split(":")[0]: int(line.split()[1]) for line in lines[1:]}
    return row["Pss"], row["Rss"]


def fds_by_thread(pid):
    """name of each thread, in order of birth -> descriptors of its table, pipes too"""
    count = {}
    for i, tid in enumerate(sorted(os.listdir(f"/proc/{pid}/task"), key=int)):
        task = f"/proc/{pid}/task/{tid}"
        name = Path(task, "comm").read_text().strip().replace("/", "_")
        count[name if name not in count else f"{name}_{i}"] = len(os.listdir(f"{task}/fd"))
    return count


def access_lines(path):
    with open(path, "rb") as f:
        return sum(1 for _ in f)
