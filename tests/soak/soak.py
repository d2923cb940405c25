# SPDX-License-Identifier: Apache-2.0
"""The soak that scripts/soak starts once everything is built.

A warm-up under full load, with backends that die; then everything is closed, and what lb holds at
rest is noted. Then the run: clients (client.py), the operator (changes.py) and figures every ten
seconds. In the end everything is closed again, and judged (judge.py). The status is 1 if there was
any fault.
"""

import argparse
import csv
import os
import platform
import queue
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integration"))

import judge  # noqa: E402 (the path comes first)
from changes import Operator  # noqa: E402
from drawing import MARK_COLOURS, draw  # noqa: E402
from fixture import Fixture, access_lines, fds_by_thread, memory_kib  # noqa: E402
from lbtest import BUILD, fd_leaks, fds_by_task, wait_for  # noqa: E402

WARM_UP_S = 60.0
SETTLE_S = 5.0  # after the last connection, for what is freed at leisure
RAMP_S = 30.0  # of the run: not yet its full load, so left out where growth is judged


def options():
    p = argparse.ArgumentParser(
        prog="scripts/soak", description="lb under everything at once, for hours."
    )
    p.add_argument("--hours", type=float, default=0.0, help="how long; added to --minutes")
    p.add_argument("--minutes", type=float, default=0.0, help="20 where neither is given")
    p.add_argument("--engine", default="auto", choices=("auto", "io_uring", "epoll"))
    p.add_argument("--conns", type=int, default=1000, help="WebSockets that stay open")
    p.add_argument("--rate", type=float, default=30.0, help="new connections a second besides")
    p.add_argument("--processes", type=int, default=4, help="of clients")
    p.add_argument("--every", type=float, default=10.0, help="seconds between figures")
    p.add_argument("--seed", type=int, default=1, help="of what clients and operator do")
    p.add_argument("--out", type=Path, default=BUILD / "soak", help="folder of the figures")
    o = p.parse_args()
    o.seconds = (o.hours * 60 + o.minutes) * 60 or 1200.0
    if o.seconds < 30 or o.conns < o.processes or o.rate <= 0 or o.every <= 0:
        p.error("at least half a minute, a connection for each process, and positive rates")
    return o


def percentile(values, share):
    """In milliseconds, of microseconds; 0 where there are none."""
    values = sorted(values)
    return round(values[int(len(values) * share)] / 1000, 2) if values else 0.0


class Soak:
    def __init__(self, o, fixture):
        self.o = o
        self.fixture = fixture
        self.operator = Operator(fixture, o.seed)
        self.faults = []
        self.rows = []
        self.latencies_us = []
        self.count = {"opened": 0, "messages": 0, "bytes": 0, "rubbish": 0}
        self.explained = self.unexplained = 0
        self.explained_by = {"kill": 0, "away": 0}
        self.warm_up_s = min(WARM_UP_S, o.seconds / 2)

    # -- what clients tell

    def hear(self):
        """Takes what has been told since."""
        while True:
            try:
                m = self.fixture.told.get_nowait()
            except queue.Empty:
                return
            if m["what"] == "figures":
                for name, n in m["count"].items():
                    self.count[name] += n
                self.latencies_us += m["latencies_us"]
            elif m["what"] == "trouble":
                self.hear_trouble(m)

    def hear_trouble(self, m):
        event = judge.explanation(m, self.operator.events)
        if event is not None:
            self.explained += 1
            self.explained_by[event.what] += 1
            return
        self.unexplained += 1
        life = m["until"] - m["since"]
        words = f"{m['activity']} on {m['backend']}: {m['kind']}: {m['text']}, {life:.1f} s old"
        if self.unexplained <= 20:
            print(f"{time.strftime('%X')} unexplained: {words}", flush=True)
            self.faults.append(f"unexplained: {words}")

    # -- figures

    def sample(self, begin, last):
        """A row of figures; `last` is the one before, for what is counted by the second; None for
        the first of a phase."""
        stats = self.fixture.lb.stats()
        pss, rss = memory_kib(self.fixture.lb.pid)
        t = time.monotonic() - begin
        row = {
            "t_s": round(t, 1),
            "active": stats["connections"]["active"],
            "accepted": stats["connections"]["total"],
            "messages": self.count["messages"],
            "pss_kib": pss,
            "rss_kib": rss,
            "explained": self.explained,
            "unexplained": self.unexplained,
            "p50_ms": percentile(self.latencies_us, 0.5),
            "p99_ms": percentile(self.latencies_us, 0.99),
        }
        for name in ("accepted", "messages"):
            n, seconds = (row[name] - last[name], t - last["t_s"]) if last else (0, 1)
            row[f"{name}_per_s"] = round(n / seconds, 1)
        row |= {f"fds_{name}": n for name, n in fds_by_thread(self.fixture.lb.pid).items()}
        row |= {f"end_{reason}": n for reason, n in stats["ends"].items()}
        self.latencies_us = []
        return row

    def watch(self, seconds, write):
        """Looks on for so long; a row every --every seconds."""
        begin = next_row = time.monotonic()
        last = None
        while time.monotonic() - begin < seconds:
            time.sleep(0.2)
            self.hear()
            dead = [f for f in (c.fault() for c in self.fixture.clients) if f]
            if dead or not self.fixture.lb.is_running():
                self.faults += dead or [f"lb has ended: {self.fixture.lb.stderr()[-3000:]}"]
                return
            if time.monotonic() >= next_row:
                next_row += self.o.every
                last = self.sample(begin, last)
                write(last)

    def show(self, row):
        print(
            f"{row['t_s']:8.0f} s  active {row['active']:5}  accepted {row['accepted']:8}  "
            f"{row['messages_per_s']:6.0f} msg/s  Pss {row['pss_kib'] / 1024:6.1f} MiB  "
            f"p99 {row['p99_ms']:7.1f} ms  errors {row['explained']} + {row['unexplained']}",
            flush=True,
        )

    # -- the phases

    def go(self, steps, seconds, seed, write):
        """Clients and operator for so long."""
        o = self.o
        self.fixture.start_clients(o.processes, o.conns, o.rate, seed)
        self.operator.start(steps)
        self.watch(seconds, write)
        self.operator.stop()

    def rest(self):
        """Brings all clients to their ends. What lb holds then: (Pss, descriptors of each table);
        of these the fewest in some seconds, as health checks come and go."""
        self.faults += [f for f in self.fixture.stop_clients() if f]
        self.hear()
        lb = self.fixture.lb
        wait_for(
            "the last connection to end",
            lambda: lb.stats()["connections"]["active"] == 0,
            timeout=45,
        )
        least = fds_by_task(lb.pid)
        for _ in range(int(SETTLE_S * 20)):
            time.sleep(0.05)
            least = {tid: min(n, least[tid]) for tid, n in fds_by_task(lb.pid).items()}
        return memory_kib(lb.pid)[0], least

    def run(self):
        """Returns Pss at rest, before and after."""
        print(f"warm-up: {self.warm_up_s:.0f} s", flush=True)
        self.go((self.operator.kill,), self.warm_up_s, 2 * self.o.seed, self.show)
        before = self.rest()
        self.tell_rest(*before)
        self.latencies_us = []
        self.o.out.mkdir(parents=True, exist_ok=True)
        self.begin = time.monotonic()
        with open(self.o.out / "soak.csv", "w", newline="") as f:
            steps = self.operator.all_steps()
            self.go(steps, self.o.seconds, 2 * self.o.seed + 1, self.writer(f))
        self.operator.settle()
        after = self.rest()
        self.tell_rest(*after)
        self.judge(before, after)
        return before[0], after[0]

    @staticmethod
    def tell_rest(pss_kib, fds):
        per_thread = list(fds.values())
        print(f"at rest: Pss {pss_kib / 1024:.1f} MiB, descriptors {per_thread}", flush=True)

    def writer(self, f):
        out = None

        def write(row):
            nonlocal out
            if out is None:
                out = csv.DictWriter(f, row)
                out.writeheader()
            out.writerow(row)
            f.flush()
            self.rows.append(row)
            self.show(row)

        return write

    # -- the verdict

    def judge(self, before, after):
        self.stats = stats = self.fixture.lb.stats()
        operator = self.operator
        self.faults += operator.faults
        n_kills = sum(e.what == "kill" for e in operator.events)
        self.faults += judge.faults_of_ends(stats["ends"], self.count["rubbish"], n_kills)
        self.faults += judge.faults_of_totals(stats, self.count["opened"])
        self.faults += judge.faults_of_growth(self.loaded_kib(), before[0], after[0])
        leaks = fd_leaks(before[1], after[1])
        if leaks:
            self.faults.append(f"descriptors left (thread: before, now): {leaks}")
        n_lines = operator.n_access_lines + access_lines(self.fixture.lb.dir / "access.log")
        n_ended = sum(stats["ends"].values())
        if n_lines != n_ended:
            self.faults.append(f"{n_ended} connections ended, {n_lines} are in the access log")
        if self.unexplained:
            self.faults.append(f"{self.unexplained} unexplained errors")

    def loaded_kib(self):
        return [r["pss_kib"] for r in self.rows if r["t_s"] > RAMP_S]

    def n_events(self, what):
        """A plain backend's death is noted in both of its pools."""
        return sum(e.what == what and e.pool != "raw" for e in self.operator.events)

    def summary(self, idle_kib, settled_kib):
        """A table, as docs/testing.md has it."""
        ends = {k: n for k, n in self.stats["ends"].items() if n}
        loaded = self.loaded_kib() or [0]
        third = max(len(loaded) // 3, 1)
        gib = self.count["bytes"] / 2**30
        p50, p99 = (judge.median([r[k] for r in self.rows]) for k in ("p50_ms", "p99_ms"))
        rows = {
            "machine": f"{os.cpu_count()} CPUs, Linux {platform.release()}",
            "engine": self.stats["engine"],
            "time": f"{self.o.seconds / 60:g} min after {self.warm_up_s:.0f} s of warm-up",
            "open connections": f"{max((r['active'] for r in self.rows), default=0)} at most",
            "connections": f"{self.stats['connections']['total']:,}",
            "messages": f"{self.count['messages']:,}, {gib:.1f} GiB each way",
            "reloads, refused, drains, kills": ", ".join(
                str(self.n_events(what)) for what in ("reload", "refused", "drain", "kill")
            ),
            "clients' errors": f"{self.explained_by['kill']:,} by a backend's death, "
            f"{self.explained_by['away']:,} refused while the listener was away, "
            f"{self.unexplained} unexplained",
            "round trip": f"p50 {p50} ms, p99 {p99} ms (medians of the rows)",
            "Pss under load": f"{judge.median(loaded[:third]) / 1024:.1f} MiB in the first third, "
            f"{judge.median(loaded[-third:]) / 1024:.1f} MiB in the last",
            "Pss at rest": f"{idle_kib / 1024:.1f} MiB after the warm-up, "
            f"{settled_kib / 1024:.1f} MiB at the end",
            "ends": ", ".join(f"{k} {n:,}" for k, n in sorted(ends.items())),
        }
        return "| | |\n|---|---|\n" + "".join(f"| {k} | {v} |\n" for k, v in rows.items())

    def write_results(self, idle_kib, settled_kib):
        marks = [
            (e.begin - self.begin, e.what)
            for e in self.operator.events
            if e.what in MARK_COLOURS and e.begin >= self.begin
        ]
        title = f"scripts/soak: {self.o.seconds / 60:g} minutes, engine {self.stats['engine']}"
        (self.o.out / "soak.svg").write_text(draw(title, self.rows, marks))
        table = self.summary(idle_kib, settled_kib)
        (self.o.out / "soak.md").write_text(table)
        print(f"\n{table}\nfigures: {self.o.out}/soak.csv, soak.svg, soak.md")


def stop_by_signal(signo, frame):
    raise KeyboardInterrupt


def main():
    o = options()
    for signo in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signo, stop_by_signal)
    fixture = Fixture(o.engine)
    soak = Soak(o, fixture)
    try:
        fixture.start()
        kib = soak.run()
        if soak.rows:
            soak.write_results(*kib)
        fixture.stop()
    except KeyboardInterrupt:
        soak.faults.append("interrupted")
    except (AssertionError, OSError, subprocess.SubprocessError) as e:
        soak.faults.append(f"{type(e).__name__}: {e}")
    finally:
        for signo in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(signo, signal.SIG_IGN)
        if soak.faults and fixture.lb is not None:
            print(f"lb's last words:\n{fixture.lb.stderr()[-3000:]}")
        fixture.kill_lb()  # so that the operator waits for nothing any more
        soak.operator.stop()
        fixture.destroy()
    for fault in dict.fromkeys(soak.faults):
        print(f"soak: fault: {fault}")
    print(f"soak: {'FAILED' if soak.faults else 'nothing was lost, nothing has grown'}")
    return 1 if soak.faults else 0


if __name__ == "__main__":
    sys.exit(main())
