# SPDX-License-Identifier: Apache-2.0
"""Requests that are answered while their body is still on its way: a client that sends it to its end,
and reads only then, has the answer, as it would from a backend that reads on."""

import socket
import time

import pytest

from lbtest import connect, free_port, http_conf, recv_all, recv_head, status_of

N = 24 << 20  # more than the kernels' buffers hold

ANSWER = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 9\r\n\r\ntoo large"

HEADS = {
    "length": b"Content-Length: %d\r\n\r\n" % N,
    "chunks": b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % (2 * N),
}


def send_all_then_read(port, head, path=b"/"):
    with connect(port, 20) as s:
        s.sendall(b"POST " + path + b" HTTP/1.1\r\nHost: x\r\n" + head)
        s.sendall(b"x" * N)
        return recv_all(s)


def reads_on(s):
    recv_head(s)
    s.sendall(ANSWER)
    s.shutdown(socket.SHUT_WR)
    recv_all(s)


def closes(s):
    """With bytes unread, or soon after: a reset."""
    recv_head(s)
    s.sendall(ANSWER)


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS.keys())
@pytest.mark.parametrize("serve", [reads_on, closes])
def test_an_early_answer_of_the_backend(lb, fake, port, serve, head):
    proxy = lb(http_conf(port, [fake(serve).row()]))
    for _ in range(10):
        answer = send_all_then_read(port, head)
        assert status_of(answer) == 413
        assert answer.endswith(b"\r\n\r\ntoo large")
    proxy.wait_active(0)
    assert proxy.ends() == {"completed": 10}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS.keys())
@pytest.mark.parametrize("path, status", [(b"/known", 502), (b"/nowhere", 404)])
def test_an_early_answer_of_lbs_own(lb, port, head, path, status):
    conf = http_conf(port, [("dead", free_port())], retries=0)
    conf["listeners"][0].pop("pool")
    conf["listeners"][0]["routes"] = [{"path": "/known", "pool": "p"}]
    lb(conf)
    answer = send_all_then_read(port, head, path)
    assert status_of(answer) == status


def test_a_slow_body(lb, fake, port):
    """It takes longer than a client that has sent all is waited for."""
    proxy = lb(http_conf(port, [fake(reads_on).row()]))
    with connect(port, 20) as s:
        s.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (30 * 16000))
        for _ in range(30):
            s.sendall(b"x" * 16000)
            time.sleep(0.1)
        assert status_of(recv_all(s)) == 413
    proxy.wait_active(0)
    assert proxy.ends() == {"completed": 1}
