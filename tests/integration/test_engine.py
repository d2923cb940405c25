# SPDX-License-Identifier: Apache-2.0
"""engine: what happens where the kernel refuses io_uring, as a container's seccomp profile, an old
kernel or kernel.io_uring_disabled do. Only lb is refused it, by a filter of its own."""

import errno
import re
import subprocess
import sys

import pytest

import lbtest
from lbtest import ask, http_conf, status_of

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"

# Has one system call refused to itself, and becomes the program that it is given.
REFUSE = """
import ctypes, os, struct, sys
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
LOAD_NUMBER, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, REFUSE = 0x7FFF0000, 0x00050000
number, error = int(sys.argv[1]), int(sys.argv[2])
rows = [
    (LOAD_NUMBER, 0, 0, 0),
    (JUMP_IF_EQUAL, 0, 1, number),
    (RETURN, 0, 0, REFUSE | error),
    (RETURN, 0, 0, ALLOW),
]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *r) for r in rows))
class Program(ctypes.Structure):
    _fields_ = [("n", ctypes.c_ushort), ("code", ctypes.c_void_p)]
program = Program(len(rows), ctypes.addressof(code))
prctl = ctypes.CDLL(None, use_errno=True).prctl
zero = ctypes.c_ulong(0)
for args in (
    (PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), zero, zero, zero),
    (PR_SET_SECCOMP, ctypes.c_ulong(SECCOMP_MODE_FILTER), ctypes.byref(program), zero, zero),
):
    if prctl(*args) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
os.execvp(sys.argv[3], sys.argv[3:])
"""

# The numbers are the same on every architecture.
SETUP, REGISTER = 425, 427

REFUSALS = [
    ("no such call", SETUP, errno.ENOSYS, "io_uring: this kernel does not support io_uring"),
    ("forbidden", SETUP, errno.EPERM, "io_uring: not allowed here ("),
    ("denied", SETUP, errno.EACCES, "io_uring: not allowed here ("),
    ("too old", SETUP, errno.EINVAL, "io_uring: this kernel is too old, Linux 6.1 is needed"),
    ("no memory", SETUP, errno.ENOMEM, "io_uring: Cannot allocate memory"),
    ("half of it", REGISTER, errno.EPERM, "io_uring: Operation not permitted"),
]


@pytest.fixture(scope="module")
def engine():
    return "auto"  # a test that wants another one says so


@pytest.fixture(params=[r[1:] for r in REFUSALS], ids=[r[0] for r in REFUSALS])
def refusal(request, monkeypatch):
    """lb is refused io_uring; the reason that it is to give."""
    call, error, why = request.param
    argv = [sys.executable, "-c", REFUSE, str(call), str(error)]
    monkeypatch.setattr(lbtest, "WRAP", [*argv, *lbtest.WRAP])
    return why


def test_auto_falls_back_and_says_so_once(lb, echo, port, refusal):
    conf = http_conf(port, echo(1))
    conf["log"] = {"level": "notice"}
    conf["workers"] = 3
    proxy = lb(conf)
    assert proxy.stats()["engine"] == "epoll"
    assert status_of(ask(port, GET)) == 200
    proxy.reload_ok(conf)
    assert status_of(ask(port, GET)) == 200
    said = re.findall(r'.*engine falls back to epoll reason="(.*)"', proxy.stderr())
    assert len(said) == 1, proxy.stderr()
    assert said[0].startswith(refusal)
    assert "io_uring" not in proxy.stderr().replace(said[0], "")


def test_a_named_engine_that_cannot_run_is_an_error(lb, echo, port, refusal):
    """Exit status 3, and why, in one line, which `lb check` says before."""
    proxy = lb({**http_conf(port, echo(1)), "engine": "io_uring"}, ready=False)
    assert proxy.wait() == 3
    proxy.was_stopped = True
    (line,) = proxy.stderr().splitlines()
    assert refusal in line
    assert proxy.stdout() == ""
    argv = [*lbtest.WRAP, str(lbtest.LB), "check", "-c", str(proxy.path)]
    p = subprocess.run(argv, capture_output=True, text=True, timeout=20 * lbtest.SLOW)
    assert (p.returncode, p.stdout, p.stderr) == (1, "", f"{line}\n")


def test_epoll_does_not_ask_for_it(lb, echo, port, refusal):
    proxy = lb({**http_conf(port, echo(1)), "engine": "epoll"})
    assert proxy.stats()["engine"] == "epoll"
    assert status_of(ask(port, GET)) == 200
    assert "io_uring" not in proxy.stderr()


def test_auto_prefers_io_uring(lb, echo, port):
    proxy = lb(http_conf(port, echo(1)))
    assert proxy.stats()["engine"] == "io_uring"
    assert "falls back" not in proxy.stderr()


def test_a_libcrypto_without_sha1_is_told_at_once(lb, echo, port, tmp_path, monkeypatch):
    """As a policy (FIPS) may have it; not by the first client's handshake."""
    policy = tmp_path / "openssl.cnf"
    policy.write_text(
        "openssl_conf = init\n[init]\nproviders = some\n[some]\nbase = it\n[it]\nactivate = 1\n"
    )
    monkeypatch.setenv("OPENSSL_CONF", str(policy))
    proxy = lb(http_conf(port, echo(1)), ready=False)
    assert proxy.wait() == 3
    proxy.was_stopped = True
    (line,) = proxy.stderr().splitlines()
    assert "libcrypto refuses SHA-1" in line
