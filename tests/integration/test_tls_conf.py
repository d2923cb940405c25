# SPDX-License-Identifier: Apache-2.0
"""Certificates as an operator meets them: `lb check`, a start, a reload, `stats` and /metrics. What
clients see of them is tested elsewhere."""

import base64
import json
import os
import pwd
import re
import subprocess
import time

import pytest

from lbtest import HOST, LB, SLOW, WRAP, Lb, ask, free_port, http_conf, wait_for

OTHER = "nobody"
DAY = 86400
only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


class Certs:
    """A folder of certificates, made by openssl(1)."""

    def __init__(self, folder):
        self.dir = folder

    def make(self, name, days=90, names=("chat.test",), since=None):
        """NAME.pem and NAME.key, good for `days` from now on, or from `since` days ago on."""
        san = ",".join(f"DNS:{n}" for n in names)
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-nodes", "-days", str(days)]
        command += ["-pkeyopt", "ec_paramgen_curve:P-256", "-subj", f"/CN={names[0]}"]
        command += ["-keyout", self.key(name), "-out", self.cert(name)]
        command += ["-addext", f"subjectAltName={san}"]
        if since is not None:
            command = ["faketime", f"-{since} days", *command]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        return {"cert": self.cert(name), "key": self.key(name)}

    def cert(self, name):
        return str(self.dir / f"{name}.pem")

    def key(self, name):
        return str(self.dir / f"{name}.key")


@pytest.fixture
def certs(tmp_path):
    return Certs(tmp_path)


def conf_with(port, *certificates, **tls):
    conf = http_conf(port, [("b", 1)])
    conf["listeners"][0]["tls"] = {"certificates": list(certificates), **tls}
    return conf


def check(tmp_path, conf):
    path = tmp_path / "lb.yaml"
    path.write_text(json.dumps({"admin": {"socket": "off"}, **conf}, indent=1))
    argv = [*WRAP, str(LB), "check", "-c", str(path)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60 * SLOW)


# Each has a name, what is done to the files, and what lb says of it, behind its own place.
MISTAKES = {
    "a file that is missing": (
        lambda c: os.unlink(c.key("a")),
        r"/a\.key: No such file or directory; a path that does not begin with / ",
    ),
    "a certificate that is none": (
        lambda c: open(c.cert("a"), "w").write("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        r"/a\.pem:1:1: this certificate cannot be read \(.+\)$",
    ),
    "half a file": (
        lambda c: os.truncate(c.cert("a"), 100),
        r'/a\.pem:1:1: "-----BEGIN CERTIFICATE-----" has no "-----END CERTIFICATE-----": is the file cut off\?$',
    ),
    "a key of another certificate": (
        lambda c: os.rename(c.key("other"), c.key("a")),
        r"/a\.pem: the key of .*/a\.key fits none of the certificates in this file$",
    ),
    "a malformed wildcard": (
        lambda c: c.make("a", names=("a.*.test",)),
        r'/a\.pem: the certificate bears the name "a\.\*\.test", which is no host name; ',
    ),
}


@pytest.mark.parametrize("what", MISTAKES)
def test_a_check_names_the_place(certs, tmp_path, what):
    """At its key in lb.yaml, then in the file."""
    conf = conf_with(free_port(), certs.make("a"))
    certs.make("other")
    assert check(tmp_path, conf).returncode == 0
    spoil, want = MISTAKES[what]
    spoil(certs)
    p = check(tmp_path, conf)
    assert (p.returncode, p.stdout) == (1, "")
    assert re.fullmatch(rf"{tmp_path}/lb\.yaml:\d+:\d+: .*{want}.*\n", p.stderr), p.stderr


@pytest.mark.parametrize("what", MISTAKES)
def test_a_start_is_refused(certs, tmp_path, engine, what):
    conf = conf_with(free_port(), certs.make("a"))
    certs.make("other")
    spoil, want = MISTAKES[what]
    spoil(certs)
    proxy = Lb(conf, engine, tmp_path, ready=False)
    try:
        assert proxy.wait() == 1
        assert re.search(rf"^.*lb\.yaml:\d+:\d+: .*{want}", proxy.stderr(), re.M), proxy.stderr()
    finally:
        proxy.destroy()


@pytest.mark.parametrize("what", MISTAKES)
def test_a_reload_keeps_the_old_one(certs, lb, what):
    conf = conf_with(free_port(), certs.make("a", days=80))
    certs.make("other")
    proxy = lb(conf)
    was = proxy.stats()
    spoil, want = MISTAKES[what]
    spoil(certs)
    answer = proxy.reload()
    assert re.search(rf"lb\.yaml:\d+:\d+: .*{want}", answer, re.M), answer
    now = proxy.stats()
    assert now["certificates"] == was["certificates"]
    assert (now["generation"], now["reload"]["ok"]) == (was["generation"], False)
    # And a good one is taken.
    certs.make("a", days=40)
    proxy.reload_ok()
    (cert,) = proxy.stats()["certificates"]
    assert cert["days_left"] in (39, 40)


def test_every_mistake_is_named_at_once(certs, tmp_path):
    good, bad = certs.make("good"), certs.make("bad")
    os.truncate(bad["key"], 0)
    gone = {"cert": certs.cert("gone"), "key": certs.key("gone")}
    p = check(tmp_path, conf_with(free_port(), good, bad, gone, groups="X25519"))
    said = p.stderr.splitlines()
    assert p.returncode == 1 and len(said) == 3, said
    assert "/bad.key: no private key is in this file" in said[0]
    assert "/gone.pem: No such file" in said[1] and "/gone.key: No such file" in said[2]


# ---- what is served all the same -----------------------------------------------------------------


def test_an_expired_one_is_a_warning(certs, tmp_path, lb):
    """One of several does not stop a start or a reload."""
    good, old = certs.make("good"), certs.make("old", days=10, since=20)
    want = r"/old\.pem: the certificate has expired (9|10) days ago"
    p = check(tmp_path, conf_with(free_port(), good, old))
    assert p.returncode == 0 and re.search(rf"lb\.yaml:\d+:\d+: warning: .*{want}\n", p.stderr)

    port = free_port()
    proxy = lb(conf_with(port, good, old))
    wait_for("the warning", lambda: len(re.findall(want, proxy.stderr())) == 1)
    assert re.search(want, proxy.reload(conf_with(port, old, good)))
    wait_for("the warning again", lambda: len(re.findall(want, proxy.stderr())) == 2)
    days = [c["days_left"] for c in proxy.stats()["certificates"]]
    assert days[0] in (-10, -11) and days[1] in (89, 90)


def test_the_log_warns_of_the_end(certs, lb):
    """At once of one that is near, and again only at the next threshold."""
    port = free_port()
    conf = conf_with(port, certs.make("soon", days=10), certs.make("late", days=90))
    proxy = lb(conf)
    want = r"certificate expires soon file=(\S+) days_left=(\d+)"
    found = wait_for("the warning", lambda: re.findall(want, proxy.stderr()))
    assert [file for file, _ in found] == [certs.cert("soon")]
    proxy.hup(conf)
    conf["listeners"][0]["tls"]["certificates"].append(certs.make("week", days=7))
    proxy.hup(conf)
    wait_for("the next one", lambda: len(re.findall(want, proxy.stderr())) == 2)
    assert re.findall(want, proxy.stderr())[1][0] == certs.cert("week")


# ---- figures -------------------------------------------------------------------------------------


def test_certificates_are_shown(certs, lb):
    names = ("chat.test", "*.chat.test")
    pair, admin = certs.make("a", days=90, names=names), free_port()
    conf = conf_with(free_port(), pair)
    conf["admin"] = {"http": f"{HOST}:{admin}"}
    proxy = lb(conf)
    (cert,) = proxy.stats()["certificates"]
    listener = conf["listeners"][0]["name"]
    assert (cert["listener"], cert["file"], cert["names"]) == (listener, pair["cert"], list(names))
    assert cert["days_left"] in (89, 90)
    assert abs(cert["not_after_s"] - time.time() - 90 * DAY) < 60 * SLOW
    assert abs(cert["not_before_s"] - time.time()) < 60 * SLOW
    text = ask(admin, b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").decode()
    labels = f'{{listener="{listener}",file="{pair["cert"]}",name="chat.test"}}'
    assert re.search(rf"^lb_certificate_days_left{re.escape(labels)} (89|90)$", text, re.M)
    assert f"\nlb_certificate_not_after_timestamp_seconds{labels} {cert['not_after_s']}\n" in text
    assert re.search(rf"^{listener} +chat\.test \(and 1 more\) .* (89|90)$", proxy.admin("stats"), re.M)


def test_without_tls_there_are_none(lb):
    proxy = lb(http_conf(free_port(), [("b", 1)]))
    assert proxy.stats()["certificates"] == []
    assert "CERTIFICATE" not in proxy.admin("stats")


@pytest.mark.parametrize("records, each", [("openssl", 15360), ("compact", 256)])
def test_the_doctor_counts_memory(certs, tmp_path, records, each):
    path = tmp_path / "lb.yaml"
    path.write_text(json.dumps(conf_with(free_port(), certs.make("a"), records=records)))
    argv = [*WRAP, str(LB), "doctor", "--json", "-c", str(path)]
    p = subprocess.run(argv, capture_output=True, text=True, timeout=60 * SLOW, check=True)
    (row,) = [r for r in json.loads(p.stdout)["limits"] if r["name"] == "memory"]
    assert f" {400 + each} B of lb ({each} B for TLS) an idle connection" in row["now"]


# ---- who may read what ---------------------------------------------------------------------------


def readable_by_user(proxy):
    """Opens the folder of lb's file, which mkdtemp() keeps for its owner, to `user`."""
    proxy.dir.chmod(0o755)


@only_root
def test_a_key_is_read_before_lb_becomes_user(certs, lb, tmp_path):
    """A start reads what only root can; it warns that a reload cannot, and a reload says who."""
    pair = certs.make("a")
    for folder in (tmp_path, *tmp_path.parents):
        if folder.owner() == pwd.getpwuid(os.geteuid()).pw_name and str(folder) != "/":
            folder.chmod(folder.stat().st_mode | 0o055)
    os.chmod(pair["key"], 0o600)
    os.chmod(pair["cert"], 0o644)
    conf = {"user": OTHER, **conf_with(free_port(), pair)}
    want = rf'{pair["key"]}: user "{OTHER}" cannot read it: Permission denied; let that user'
    p = check(tmp_path, conf)
    assert p.returncode == 1 and want in p.stderr, p.stderr

    proxy = lb(conf)
    readable_by_user(proxy)
    wait_for("the warning", lambda: "reload will fail: " in proxy.stderr())
    assert want in proxy.stderr()
    answer = proxy.reload()
    assert want in answer and re.search(r"lb\.yaml:\d+:\d+: ", answer), answer
    os.chown(pair["key"], 0, pwd.getpwnam(OTHER).pw_gid)
    os.chmod(pair["key"], 0o640)
    proxy.path.chmod(0o644)
    assert not proxy.reload().startswith("error: ")


def test_a_file_of_ticket_keys_is_a_secret(certs, tmp_path):
    keys = tmp_path / "tickets"
    key = base64.b64encode(os.urandom(80))
    keys.write_bytes(key + b"\n")
    conf = conf_with(free_port(), certs.make("a"), tickets={"file": str(keys)})
    keys.chmod(0o644)
    p = check(tmp_path, conf)
    assert p.returncode == 1
    assert f"{keys}: other users may use this file of secrets (mode 0644)" in p.stderr
    keys.chmod(0o640)
    p = check(tmp_path, conf)
    assert (p.returncode, p.stderr) == (0, "")
    keys.write_bytes(key[:50] + b"\n")
    p = check(tmp_path, conf)
    assert p.returncode == 1 and f"{keys}:1:1: this line is no key of tickets" in p.stderr
    assert key[:50].decode() not in p.stderr, "what stands there is not shown"
