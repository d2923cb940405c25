# SPDX-License-Identifier: Apache-2.0
"""What may go wrong in a soak, and what may not.

Each thing that the operator does to a backend or a listener is an `Event`, with its begin and end.
A client's trouble is explained only by an event that overlaps the life of that connection: of its
own backend where an answer has named it, else of any in its pool. A byte that is not what was sent,
an answer that does not come, a refusal by a listener that is there: nothing explains these.
"""

import dataclasses
import time

# Reasons that clients and dying backends bring about; any other would be lb's own.
ENDS_BY_PLAN = {"client_closed", "backend_closed", "client_reset", "completed", "bad_request"}
ENDS_BY_DEATH = {"backend_reset", "bad_response", "connect_failed"}

SLACK_S = 0.5  # between what a process does and when another has noted it


@dataclasses.dataclass
class Event:
    what: str  # kill, away (of a listener), and others that explain nothing
    pool: str = ""
    backend: str = ""
    listener: str = ""
    begin: float = dataclasses.field(default_factory=time.monotonic)
    end: float = float("inf")

    def over(self):
        self.end = time.monotonic()

    def overlaps(self, since, until):
        return self.begin <= until + SLACK_S and since <= self.end + SLACK_S


def explanation(trouble, events):
    """The event that explains a client's trouble, or None."""
    for e in events:
        if not e.overlaps(trouble["since"], trouble["until"]):
            continue
        if trouble["kind"] == "refused":
            if e.what == "away" and trouble["port"] == e.listener:
                return e
        elif e.what == "kill" and e.pool == trouble["pool"]:
            if trouble["kind"] == "lost" and trouble["backend"] in (None, e.backend):
                return e
            # Only a request that was at the backend as it died is answered so.
            if trouble["kind"] == "status" and trouble["text"].split()[1:2] == ["502"]:
                return e
    return None


def faults_of_ends(ends, n_rubbish, n_kills):
    """What lb's reasons for ends say that the plan does not."""
    allowed = ENDS_BY_PLAN | (ENDS_BY_DEATH if n_kills > 0 else set())
    faults = [
        f"{n} connections ended with {reason}"
        for reason, n in ends.items()
        if n > 0 and reason not in allowed
    ]
    if ends["bad_request"] != n_rubbish:
        faults.append(f"{n_rubbish} bad requests were sent, {ends['bad_request']} were counted")
    return faults


def faults_of_totals(stats, n_opened):
    """At the end nothing is open, and every connection has been counted once."""
    active = {"lb": stats["connections"]["active"]}
    active |= {f"listener {row['name']}": row["active"] for row in stats["listeners"]}
    for pool in stats["pools"]:
        active |= {f"{pool['name']}/{b['name']}": b["active"] for b in pool["backends"]}
    faults = [f"{n} connections left at {where}" for where, n in active.items() if n != 0]
    total, ended = stats["connections"]["total"], sum(stats["ends"].values())
    if not n_opened == total == ended:
        faults.append(f"clients opened {n_opened}, lb accepted {total} and ended {ended}")
    return faults


def median(values):
    values = sorted(values)
    return values[len(values) // 2]


# A tenth and 1 MiB more than under the same load before: which pages are dirty is chance.
def may_be(kib):
    return kib * 1.1 + 1024


def faults_of_growth(pss_kib, idle_kib, settled_kib):
    """`pss_kib`: samples under load, in order; `idle_kib`, `settled_kib`: without any connection,
    after the warm-up and at the end."""
    faults = []
    third = len(pss_kib) // 3
    if third > 0:
        first, last = median(pss_kib[:third]), median(pss_kib[-third:])
        if last > may_be(first):
            faults.append(f"Pss under load grew from {first} KiB to {last} KiB")
    if settled_kib > may_be(idle_kib):
        faults.append(f"Pss at rest grew from {idle_kib} KiB to {settled_kib} KiB")
    return faults
