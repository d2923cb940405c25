# SPDX-License-Identifier: Apache-2.0
"""What is installed: by meson, and as a Debian package on a systemd that a test boots."""

import json
import os
import re
import shutil
import socket
import stat
import subprocess
import threading

import pytest

from booted import Booted
from lbtest import (
    BUILD,
    HOST,
    LB,
    ROOT,
    SLOW,
    ask,
    in_thread,
    run,
    status_of,
    wait_for,
    ws_ask,
    ws_open,
)

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
CONF = "/etc/lb/lb.yaml"

# What the example in /etc/lb names.
LISTEN, BACKEND = 8080, 9000


def sh(*argv, **kw):
    done = subprocess.run(
        [str(a) for a in argv],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=250 * SLOW,
        **kw,
    )
    assert done.returncode == 0, f"{argv}: {done.stdout[-4000:]}"
    return done.stdout


# ---- meson install -------------------------------------------------------------------------------

# Below the prefix, and below /.
INSTALLED = {
    "bin/lbctl": 0o755,
    "sbin/lb": 0o755,
    "lib/systemd/system/lb.service": 0o644,
    "lib/sysusers.d/lb.conf": 0o644,
    "lib/tmpfiles.d/lb.conf": 0o644,
    "share/bash-completion/completions/lb": 0o644,
    "share/bash-completion/completions/lbctl": 0o644,
    "share/doc/lb/examples/lb.yaml": 0o644,
    "share/man/man1/lbctl.1": 0o644,
    "share/man/man5/lb.yaml.5": 0o644,
    "share/man/man8/lb.8": 0o644,
}
CONFIGURED = {"etc/lb/lb.yaml": 0o644, "etc/logrotate.d/lb": 0o644}


def meson_install(to):
    sh("meson", "install", "-C", BUILD, "--no-rebuild", env={**os.environ, "DESTDIR": str(to)})


def files_below(top):
    return {
        str(path.relative_to(top)): stat.S_IMODE(path.stat().st_mode)
        for path in top.rglob("*")
        if path.is_file()
    }


def test_meson_installs_all_that_a_system_needs(tmp_path):
    meson_install(tmp_path)
    assert files_below(tmp_path) == {f"usr/local/{k}": v for k, v in INSTALLED.items()} | CONFIGURED
    unit = (tmp_path / "usr/local/lib/systemd/system/lb.service").read_text()
    assert "\nExecStart=/usr/local/sbin/lb -c /etc/lb/lb.yaml\n" in unit
    assert "\nExecReload=/usr/local/bin/lbctl reload\n" in unit
    sh(LB, "check", "-c", tmp_path / "etc/lb/lb.yaml")


def test_meson_keeps_an_operators_configuration(tmp_path):
    meson_install(tmp_path)
    own = {name: tmp_path / name for name in CONFIGURED}
    for path in own.values():
        path.write_text("# mine\n")
    (tmp_path / "usr/local/share/man/man8/lb.8").write_text("old\n")
    meson_install(tmp_path)
    for path in own.values():
        assert path.read_text() == "# mine\n"
    assert ".TH LB 8" in (tmp_path / "usr/local/share/man/man8/lb.8").read_text()


def test_the_unit_is_exposed_little():
    sh(
        *["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=20"],
        BUILD / "packaging" / "lb.service",
    )


# ---- the package ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def debs(tmp_path_factory):
    """A folder with the package as scripts/deb builds it, and with the next version of it."""
    out = tmp_path_factory.mktemp("deb")
    sh(ROOT / "scripts" / "deb", out / "build")
    (old,) = (out / "build").glob("lb_*.deb")
    shutil.copy(old, out / "old.deb")
    # The same programs under a greater version, with another example configuration.
    new = out / "new"
    sh("dpkg-deb", "-R", old, new)
    control = new / "DEBIAN" / "control"
    control.write_text(re.sub(r"(?m)^(Version: .*)$", r"\1+1", control.read_text()))
    with open(new / "etc/lb/lb.yaml", "a") as f:
        f.write("# of the new version\n")
    sh("dpkg-deb", "--root-owner-group", "-b", new, out / "new.deb")
    return out


def dpkg(system, *args):
    return system.out("env", "DEBIAN_FRONTEND=noninteractive", "dpkg", "--force-unsafe-io", *args)


def main_pid(system):
    return int(system.show("lb", "MainPID"))


def write(system, path, text):
    system.run("sh", "-c", 'printf %s "$0" >"$1"', text, path)


def conf(backend=f"{HOST}:{BACKEND}", binds=(f"{HOST}:{LISTEN}",), **more):
    return json.dumps(
        {
            "admin": {"mode": "0660"},
            "listeners": [{"name": "l", "bind": list(binds), "pool": "p"}],
            "pools": [{"name": "p", "backends": [backend]}],
            **more,
        }
    )


def stats(system):
    return json.loads(system.out("lbctl", "--json", "stats"))


@pytest.fixture(scope="module")
def machine(debs, tmp_path_factory):
    system = Booted(tmp_path_factory.mktemp("booted"), debs)
    try:
        dpkg(system, "-i", "/mnt/old.deb")
        system.run("cp", CONF, "/tmp/as-installed")
        yield system
    finally:
        system.close()


@pytest.fixture
def system(machine):
    """A system on which lb has just been started as it was installed."""
    machine.run("systemctl", "stop", "lb")
    machine.run("systemctl", "revert", "lb")
    machine.run("sh", "-c", "rm -f /var/log/lb/*")
    machine.run("cp", "/tmp/as-installed", CONF)
    machine.run("systemctl", "start", "lb")
    return machine


@pytest.fixture
def backend(echo):
    return echo(1, port=BACKEND)[0]


def test_versions_agree(debs):
    version = sh(LB, "--version").split()[1]
    assert sh("dpkg-deb", "-f", debs / "old.deb", "Version").strip() == version


def test_the_service_runs_as_installed(system, backend):
    assert system.out("systemctl", "is-enabled", "lb") == "enabled"
    assert system.out("systemctl", "is-active", "lb") == "active"
    assert system.out("systemd-analyze", "verify", "lb.service") == ""
    system.run("lb", "check", "-c", CONF)

    async def body():
        ws = await ws_open(LISTEN)
        assert await ws_ask(ws, "hello") == "hello"
        wait_for(
            "the status line",
            lambda: system.show("lb", "StatusText") == "1 connection, generation 1",
        )
        await ws.close()

    run(body())


def test_the_service_runs_confined(system):
    pid = main_pid(system)
    tasks = system.out("sh", "-c", f"cat /proc/{pid}/task/*/status")
    caps = dict(zip(re.findall(r"Name:\t(.*)", tasks), re.findall(r"CapEff:\t(.*)", tasks)))
    assert {int(v, 16) for k, v in caps.items() if k == "lb"} == {1 << 10}  # CAP_NET_BIND_SERVICE
    assert {int(v, 16) for k, v in caps.items() if k != "lb"} == {0}
    assert len(caps) == 2 + len(stats(system)["workers"])
    assert set(re.findall(r"Uid:\t(\d+)", tasks)) == {system.out("id", "-u", "lb")}
    assert set(re.findall(r"Seccomp:\t(.*)", tasks)) == {"2"}
    # Even root could not write in there.
    for path in "/etc/lb/x", "/usr/x", "/var/lib/x", "/home/x":
        touch = system.run("nsenter", "-t", str(pid), "-m", "touch", path, check=False)
        assert touch.returncode != 0, path
    # lb found what it wanted: its engine, figures to forecast with, nothing to warn of.
    journal = system.journal("_PID=%d" % pid)
    assert "engine falls back" not in journal
    assert not re.search(r"Z (warn|err) ", journal), journal
    low, high = map(int, system.out("cat", "/proc/sys/net/ipv4/ip_local_port_range").split())
    (ports,) = stats(system)["pools"][0]["backends"][0]["ports"]
    assert ports["limit"] == high - low + 1


def test_who_may_use_lbctl(system):
    as_nobody = ["setpriv", "--reuid=nobody", "--clear-groups"]
    system.run("lbctl", "stats")
    system.run(*as_nobody, "--regid=lb", "lbctl", "stats")
    refused = system.run(*as_nobody, "--regid=nogroup", "lbctl", "stats", check=False)
    assert refused.returncode == 1 and "Permission denied" in refused.stderr


def test_a_reload_ends_when_it_is_in_force(system, backend):
    async def body():
        ws = await ws_open(LISTEN)
        for generation in range(2, 6):
            port = 8080 + generation
            write(system, CONF, conf(binds=[f"{HOST}:{LISTEN}", f"{HOST}:{port}"]))
            system.run("systemctl", "reload", "lb")
            assert stats(system)["generation"] == generation
            assert status_of(await in_thread(ask, port, GET)) == 200
        assert await ws_ask(ws, "still here") == "still here"
        await ws.close()

    run(body())


def test_a_refused_reload_fails_and_says_why(system, backend):
    async def body():
        ws = await ws_open(LISTEN)
        write(system, CONF, conf(backend="nonsense"))
        failed = system.run("systemctl", "reload", "lb", check=False)
        assert failed.returncode != 0
        assert system.out("systemctl", "is-active", "lb") == "active"
        assert await ws_ask(ws, "still here") == "still here"
        await ws.close()

    run(body())
    journal = system.journal()
    assert re.search(r'lbctl: error: /etc/lb/lb.yaml:.*"nonsense"', journal), journal


def test_a_reload_by_signal_is_seen_to_its_end(system):
    system.run("systemctl", "kill", "--kill-whom=main", "-s", "HUP", "lb")
    wait_for("generation 2", lambda: stats(system)["generation"] == 2)
    wait_for("active", lambda: system.show("lb", "SubState") == "running")


def test_a_privileged_port_can_be_bound(system, backend):
    write(system, CONF, conf(binds=[f"{HOST}:80"]))
    system.run("systemctl", "reload", "lb")
    assert status_of(ask(80, GET)) == 200
    system.run("systemctl", "restart", "lb")
    assert status_of(ask(80, GET)) == 200


def listening(port):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((HOST, port))
    s.listen()
    return s


def is_there(system, test, path):
    """What test(1) says of a path, with -e for one that exists."""
    return system.run("test", test, path, check=False).returncode == 0


def drop_in(system, *lines):
    folder = "/etc/systemd/system/lb.service.d"
    system.run("mkdir", "-p", folder)
    write(system, f"{folder}/test.conf", "\n".join(["[Service]", *lines, ""]))
    system.run("systemctl", "daemon-reload")


def test_a_stop_has_the_time_that_the_configuration_gives(system, backend):
    """Though the unit would have it killed after one second."""
    drop_in(system, "TimeoutStopSec=1s")
    write(system, CONF, conf(stop_timeout="4s"))
    system.run("systemctl", "restart", "lb")

    async def body():
        ws = await ws_open(LISTEN)
        await in_thread(system.run, "systemctl", "stop", "lb")
        await ws.close()

    run(body())
    assert system.show("lb", "Result") == "success"
    journal = system.journal()
    assert journal.splitlines()[-1].startswith("Stopped lb.service")
    assert "timed out" not in journal
    assert not is_there(system, "-e", "/run/lb")


def test_it_is_started_again_where_that_may_help(system, backend):
    crashed = main_pid(system)
    system.run("kill", "-KILL", str(crashed))
    wait_for("another lb", lambda: main_pid(system) not in (0, crashed), timeout=20)
    wait_for("it to serve", lambda: system.show("lb", "SubState") == "running")

    # An address that is taken may become free.
    with listening(8085):
        write(system, CONF, conf(binds=[f"{HOST}:8085"]))
        assert system.run("systemctl", "restart", "lb", check=False).returncode != 0
        assert system.show("lb", "ExecMainStatus") == "3"
    wait_for("it to start", lambda: system.show("lb", "SubState") == "running", timeout=20)
    assert status_of(ask(8085, GET)) == 200

    # A mistake does not mend itself.
    write(system, CONF, conf(backend="nonsense"))
    assert system.run("systemctl", "restart", "lb", check=False).returncode != 0
    assert system.show("lb", "ExecMainStatus") == "1"
    assert system.show("lb", "ActiveState") == "failed"


def test_logrotate_loses_no_line(system, backend):
    write(system, CONF, conf(access_log={"to": "/var/log/lb/access.log"}))
    system.run("systemctl", "reload", "lb")
    asked, failed, stop = [0, 0], [], threading.Event()

    def client(i):
        while not stop.is_set():
            if status_of(ask(LISTEN, GET)) != 200:
                failed.append(i)
            asked[i] += 1

    threads = [threading.Thread(target=client, args=(i,)) for i in range(2)]
    for t in threads:
        t.start()
    try:
        # logrotate leaves an empty log alone.
        wait_for("a log", lambda: is_there(system, "-s", "/var/log/lb/access.log"))
        for _ in range(3):
            before = sum(asked)
            system.run("logrotate", "--force", "/etc/logrotate.d/lb")
            wait_for("a new log", lambda: is_there(system, "-s", "/var/log/lb/access.log"))
            wait_for("more requests", lambda: sum(asked) > before + 20)
    finally:
        stop.set()
        for t in threads:
            t.join()
    system.run("systemctl", "stop", "lb")
    assert not failed
    system.run("sh", "-c", "gunzip /var/log/lb/*.gz")
    files = system.out("sh", "-c", "ls /var/log/lb").split()
    assert sorted(files) == ["access.log", "access.log.1", "access.log.2", "access.log.3"]
    lines = [len(system.out("cat", f"/var/log/lb/{name}").splitlines()) for name in files]
    assert sum(lines) == sum(asked), lines
    assert system.out("stat", "-c", "%a %U:%G", "/var/log/lb/access.log") == "640 lb:lb"
    assert system.out("stat", "-c", "%a %U:%G", "/var/log/lb") == "750 lb:lb"


# ---- installed, upgraded, removed ----------------------------------------------------------------


@pytest.fixture
def bare(debs, tmp_path):
    """A system that has no lb."""
    system = Booted(tmp_path, debs)
    try:
        yield system
    finally:
        system.close()


def exists(system, path):
    return is_there(system, "-e", path)


def test_an_upgrade_keeps_configuration_and_connections(bare, backend):
    dpkg(bare, "-i", "/mnt/old.deb")
    mine = conf() + "\n# mine\n"
    write(bare, CONF, mine)
    bare.run("systemctl", "reload", "lb")
    was = main_pid(bare)

    async def body():
        ws = await ws_open(LISTEN)
        await in_thread(dpkg, bare, "--force-confold", "-i", "/mnt/new.deb")
        assert bare.out("dpkg-query", "-W", "-f", "${Version}", "lb").endswith("+1")
        assert bare.out("cat", CONF) + "\n" == mine
        assert main_pid(bare) == was
        assert await ws_ask(ws, "still here") == "still here"
        bare.run("systemctl", "reload", "lb")
        assert await ws_ask(ws, "still here") == "still here"
        await ws.close()

    run(body())
    bare.run("systemctl", "restart", "lb")
    assert main_pid(bare) not in (0, was)
    assert status_of(ask(LISTEN, GET)) == 200


def test_an_upgrade_brings_a_new_example_where_nobody_changed_it(bare):
    dpkg(bare, "-i", "/mnt/old.deb")
    dpkg(bare, "-i", "/mnt/new.deb")
    assert bare.out("tail", "-n", "1", CONF) == "# of the new version"


def test_removed_it_stops_and_purged_it_leaves_only_its_user(bare):
    find = "find /etc /usr /var /run -xdev -name lb -o -xdev -name 'lb[.-]*' | sort"
    before = bare.out("sh", "-c", find)
    dpkg(bare, "-i", "/mnt/old.deb")
    write(bare, CONF, conf(access_log={"to": "/var/log/lb/access.log"}))
    bare.run("systemctl", "restart", "lb")
    pid = main_pid(bare)
    assert exists(bare, "/run/lb/admin.sock") and exists(bare, "/var/log/lb/access.log")

    dpkg(bare, "-r", "lb")
    assert not exists(bare, f"/proc/{pid}")
    assert not exists(bare, "/run/lb") and not exists(bare, "/usr/sbin/lb")
    assert exists(bare, CONF) and exists(bare, "/var/log/lb/access.log")

    dpkg(bare, "-P", "lb")
    assert bare.run("dpkg-query", "-W", "lb", check=False).returncode != 0
    assert bare.out("sh", "-c", find) == before
    bare.run("getent", "passwd", "lb")


def test_a_port_that_is_taken_does_not_fail_the_installation(bare):
    with listening(LISTEN):
        dpkg(bare, "-i", "/mnt/old.deb")
        assert bare.out("systemctl", "is-active", "lb", check=False) != "active"
        assert "127.0.0.1:8080" in bare.journal()
    wait_for("it to start", lambda: bare.show("lb", "SubState") == "running", timeout=20)
