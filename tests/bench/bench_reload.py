#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""How long a reload takes, and how long a living tunnel waits for it: prints lines of a name, a tab
and ns, as the other microbenchmarks do. Arguments: the build directory, [--quick]."""

import contextlib
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

N_BACKENDS, N_ROUTES = 10000, 1000
TIMES, TIMES_QUICK = 11, 3
N_POOLS = 1000
RENAMES, RENAMES_QUICK = 60, 5
LAST = 10  # of the renames: those whose echoes count


def head(directory):
    return f"workers: 2\nlog: {{level: warn}}\nadmin: {{socket: {directory}/admin.sock}}\n"


def write_many(path, directory, n_more):
    """Weights differ; each reload brings a backend more, or one less."""
    routes = "\n".join(f"      - {{host: h{i}.example, pool: p}}" for i in range(N_ROUTES))
    backends = "\n".join(f'      - {{address: "10.0.{i >> 8}.{i & 255}:9000", weight: {1 + i % 3}}}'
                         for i in range(N_BACKENDS + n_more))
    path.write_text(f"""\
{head(directory)}listeners:
  - name: l
    bind: 127.0.0.1:0
    mode: http
    routes:
{routes}
pools:
  - name: p
    backends:
{backends}
""")


def write_renamed(path, directory, port, back, generation):
    """All pools but the tunnel's have other names than in any generation before."""
    names = [f"g{generation}-{i}" for i in range(N_POOLS)]
    routes = "\n".join(f"      - {{name: r-{n}, host: {n}.example, pool: {n}}}" for n in names)
    pools = "\n".join(f'  - {{name: {n}, backends: ["10.0.0.1:9000"]}}' for n in names)
    path.write_text(f"""\
{head(directory)}listeners:
  - {{name: tunnel, bind: "127.0.0.1:{port}", mode: tcp, pool: living}}
  - name: l
    bind: 127.0.0.1:0
    mode: http
    routes:
{routes}
pools:
  - {{name: living, backends: ["127.0.0.1:{back}"]}}
{pools}
""")


class Lb:
    def __init__(self, build, directory, conf):
        self.ctl = [build / "lb/ctl/lbctl", "-s", f"{directory}/admin.sock"]
        self.process = subprocess.Popen([build / "lb/daemon/lb", "-c", conf])

    def __enter__(self):
        end = time.monotonic() + 10
        while subprocess.run([*self.ctl, "stats"], capture_output=True).returncode != 0:
            if self.process.poll() is not None or time.monotonic() > end:
                sys.exit("lb does not start")
            time.sleep(0.05)
        return self

    def __exit__(self, *what):
        self.process.terminate()
        self.process.wait()

    def reload(self):
        """Its time, in ns."""
        start = time.perf_counter_ns()
        subprocess.run([*self.ctl, "reload"], check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter_ns() - start


class Tunnel:
    """One connection through lb to an echo, which asks a byte at a time. worst() is the slowest
    answer since it was asked last, in ns."""

    def __init__(self, port, listener):
        self.client = socket.create_connection(("127.0.0.1", port), 10)
        self.backend, _ = listener.accept()
        for s in (self.client, self.backend):
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            s.settimeout(20)
        self.slowest = 0
        self.is_over = False
        self.threads = [threading.Thread(target=f) for f in (self.ask, self.echo)]
        for t in self.threads:
            t.start()

    def ask(self):
        while not self.is_over:
            start = time.perf_counter_ns()
            self.client.sendall(b"x")
            self.client.recv(1)
            self.slowest = max(self.slowest, time.perf_counter_ns() - start)
        self.client.close()

    def echo(self):
        while (got := self.backend.recv(1)) != b"":
            self.backend.sendall(got)
        self.backend.close()

    def worst(self):
        slowest, self.slowest = self.slowest, 0
        return slowest

    def close(self):
        self.is_over = True
        for t in self.threads:
            t.join()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


def time_of_many(build, directory, n_times):
    conf = Path(directory) / "lb.yaml"
    write_many(conf, directory, 0)
    with Lb(build, directory, conf) as lb:
        took = []
        for i in range(n_times):
            write_many(conf, directory, (i + 1) % 2)
            took.append(lb.reload())
    print(f"a reload of {N_BACKENDS:,} backends and {N_ROUTES:,} routes\t{statistics.median(took)}")


def echoes_over_renames(build, directory, n_times):
    conf = Path(directory) / "lb.yaml"
    port = free_port()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        back = listener.getsockname()[1]
        write_renamed(conf, directory, port, back, 0)
        with Lb(build, directory, conf) as lb, contextlib.closing(Tunnel(port, listener)) as t:
            took, worst = [], []
            for i in range(n_times):
                write_renamed(conf, directory, port, back, i + 1)
                t.worst()
                took.append(lb.reload())
                worst.append(t.worst())
    print(f"a reload that renames {N_POOLS:,} pools, the last of {n_times}"
          f"\t{statistics.median(took[-LAST:])}")
    print(f"the slowest echo on a tunnel meanwhile\t{statistics.median(worst[-LAST:])}")


def main():
    build, is_quick = Path(sys.argv[1]), "--quick" in sys.argv[2:]
    with tempfile.TemporaryDirectory(prefix="lb-bench-") as directory:
        time_of_many(build, directory, TIMES_QUICK if is_quick else TIMES)
        echoes_over_renames(build, directory, RENAMES_QUICK if is_quick else RENAMES)


if __name__ == "__main__":
    main()
