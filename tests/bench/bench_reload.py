#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""How long a reload takes of a file with 10,000 backends and 1,000 routes: prints a line of a name, a
tab and ns, as the other microbenchmarks do. Arguments: the build directory, [--quick]."""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

N_BACKENDS, N_ROUTES = 10000, 1000
TIMES, TIMES_QUICK = 11, 3


def write(path, directory, n_more):
    """Weights differ; each reload brings a backend more, or one less."""
    routes = "\n".join(f"      - {{host: h{i}.example, pool: p}}" for i in range(N_ROUTES))
    backends = "\n".join(f'      - {{address: "10.0.{i >> 8}.{i & 255}:9000", weight: {1 + i % 3}}}'
                         for i in range(N_BACKENDS + n_more))
    path.write_text(f"""\
workers: 2
log: {{level: warn}}
admin: {{socket: {directory}/admin.sock}}
listeners:
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


def main():
    build, n_times = Path(sys.argv[1]), TIMES_QUICK if "--quick" in sys.argv[2:] else TIMES
    with tempfile.TemporaryDirectory(prefix="lb-bench-") as directory:
        conf = Path(directory) / "lb.yaml"
        ctl = [build / "lb/ctl/lbctl", "-s", f"{directory}/admin.sock"]
        write(conf, directory, 0)
        lb = subprocess.Popen([build / "lb/daemon/lb", "-c", conf])
        try:
            end = time.monotonic() + 10
            while subprocess.run([*ctl, "stats"], capture_output=True).returncode != 0:
                if lb.poll() is not None or time.monotonic() > end:
                    sys.exit("lb does not start")
                time.sleep(0.05)
            took = []
            for i in range(n_times):
                write(conf, directory, (i + 1) % 2)
                start = time.perf_counter_ns()
                subprocess.run([*ctl, "reload"], check=True, stdout=subprocess.DEVNULL)
                took.append(time.perf_counter_ns() - start)
        finally:
            lb.terminate()
            lb.wait()
    print(f"a reload of {N_BACKENDS:,} backends and {N_ROUTES:,} routes\t{statistics.median(took)}")


if __name__ == "__main__":
    main()
