#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""One measurement: one row, one proxy. bench.py runs it as the first process of PID and network
namespaces of their own, so that nothing of it outlives it, and no port, TIME_WAIT or setting comes
from elsewhere. Prints one line of JSON: the figures, or {"error": why there is no result}."""

import argparse
import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from contestants import CONTESTANTS, HOST, NOFILE, Setup
from rows import ROWS

SERVICE = ("chat", 9000, (9001, 9002))  # its port, and those of its backends
BULK = ("bulk", 9003, (9004,))          # beside it, in the row "fair"
BEHIND = ("chrt", "--idle", "0")  # who has the CPU when nobody else wants it
START_S = 10      # a proxy may take to listen
FORK_S = 0.3      # within which a proxy that listens has forked another worker
ANSWER_S = 150    # lb-load may take to answer
N_SLOW = 5000     # connections of slowhttptest
SLOW_S = 5.5      # they may take to come: the first must not time out, after 10 s, before the end
SLOW_TRIES = 3
PACES = {  # s: before the measurement, of the measurement, until memory has settled
    "full": (1.0, 3.0, 2.0),
    "paired": (0.5, 2.0, 2.0),  # shorter, for there are more rounds
    "quick": (0.2, 0.5, 0.5),   # with fewer connections, too
}
PERIOD_US = 100000
PAGE = os.sysconf("SC_PAGE_SIZE")
OTHER_SLABS = ("ext4_", "jbd2_", "btrfs_", "xfs_", "buffer_head", "extent_status", "radix_tree",
               "inode_cache", "proc_inode", "shmem_inode", "kernfs_", "vm_area_struct", "anon_vma",
               "maple_node", "task_", "mm_struct", "tw_sock_")


class NoResult(Exception):
    """A measurement that says nothing about the proxy, and why."""


# ---- what the kernel has counted ----------------------------------------------------------------

def family(pid):
    """The process and its descendants; none if it has ended."""
    found = [pid]
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += family(int(child))
    except (FileNotFoundError, ProcessLookupError):
        return []
    return found


def settled_family(pid):
    """The same once it grows no more: nginx listens before its workers are there."""
    found = []
    while found != (found := family(pid)):
        time.sleep(FORK_S)
    return found


def cpu(pids):
    """(ns on a CPU, ticks in user mode, ticks in the kernel) of every thread of the processes."""
    ns = user = system = 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            ns += int((task / "schedstat").read_text().split()[0])
            fields = (task / "stat").read_text().rsplit(")", 1)[1].split()
            user += int(fields[11])
            system += int(fields[12])
    return ns, user, system


def pss(pids):
    """Bytes of user memory, shared pages by their share."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) << 10
    return total


def slab():
    """Bytes of kernel slab, but for the caches that files and processes fill meanwhile."""
    total = 0
    for line in Path("/proc/slabinfo").read_text().splitlines()[2:]:
        fields = line.split()
        if not fields[0].startswith(OTHER_SLABS):
            pages_per_slab, n_slabs = int(fields[5]), int(fields[14])
            total += n_slabs * pages_per_slab * PAGE
    return total


def n_established(port):
    """Connections that were accepted on a port."""
    where, n = f":{port:04X}", 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        n += fields[1].endswith(where) and fields[3] == "01"
    return n


def shrink_slabs():
    """Gives free slabs back, so that growth is not hidden in what an earlier run left."""
    for path in Path("/sys/kernel/slab").glob("*/shrink"):
        try:
            path.write_text("1")
        except OSError:
            pass  # a cache that cannot be shrunk


# ---- a share of a CPU ---------------------------------------------------------------------------

class Quota:
    """A control group that holds processes to a part of one core; version 1 or 2."""

    def __init__(self, part):
        v1 = Path("/sys/fs/cgroup/cpu")
        root = v1 if v1.is_dir() else Path("/sys/fs/cgroup")
        for old in root.glob("lb-bench-*"):
            try:
                old.rmdir()  # left by a run that was killed
            except OSError:
                pass  # another run's
        self.dir = root / f"lb-bench-{time.monotonic_ns()}"
        if root != v1:
            (root / "cgroup.subtree_control").write_text("+cpu")
        self.dir.mkdir()
        us = int(part * PERIOD_US)
        if root == v1:
            (self.dir / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (self.dir / "cpu.cfs_quota_us").write_text(str(us))
        else:
            (self.dir / "cpu.max").write_text(f"{us} {PERIOD_US}")

    def add(self, pids):
        for pid in pids:
            (self.dir / "cgroup.procs").write_text(str(pid))

    def remove(self):
        """Its processes have ended."""
        self.dir.rmdir()


# ---- processes ----------------------------------------------------------------------------------

class Processes:
    """What was started, stopped in the end whatever happens. We are the first process of a PID
    namespace, so descendants whose parents have ended are ours to wait for."""

    def __init__(self, log):
        self.log, self.all = log, []

    def start(self, argv, **more):
        more.setdefault("stdout", self.log)
        process = subprocess.Popen([str(arg) for arg in argv], stderr=self.log, **more)
        self.all.append(process)
        return process

    def stop(self):
        for pid in [pid for process in self.all if process.poll() is None
                    for pid in family(process.pid)]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # has ended meanwhile
        for process in self.all:
            process.wait()
        try:
            while True:
                os.waitpid(-1, 0)
        except ChildProcessError:
            self.all = []


def wait_for(port, process):
    deadline = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection((HOST, port), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise NoResult(f"{process.args[0]} does not listen")


class Load:
    """A running lb-load."""

    def __init__(self, processes, build, plan, port, options, answer_s=ANSWER_S, before=()):
        self.answer_s = answer_s
        argv = [*before, Path(build) / "tests/bench/lb-load", plan, "-t", f"{HOST}:{port}"]
        for key, value in options.items():
            argv += [key, value]
        self.process = processes.start(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                       text=True)
        self.hear("ready")

    def hear(self, event):
        if not select.select([self.process.stdout], [], [], self.answer_s)[0]:
            raise NoResult(f"lb-load is not {event} in {self.answer_s:.0f} s")
        line = self.process.stdout.readline()
        told = json.loads(line) if line else {"event": "gone"}
        bad = {key: told.get(key) for key in ("failed", "wrong", "lost", "overrun")
               if told.get(key)}
        if bad or told["event"] != event:
            raise NoResult(f"lb-load {told['event']}: {bad or 'without a reason'}")
        return told

    def tell(self, command, event):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self.hear(event)

    def stop(self):
        told = self.tell("stop", "stopped")
        if self.process.wait() != 0:
            raise NoResult(f"lb-load ended with {self.process.returncode}")
        return told


# ---- the measurement ----------------------------------------------------------------------------

class Measurement:
    def __init__(self, row, args, processes, directory):
        name, build = args.contestant, args.build
        self.row, self.build, self.processes = row, build, processes
        self.options = {**row.load, **(row.quick if args.pace == "quick" else {})}
        self.warm_s, self.run_s, self.settle_s = PACES[args.pace]
        services = [SERVICE, BULK] if row.key == "fair" else [SERVICE]
        for service, _, ports in services:
            for port in ports:
                before = BEHIND if service == "bulk" else ()
                backend = processes.start(
                    [*before, Path(build) / "backends/lb-echo", "-l", f"{HOST}:{port}"])
                wait_for(port, backend)
        self.ports = {service[0]: service[2][0] for service in services}
        self.port, self.pids = self.ports["chat"], []
        if CONTESTANTS[name] is not None:
            proxy = processes.start(
                CONTESTANTS[name](Setup(directory, build, args.lb, row.threads, services)))
            self.ports = {service[0]: service[1] for service in services}
            self.port = self.ports["chat"]
            wait_for(self.port, proxy)
            self.pids = settled_family(proxy.pid)

    def load(self, service="chat", plan=None, options=None, **more):
        return Load(self.processes, self.build, plan or self.row.plan, self.ports[service],
                    options or self.options, **more)

    def run(self):
        if self.row.key in ("fair", "slow"):
            return getattr(self, self.row.key)()
        return {"hold": self.hold, "echo": self.busy, "open": self.busy,
                "churn": self.busy}[self.row.plan]()

    def hold(self):
        """Memory: before and after the connections were opened, and each has been used."""
        time.sleep(self.settle_s)
        shrink_slabs()
        pss_0, slab_0 = pss(self.pids), slab()
        load = self.load()
        time.sleep(self.settle_s)
        pss_1, slab_1 = pss(self.pids), slab()
        time_0, cpu_0 = time.monotonic(), cpu(self.pids)[0]
        time.sleep(self.run_s)
        idle = (cpu(self.pids)[0] - cpu_0) / 1e6 / (time.monotonic() - time_0)
        load.tell("start", "started")
        load.stop()  # each echoes another message
        n = self.options["-c"]
        return {"user_b": (pss_1 - pss_0) / n, "slab_b": (slab_1 - slab_0) / n,
                "start_mb": pss_0 / 1e6, "idle_ms": idle}

    def interval(self, load):
        """What happened in run_s seconds: lb-load's reports and the CPU of both ends."""
        first, cpu_0 = load.tell("mark", "mark"), cpu(self.pids)
        time.sleep(self.run_s)
        last, cpu_1 = load.tell("mark", "mark"), cpu(self.pids)
        return first, last, [b - a for a, b in zip(cpu_0, cpu_1)]

    def busy(self):
        """CPU for each message or connection, and the latency."""
        load = self.load()
        quota = Quota(self.row.quota) if self.row.quota else None
        try:
            if quota:
                quota.add(self.pids)
            load.tell("start", "started")
            time.sleep(self.warm_s)
            first, last, (ns, user, system) = self.interval(load)
            load.stop()
        finally:
            if quota:
                self.processes.stop()
                quota.remove()
        what = "opened" if self.row.plan == "churn" else "messages"
        n, seconds = last[what] - first[what], (last["time_ns"] - first["time_ns"]) / 1e9
        if n == 0:
            raise NoResult(f"no {what} in {seconds:.1f} s")
        size = self.options.get("-s", 0) / (1 << 20)
        return {"cpu_us": ns / 1e3 / n, "user_percent": 100 * user / max(1, user + system),
                "rate": n / seconds, "cpu_ms_mb": ns / 1e6 / n / size if size else 0,
                "mb_s": n * size / seconds, "p50_us": last["p50_ns"] / 1e3,
                "p99_us": last["p99_ns"] / 1e3}

    def beside(self, begin, end):
        """The latency of small messages, alone and then beside what begin() starts."""
        small = self.load()
        small.tell("start", "started")
        time.sleep(self.warm_s)
        alone = self.interval(small)[1]
        other = begin()
        time.sleep(self.warm_s)
        crowded = self.interval(small)[1]
        end(other)
        small.stop()
        return {"p99_alone_us": alone["p99_ns"] / 1e3, "p99_us": crowded["p99_ns"] / 1e3,
                "times": crowded["p99_ns"] / max(alone["p99_ns"], 1000),
                "p50_times": crowded["p50_ns"] / max(alone["p50_ns"], 1000)}

    def fair(self):
        """Beside a connection in bulk whose client and backend are its own and take no CPU from the
        others: the proxy is to be shared, not the machine."""
        def begin():
            bulk = self.load("bulk", plan="echo", options={"-c": 1, "-p": 1, "-s": 1 << 20},
                             before=BEHIND)
            bulk.tell("start", "started")
            return bulk

        def end(bulk):
            if bulk.stop()["messages"] < 2:
                raise NoResult("the bulk connection stood still")
        return self.beside(begin, end)

    def slow(self):
        """Beside requests whose heads do not end."""
        def begin():
            for _ in range(SLOW_TRIES):
                attack = self.processes.start(
                    ["slowhttptest", "-H", "-i", 1, "-x", 10, "-c", N_SLOW, "-r", N_SLOW, "-l", 60,
                     "-p", 5, "-u", f"http://{HOST}:{self.port}/"])
                deadline = time.monotonic() + SLOW_S
                while attack.poll() is None and time.monotonic() < deadline:
                    if n_established(self.port) >= N_SLOW * 0.95:
                        return attack
                    time.sleep(0.1)
                attack.kill()
                time.sleep(SLOW_S)  # those that came are ended
            raise NoResult("the slow requests do not come in time")

        def end(attack):
            left = n_established(self.port)
            if attack.poll() is not None or left < N_SLOW * 0.95:
                raise NoResult(f"{left} slow requests are left")
            attack.kill()
        return self.beside(begin, end)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("row")
    parser.add_argument("contestant")
    parser.add_argument("--build", required=True)
    parser.add_argument("--congestion", required=True, help="TCP's congestion control")
    parser.add_argument("--lb", required=True, help="the program that is measured as lb")
    parser.add_argument("--pace", choices=PACES, default="full")
    args = parser.parse_args()
    if os.getpid() != 1:
        sys.exit("measure.py is run by bench.py, in namespaces of its own")
    row = next(row for row in ROWS if row.key == args.row)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    limit = NOFILE if hard == resource.RLIM_INFINITY else min(hard, NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    control = Path("/proc/sys/net/ipv4/tcp_congestion_control")
    if control.read_text().strip() != args.congestion:  # elsewhere the system's: it is inherited
        try:
            control.write_text(args.congestion)
        except OSError as error:
            sys.exit(f"congestion control {args.congestion}: {error.strerror}")
    with tempfile.TemporaryDirectory(prefix="lb-bench-") as directory, \
            tempfile.TemporaryFile("w+") as log:
        os.chmod(directory, 0o755)  # nginx's workers are nobody
        processes = Processes(log)
        try:
            figures = Measurement(row, args, processes, directory).run()
        except NoResult as error:
            log.flush()
            log.seek(0)
            figures = {"error": str(error), "log": log.read()[-2000:]}
        finally:
            processes.stop()
    print(json.dumps(figures))
    sys.exit("error" in figures)


if __name__ == "__main__":
    main()
