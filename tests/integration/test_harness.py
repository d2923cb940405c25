# SPDX-License-Identifier: Apache-2.0
"""The checks that every other test relies on must themselves be able to fail."""

import contextlib
import socket
import subprocess
import sys

import pytest

import lbtest

# Opens a socket per line read, answers with a line; a second thread with a table of its own as lb's
# workers have is not needed: the counts are per thread anyway.
LEAKER = """
import socket, sys
kept = []
print("ready", flush=True)
for line in sys.stdin:
    kept.append(socket.socket())
    print("ok", flush=True)
"""


# Has the kernel poll for submissions to a ring: io_uring_setup(2) with IORING_SETUP_SQPOLL.
POLLER = """
import ctypes, struct, sys
params = ctypes.create_string_buffer(120)
struct.pack_into("I", params, 8, 1 << 1)
assert ctypes.CDLL(None).syscall(425, 4, params) >= 0
print("ready", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def running(script):
    p = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert p.stdout.readline() == "ready\n"
        yield p
    finally:
        p.kill()
        p.wait()
        p.stdin.close()
        p.stdout.close()


@pytest.fixture
def leaker():
    with running(LEAKER) as p:
        yield p


def plant(p):
    p.stdin.write("\n")
    p.stdin.flush()
    assert p.stdout.readline() == "ok\n"


def test_a_planted_leak_is_found(leaker):
    before = lbtest.fds_by_task(leaker.pid)
    assert lbtest.fd_leaks(before, lbtest.fds_by_task(leaker.pid)) == {}
    plant(leaker)
    n = before[leaker.pid]
    assert lbtest.fd_leaks(before, lbtest.fds_by_task(leaker.pid)) == {leaker.pid: (n, n + 1)}


def test_fewer_descriptors_are_no_leak(leaker):
    plant(leaker)
    before = lbtest.fds_by_task(leaker.pid)
    assert lbtest.fd_leaks(before, {tid: n - 1 for tid, n in before.items()}) == {}


def test_a_new_listener_is_no_leak(leaker):
    before = lbtest.fds_by_task(leaker.pid)
    plant(leaker)
    after = lbtest.fds_by_task(leaker.pid)
    assert lbtest.fd_leaks(before, after, n_listeners_more=1) == {}
    plant(leaker)
    assert lbtest.fd_leaks(before, lbtest.fds_by_task(leaker.pid), n_listeners_more=1) != {}


def test_a_planted_thread_of_io_uring_is_found(leaker):
    assert lbtest.uring_threads(lbtest.threads_of(leaker.pid)) == []
    with running(POLLER) as p:
        (name,) = lbtest.wait_for(
            "its thread", lambda: lbtest.uring_threads(lbtest.threads_of(p.pid))
        )
        assert name == f"iou-sqp-{p.pid}"


def test_threads_of_io_uring_are_told_from_others():
    own = ["lb", "lb-log", "lb-worker-0", "lb-worker-1"]
    assert lbtest.uring_threads([*own, "iou-wrk-1234"]) == ["iou-wrk-1234"]
    assert lbtest.uring_threads(own) == []


@pytest.mark.parametrize(
    "line",
    [
        "==12==ERROR: AddressSanitizer: heap-use-after-free on address",
        "relay.c:10:3: runtime error: signed integer overflow",
        "WARNING: ThreadSanitizer: data race (pid=1)",
        "lb: BUG at proxy/session.c:12: s->n_ops == 0",
    ],
)
def test_bad_lines_are_found(line):
    assert lbtest.bad_lines(f"fine\n{line}\n") == [line]
    assert lbtest.bad_lines("lb: notice: started\n") == []


def test_races_on_descriptor_numbers_are_told_from_races_on_memory():
    def report(location):
        return (
            "==================\nWARNING: ThreadSanitizer: data race (pid=1)\n  Write of size 8\n"
            f"  Location is {location}\nSUMMARY: ThreadSanitizer: data race f.c\n"
            "==================\n"
        )

    on_fd = report("file descriptor 4 created by thread T2 at:")
    on_memory = report("heap block of size 64")
    end = "ThreadSanitizer: reported 2 warnings\n"
    assert lbtest.bad_lines(f"a\n{on_fd}b\n{on_fd}{end}") == []
    assert len(lbtest.bad_lines(f"{on_fd}a\n{on_memory}{on_fd}")) == 2
    assert len(lbtest.bad_lines(on_memory)) == 2


def test_ports_are_free_and_below_10000():
    for _ in range(20):
        port = lbtest.free_port()
        assert 1024 < port < 10000
        with socket.socket() as s:
            s.bind((lbtest.HOST, port))


def test_frames_are_masked_right():
    frame = lbtest.ws_frame(b"Hello", opcode=1, mask=bytes.fromhex("37fa213d"))
    assert frame == bytes.fromhex("818537fa213d7f9f4d5158")  # RFC 6455, 5.7
