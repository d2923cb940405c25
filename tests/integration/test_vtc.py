# SPDX-License-Identifier: Apache-2.0
"""The scripts of tests/vtc, run by varnishtest: its clients and servers around a real lb.

A script gets two macros: lb_port, where lb listens, and backend_port, where its server has to. What
is written in a script is what is promised; a failing one shows its log.
"""

import subprocess

import pytest

import lbtest
from lbtest import SLOW, free_port, http_conf

SCRIPTS = sorted((lbtest.ROOT / "tests" / "vtc").glob("*.vtc"))


def conf_of(script, port, backend_port):
    conf = http_conf(port, [("b", backend_port)], retries=0)
    if script.stem == "timeouts":
        conf["pools"][0]["timeouts"] = {"upgrade": "300ms", "response": "300ms"}
        conf["listeners"][0]["timeouts"] = {"handshake": "300ms"}
    return conf


def test_there_are_scripts():
    assert len(SCRIPTS) >= 12


@pytest.mark.parametrize("script", SCRIPTS, ids=[s.stem for s in SCRIPTS])
def test_script(lb, port, script):
    backend_port = free_port()
    lb(conf_of(script, port, backend_port))
    done = subprocess.run(
        ["varnishtest", "-v", "-t", str(int(60 * SLOW)), "-D", f"lb_port={port}",
         "-D", f"backend_port={backend_port}", script],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        timeout=90 * SLOW,
    )
    # 77 is a script that was skipped: none may be.
    assert done.returncode == 0, done.stdout[-8000:]
