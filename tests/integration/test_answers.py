# SPDX-License-Identifier: Apache-2.0
"""The bodies of lb's own answers: strangers read them."""

import re

import pytest

from lbtest import ROOT, SLOW, ask, http_conf, recv_all, status_of, upgrade_request

GET = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

# Every dotted key of the file, as its man page lists them.
KEYS = re.findall(r"^\.B ([a-z_]+\.[a-z_]+)$", (ROOT / "man/lb.yaml.5").read_text(), re.M)

SHORT = f"{round(200 * SLOW)}ms"

# Name, request, what the backend does (None: nobody listens there), status
ANSWERS = {
    "a head that stops": (GET[:9], recv_all, 408),
    "no route": (GET.replace(b"/ ", b"/nowhere "), recv_all, 404),
    "no listener at the backend": (GET, None, 502),
    "a backend that closes": (GET, lambda s: None, 502),
    "an upgrade without an answer": (upgrade_request(), recv_all, 504),
    "a request without an answer": (GET, recv_all, 504),
    "a body that stops": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx", recv_all, 408),
    "a malformed request": (b"GET /\r\n\r\n", recv_all, 400),
}


@pytest.mark.parametrize("request_, serve, status", ANSWERS.values(), ids=ANSWERS)
def test_a_body_names_no_key_of_the_file(lb, fake, port, request_, serve, status):
    backend = fake(serve).row() if serve else ("b", 1)
    conf = http_conf(port, [backend], timeouts=dict.fromkeys(["upgrade", "response", "body"], SHORT))
    conf["listeners"][0] |= {"timeouts": {"handshake": SHORT}}
    conf["listeners"][0]["routes"] = [{"path": "/nowhere", "pool": "p", "host": "elsewhere"}]
    conf["listeners"][0]["routes"] += [{"path": "/", "pool": "p"}]
    del conf["listeners"][0]["pool"]
    lb(conf)
    answer = ask(port, request_)
    assert status_of(answer) == status
    body = answer.split(b"\r\n\r\n", 1)[1].decode()
    assert 10 < len(body) < 100 and body.endswith("\n"), body
    assert len(KEYS) > 10
    assert not [key for key in KEYS if key in body], body
    assert not re.search(r"\bbackend tried|\blocal port", body), body
