# SPDX-License-Identifier: Apache-2.0
"""`lb check` on this machine: it finds what a start stumbles over, says it as the start does, and
changes nothing."""

import contextlib
import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from pathlib import Path

import pytest

from lbtest import (
    HOST,
    LB,
    LBCTL,
    SLOW,
    WRAP,
    Lb,
    ask,
    connect,
    free_port,
    http_conf,
    status_of,
    wait_for,
    with_limits,
)

GET = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
IS_ROOT = os.geteuid() == 0
OTHER = "nobody"  # whom root lets lb become
only_root = pytest.mark.skipif(not IS_ROOT, reason="who is not root cannot become another user")


def check(path, *args, lb=LB, before=(), **limits):
    return subprocess.run(
        with_limits([*before, *WRAP, str(lb), "check", "-c", str(path), *args], **limits),
        capture_output=True,
        text=True,
        timeout=30 * SLOW,
    )


def findings(p):
    """The lines of a check that has findings."""
    assert (p.returncode, p.stdout) == (1, ""), (p.returncode, p.stdout, p.stderr)
    return p.stderr.splitlines()


def check_ok(path, *args, **kw):
    p = check(path, *args, **kw)
    assert (p.returncode, p.stdout, p.stderr) == (0, f"{path}: ok\n", "")


def names(folder):
    return sorted(p.name for p in folder.iterdir())


# ---- each thing that is in the way ---------------------------------------------------------------


class Site:
    """A folder of a test's own, and what stands in the way in it."""

    def __init__(self, stack):
        self.stack = stack
        self.dir = Path(tempfile.mkdtemp(prefix="lb-check-"))
        stack.callback(shutil.rmtree, self.dir, ignore_errors=True)
        self.port = free_port()

    def taken(self, host=HOST):
        """An address at which another program listens."""
        s = self.stack.enter_context(socket.socket())
        s.bind((host, 0))
        s.listen()
        return "{}:{}".format(*s.getsockname())

    def unix(self, name="s"):
        s = self.stack.enter_context(socket.socket(socket.AF_UNIX))
        s.bind(str(self.dir / name))
        s.listen()
        return s

    def file(self, name):
        (self.dir / name).write_text("")
        return str(self.dir / name)


@pytest.fixture
def site():
    with contextlib.ExitStack() as stack:
        yield Site(stack)


def at_http(address):
    return {"admin": {"http": address}}


def at_bind(address):
    return {"listeners": [{"name": "l", "bind": address, "pool": "p"}]}


def with_socket(path):
    return {"admin": {"socket": str(path)}}


def answers_garbage(site):
    s = site.unix()

    def serve():
        with contextlib.suppress(OSError):
            while True:
                c, _ = s.accept()
                with c:
                    c.sendall(b"who are you?\n")

    t = threading.Thread(target=serve, daemon=True)
    t.start()
    site.stack.callback(t.join, 5)
    site.stack.callback(s.shutdown, socket.SHUT_RDWR)
    return with_socket(site.dir / "s")


def left_behind(site):
    site.unix().close()
    return with_socket(site.dir / "s")


def any_of(site):
    host, port = site.taken("127.0.0.1").split(":")
    return at_bind(f"0.0.0.0:{port}")


# name -> what is in the way (a function of the site: the configuration's change), what is said
IN_THE_WAY = {
    "the log's folder": (
        lambda s: {"log": {"to": f"{s.dir}/no/lb.log"}},
        r'cannot open log {dir}/no/lb\.log: No such file or directory; "mkdir -p {dir}/no" makes',
    ),
    "the access log's folder": (
        lambda s: {"access_log": {"to": f"{s.dir}/no/a.log"}},
        r"cannot open log {dir}/no/a\.log: No such file or directory; ",
    ),
    "a log that is a folder": (
        lambda s: {"log": {"to": str(s.dir)}},
        "cannot open log {dir}: Is a directory; name a file in it",
    ),
    "the socket's folder": (
        lambda s: with_socket(s.dir / "no/s"),
        r'admin\.socket {dir}/no/s: its folder is missing: "mkdir -p {dir}/no", or set admin\.socket '
        "to another path or to off",
    ),
    "a folder of the socket's that is a file": (
        lambda s: with_socket(s.file("f") + "/s"),
        r"admin\.socket {dir}/f/s: Not a directory: set admin\.socket to another path",
    ),
    "a file in the socket's place": (
        lambda s: with_socket(s.file("s")),
        r"admin\.socket {dir}/s: a file has this path, and no socket: move it away, or set",
    ),
    "a folder in the socket's place": (
        lambda s: with_socket(s.dir),
        r"admin\.socket {dir}: a folder has this path, and no socket: move it away, or set",
    ),
    "another program's socket": (
        answers_garbage,
        r"admin\.socket {dir}/s: another program answers on it \(another lb\?\): stop that one, or ",
    ),
    "a taken address": (
        lambda s: at_bind(s.taken()),
        r'cannot bind 127\.0\.0\.1:\d+: Address already in use; "ss -ltnp sport = :\d+" shows which',
    ),
    "an address that includes a taken one": (
        any_of,
        r"cannot bind 0\.0\.0\.0:\d+: Address already in use; ",
    ),
    "an address that is not here": (
        lambda s: at_bind(f"192.0.2.99:{s.port}"),
        r'cannot bind 192\.0\.2\.99:\d+: Cannot assign requested address; "ip addr" shows the .* or '
        r"0\.0\.0\.0 for all",
    ),
    "an IPv6 address that is not here": (
        lambda s: at_bind(f"[2001:db8::99]:{s.port}"),
        r"cannot bind \[2001:db8::99\]:\d+: Cannot assign requested address; .* or \[::\] for all",
    ),
    "a taken address for HTTP": (
        lambda s: at_http(s.taken()),
        r"admin\.http 127\.0\.0\.1:\d+: Address already in use; ",
    ),
    "an address for HTTP that is not here": (
        lambda s: at_http(f"192.0.2.99:{s.port}"),
        r"admin\.http 192\.0\.2\.99:\d+: Cannot assign requested address; ",
    ),
    "a source that is not here": (
        lambda s: {"pools": [{"name": "p", "backends": ["127.0.0.1:1"], "source": ["192.0.2.99"]}]},
        r'source 192\.0\.2\.99: Cannot assign requested address; "ip addr" shows ',
    ),
    "an unknown user": (
        lambda s: {"user": "no-such-user-at-all"},
        r'"user" is "no-such-user-at-all": no such user',
    ),
}


def merged(conf, more):
    for key, value in more.items():
        conf[key] = {**conf[key], **value} if isinstance(conf.get(key), dict) else value
    return conf


@contextlib.contextmanager
def ended(conf, engine, site, **kw):
    """An lb that cannot start, once it has ended."""
    proxy = Lb(conf, engine, site.dir, ready=False, **kw)
    try:
        proxy.wait()
        yield proxy
    finally:
        proxy.destroy()


@pytest.mark.parametrize("make, want", IN_THE_WAY.values(), ids=IN_THE_WAY)
def test_it_says_what_a_start_says(engine, site, make, want):
    conf = merged(http_conf(site.port, [("b", 1)]), make(site))
    conf["admin"] = {"socket": str(site.dir / "a.sock"), **conf.get("admin", {})}
    with ended(conf, engine, site) as proxy:
        assert proxy.popen.returncode == (1 if "user" in conf else 3)
        said = [x for x in proxy.stderr().splitlines() if x.startswith(f"{proxy.path}:")]
        before = names(site.dir)
        assert findings(check(proxy.path)) == said
        assert names(site.dir) == before
        (line,) = said
        want = want.replace("{dir}", re.escape(str(site.dir)))
        assert re.fullmatch(rf"{re.escape(str(proxy.path))}:\d+:\d+: {want}.*", line), line
        check_ok(proxy.path, "--syntax")


def test_it_finds_too_few_descriptors(engine, site):
    conf = http_conf(site.port, [("b", 1)])
    with ended(conf, engine, site, nofile=40) as proxy:
        assert proxy.popen.returncode == 3
        (line,) = findings(check(proxy.path, nofile=40))
        assert line in proxy.stderr() and "ulimit -n" in line
        check_ok(proxy.path, "--syntax", nofile=40)


def test_all_findings_come_at_once_in_their_order(engine, site):
    """Those of the file's places in the order of these; nothing hides behind another one."""
    path = site.dir / "lb.yaml"
    text = f"""\
listeners:
  - {{name: l, pool: p, bind: [{site.taken()}, "127.0.0.1:0", "192.0.2.99:80"]}}
pools: [{{name: p, backends: ["127.0.0.1:1"], source: [192.0.2.98, 127.0.0.1, 192.0.2.97]}}]
access_log: {{to: no/access.log}}
log: {{to: no/lb.log}}
user: no-such-user-at-all
admin: {{socket: no/s, http: "192.0.2.96:1"}}
"""
    path.write_text(text)
    lines = findings(check(path))
    places = [tuple(map(int, x[len(f"{path}:") :].split(":")[:2])) for x in lines]
    assert [p[0] for p in places] == [2, 2, 3, 3, 4, 5, 6, 7, 7]
    assert places == sorted(places)
    path.write_text(text + "nonsense: 1\n")
    (line,) = findings(check(path))
    assert "nonsense" in line, "a file with a mistake is not tried"


# ---- what is in nobody's way ---------------------------------------------------------------------


def test_nothing_is_made(site):
    """Not the files that a start makes, and a socket that was left behind stays."""
    path = site.dir / "lb.yaml"
    conf = http_conf(site.port, [("b", 1)])
    conf |= {"log": {"to": "lb.log"}, "access_log": {"to": "access.log"}, **left_behind(site)}
    path.write_text(json.dumps(conf))
    os.mkfifo(site.dir / "fifo")
    before = names(site.dir)
    check_ok(path)
    conf["log"]["to"] = "fifo"
    path.write_text(json.dumps(conf))
    check_ok(path)
    assert names(site.dir) == before


# ---- where an lb runs ----------------------------------------------------------------------------


def test_the_running_lb_is_in_nobodys_way(lb, echo, port):
    """Its addresses and its socket are no findings, and it does not notice."""
    conf = http_conf(port, echo(1))
    conf["admin"] = {"http": f"{HOST}:{free_port()}"}
    conf["listeners"].append({"name": "any", "bind": f"{HOST}:0", "pool": "p"})
    proxy = lb(conf)
    with connect(port):
        proxy.wait_active(1)
        inode = proxy.socket.stat().st_ino
        for _ in range(3):
            check_ok(proxy.path)
        assert proxy.socket.stat().st_ino == inode
        assert proxy.stats()["connections"]["total"] == 1
        assert proxy.stats()["generation"] == 1
        assert proxy.stats()["admin_http"] == conf["admin"]["http"]
    assert status_of(ask(port, GET)) == 200


def test_what_the_running_lb_does_not_have_is_found(lb, echo, port, site):
    proxy = lb(http_conf(port, echo(1)))
    taken = site.taken()
    conf = http_conf(port, [("b", 1)])
    conf["listeners"].append({"name": "m", "bind": taken, "pool": "p"})
    proxy.rewrite(conf)
    (line,) = findings(check(proxy.path))
    assert f"cannot bind {taken}: Address already in use" in line


def test_an_address_that_includes_the_running_lbs_is_no_finding(lb, echo, port):
    """A restart can bind it, and so can a reload."""
    conf = http_conf(port, echo(1))
    proxy = lb(conf)
    wide = {**conf, **at_bind(f"0.0.0.0:{port}")}
    for file in (wide, conf):
        proxy.rewrite(file)
        p = check(proxy.path)
        assert (p.returncode, p.stdout, p.stderr) == (0, f"{proxy.path}: ok\n", "")
        proxy.reload_ok()


def test_the_http_address_of_the_running_lb_is_warned_of(lb, echo, port):
    """A start can give it to a listener, a reload cannot."""
    conf = http_conf(port, echo(1))
    old, new = f"{HOST}:{free_port()}", f"{HOST}:{free_port()}"
    conf["admin"] = {"http": old}
    proxy = lb(conf)
    conf["admin"]["http"] = new
    conf["listeners"][0]["bind"] = old
    proxy.rewrite(conf)
    p = check(proxy.path)
    assert (p.returncode, p.stdout) == (0, f"{proxy.path}: ok\n")
    want = f"warning: a reload cannot bind {old}, because the running lb has this port for its admin.http {old}"
    (line,) = p.stderr.splitlines()
    assert want in line
    answer = proxy.reload()
    assert f"cannot bind {old}: lb itself has this port" in answer
    assert status_of(ask(port, GET)) == 200


def test_another_lb_is_in_the_way(lb, echo, port, site):
    """One that has another admin socket."""
    first = lb(http_conf(port, echo(1)))
    conf = http_conf(port, [("b", 1)])
    conf["admin"] = {"socket": str(site.dir / "s")}
    path = site.dir / "lb.yaml"
    path.write_text(json.dumps(conf))
    (line,) = findings(check(path))
    assert f"cannot bind {HOST}:{port}: Address already in use" in line
    assert first.stats()["connections"]["total"] == 0


def test_a_socket_that_does_not_answer_is_not_waited_for(site):
    """Its program accepts and is silent, or does not even accept."""
    path = site.dir / "lb.yaml"
    site.unix()
    path.write_text(json.dumps({**http_conf(site.port, [("b", 1)]), **with_socket(site.dir / "s")}))
    (line,) = findings(check(path))
    assert "another program answers on it" in line


# ---- without root's rights -----------------------------------------------------------------------


class Stranger:
    """A user without rights: who runs the tests or, where that is root, somebody else. It has a
    folder of its own with lb in it."""

    def __init__(self, site):
        pw = pwd.getpwnam(OTHER) if IS_ROOT else pwd.getpwuid(os.geteuid())
        self.name = pw.pw_name
        self.before = []
        if IS_ROOT:
            ids = [f"--reuid={pw.pw_uid}", f"--regid={pw.pw_gid}", "--clear-groups"]
            self.before = ["setpriv", *ids, "--inh-caps=-all", "--bounding-set=-all"]
        site.dir.chmod(0o755)
        self.dir = site.dir / "home"
        self.dir.mkdir()
        self.lb = self.dir / "lb"
        shutil.copy(LB, self.lb)
        if IS_ROOT:
            os.chown(self.dir, pw.pw_uid, pw.pw_gid)
        self.path = self.dir / "lb.yaml"

    def write(self, conf, engine):
        conf = {"engine": engine, "workers": 1, **conf}
        conf["admin"] = {"socket": str(self.dir / "s"), **conf.get("admin", {})}
        self.path.write_text(json.dumps(conf))

    def check(self, *args):
        return check(self.path, *args, lb=self.lb, before=self.before)

    def start(self):
        """Of a start that fails: status and lines."""
        argv = [*self.before, *WRAP, str(self.lb), "-c", str(self.path)]
        p = subprocess.run(argv, capture_output=True, text=True, timeout=30 * SLOW)
        lines = p.stderr.splitlines()
        return p.returncode, [x for x in lines if x.startswith(f"{self.path}:")]


@pytest.fixture
def stranger(site):
    return Stranger(site)


def not_writable(site):
    """A folder that lets only its owner, who is not the stranger, make files."""
    if not IS_ROOT:
        return "/usr"
    (site.dir / "shut").mkdir(mode=0o755)
    return str(site.dir / "shut")


# name -> the configuration's change, what is said
WITHOUT_RIGHTS = {
    "a low port": (
        lambda s: at_bind(f"{HOST}:80"),
        r"cannot bind 127\.0\.0\.1:80: Permission denied; a port this low needs CAP_NET_BIND_SERVICE: ",
    ),
    "a low port for HTTP": (
        lambda s: at_http(f"{HOST}:81"),
        r"admin\.http 127\.0\.0\.1:81: Permission denied; a port this low needs ",
    ),
    "another user": (
        lambda s: {"user": "daemon"},
        r'becoming user "daemon": Operation not permitted; start lb as root, or leave "user" out',
    ),
    "the socket's folder": (
        lambda s: with_socket(not_writable(s) + "/s"),
        r'admin\.socket .*/s: Permission denied: user "{user}" must be able to write to .*: chown it, ',
    ),
    "the log's folder": (
        lambda s: {"log": {"to": not_writable(s) + "/lb.log"}},
        r'cannot open log .*/lb\.log: Permission denied; user "{user}" must be able to write it in ',
    ),
    "the default socket's folder": (
        lambda s: {"admin": {"socket": "/run/lb/admin.sock"}},
        r"admin\.socket /run/lb/admin\.sock: its folder is missing: \"mkdir -p /run/lb\", or set ",
    ),
}


@pytest.mark.parametrize("make, want", WITHOUT_RIGHTS.values(), ids=WITHOUT_RIGHTS)
def test_it_finds_rights_that_are_missing(engine, site, stranger, make, want):
    if "/run/lb" in want:
        assert not Path("/run/lb").exists(), "a system's lb runs here"
    stranger.write(merged(http_conf(site.port, [("b", 1)]), make(site)), engine)
    status, said = stranger.start()
    assert status == 3
    assert findings(stranger.check()) == said
    (line,) = said
    want = want.replace("{user}", stranger.name)
    assert re.fullmatch(rf"{re.escape(str(stranger.path))}:\d+:\d+: {want}.*", line), line
    assert stranger.check("--syntax").returncode == 0


@only_root
def test_anothers_socket_in_a_sticky_folder_is_found(engine, site, stranger):
    """Only its owner may remove what it has left behind there, as in /tmp."""
    shared = site.dir / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    site.unix("shared/s").close()
    stranger.write({**http_conf(site.port, [("b", 1)]), **with_socket(shared / "s")}, engine)
    status, said = stranger.start()
    assert status == 3
    assert findings(stranger.check()) == said
    assert f"admin.socket {shared}/s: a socket of another user has this path: " in said[0]


@only_root
def test_an_lb_that_may_not_be_asked_is_found(lb, engine, echo, port, site, stranger):
    first = lb(http_conf(port, echo(1)))
    first.dir.chmod(0o755)
    stranger.write({**http_conf(port, [("b", 1)]), **with_socket(first.socket)}, engine)
    status, said = stranger.start()
    assert status == 3
    assert findings(stranger.check()) == said
    assert [x.split(": ", 1)[1].split(":")[0] for x in said] == [
        f"cannot bind {HOST}",
        f"admin.socket {first.socket}",
    ]
    assert "a socket of another user" in said[1]


# ---- as root, for `user` -------------------------------------------------------------------------


def lines_of_warnings(stderr):
    return re.findall(r"warn(?:ing)?:? reload will fail: (.*)", stderr)


@only_root
@pytest.mark.parametrize("what", ["file", "log's folder", "fifo"])
def test_root_judges_as_user(lb, echo, port, site, what):
    """What lb, once it is `user`, lacks for a reload: a start warns of it in the same words."""
    site.dir.chmod(0o755)
    shut = site.dir / "shut"
    shut.mkdir(mode=0o700)
    conf = {"user": OTHER, **http_conf(port, echo(1))}
    if what == "log's folder":
        conf["access_log"] = {"to": str(shut / "a.log")}
    elif what == "fifo":
        os.mkfifo(site.dir / "fifo", 0o600)
        conf["access_log"] = {"to": str(site.dir / "fifo")}
    proxy = lb(conf, ready=False)
    proxy.wait_ready()
    proxy.stop()
    if what != "file":  # lb-test-... is root's alone, which is the finding of the first row
        proxy.dir.chmod(0o755)
        proxy.path.chmod(0o644)
    lines = findings(check(proxy.path))
    assert len(lines) == 1
    assert set(lines) <= set(lines_of_warnings(proxy.stderr()))
    want = {
        "file": f'{proxy.path}: user "{OTHER}" cannot read this file, which a reload needs: ',
        "log's folder": f"cannot open log {shut}/a.log: Permission denied; user \"{OTHER}\" must ",
        "fifo": f"cannot open log {site.dir}/fifo: Permission denied; user \"{OTHER}\" must ",
    }
    assert want[what] in lines[0]


@only_root
def test_nothing_is_found_twice(site):
    """What root finds is not found again as `user`."""
    site.dir.chmod(0o755)
    path = site.dir / "lb.yaml"
    conf = {"user": OTHER, **http_conf(site.port, [("b", 1)]), **with_socket(site.dir / "s")}
    conf |= {"log": {"to": "no/lb.log"}, "access_log": {"to": str(site.dir)}}
    path.write_text(json.dumps(conf))
    path.chmod(0o644)
    lines = findings(check(path))
    assert [x.split(": ")[1] for x in lines] == [
        f"cannot open log {site.dir}/no/lb.log",
        f"cannot open log {site.dir}",
    ]


@only_root
def test_what_a_start_gives_to_user_is_no_finding(site):
    """Logs that root makes or has are given away: `user` needs no more than a way to them."""
    site.dir.chmod(0o755)
    site.file("lb.log")
    path = site.dir / "lb.yaml"
    conf = {"user": OTHER, **http_conf(80, [("b", 1)]), **with_socket(site.dir / "s")}
    conf |= {"log": {"to": "lb.log"}, "access_log": {"to": "access.log"}}
    path.write_text(json.dumps(conf))
    path.chmod(0o644)
    check_ok(path)
    assert names(site.dir) == ["lb.log", "lb.yaml"]
    assert (site.dir / "lb.log").stat().st_uid == 0


# ---- the default folder, and no socket at all ----------------------------------------------------

OWN_RUN = """
set -eu
mount -t tmpfs run /run
lb=$1 lbctl=$2 conf=$3
"$lb" check -c "$conf"
ls /run
umask 077
"$lb" -c "$conf" 2>"$conf.err" &
pid=$!
n=0
until "$lbctl" stats >"$conf.out" 2>&1; do
	n=$((n + 1))
	[ $n -lt 500 ] || { cat "$conf.err" "$conf.out"; exit 1; }
	kill -0 $pid || { cat "$conf.err"; exit 1; }
	sleep 0.02
done
stat -c '%n %a %U' /run/lb /run/lb/admin.sock
kill $pid
wait $pid
ls /run/lb
"""


@pytest.mark.parametrize("user", [None, pytest.param(OTHER, marks=only_root)], ids=["root", "user"])
def test_the_default_folder_is_made(engine, site, port, user):
    """By a start, not by a check; for `user`, and open to others whatever the umask is. In a /run of
    the test's own."""
    site.dir.chmod(0o755)
    path = site.dir / "lb.yaml"
    conf = {"engine": engine, "workers": 1, "log": {"level": "err"}, **http_conf(port, [("b", 1)])}
    path.write_text(json.dumps({**conf, **({"user": user} if user else {})}))
    path.chmod(0o644)
    enter = ["unshare", "--mount", *([] if IS_ROOT else ["--user", "--map-root-user"])]
    p = subprocess.run(
        [*enter, "sh", "-c", OWN_RUN, "sh", LB, LBCTL, path],
        capture_output=True,
        text=True,
        timeout=60 * SLOW,
    )
    owner = user or "root"
    want = f"{path}: ok\n/run/lb 755 {owner}\n/run/lb/admin.sock 600 {owner}\n"
    assert (p.returncode, p.stdout) == (0, want), p.stdout + p.stderr


def test_without_an_admin_socket(engine, site, echo, port):
    """`socket: off`: none is made, all else works, and lbctl says so as well as it can."""
    conf = {"engine": engine, "workers": 1, **http_conf(port, echo(1))}
    conf["admin"] = {"socket": "off"}
    path = site.dir / "lb.yaml"
    path.write_text(json.dumps(conf))
    check_ok(path)
    with open(site.dir / "err", "w") as err:
        p = subprocess.Popen([*WRAP, str(LB), "-c", str(path)], stderr=err, cwd=site.dir)
    said = (site.dir / "err").read_text
    try:
        wait_for("the start", lambda: "notice started " in said())
        assert status_of(ask(port, GET)) == 200
        assert names(site.dir) == ["err", "lb.yaml"]
        (line,) = findings(check(path))
        assert f"cannot bind {HOST}:{port}: Address already in use" in line, "it cannot be asked"
        p.send_signal(signal.SIGHUP)
        wait_for("the reload", lambda: "reloaded generation=2" in said())
        path.write_text(json.dumps({**conf, "admin": {"socket": str(site.dir / "s")}}))
        p.send_signal(signal.SIGHUP)
        wait_for("the warning", lambda: "takes effect at restart key=admin" in said())
        env = {**os.environ, "LBCTL_SOCKET": str(site.dir / "s")}
        ctl = subprocess.run([LBCTL, "stats"], capture_output=True, text=True, env=env)
        assert (ctl.returncode, ctl.stdout) == (1, "")
        assert "the path is admin.socket in lb's file; with off, there is no socket" in ctl.stderr
        p.send_signal(signal.SIGTERM)
        assert p.wait(10 * SLOW) == 0, said()
    finally:
        p.kill()
        p.wait()
