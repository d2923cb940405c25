# SPDX-License-Identifier: Apache-2.0
"""`lb doctor`: what it prints, and how it fails."""

import json
import re
import resource
import subprocess

import pytest

from lbtest import LB, SLOW, WRAP, tcp_conf

NOFILE = 256

# Bounds of the machine that other programs move between two looks.
SHARED = {"system_files", "memory", "conntrack", "tcp_mem"}

CONF = tcp_conf(8080, [("b", 9001), ("c", 9002)])


def doctor(path, *args, nofile=None, enter=(), **kw):
    """`lb doctor` of a file, as a finished process."""

    def limit():
        if nofile is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (nofile, nofile))

    return subprocess.run(
        [*enter, *WRAP, LB, "doctor", "-c", path, *args],
        capture_output=True,
        text=True,
        timeout=20 * SLOW,
        preexec_fn=limit,
        **kw,
    )


def forecast(path, **kw):
    done = doctor(path, "--json", **kw)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    return json.loads(done.stdout)


# ---- the command ---------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "lb.yaml"
    path.write_text(json.dumps(CONF))
    return path


def test_the_json_agrees_with_the_table(path):
    told = forecast(path)
    text = doctor(path).stdout
    rows = text.splitlines()
    assert told["file"] == str(path)
    assert rows[0].split() == ["LIMIT", "ALLOWS", "NOW", "TO", "RAISE", "IT"]
    assert len({row.find(x["name"]) for x, row in zip(told["limits"], rows[1:])}) == 1  # aligned
    for limit, row in zip(told["limits"], rows[1:]):
        words = row.removeprefix("*").split()
        assert words[0] == limit["name"]
        assert row.startswith("*") == limit["binds"]
        assert limit["raise"] in row
        if limit["name"] not in SHARED:
            allows = "-" if limit["allows"] is None else str(limit["allows"])
            assert words[1] == allows
            assert limit["now"] in row
    held = [x for x in told["limits"] if x["kind"] == "held" and x["allows"] is not None]
    least = min(held, key=lambda x: x["allows"])
    assert [x["name"] for x in told["limits"] if x["binds"]] == [told["bound_by"]]
    assert (least["name"], least["allows"]) == (told["bound_by"], told["connections"])
    if told["bound_by"] not in SHARED:
        assert rows[-1] == f"{path}: {told['connections']} connections, bound by {least['name']}"


def test_what_it_says_to_type_helps(path):
    """More workers hold more, as it says."""
    before = forecast(path, nofile=NOFILE)
    raise_it = before["limits"][0]["raise"]
    workers = int(re.search(r"`workers: (\d+)`", raise_it)[1])
    path.write_text(json.dumps({**CONF, "workers": workers}))
    after = forecast(path, nofile=NOFILE)
    assert after["workers"] == workers == 2 * before["workers"]
    assert after["connections"] > before["connections"]


def test_the_file_at_hand_is_taken(path):
    done = subprocess.run(
        [*WRAP, LB, "doctor"], cwd=path.parent, capture_output=True, text=True, timeout=20 * SLOW
    )
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1].startswith("lb.yaml: ")


@pytest.mark.parametrize("text", ["workers: many\nnonsense: 1\n", None])
def test_a_bad_file_is_1(tmp_path, text):
    """With the mistakes as `lb check` tells them, and nothing on stdout."""
    path = tmp_path / "bad.yaml"
    if text is not None:
        path.write_text(text)
    done = doctor(path, "--json")
    check = subprocess.run(
        [*WRAP, LB, "check", "-c", path], capture_output=True, text=True, timeout=20 * SLOW
    )
    assert done.returncode == check.returncode == 1
    assert done.stdout == ""
    assert done.stderr == check.stderr != ""
