# SPDX-License-Identifier: Apache-2.0
"""The Containerfile, without a container engine: what it copies exists, what it runs to build lb
works, what it installs is what lb needs, and the lb that comes of it serves."""

import json
import re
import shlex
import subprocess

import pytest

import container
import lbtest
from lbtest import ROOT, SLOW, ask, http_conf, status_of

KNOWN = {"FROM", "RUN", "COPY", "USER", "ENTRYPOINT", "CMD"}
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def instructions():
    """(word, rest) of each, in order."""
    text = (ROOT / "Containerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [tuple(line.split(None, 1)) for line in lines]


def stages():
    """name -> the instructions of a stage; the last one is the image."""
    found = {}
    for word, rest in instructions():
        if word == "FROM":
            m = re.fullmatch(r"(debian:12\S*)(?: AS (\w+))?", rest)
            assert m, f"FROM {rest}: the project is built and tested on Debian 12"
            found[m[2] or "image"] = current = []
        else:
            current.append((word, rest))
    return found


def runs(stage):
    """The commands of a stage's RUNs, each one alone."""
    return [c.strip() for word, rest in stages()[stage] if word == "RUN" for c in rest.split("&&")]


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """What the build stage's own commands install, in folders of the test's."""
    tmp = tmp_path_factory.mktemp("image")
    for command in runs("build"):
        if command == "/src/scripts/deps build":
            continue  # where the tests run it was done
        places = {"/src": ROOT, "/build": tmp / "build", "/out": tmp / "out"}
        for path, here in places.items():
            command = re.sub(rf"(^|[ =]){path}(?=[/ ]|$)", rf"\g<1>{here}", command)
        done = subprocess.run(
            command, shell=True, capture_output=True, text=True, timeout=280 * SLOW
        )
        assert done.returncode == 0, f"{command}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
    return tmp / "out"


def test_every_instruction_is_known_and_every_source_exists():
    assert {word for word, _ in instructions()} <= KNOWN
    assert list(stages()) == ["build", "image"]
    for stage, rows in stages().items():
        for word, rest in rows:
            if word != "COPY":
                continue
            words = shlex.split(rest)
            if words[0].startswith("--from="):
                assert words[0].removeprefix("--from=") in stages()
                assert words[1] == "/out/", "what `out` installs"
            else:
                assert all((ROOT / path).exists() for path in words[:-1]), rest


def test_the_build_installs_what_the_image_starts(out):
    image = dict(stages()["image"])
    program = json.loads(image["ENTRYPOINT"])[0]
    done = subprocess.run([f"{out}{program}", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert (out / "usr/local/bin/lbctl").exists()
    assert json.loads(image["CMD"]) == ["-c", "/etc/lb/lb.yaml"]


def test_the_image_has_the_libraries_that_lb_needs_and_no_others(out):
    """By the packages that own them on this machine, which is a Debian 12, too."""
    (line,) = [c for c in runs("image") if c.startswith("apt-get install")]
    installed = {w for w in line.split()[2:] if not w.startswith("-")}
    needed = set()
    for program in (out / "usr/local/sbin/lb", out / "usr/local/bin/lbctl"):
        text = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
        # /lib may be a link to /usr/lib: a package knows a file by the last two names of its path.
        for path in re.findall(r"=> \S*/(\S+/\S+) \(", text):
            owners = subprocess.run(
                ["dpkg-query", "--search", f"*/{path}"], capture_output=True, text=True, check=True
            ).stdout
            needed |= {owner.split(":")[0] for owner in owners.splitlines()}
    assert installed == needed - {"libc6"}


def test_the_user_is_made_and_owns_the_sockets_folder():
    image = dict(stages()["image"])
    (made,) = [c for c in runs("image") if c.startswith("useradd ")]
    assert f"--uid {image['USER']} " in made and made.endswith(" lb")
    assert "install -d -o lb /run/lb" in runs("image")


@pytest.mark.parametrize("engine", ["auto"])
def test_that_lb_serves_behind_a_containers_walls(lb, echo, port, out, monkeypatch):
    monkeypatch.setattr(lbtest, "LB", out / "usr/local/sbin/lb")
    monkeypatch.setattr(lbtest, "WRAP", container.enter("--uring"))
    conf = http_conf(port, echo(1))
    proxy = lb(conf)
    assert proxy.stats()["descriptor_tables"] == "own"
    assert status_of(ask(port, GET)) == 200
