# SPDX-License-Identifier: Apache-2.0
"""From the rounds' figures to medians, ratios, verdicts, and the page they are shown on.

A result is {"where": {...}, "command": "", "rounds": {contestant: {figure: [a value per round]}}};
results.json beside the plots keeps one for each row."""

import json
from statistics import median

import svg
from contestants import is_peer
from rows import BARE_LIMIT, ROWS

BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"


def medians(row, result, figure):
    """The medians by contestant, of those that have every round."""
    most = max([len(rounds.get(figure.key, [])) for rounds in result["rounds"].values()] + [0])
    return {name: median(result["rounds"][name][figure.key]) for name in row.contestants
            if most > 0 and len(result["rounds"].get(name, {}).get(figure.key, [])) == most}


def is_stock(name):
    """With the buffers that its own defaults give it: the peers that ratios are built on."""
    return is_peer(name) and not name.endswith("-64k")


def best_peer(figure, values, only=()):
    peers = {name: value for name, value in values.items()
             if is_stock(name) and (not only or name in only)}
    return figure.best(peers) if peers else None


def number(value, digits):
    return "-" if value is None else f"{value:,.{digits}f}"


def ratio(a, b):
    return a / b if a is not None and b else None


# ---- verdicts -----------------------------------------------------------------------------------

def verdict(row, result, target):
    """One line of the summary: what was asked of lb, and what came out."""
    figure = next(figure for figure in row.figures if figure.key == target.figure)
    values = medians(row, result, figure)
    mine, bare = values.get(target.who), values.get(row.bare())
    peer = best_peer(figure, values, target.peers)
    theirs = values.get(peer)
    judged = ratio(mine, theirs) if target.is_ratio else mine
    sign = ">=" if figure.is_more_better else "<="
    to_bare = ratio(mine, bare)
    is_dear = figure.key.startswith("cpu") and to_bare is not None and to_bare > BARE_LIMIT
    return [row.title, f"{figure.title} ({target.who})", number(bare, figure.digits),
            f"{number(theirs, figure.digits)} ({peer})" if peer else "-",
            number(mine, figure.digits), number(ratio(mine, theirs), 2),
            f"{sign} {target.limit:g}" + (" of it" if target.is_ratio else ""),
            "-" if judged is None else "yes" if figure.is_met(judged, target.limit) else "NO",
            number(to_bare, 2) + (" NO" if is_dear else "")]


SUMMARY = ["work", "figure", "bare relay", "best peer", "lb", "lb / peer", "to reach", "reached",
           f"lb / bare (CPU: <= {BARE_LIMIT:.2f})"]


def summary(results):
    return [SUMMARY] + [verdict(row, results[row.key], target)
                        for row in ROWS if row.key in results for target in row.targets]


def table(row, result):
    """All medians of a row, with the ratio of its first figure to the best peer's."""
    columns = {figure.key: medians(row, result, figure) for figure in row.figures}
    first = row.figures[0]
    values = columns[first.key]
    base = values.get(best_peer(first, values))
    lines = [["", *(figure.title for figure in row.figures), "to best peer"]]
    for name in row.contestants:
        lines.append([name, *(number(columns[figure.key].get(name), figure.digits)
                              for figure in row.figures),
                      "-" if name == "direct" else number(ratio(values.get(name), base), 2)])
    return lines


# ---- tables as text -----------------------------------------------------------------------------

def plain(lines):
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join("  ".join(cell.ljust(width) if i == 0 else cell.rjust(width)
                               for i, (cell, width) in enumerate(zip(line, widths))).rstrip()
                     for line in lines)


def markdown(lines):
    head, *body = lines
    rows = [head, ["---"] + ["---:"] * (len(head) - 1), *body]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


# ---- the page -----------------------------------------------------------------------------------

def place(where):
    return (f"{where['machine']}; {where['kernel']}; {where['versions']}; commit "
            f"{where['commit']}; {where['date']}")


def plot(row, result):
    panels = []
    for figure in row.figures:
        values = medians(row, result, figure)
        panels.append((figure.title, figure.digits,
                       [(name, result["rounds"][name][figure.key], values[name])
                        for name in row.contestants if name in values]))
    return svg.chart(row.title, place(result["where"]), panels)


def micro_lines(micro):
    return [["work", "ns each", "at most", "reached"]] + [
        [name, number(ns, 1), number(limit, 0) if limit else "-",
         "-" if not limit else "yes" if ns <= limit else "NO"]
        for name, ns, limit in micro["lines"]]


def page(results, plots):
    """What stands between the marks of docs/performance.md. `plots`: their folder, from there."""
    out = [BEGIN, ""]
    if any(row.key in results for row in ROWS):
        out += ["## lb beside its peers", "", markdown(summary(results)), ""]
    for row in ROWS:
        result = results.get(row.key)
        if result:
            out += [f"### {row.key}: {row.title}", "", markdown(table(row, result)), "",
                    f"![{row.title}]({plots}/{row.key}.svg)", "",
                    f"`{result['command']}`: {result['n_rounds']} rounds, medians. "
                    f"{place(result['where'])}.", ""]
    if "micro" in results:
        micro = results["micro"]
        out += ["## Costs that do not grow", "", markdown(micro_lines(micro)), "",
                f"`{micro['command']}`. {place(micro['where'])}.", ""]
    return "\n".join(out + [END])


def publish(docs, new):
    """Joins the new results with those of earlier runs, and writes the page and the plots."""
    folder, doc = docs / "performance", docs / "performance.md"
    folder.mkdir(exist_ok=True)
    kept = folder / "results.json"
    results = {**(json.loads(kept.read_text()) if kept.exists() else {}), **new}
    kept.write_text(json.dumps(results, indent=1) + "\n")
    for row in ROWS:
        if row.key in results:
            (folder / f"{row.key}.svg").write_text(plot(row, results[row.key]))
    text = doc.read_text()
    head, rest = text.split(BEGIN)
    doc.write_text(head + page(results, folder.name) + rest.split(END)[1])
