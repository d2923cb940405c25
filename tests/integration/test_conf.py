# SPDX-License-Identifier: Apache-2.0
"""What lb says of a file: warnings at check, start and reload; the whole file; the schema."""

import subprocess

import yaml

from lbtest import LB, ROOT, http_conf, wait_for

UNNAMED = {"name": "forgotten", "backends": ["127.0.0.1:9001"]}
WARNING = 'pool "forgotten" is not used: no listener and no route names it'


def lb_run(*args):
    """A command of lb that ends by itself; returns its status, stdout and stderr."""
    p = subprocess.run([LB, *args], capture_output=True, text=True, timeout=60)
    return p.returncode, p.stdout, p.stderr


def test_check_warns_and_succeeds(tmp_path):
    path = tmp_path / "lb.yaml"
    path.write_text(
        "listeners: [{name: l, bind: 127.0.0.1:8080, pool: p}]\n"
        "pools:\n"
        "  - {name: p, backends: [127.0.0.1:9001]}\n"
        "  - {name: forgotten, backends: [127.0.0.1:9001]}\n"
    )
    status, out, err = lb_run("check", "-c", path)
    assert (status, out) == (0, f"{path}: ok\n")
    assert err == f"{path}:4:12: warning: {WARNING}\n"


def lines_with(text, what):
    return [line for line in text.splitlines() if what in line]


def test_warnings_are_logged_once_for_each_load(lb, echo, port):
    conf = http_conf(port, echo(1))
    proxy = lb({**conf, "pools": conf["pools"] + [UNNAMED]})
    wait_for("the warning", lambda: WARNING in proxy.stderr())
    answer = proxy.reload({**conf, "pools": conf["pools"] + [{**UNNAMED, "name": "left"}]})
    ok, warning = answer.splitlines()
    assert ok == "ok: generation 2"
    said = WARNING.replace("forgotten", "left")
    assert warning.startswith(f"warning: {proxy.path}:") and warning.endswith(f": {said}")
    assert proxy.reload(conf) == "ok: generation 3\n", "nothing is odd any more"
    proxy.stop()
    for what in WARNING, said:
        (line,) = lines_with(proxy.stderr(), what)
        assert f" warn configuration: {proxy.path}:" in line


def test_a_refusal_names_the_mistakes_only(lb, echo, port):
    conf = http_conf(port, echo(1))
    proxy = lb(conf)
    odd = {**conf, "pools": conf["pools"] + [UNNAMED], "log": {"to": "/nonexistent/log"}}
    answer = proxy.reload(odd)
    assert answer.startswith("error: ") and "/nonexistent/log" in answer
    assert WARNING not in answer
    wait_for("the log", lambda: "reload refused: " in proxy.stderr())
    assert not [line for line in lines_with(proxy.stderr(), "refused") if WARNING in line]


def test_print_shows_every_default(tmp_path):
    path = ROOT / "tests" / "config" / "good" / "full.yaml"
    want = (ROOT / "tests" / "config" / "print" / "full.yaml").read_text()
    assert lb_run("check", "--syntax", "--print", "-c", path) == (0, want, "")
    printed = tmp_path / "printed.yaml"
    printed.write_text(want)
    assert lb_run("check", "--syntax", "-c", printed) == (0, f"{printed}: ok\n", "")
    assert yaml.safe_load(want)["pools"][1]["timeouts"]["connect"] == "3s"


def test_print_tells_mistakes_and_warnings(tmp_path):
    path = tmp_path / "lb.yaml"
    path.write_text("workers: x\n")
    status, out, err = lb_run("check", "--syntax", "--print", "-c", path)
    assert (status, out) == (1, "") and f'{path}:1:10: "workers" is "x"' in err
    path.write_text(
        "listeners: [{name: l, bind: 127.0.0.1:8080, pool: p}]\n"
        "pools: [{name: p, backends: [{address: 127.0.0.1:9001, weight: 0}]}]\n"
    )
    status, out, err = lb_run("check", "--syntax", "--print", "-c", path)
    assert status == 0 and out.startswith("workers: auto\n")
    assert err.startswith(f"{path}:2:29: warning: every backend of pool")
