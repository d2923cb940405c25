# SPDX-License-Identifier: Apache-2.0
"""The verdict on two builds of lb must be able to be bad."""

import random
import sys
from statistics import median

import pytest

import bench
import compare
from rows import ROWS

OLD, NEW = 10.0, 10.0  # every figure, where a test does not say another
BY_KEY = {row.key: row for row in ROWS}
CPU_ROWS = ["active100", "active1000", "quota", "bulk (lb-tcp)", "bulk (lb-http)", "open", "connect"]


def noisy(factor, spread, n=compare.ROUNDS, seed=7):
    """n pairs whose ratio is `factor` at the median and lies within `spread` of it."""
    chance = random.Random(seed)
    steps = [spread * (2 * i / (n - 1) - 1) for i in range(n)]
    chance.shuffle(steps)
    return [[OLD, NEW * (factor + step)] for step in steps]


def results_with(changes=(), n=compare.ROUNDS, run="first"):
    """All rows with n equal pairs of every figure, but for `changes`: ((row, who, figure), pairs)."""
    results = compare.new_results()
    for row in ROWS:
        figures = {figure.key: OLD for figure in row.figures}
        for who in row.compared:
            for _ in range(n):
                compare.add(results, row, run, who, figures, figures)
    for (key, who, figure), pairs in changes:
        results["rows"][key][run][who][figure] = pairs
    return results


def cpu_changes(pairs):
    return [((row.key, who, key), pairs) for row in ROWS for who in row.compared
            for key in row.judged if key.startswith("cpu")]


def one(row, who, figure, pairs):
    return [((row, who, figure), pairs)]


# What is changed; what each fault begins with, in order.
VERDICTS = [
    ("equal", [], []),
    ("a little slower everywhere", cpu_changes(noisy(1.015, 0.01)), []),
    ("faster everywhere", cpu_changes(noisy(0.8, 0.01)), []),
    ("noise around nothing", cpu_changes(noisy(1.0, 0.4)), []),
    ("every CPU row 3 % slower", cpu_changes(noisy(1.03, 0.001)),
     ["active100 (lb-http), CPU", "active1000 (lb-http), CPU", "quota (lb-http), CPU",
      "bulk (lb-tcp), CPU", "bulk (lb-http), CPU", "open (lb-http), CPU", "connect (lb-http), CPU",
      "the geometric mean over the CPU rows, 1.030, is above 1.02"]),
    ("the mean alone: each row's interval reaches below", cpu_changes(noisy(1.03, 0.2)),
     ["the geometric mean over the CPU rows, 1.030, is above 1.02"]),
    ("one CPU row 4 % slower, the mean is not",
     one("bulk", "lb-tcp", "cpu_ms_mb", noisy(1.04, 0.01)),
     ["bulk (lb-tcp), CPU per MiB echoed, ms: new / old is 1.040, and its lower bound, 1.03"]),
    ("the latency of an open loop", one("open", "lb-http", "p99_us", noisy(1.04, 0.01)),
     ["open (lb-http), p99"]),
    ("the latency beside bulk", one("fair", "lb-http", "p99_us", noisy(1.04, 0.01)),
     ["fair (lb-http), p99"]),
    ("the latency beside slow requests", one("slow", "lb-http", "p99_us", noisy(1.04, 0.01)),
     ["slow (lb-http), p99"]),
    ("a figure that is shown only", one("open", "lb-http", "user_percent", noisy(2.0, 0.01)), []),
    ("memory within the limit", one("idle", "lb-http", "user_b", [[220, 400]] * 15), []),
    ("memory above the limit", one("idle", "lb-http", "user_b", [[420, 401]] * 15),
     ["idle (lb-http), user memory each, B: 401 is above 400"]),
    ("memory on epoll within its limit", one("idle", "lb-http-epoll", "user_b", [[220, 500]] * 15),
     []),
    ("memory on epoll above its limit", one("idle", "lb-http-epoll", "user_b", [[220, 501]] * 15),
     ["idle (lb-http-epoll), user memory each, B: 501 is above 500"]),
]


@pytest.mark.parametrize("changes, want", [r[1:] for r in VERDICTS], ids=[r[0] for r in VERDICTS])
def test_the_verdict(changes, want):
    results = results_with(changes)
    got = compare.faults(results, ROWS)
    assert len(got) == len(want), got
    assert all(line.startswith(begin) for line, begin in zip(got, want)), got
    last = compare.verdict(results, ROWS, ROWS)[-1]
    assert last == f"verdict: {'bad' if want else 'good'}"


def test_the_cpu_rows():
    assert list(compare.cpu_ratios(results_with(), ROWS)) == CPU_ROWS


def test_a_judged_figure_is_there_and_less_of_it_is_better():
    for row in ROWS:
        figures = {figure.key: figure for figure in row.figures}
        for key in row.judged:
            assert not figures[key].is_more_better, (row.key, key)
            assert key not in compare.NOT_COMPARED
        assert row.judged or row.limits, row.key


def lacks(results):
    """What is lacking, where nothing is wrong."""
    assert compare.verdict(results, ROWS, ROWS)[-1] == "verdict: none yet"
    assert not compare.is_good(results, ROWS)
    return compare.lacks(results, ROWS)


def test_too_few_rounds_are_no_verdict():
    got = lacks(results_with(n=compare.ROUNDS - 1))
    assert got == [f"{row.key}: 14 of the 15 rounds that a verdict needs" for row in ROWS]


def test_a_row_without_a_pair_is_no_verdict():
    results = results_with()
    del results["rows"]["connect"]
    assert lacks(results) == ["connect: 0 of the 15 rounds that a verdict needs"]


def test_one_contestant_without_a_pair_is_no_verdict():
    results = results_with()
    del results["rows"]["bulk"]["first"]["lb-tcp"]
    assert lacks(results) == ["bulk: 0 of the 15 rounds that a verdict needs"]


def test_rows_that_are_not_measured_are_named():
    some = [BY_KEY["idle"], BY_KEY["connect"]]
    lines = compare.verdict(results_with(), some, ROWS)
    assert lines[-1] == "verdict: good"
    assert lines[1] == ("not measured, and not in the verdict: active100, active1000, quota, bulk, "
                        "open, fair, slow")


@pytest.mark.parametrize("side, want", [("old", "good"), ("new", "bad")])
def test_a_new_build_that_fails_is_bad(side, want):
    results = results_with()
    results["failed"][side] = 1
    lines = compare.verdict(results, ROWS, ROWS)
    assert f"measurements of the {side} build without a result: 1" in lines
    assert lines[-1] == f"verdict: {want}"


# ---- a row that is run again --------------------------------------------------------------------

def test_what_is_run_again():
    row = BY_KEY["fair"]
    slower = one("fair", "lb-http", "p99_us", noisy(1.06, 0.2))
    assert compare.to_run_again(results_with(slower), row)
    assert not compare.to_run_again(results_with(), row)
    assert not compare.to_run_again(results_with(slower), BY_KEY["slow"])
    few = one("fair", "lb-http", "p99_us", noisy(1.06, 0.2, 14))
    assert not compare.to_run_again(results_with(few, 14), row)


@pytest.mark.parametrize("factor, want", [(1.0, "good"), (1.10, "bad")])
def test_both_runs_are_judged_together(factor, want):
    results = results_with(one("fair", "lb-http", "p99_us", noisy(1.10, 0.04)))
    assert compare.lacks(results, ROWS) == ["fair: above 1.05, and 0 of 15 rounds again"]
    again = results_with(one("fair", "lb-http", "p99_us", noisy(factor, 0.04)), run="again")
    results["rows"]["fair"]["again"] = again["rows"]["fair"]["again"]
    assert compare.verdict(results, ROWS, ROWS)[-1] == f"verdict: {want}"
    shown = [line for line in compare.table(results, ROWS) if "p99 beside it, us" in line[1]]
    assert [line[0] for line in shown] == ["fair", "fair, again", "fair, both"]
    assert [line[4] for line in shown][:2] == ["1.100", f"{factor:.3f}"]
    assert [line[6] for line in shown] == ["15", "15", "30"]


# ---- statistics ---------------------------------------------------------------------------------

def test_a_ratio_is_of_a_pair():
    drift = [[1.0, 1.1], [2.0, 2.2], [4.0, 4.4]]  # the machine slows down, the ratio stays
    got = compare.summary(drift)
    assert got.ratio == pytest.approx(1.1)
    assert (got.lower, got.upper) == (pytest.approx(1.1), pytest.approx(1.1))
    assert (got.n, got.old, got.new) == (3, 2.0, 2.2)


def test_a_figure_of_zero_has_no_ratio():
    got = compare.summary([[0.0, 1.0], [1.0, 0.0]])
    assert (got.n, got.ratio, got.lower) == (2, None, None)


def test_one_pair_has_no_interval():
    assert compare.interval([1.3]) == (None, None)


def test_the_interval_holds_the_median_as_often_as_it_says():
    chance, n_held = random.Random(11), 0
    for _ in range(200):
        values = [chance.lognormvariate(0.0, 0.05) for _ in range(compare.ROUNDS)]
        lower, upper = compare.interval(values)
        assert lower <= median(values) <= upper
        n_held += lower <= 1.0 <= upper
    assert 180 <= n_held < 200


# ---- the rounds ---------------------------------------------------------------------------------

class Kernel:
    """In place of measurements: each figure is that of the build, or it fails."""

    def __init__(self, factor=1.0, failing=()):
        self.factor, self.failing, self.asked = factor, list(failing), []

    def measure(self, row, who, args, lb):
        side = "old" if lb == args.old else "new"
        self.asked.append((row.key, who, side))
        if self.failing and self.failing[0] == side:
            self.failing.pop(0)
            return {"error": "planted"}
        return {figure.key: OLD * (self.factor if side == "new" else 1) for figure in row.figures}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs bench.main() with --old and more arguments on a Kernel; the exit status."""
    (tmp_path / "lb/daemon").mkdir(parents=True)
    for name in ("lb/daemon/lb", "old"):
        (tmp_path / name).write_text(f"#!/bin/sh\necho {name}\n")
        (tmp_path / name).chmod(0o755)

    def start(kernel, *more):
        monkeypatch.setattr(bench, "measure", kernel.measure)
        monkeypatch.setattr(bench, "busy_percent", lambda: 0)
        monkeypatch.setattr(sys, "argv", ["bench.py", "--build", str(tmp_path), "--cwd",
                                          str(tmp_path), "--old", "old", *more])
        return bench.main()

    return start


@pytest.mark.parametrize("factor, status", [(1.0, 0), (1.03, 1), (1.3, 1)])
def test_the_exit_status(run, capsys, factor, status):
    assert run(Kernel(factor)) == status
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f"verdict: {'bad' if status else 'good'}"


def test_old_and_new_alternate(run):
    kernel = Kernel()
    assert run(kernel, "--only", "connect") == 0
    assert kernel.asked == [("connect", "lb-http", side) for i in range(compare.ROUNDS)
                            for side in (("old", "new") if i % 2 == 0 else ("new", "old"))]


def test_a_slower_row_is_run_again(run):
    kernel = Kernel(1.06)
    assert run(kernel, "--only", "connect") == 1
    assert len(kernel.asked) == 2 * 2 * compare.ROUNDS


def test_a_pair_without_a_result_is_measured_once_more(run, capsys):
    kernel = Kernel(failing=["old"])
    assert run(kernel, "--only", "connect") == 0
    assert kernel.asked[:3] == [("connect", "lb-http", side) for side in ("old", "old", "new")]
    assert "measurements of the old build without a result: 1" in capsys.readouterr().out
    assert run(Kernel(failing=["new"]), "--only", "connect") == 1
    assert run(Kernel(failing=["old", "old"]), "--only", "connect") == 1  # 14 pairs


def test_a_smoke_run_has_no_verdict(run, capsys):
    kernel = Kernel(1.3)
    assert run(kernel, "--quick", "--only", "connect") == 0
    assert len(kernel.asked) == 2
    assert "verdict" not in capsys.readouterr().out
    assert run(Kernel(failing=["new"]), "--quick", "--only", "connect") == 1


def test_pieces_are_put_together(run, capsys):
    for rounds in range(compare.ROUNDS // 5):
        status = run(Kernel(), "--only", "connect", "--rounds", "5", "--save", "kept")
        assert status == (0 if rounds == 2 else 1)
    assert run(Kernel(), "--only", "quota", "--save", "kept") == 0
    out = capsys.readouterr().out
    assert "over 2 CPU rows (quota, connect): 1.000" in out


def test_pairs_of_another_build_are_refused(run, tmp_path, capsys):
    assert run(Kernel(), "--only", "connect", "--save", "kept") == 0
    (tmp_path / "old").write_text("#!/bin/sh\necho another\n")
    kernel = Kernel()
    assert run(kernel, "--only", "connect", "--save", "kept") == 2
    assert kernel.asked == []
    assert "pairs of another old: remove it, or name another file" in capsys.readouterr().err


def test_another_file_is_refused(run, tmp_path, capsys):
    for text in ("", "[]", "{}", '{"of": {}}'):
        (tmp_path / "kept").write_text(text)
        assert run(Kernel(), "--only", "connect", "--save", "kept") == 2
        assert (tmp_path / "kept").read_text() == text
        assert "is not a file of --save" in capsys.readouterr().err


WRONG_ARGUMENTS = [
    ("not a program", ["--old", "kept"], "lb/daemon/lb of a release build"),
    ("microbenchmarks", ["--micro"], "--micro has no --old"),
    ("a smoke run is not kept", ["--quick", "--save", "kept"], "--save takes no --quick"),
    ("no round", ["--rounds", "0"], "--rounds is at least 1"),
]


@pytest.mark.parametrize("more, want", [r[1:] for r in WRONG_ARGUMENTS],
                         ids=[r[0] for r in WRONG_ARGUMENTS])
def test_wrong_arguments(run, capsys, more, want):
    with pytest.raises(SystemExit) as end:
        run(Kernel(), *more)
    assert end.value.code == 2
    assert want in capsys.readouterr().err
