# SPDX-License-Identifier: Apache-2.0
"""The soak's judge must be able to say no."""

import copy

import pytest

from judge import (
    ENDS_BY_DEATH,
    ENDS_BY_PLAN,
    Event,
    explanation,
    faults_of_ends,
    faults_of_growth,
    faults_of_totals,
)

# A backend that died, one that was drained, and a listener that was away.
EVENTS = [
    Event("kill", "chat", "e1", begin=100.0, end=101.0),
    Event("drain", "chat", "e2", begin=100.0, end=110.0),
    Event("away", listener="temporary", begin=200.0, end=210.0),
]

LOST = {
    "kind": "lost",
    "text": "the stream ended",
    "port": "public",
    "pool": "chat",
    "backend": "e1",
    "since": 50.0,
    "until": 101.0,
}
STATUS = LOST | {"kind": "status", "backend": None, "text": "HTTP/1.1 502 Bad Gateway"}
REFUSED = LOST | {"kind": "refused", "port": "temporary", "since": 205.0, "until": 205.0}

TROUBLES = [
    ("its backend died", LOST, True),
    ("its backend died, noticed late", LOST | {"until": 130.0}, True),
    ("another backend died", LOST | {"backend": "e2"}, False),
    ("drained, not dead", LOST | {"backend": "e2", "since": 99.0, "until": 109.0}, False),
    ("a backend of another pool died", LOST | {"pool": "web", "backend": None}, False),
    ("before the answer", LOST | {"backend": None}, True),
    ("over before the death", LOST | {"until": 98.0}, False),
    ("begun after the death", LOST | {"since": 102.0, "until": 103.0}, False),
    ("502 meanwhile", STATUS, True),
    ("503 meanwhile", STATUS | {"text": "HTTP/1.1 503 Service Unavailable"}, False),
    ("502 at another time", STATUS | {"since": 150.0, "until": 151.0}, False),
    ("a wrong byte meanwhile", LOST | {"kind": "wrong"}, False),
    ("no answer meanwhile", LOST | {"kind": "late"}, False),
    ("refused while away", REFUSED, True),
    ("refused by another listener", REFUSED | {"port": "public"}, False),
    ("refused when it was back", REFUSED | {"since": 211.0, "until": 211.0}, False),
    ("refused while a backend was dead", REFUSED | {"since": 100.0, "until": 100.0}, False),
    ("lost while the listener was away", LOST | {"since": 200.0, "until": 205.0}, False),
    ("of nobody's pool", LOST | {"pool": None, "backend": None}, False),
]


@pytest.mark.parametrize("trouble, want", [r[1:] for r in TROUBLES], ids=[r[0] for r in TROUBLES])
def test_explanation(trouble, want):
    assert (explanation(trouble, EVENTS) is not None) == want


def ends(**more):
    return dict.fromkeys(ENDS_BY_PLAN | ENDS_BY_DEATH | {"idle"}, 0) | more


ENDS = [
    ("as planned", ends(client_closed=5, bad_request=2), 0, 0),
    ("by a death", ends(backend_reset=1, bad_request=2), 1, 0),
    ("by a death of nobody", ends(backend_reset=1, bad_request=2), 0, 1),
    ("a reason of lb's own", ends(idle=1, bad_request=2), 1, 1),
    ("a bad request too few", ends(bad_request=1), 0, 1),
]


@pytest.mark.parametrize("counts, n_kills, want", [r[1:] for r in ENDS], ids=[r[0] for r in ENDS])
def test_ends(counts, n_kills, want):
    assert len(faults_of_ends(counts, 2, n_kills)) == want


STATS = {
    "connections": {"active": 0, "total": 10},
    "listeners": [{"name": "l", "active": 0}],
    "pools": [{"name": "p", "backends": [{"name": "b", "active": 0}]}],
    "ends": {"client_closed": 7, "completed": 3},
}


def left_at_backend(stats):
    stats["pools"][0]["backends"][0]["active"] = 1


def left_at_listener(stats):
    stats["listeners"][0]["active"] = 1


def ended_twice(stats):
    stats["ends"]["completed"] += 1


def accepted_nobody(stats):
    stats["connections"]["total"] += 1
    stats["ends"]["completed"] += 1


@pytest.mark.parametrize("spoil", [left_at_backend, left_at_listener, ended_twice, accepted_nobody])
def test_totals(spoil):
    stats = copy.deepcopy(STATS)
    assert faults_of_totals(stats, 10) == []
    spoil(stats)
    assert len(faults_of_totals(stats, 10)) == 1


GROWTH = [
    ("flat", [9000] * 9, 8000, 8000, 0),
    ("a peak between", [9000] * 4 + [20000] + [9000] * 4, 8000, 8000, 0),
    ("within the bound", [9000] * 6 + [10800] * 3, 8000, 9800, 0),
    ("under load", [9000] * 6 + [11000] * 3, 8000, 8000, 1),
    ("at rest", [9000] * 9, 8000, 9900, 1),
    ("too short to tell", [9000, 20000], 8000, 8000, 0),
]


@pytest.mark.parametrize(
    "samples, before, after, want", [r[1:] for r in GROWTH], ids=[r[0] for r in GROWTH]
)
def test_growth(samples, before, after, want):
    assert len(faults_of_growth(samples, before, after)) == want
