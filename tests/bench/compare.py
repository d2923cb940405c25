# SPDX-License-Identifier: Apache-2.0
"""Two builds of lb: the statistics of `scripts/bench --old`, its verdict, and the file of --save.

A pair is [old, new]: one figure of the old build and of the new one, measured one after the other in
one round. The ratio of a pair is new / old. `pairs` is {contestant: {figure: [pair, ...]}}; each row
has two such dictionaries: "first", and "again" for a row that was run a second time."""

import hashlib
import json
import random
from dataclasses import dataclass
from statistics import geometric_mean, median

from report import number

ROUNDS = 15                # a verdict needs at least so many pairs of a row
GEOMETRIC_MEAN_MAX = 1.02  # of the CPU rows' ratios
LOWER_BOUND_MAX = 1.02     # of each judged ratio's interval
AGAIN_ABOVE = 1.05         # a row with a judged ratio above that is run again
N_RESAMPLES = 2000         # of the bootstrap
SEED = 1                   # of the bootstrap: the same pairs give the same interval
CONFIDENCE = 0.95
RUNS = ("first", "again")
NOT_COMPARED = ("slab_b",)  # its base is a measurement without a proxy, which is not made here


class Unusable(Exception):
    """The file of --save cannot be used, and why."""


# ---- statistics ---------------------------------------------------------------------------------

def ratios(pairs):
    """new / old of each pair; a pair with a figure of 0 has no ratio."""
    return [new / old for old, new in pairs if old > 0 and new > 0]


def interval(values):
    """(lower, upper): the 95 % confidence interval of the values' median, by the bootstrap's
    percentiles. (None, None) for fewer than two values, which tell nothing of their spread."""
    if len(values) < 2:
        return None, None
    chance = random.Random(SEED)
    medians = sorted(median(chance.choices(values, k=len(values))) for _ in range(N_RESAMPLES))
    tail = round(N_RESAMPLES * (1 - CONFIDENCE) / 2)
    return medians[tail], medians[-1 - tail]


@dataclass(frozen=True)
class Summary:
    """One figure of one contestant over all pairs."""
    n: int
    old: float  # medians of the figure
    new: float
    ratio: float  # median of the pairs' ratios; None where no pair has one
    lower: float  # bounds of that median's interval; None for fewer than two ratios
    upper: float


def summary(pairs):
    values = ratios(pairs)
    lower, upper = interval(values)
    return Summary(len(pairs), median(old for old, _ in pairs) if pairs else None,
                   median(new for _, new in pairs) if pairs else None,
                   median(values) if values else None, lower, upper)


# ---- results ------------------------------------------------------------------------------------

def new_results():
    """No pair yet. "failed" counts the measurements without a result by build."""
    return {"rows": {}, "failed": {"old": 0, "new": 0}}


def pairs_of(results, row, who, key, runs=RUNS):
    """The pairs of one figure, those of the given runs together."""
    found = results["rows"].get(row.key, {})
    return [pair for run in runs for pair in found.get(run, {}).get(who, {}).get(key, [])]


def n_rounds(results, row, run):
    """How many rounds have a pair of every contestant of the row."""
    found = results["rows"].get(row.key, {}).get(run, {})
    return min(max(map(len, found.get(who, {}).values()), default=0) for who in row.compared)


def add(results, row, run, who, old, new):
    """Adds the figures of two measurements as pairs."""
    kept = results["rows"].setdefault(row.key, {}).setdefault(run, {}).setdefault(who, {})
    for figure in row.figures:
        if figure.key in old and figure.key in new and figure.key not in NOT_COMPARED:
            kept.setdefault(figure.key, []).append([old[figure.key], new[figure.key]])


def to_run_again(results, row):
    """Whether the row's first run is complete and has a judged ratio above AGAIN_ABOVE."""
    if n_rounds(results, row, "first") < ROUNDS:
        return False
    firsts = [ratios(pairs_of(results, row, who, key, ("first",)))
              for who in row.compared for key in row.judged]
    return any(values and median(values) > AGAIN_ABOVE for values in firsts)


# ---- the verdict --------------------------------------------------------------------------------

def cpu_ratios(results, rows):
    """{"row" or "row (contestant)": ratio} of the CPU rows: those that judge a figure of CPU time."""
    found = {}
    for row in rows:
        for key in row.judged:
            if not key.startswith("cpu"):
                continue
            for who in row.compared:
                values = ratios(pairs_of(results, row, who, key))
                if values:
                    name = f"{row.key} ({who})" if len(row.compared) > 1 else row.key
                    found[name] = median(values)
    return found


def lacks(results, rows):
    """What a verdict still needs, a line each."""
    out = []
    for row in rows:
        first, again = (n_rounds(results, row, run) for run in RUNS)
        if first < ROUNDS:
            out.append(f"{row.key}: {first} of the {ROUNDS} rounds that a verdict needs")
        elif again < ROUNDS and to_run_again(results, row):
            out.append(f"{row.key}: above {AGAIN_ABOVE:.2f}, and {again} of {ROUNDS} rounds again")
    return out


def faults_of_row(results, row):
    out = []
    for who in row.compared:
        for figure in row.figures:
            limit = row.limits.get((who, figure.key))
            if figure.key not in row.judged and limit is None:
                continue
            got = summary(pairs_of(results, row, who, figure.key))
            name = f"{row.key} ({who}), {figure.title}"
            if figure.key in row.judged and got.lower is not None and got.lower > LOWER_BOUND_MAX:
                out.append(f"{name}: new / old is {got.ratio:.3f}, and its lower bound, "
                           f"{got.lower:.3f}, is above {LOWER_BOUND_MAX:.2f}")
            if limit is not None and got.new is not None and got.new > limit:
                out.append(f"{name}: {got.new:.0f} is above {limit}")
    return out


def faults(results, rows):
    """What is wrong with the new build, a line each."""
    out = [line for row in rows for line in faults_of_row(results, row)]
    cpu = cpu_ratios(results, rows)
    if cpu and geometric_mean(cpu.values()) > GEOMETRIC_MEAN_MAX:
        out.append(f"the geometric mean over the CPU rows, {geometric_mean(cpu.values()):.3f}, "
                   f"is above {GEOMETRIC_MEAN_MAX:.2f}")
    if results["failed"]["new"]:
        out.append(f"measurements of the new build without a result: {results['failed']['new']}")
    return out


def is_good(results, rows):
    return not faults(results, rows) and not lacks(results, rows)


# ---- what is shown ------------------------------------------------------------------------------

def reached(row, who, figure, got):
    """Of a figure with a limit: whether the new build keeps it. Of a judged ratio: whether its lower
    bound does. "-": shown only."""
    limit = row.limits.get((who, figure.key))
    if limit is not None and got.new is not None:
        return f"<= {limit}: " + ("yes" if got.new <= limit else "NO")
    if figure.key in row.judged and got.lower is not None:
        return f"lower <= {LOWER_BOUND_MAX:.2f}: " + ("yes" if got.lower <= LOWER_BOUND_MAX else "NO")
    return "-"


def table(results, rows):
    lines = [["row", "figure", "old", "new", "new / old", "95 % interval", "pairs", "reached"]]
    for row in rows:
        runs = [("", RUNS)]
        if n_rounds(results, row, "again"):
            runs = [("", ("first",)), (", again", ("again",)), (", both", RUNS)]
        for suffix, which in runs:
            for who in row.compared:
                for figure in row.figures:
                    got = summary(pairs_of(results, row, who, figure.key, which))
                    if got.n == 0:
                        continue
                    bounds = "-" if got.lower is None else f"{got.lower:.3f} .. {got.upper:.3f}"
                    is_verdict = which == RUNS
                    lines.append([row.key + suffix, f"{figure.title} ({who})",
                                  number(got.old, figure.digits), number(got.new, figure.digits),
                                  number(got.ratio, 3), bounds, str(got.n),
                                  reached(row, who, figure, got) if is_verdict else "-"])
    return lines


def verdict(results, rows, all_rows):
    """The last lines: the geometric mean, what is missing or wrong, and "good", "bad" or "none
    yet"."""
    out = []
    cpu = cpu_ratios(results, rows)
    if cpu:
        out.append(f"geometric mean of new / old over {len(cpu)} CPU rows ({', '.join(cpu)}): "
                   f"{geometric_mean(cpu.values()):.3f} (at most {GEOMETRIC_MEAN_MAX:.2f})")
    missing = [row.key for row in all_rows if row not in rows]
    if missing:
        out.append(f"not measured, and not in the verdict: {', '.join(missing)}")
    if results["failed"]["old"]:
        out.append(f"measurements of the old build without a result: {results['failed']['old']}")
    wrong, lacking = faults(results, rows), lacks(results, rows)
    return out + lacking + wrong + [
        f"verdict: {'bad' if wrong else 'none yet' if lacking else 'good'}"]


# ---- the file of --save -------------------------------------------------------------------------

def identity(old, new, congestion):
    """What must be the same for pairs to be put together."""
    return {"old": hashlib.sha256(old.read_bytes()).hexdigest(),
            "new": hashlib.sha256(new.read_bytes()).hexdigest(), "congestion": congestion}


def load(path, of):
    """The results of earlier runs; none where the file is not there yet."""
    if not path.exists():
        return new_results()
    try:
        kept = json.loads(path.read_text())
        was, results = kept["of"], {"rows": kept["rows"], "failed": kept["failed"]}
    except (ValueError, KeyError, TypeError) as error:
        raise Unusable(f"{path} is not a file of --save ({error}); name another") from error
    changed = [key for key in of if was.get(key) != of[key]]
    if changed:
        raise Unusable(f"{path} has pairs of another {' and '.join(changed)}: "
                       "remove it, or name another file")
    return results


def save(path, of, results):
    """Writes the file as a whole, so that a run that is interrupted leaves its last round."""
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps({"of": of, **results}) + "\n")
    part.replace(path)
