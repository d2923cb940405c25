#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""scripts/bench, once everything is built: the rounds, and what is told of them. With --old the
rounds compare two builds of lb (compare.py)."""

import argparse
import json
import os
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import compare
import report
from rows import ROWS

ROOT = Path(__file__).resolve().parents[2]
LB = "lb/daemon/lb"  # in a build directory
BUSY_PERCENT = 5
N_ROUNDS = 5
MEASUREMENT_S = 400  # the longest that one may take
CONGESTION = Path("/proc/sys/net/ipv4/tcp_congestion_control")
MICRO = {  # the program, and the most that each of its lines may cost, in ns
    "bench_pick": {"least_connections": 2000, "random": 2000, "hash": 2000},
    "bench_route": {"": 2000},
    "bench_probes": {"": 1000},
    "bench_ws_frame": {},
    "bench_http1": {},
    "bench_reload.py": {"": 200e6},
}


def told(*argv):
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=ROOT)
    lines = (done.stdout or done.stderr).splitlines()
    return lines[0].strip() if lines else ""


def commit():
    if not told("git", "rev-parse", "--short", "HEAD"):
        return "unknown"
    is_changed = subprocess.run(["git", "diff", "--quiet", "HEAD", "--", "lb", "tests/bench"],
                                cwd=ROOT, check=False).returncode != 0
    return told("git", "rev-parse", "--short", "HEAD") + (", changed" if is_changed else "")


def versions(build, has_peers):
    mine = told(str(build / LB), "--version")
    if not has_peers:
        return mine
    haproxy = told("haproxy", "-v").split(" ")[2]
    nginx = told("nginx", "-v").rsplit("/", 1)[-1]
    return f"HAProxy {haproxy}, nginx {nginx}, {mine}"


def where(build, congestion, has_peers=True):
    cpu = next((line.split(":", 1)[1].strip() for line in
                Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")),
               os.uname().machine)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    return {"machine": f"{len(os.sched_getaffinity(0))} CPUs ({cpu}), {memory:.0f} GiB",
            "kernel": f"Linux {os.uname().release}, TCP {congestion}",
            "versions": versions(build, has_peers),
            "commit": commit(), "date": date.today().isoformat()}


def busy_percent():
    """Of the machine's CPU time, while nothing of ours runs."""
    def read():
        fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
        return [int(field) for field in fields]
    before = read()
    time.sleep(2)
    spent = [b - a for a, b in zip(before, read())]
    return 100 * (1 - (spent[3] + spent[4]) / max(1, sum(spent)))


def say(words):
    print(words, file=sys.stderr, flush=True)


# ---- rounds -------------------------------------------------------------------------------------

def measure(row, name, args, lb=None):
    """One measurement, in namespaces of its own that end with it. `lb`: the program, where it is not
    the one that was just built."""
    argv = [] if os.geteuid() == 0 else ["sudo"]
    argv += ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc",
             "/usr/bin/python3", "-B", str(ROOT / "tests/bench/measure.py"), row.key, name,
             "--build", str(args.build), "--congestion", args.congestion,
             "--lb", str(lb or args.build / LB),
             "--pace", "quick" if args.quick else "paired" if args.old else "full"]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=MEASUREMENT_S,
                              check=False)
    except subprocess.TimeoutExpired:
        return {"error": f"no end within {MEASUREMENT_S} s"}
    lines = done.stdout.splitlines()
    return json.loads(lines[-1]) if lines else {"error": "died", "log": done.stderr[-2000:]}


def less_direct(figures, direct):
    """Slab of the proxy's own: without that of the clients' and the backends' sockets, which a
    connection without a proxy shows."""
    slab = figures["slab_b"] - direct["slab_b"]
    return {**figures, "slab_b": slab, "both_b": slab + figures["user_b"]}


def tell_no_result(name, figures):
    say(f"  {name:16} NO RESULT: {figures['error']}")
    if figures.get("log"):
        say("    " + figures["log"].strip().replace("\n", "\n    "))


def run_round(row, names, args, rounds):
    """Every contestant once. Returns how many gave no result."""
    direct, n_failed = None, 0
    for name in names:
        figures = measure(row, name, args)
        if "error" not in figures and row.key == "idle":
            if name == "direct":
                direct = figures
            elif direct is None:
                figures = {"error": "the measurement without a proxy failed"}
            else:
                figures = less_direct(figures, direct)
        if "error" in figures:
            n_failed += 1
            tell_no_result(name, figures)
            continue
        shown = [figure for figure in row.figures if figure.key in figures]
        for figure in shown:
            rounds.setdefault(name, {}).setdefault(figure.key, []).append(figures[figure.key])
        say(f"  {name:16} " + ", ".join(
            f"{figure.title} {figures[figure.key]:,.{figure.digits}f}" for figure in shown))
    return n_failed


def run_rows(rows, args, place):
    """All rounds of all rows, round by round. Returns the results and how many are missing."""
    results = {row.key: {"where": place, "command": args.command, "n_rounds": args.rounds,
                         "rounds": {}} for row in rows}
    n_failed = 0
    for i in range(args.rounds):
        for row in rows:
            say(f"round {i + 1} of {args.rounds}, {row.key}: {row.title}")
            turn = 0 if row.key == "idle" else i % len(row.contestants)
            names = row.contestants[turn:] + row.contestants[:turn]
            n_failed += run_round(row, names, args, results[row.key]["rounds"])
    return results, n_failed


# ---- two builds --------------------------------------------------------------------------------

def measure_pair(row, who, args, is_new_first, failed):
    """Both builds, one directly after the other. Returns {"old": figures, "new": figures}, or None
    where one of them gave no result, which is counted in `failed`."""
    programs = {"old": args.old, "new": args.build / LB}
    got = {}
    for side in ("new", "old") if is_new_first else ("old", "new"):
        got[side] = measure(row, who, args, programs[side])
        if "error" in got[side]:
            failed[side] += 1
            tell_no_result(f"{who}, {side}", got[side])
            return None
    return got


def run_pairs(row, who, args, results, run):
    """The pair of one round. A pair without a result is measured once more. Which build is measured
    first alternates with the number of the pairs that are there."""
    n = len(compare.pairs_of(results, row, who, row.figures[0].key, (run,)))
    got = (measure_pair(row, who, args, n % 2 == 1, results["failed"])
           or measure_pair(row, who, args, n % 2 == 1, results["failed"]))
    if got is None:
        return
    compare.add(results, row, run, who, got["old"], got["new"])
    say(f"  {who:16} " + ", ".join(
        f"{figure.title} {got['old'][figure.key]:,.{figure.digits}f} -> "
        f"{got['new'][figure.key]:,.{figure.digits}f}"
        for figure in row.figures if figure.key in got["old"]))


def run_compared(rows, args, results, keep):
    """The rounds, then those rows again whose ratio is above compare.AGAIN_ABOVE. `keep` is called
    after every row of every round."""
    def one_round(row, run, words):
        say(f"{words}, {row.key}: {row.title}")
        for who in row.compared:
            run_pairs(row, who, args, results, run)
        keep()

    for i in range(args.rounds):
        for row in rows:
            one_round(row, "first", f"round {i + 1} of {args.rounds}")
    again = [row for row in rows if compare.to_run_again(results, row)]
    n_done = {row.key: compare.n_rounds(results, row, "again") for row in again}
    for i in range(compare.ROUNDS):
        for row in again:
            if i >= n_done[row.key]:
                one_round(row, "again", f"again, round {i + 1} of {compare.ROUNDS}")


def run_old(rows, args):
    """--old: measures, shows, judges. Returns the exit status."""
    of = compare.identity(args.old, args.build / LB, args.congestion)
    try:
        results = compare.load(args.save, of) if args.save else compare.new_results()
    except compare.Unusable as error:
        say(f"scripts/bench: {error}")
        return 2
    for side, program in ("old", args.old), ("new", args.build / LB):
        say(f"{side}: {program}, {told(str(program), '--version')}, sha256 {of[side][:12]}")

    def keep():
        if args.save:
            compare.save(args.save, of, results)

    run_compared(rows, args, results, keep)
    rows = [row for row in ROWS if row in rows or row.key in results["rows"]]
    print(report.plain(compare.table(results, rows)))
    if args.quick:
        say("a smoke run: no verdict")
        return 1 if sum(results["failed"].values()) else 0
    print("\n" + "\n".join(compare.verdict(results, rows, ROWS)))
    return 0 if compare.is_good(results, rows) else 1


# ---- microbenchmarks ----------------------------------------------------------------------------

def run_micro(args, place):
    """Each program prints lines of a name, a tab and ns."""
    lines = []
    for program, limits in MICRO.items():
        argv = [str(args.build / "tests/bench" / program)]
        if program.endswith(".py"):
            argv = ["/usr/bin/python3", "-B", str(ROOT / "tests/bench" / program), str(args.build)]
        argv += ["--quick"] if args.quick else []
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
        for line in done.stdout.splitlines():
            name, ns = line.split("\t")
            limit = next((limits[key] for key in limits if name.startswith(key)), 0)
            lines.append([name, float(ns), limit])
    return {"where": place, "command": args.command, "lines": lines}


# ---- the command --------------------------------------------------------------------------------

def check_old(parser, args):
    """Both files are named from where the script was called."""
    args.old = (args.cwd / args.old).resolve()
    args.save = args.save and args.cwd / args.save
    if args.micro:
        parser.error("--micro has no --old: the microbenchmarks are programs of their own")
    if args.quick and args.save:
        parser.error("--save takes no --quick: figures of a smoke run say nothing")
    if not (args.old.is_file() and os.access(args.old, os.X_OK)):
        parser.error(f"--old {args.old}: not a program; it is the file lb/daemon/lb of a release "
                     "build of the older commit")
    args.dry = True


def parse():
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description="lb beside HAProxy, nginx and a bare relay; with "
        "--old, lb beside an older build of it. docs/performance.md has the method and the verdict.",
        epilog="Rows: " + ", ".join(f"{row.key} ({row.title})" for row in ROWS) + ".")
    parser.add_argument("--build", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--cwd", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--only", action="append", choices=[row.key for row in ROWS],
                        metavar="ROW", help="this row (may be given again)")
    parser.add_argument("--rounds", type=int, metavar="N",
                        help=f"default: {N_ROUNDS}; with --old {compare.ROUNDS}, the fewest that "
                             "a verdict needs")
    parser.add_argument("--micro", action="store_true", help="microbenchmarks only")
    parser.add_argument("--quick", action="store_true",
                        help="one short round that proves the tools and publishes nothing")
    parser.add_argument("--dry", action="store_true", help="leave docs/performance.md alone")
    parser.add_argument("--congestion", metavar="NAME",
                        help="TCP's congestion control, instead of the system's (with --dry)")
    parser.add_argument("--old", type=Path, metavar="BINARY",
                        help="compare lb as it is here with this build of it, in pairs: new / old "
                             "with 95 %% intervals, and a verdict, which is the exit status; "
                             "publishes nothing")
    parser.add_argument("--save", type=Path, metavar="FILE",
                        help="with --old: keep the pairs in FILE, together with those of earlier "
                             "runs of the same two binaries; the verdict is on all of them")
    args = parser.parse_args()
    if args.old:
        check_old(parser, args)
    elif args.save:
        parser.error("--save needs --old")
    if args.congestion and not args.dry:
        parser.error("--congestion needs --dry: what is published is the system's")
    args.congestion = args.congestion or CONGESTION.read_text().strip()
    if args.rounds is None:
        args.rounds = compare.ROUNDS if args.old else N_ROUNDS
    if args.rounds < 1:
        parser.error("--rounds is at least 1")
    if args.quick:
        args.rounds = 1
    args.build = args.build.resolve()
    args.command = "./scripts/bench"
    for key in args.only or []:
        args.command += f" --only {key}"
    if args.micro:
        args.command += " --micro"
    elif args.rounds != N_ROUNDS:
        args.command += f" --rounds {args.rounds}"
    return args


def main():
    args = parse()
    place = where(args.build, args.congestion, has_peers=not args.old)
    say(report.place(place))
    busy = busy_percent()
    if busy > BUSY_PERCENT:
        say(f"warning: {busy:.0f} % of the CPUs are busy with something else; figures are noise")
    rows = [row for row in ROWS if not args.only or row.key in args.only]
    if args.old:
        return run_old(rows, args)
    if args.micro:
        results, n_failed = {"micro": run_micro(args, place)}, 0
        print(report.plain(report.micro_lines(results["micro"])))
    else:
        results, n_failed = run_rows(rows, args, place)
        for row in rows:
            print(f"\n{row.key}: {row.title}")
            print(report.plain(report.table(row, results[row.key])))
        print("\n" + report.plain(report.summary(results)))
    if n_failed:
        say(f"{n_failed} measurements gave no result: nothing is published")
        return 1
    if not args.quick and not args.dry:
        report.publish(ROOT / "docs", results)
        say("written: docs/performance.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
