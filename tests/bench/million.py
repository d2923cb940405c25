#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Very many WebSockets through one lb, clients and backends on the same machine; scripts/million
runs it as the first process of PID and network namespaces of its own.

  lb-load (1,000 active) --+                            +--> lb-echo (18,000 connections each)
                           +--> lb, a worker for 8,950 -+--> ...
  lb-load (COUNT idle) ----+                            +--> lb-echo

Every connection is a whole Upgrade and has echoed a message before it counts. In the end each
echoes another, then lb is stopped under them."""

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median

from contestants import HOST
from measure import Load, NoResult, Processes, cpu, pss, shrink_slabs, slab, wait_for

PORT = 9000
BACKENDS = 9001          # the first of their ports
N_ACTIVE = 1000          # connections that send, and at which rate
RATE = 5000
PER_WORKER = 8950        # of the 9,860 that 20,000 descriptors allow: the kernel spreads unevenly
PER_BACKEND = 18000      # connections of an lb-echo
PER_CLIENT = 19500       # connections of a process of lb-load
FEW_WORKERS = 2          # of the process that the others are compared with
N_SOURCES = 16           # lb's own addresses
BYTES_EACH = 19500       # what a connection needs in all, clients' and backends' sockets included
SPARE_BYTES = 1 << 30    # left to the machine
NAP_S = 0.01             # how the machine's health is felt: a sleeper is to wake in time
CALM_S = 5.0             # until what opening has left behind is over
RUN_S = 3.0
TRIES = 5                # intervals, of which the median counts
STATS_TRIES = 5
RELOADS = 3

# What is raised, where it is lower: (file, value). The first are of this network namespace; the
# last is the machine's, and put back in the end.
RAISED = [
    ("net/ipv4/ip_local_port_range", "1024\t65535"),
    ("net/core/somaxconn", "65535"),
    ("net/ipv4/tcp_max_syn_backlog", "65535"),
    ("fs/file-max", "5000000"),
]

results = []


def say(text):
    print(text, flush=True)


def tell(what, value, unit, limit=None):
    """A figure, and whether it is what it is to be."""
    verdict = "" if limit is None else f" (at most {limit:g}: {'yes' if value <= limit else 'NO'})"
    results.append({"what": what, "value": value, "unit": unit, "limit": limit})
    say(f"  {what:46} {value:12,.2f} {unit}{verdict}")


# ---- limits ---------------------------------------------------------------------------------

def raise_limits():
    """Returns what to call in the end."""
    undo = []
    for name, value in RAISED:
        path = Path("/proc/sys") / name
        old = path.read_text().strip()
        if [int(n) for n in old.split()][-1] >= int(value.split()[-1]) and "range" not in name:
            continue
        try:
            path.write_text(value)
            undo.append((path, old))
            say(f"raised {name.replace('/', '.')} from {old} to {value}")
        except OSError as error:
            say(f"{name.replace('/', '.')} stays at {old}: {error.strerror}")
    return lambda: [path.write_text(old) for path, old in undo]


def available():
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) << 10
    return 0


def check_limits(count):
    """Stops, with the limit's name, where it cannot work."""
    nofile = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if nofile < 20000:
        sys.exit(f"the limit of {nofile:,} open files (ulimit -Hn) is below 20,000")
    most = (available() - SPARE_BYTES) // BYTES_EACH
    if count > most:
        sys.exit(f"memory is enough for some {most:,} connections: {available() >> 20:,} MiB are "
                 f"available, each needs {BYTES_EACH:,} bytes")
    files = int(Path("/proc/sys/fs/file-max").read_text())
    if 4 * count > files:
        sys.exit(f"fs.file-max = {files:,} is enough for {files // 4:,} connections")


# ---- the parts ------------------------------------------------------------------------------

class Nap(threading.Thread):
    """A sleeper who notes how late he is woken: what a person at the console would feel."""

    def __init__(self):
        super().__init__(daemon=True)
        self.latest_s, self.is_over = 0.0, False

    def run(self):
        while not self.is_over:
            before = time.monotonic()
            time.sleep(NAP_S)
            self.latest_s = max(self.latest_s, time.monotonic() - before - NAP_S)

    def end(self):
        self.is_over = True
        self.join()
        return self.latest_s


def write_conf(path, directory, n_workers, ports, connect):
    backends = ", ".join(f'"{HOST}:{port}"' for port in ports)
    sources = ", ".join(f"127.0.200.{i + 1}" for i in range(N_SOURCES))
    path.write_text(f"""\
workers: {n_workers}
log: {{level: notice}}
admin: {{socket: {directory}/admin.sock}}
listeners:
  - {{name: public, bind: "{HOST}:{PORT}", mode: http, pool: chat}}
pools:
  - name: chat
    source: [{sources}]
    timeouts: {{connect: {connect}, upgrade: 2m}}
    backends: [{backends}]
""")


class Lb:
    def __init__(self, processes, build, directory, n_workers, ports):
        self.conf, self.dir = Path(directory) / "lb.yaml", directory
        self.n_workers, self.ports, self.build = n_workers, ports, Path(build)
        write_conf(self.conf, directory, n_workers, ports, "10s")
        self.process = processes.start([self.build / "lb/daemon/lb", "-c", self.conf])
        wait_for(PORT, self.process)

    def ctl(self, *command):
        """Its answer and the seconds it took."""
        before = time.monotonic()
        done = subprocess.run([self.build / "lb/ctl/lbctl", "-s", f"{self.dir}/admin.sock",
                               *command], capture_output=True, text=True)
        seconds = time.monotonic() - before
        if done.returncode != 0:
            raise NoResult(f"lbctl {' '.join(command)}: {done.stderr.strip()}")
        return done.stdout, seconds

    def active(self):
        return json.loads(self.ctl("--json", "stats")[0])["connections"]["active"]

    def reload(self, i):
        """With a changed time-out, and a backend more or fewer."""
        more = [self.ports[-1] + 1] if i % 2 == 0 else []
        write_conf(self.conf, self.dir, self.n_workers, [*self.ports, *more], f"{9 - i}s")
        return self.ctl("reload")[1]


def latency(load):
    """p50 and p99 in us: the medians of some intervals."""
    told = [interval(load, RUN_S) for _ in range(TRIES)]
    return (median(t["p50_ns"] for t in told) / 1e3, median(t["p99_ns"] for t in told) / 1e3)


def interval(load, seconds, work=lambda: None):
    """What lb-load tells of so many seconds, in which `work` is done."""
    load.tell("mark", "mark")
    work()
    time.sleep(seconds)
    return load.tell("mark", "mark")


def slowest_ms(load, work=lambda: None):
    """The slowest echo within a second, around `work`: the median of some."""
    return median(interval(load, 1, work)["max_ns"] for _ in range(RELOADS)) / 1e6


def active(processes, build):
    load = Load(processes, build, "open", PORT,
                {"-c": N_ACTIVE, "-p": 2, "-s": 64, "-r": RATE})
    load.tell("start", "started")
    time.sleep(1)
    return load


def open_idle(processes, build, lb, count):
    """Opens them all, telling how far it is."""
    begun, over = time.monotonic(), threading.Event()

    def progress():
        while not over.wait(10):
            try:
                say(f"  {time.monotonic() - begun:4.0f} s: {lb.active():,}")
            except (NoResult, ValueError):
                pass  # it is busy

    teller = threading.Thread(target=progress, daemon=True)
    teller.start()
    try:
        n_processes = max(2, math.ceil(count / PER_CLIENT))
        load = Load(processes, build, "hold", PORT,
                    {"-c": count, "-p": n_processes, "-s": 64}, answer_s=150 + count / 1000)
    except NoResult:
        ends = json.loads(lb.ctl("--json", "stats")[0])["ends"]
        say(f"lb's ends: {({reason: n for reason, n in ends.items() if n})}")
        raise
    finally:
        over.set()
        teller.join()
    tell("opened in", time.monotonic() - begun, "s")
    return load


# ---- the run --------------------------------------------------------------------------------

def pss_with_few_workers(processes, build, directory, ports):
    """What the process needs before each further worker adds its own."""
    lb = Lb(processes, build, directory, FEW_WORKERS, ports)
    time.sleep(2)
    few_bytes = pss([lb.process.pid])
    lb.process.terminate()
    if lb.process.wait(10) != 0:
        raise NoResult(f"lb ended with {lb.process.returncode}")
    return few_bytes


def run(count, build, processes, directory):
    n_backends = math.ceil((count + N_ACTIVE) / PER_BACKEND) + 1
    n_workers = max(2, math.ceil((count + N_ACTIVE) / PER_WORKER))
    ports = list(range(BACKENDS, BACKENDS + n_backends))
    say(f"{count:,} connections, {n_workers} workers, {n_backends} backends")
    for port in ports:
        processes.start([Path(build) / "backends/lb-echo", "-l", f"{HOST}:{port}", "-e", "epoll"])
    wait_for(ports[-1], processes.all[-1])
    few_bytes = pss_with_few_workers(processes, build, directory, ports)
    lb = Lb(processes, build, directory, n_workers, ports)
    pids = [lb.process.pid]
    more_workers = max(1, n_workers - FEW_WORKERS)

    time.sleep(2)
    start_bytes = pss(pids)
    tell("user memory just started, each worker",
         (start_bytes - few_bytes) / more_workers / 1024, "KiB", 512)
    alone = active(processes, build)
    p50_alone, p99_alone = latency(alone)
    alone.stop()
    time.sleep(2)
    shrink_slabs()
    used_bytes, slab_0 = pss(pids), slab()
    tell("the same after 1,000 connections", (used_bytes - few_bytes) / more_workers / 1024,
         "KiB", 512)

    idle = open_idle(processes, build, lb, count)
    time.sleep(CALM_S)
    if lb.active() != count:
        raise NoResult(f"lb counts {lb.active():,} connections")
    tell("user memory for each connection", (pss(pids) - used_bytes) / count, "B", 400)
    tell("kernel slab for each, with both ends", (slab() - slab_0) / count, "B")
    before, ns = time.monotonic(), cpu(pids)[0]
    time.sleep(CALM_S)
    tell("lb's CPU while they are idle",
         (cpu(pids)[0] - ns) / 1e7 / (time.monotonic() - before), "% of a core")

    beside = active(processes, build)
    p50, p99 = latency(beside)
    tell("1,000 active alone: p50", p50_alone, "us")
    tell("1,000 active beside them: p50", p50, "us")
    tell("p50 beside / alone", p50 / p50_alone, "times", 1.3)
    tell("p99 alone", p99_alone, "us")
    tell("p99 beside them", p99, "us")
    tell("lbctl stats, slowest of 5", 1e3 * max(lb.ctl("stats")[1] for _ in range(STATS_TRIES)),
         "ms", 100)

    calm = slowest_ms(beside)
    tell("slowest echo of the 1,000 in a second", calm, "ms")
    times = []
    around = slowest_ms(beside, lambda: times.append(lb.reload(len(times))))
    tell("reload", 1e3 * median(times), "ms")
    tell("slowest echo around one", around, "ms", max(50, calm))
    beside.stop()

    before = time.monotonic()
    idle.tell("again", "again")
    tell("each has echoed another message in", time.monotonic() - before, "s")

    nap = Nap()
    nap.start()
    before = time.monotonic()
    lb.process.terminate()
    time.sleep(1)
    lb.process.terminate()  # a second one ends what is left at once
    if lb.process.wait(120) != 0:
        raise NoResult(f"lb ended with {lb.process.returncode}")
    tell("lb stopped under them in", time.monotonic() - before, "s")
    tell("the latest wake-up meanwhile", 1e3 * nap.end(), "ms", 1000)


def main():
    parser = argparse.ArgumentParser(prog="scripts/million")
    parser.add_argument("count", nargs="?", type=int, default=1000000)
    parser.add_argument("--build", required=True, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if os.getpid() != 1:
        sys.exit("million.py is run by scripts/million, in namespaces of its own")
    if args.count < 2000:
        parser.error("COUNT is 2000 at least")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    lower_limits = raise_limits()
    nofile = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(nofile, 20000), min(nofile, 20000)))
    with tempfile.TemporaryDirectory(prefix="lb-million-") as directory, \
            tempfile.TemporaryFile("w+") as log:
        processes = Processes(log)
        try:
            check_limits(args.count)
            run(args.count, args.build, processes, directory)
        except NoResult as error:
            log.flush()
            log.seek(0)
            sys.exit(f"no result: {error}\n{log.read()[-4000:]}")
        finally:
            processes.stop()
            lower_limits()
    missed = [r["what"] for r in results if r["limit"] is not None and r["value"] > r["limit"]]
    if missed:
        sys.exit("not reached: " + "; ".join(missed))


if __name__ == "__main__":
    main()
