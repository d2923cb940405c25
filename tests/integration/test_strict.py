# SPDX-License-Identifier: Apache-2.0
"""The parser's strictness, on the wire: what is refused, and what a backend sees of the rest.

The rows are ordered by the sections of RFC 9112 (HTTP/1.1) and RFC 9110 (semantics); the published
classes of request smuggling stand where the section that they break stands. What test_websocket.py
has in its table of verdicts is not repeated. tests/unit/proto/test_http1.c has more rows, without a
wire.
"""

import queue
import re

import pytest

import lbtest
from conftest import fake_factory, lb_factory
from lbtest import SLOW, http_conf, recv_all, status_of, wait_for

HOST = "Host: a.test\r\n"
CHUNKED = "Transfer-Encoding: chunked\r\n"
WS = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    f"Sec-WebSocket-Key: {lbtest.KEY}\r\n"
)
SMUGGLED = "GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


def request(fields=HOST, line="GET / HTTP/1.1", body=""):
    return f"{line}\r\n{fields}\r\n{body}"


def post(fields, body="", line="POST / HTTP/1.1"):
    return request(HOST + fields, line, body)


def seen(fields=HOST, line="GET / HTTP/1.1", body="", host="a.test", upgrade=None):
    """What a backend sees: the fields that pass, then lb's own."""
    own = "X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\n"
    if host:
        own += f"X-Forwarded-Host: {host}\r\n"
    own += f"Connection: Upgrade\r\nUpgrade: {upgrade}\r\n" if upgrade else "Connection: close\r\n"
    return f"{line}\r\n{fields}{own}\r\n{body}"


def seen_post(fields, body="", line="POST / HTTP/1.1"):
    return seen(HOST + fields, line, body)


# ---- heads and bodies that are refused before a backend hears of them ----------------------------

# (name, what is sent, status)
REFUSED = [
    # Message parsing.
    ("9112-2.2 LF before the request line", "\n" + request(), 400),
    ("9112-2.2 CR before the request line", "\r" + request(), 400),
    ("9112-2.2 white space before the request line", " " + request(), 400),
    ("9112-2.2 a byte order mark", "\xef\xbb\xbf" + request(), 400),
    ("9112-2.2 LF ends the request line", "GET / HTTP/1.1\nHost: a.test\r\n\r\n", 400),
    ("9112-2.2 LF ends a field", request("Host: a.test\nA: b\r\n"), 400),
    ("9112-2.2 LF ends the head", "GET / HTTP/1.1\r\nHost: a.test\r\n\n", 400),
    ("9112-2.2 CR CR LF", request("Host: a.test\r\r\n"), 400),
    ("9112-2.2 CR ends a field", request("Host: a.test\rA: b\r\n"), 400),
    ("9112-2.2 CR CR ends the head", "GET / HTTP/1.1\r\nHost: a.test\r\n\r\r", 400),
    ("9112-2.2 a line of white space before the fields", request(" \r\n" + HOST), 400),
    ("9112-2.2 a field behind white space", request(" A: b\r\n" + HOST), 400),
    ("9112-2.3 version 1.10", request(line="GET / HTTP/1.10"), 400),
    ("9112-2.3 version 01.1", request(line="GET / HTTP/01.1"), 505),
    ("9112-2.3 version 1,1", request(line="GET / HTTP/1,1"), 400),
    ("9112-2.3 version 3", request(line="GET / HTTP/3.0"), 505),
    ("9112-2.3 no version (HTTP/0.9)", "GET /\r\n\r\n", 400),
    # Request line.
    ("9112-3 two spaces behind the method", request(line="GET  / HTTP/1.1"), 400),
    ("9112-3 two spaces before the version", request(line="GET /  HTTP/1.1"), 400),
    ("9112-3 a tab behind the method", request(line="GET\t/ HTTP/1.1"), 400),
    ("9112-3 a tab before the version", request(line="GET /\tHTTP/1.1"), 400),
    ("9112-3 a form feed behind the method", request(line="GET\f/ HTTP/1.1"), 400),
    ("9112-3 a no-break space", request(line="GET\xa0/ HTTP/1.1"), 400),
    ("9112-3 a space behind the version", request(line="GET / HTTP/1.1 "), 400),
    ("9112-3 two targets", request(line="GET / /admin HTTP/1.1"), 400),
    ("9112-3 two versions", request(line="GET / HTTP/1.1 HTTP/1.0"), 400),
    ("9112-3 no target", request(line="GET HTTP/1.1"), 400),
    ("9112-3.1 a method that is no token", request(line="GE:T / HTTP/1.1"), 400),
    ("9112-3.1 no method", request(line=" / HTTP/1.1"), 400),
    ("9112-3.1 a method with NUL", request(line="GET\0 / HTTP/1.1"), 400),
    # Request target.
    ("9112-3.2 a fragment", request(line="GET /a#b HTTP/1.1"), 400),
    ("9112-3.2 a target that is not ASCII", request(line="GET /\xfc HTTP/1.1"), 400),
    ("9112-3.2 a target in UTF-8", request(line="GET /\xc3\xbc HTTP/1.1"), 400),
    ("9112-3.2 a Host with a bare zone", request("Host: [fe80::1%eth0]\r\n"), 400),
    ("9112-3.2 a Host with an empty zone", request("Host: [fe80::1%25]\r\n"), 400),
    ("9112-3.2.2 a scheme like a WebSocket's", request(line="GET wsx://a.test/ HTTP/1.1"), 400),
    ("9112-3.2 a control in the target", request(line="GET /\x1f HTTP/1.1"), 400),
    ("9112-3.2 DEL in the target", request(line="GET /\x7f HTTP/1.1"), 400),
    ("9112-3.2 CR in the target", request(line="GET /\rx HTTP/1.1"), 400),
    ("9112-3.2.1 no slash first", request(line="GET a HTTP/1.1"), 400),
    ("9112-3.2.1 a backslash first", request(line="GET \\a HTTP/1.1"), 400),
    ("9112-3.2.2 another scheme", request(line="GET ftp://a.test/ HTTP/1.1"), 400),
    ("9112-3.2.2 one slash", request(line="GET http:/a.test/ HTTP/1.1"), 400),
    ("9112-3.2.2 no authority", request(line="GET http:///a HTTP/1.1"), 400),
    ("9112-3.2.2 user information", request(line="GET http://u:p@a.test/ HTTP/1.1"), 400),
    ("9112-3.2.2 a port too large", request(line="GET http://a.test:65536/ HTTP/1.1"), 400),
    ("9112-3.2.2 a backslash ends the host", request(line="GET http://a.test\\@b/ HTTP/1.1"), 400),
    ("9112-3.2.2 absolute, and no Host", request("", "GET http://a.test/ HTTP/1.1"), 400),
    ("9112-3.2.2 absolute, and two Hosts", request(HOST * 2, "GET http://a.test/ HTTP/1.1"), 400),
    ("9112-3.2.3 authority form", request(line="GET a.test:80 HTTP/1.1"), 400),
    ("9112-3.2.4 an asterisk for GET", request(line="GET * HTTP/1.1"), 400),
    ("9112-3.2.4 behind an asterisk", request(line="OPTIONS *a HTTP/1.1"), 400),
    # Host.
    ("9112-3.2 no Host", request("A: b\r\n"), 400),
    ("9112-3.2 two equal Hosts", request(HOST * 2), 400),
    ("9112-3.2 two Hosts far apart", request(HOST + "A: b\r\n" + "host:c\r\n"), 400),
    ("9112-3.2 a list of Hosts", request("Host: a.test, b.test\r\n"), 400),
    ("9112-3.2 an empty Host", request("Host: \r\n"), 400),
    ("9112-3.2 a Host that is a URI", request("Host: http://a.test\r\n"), 400),
    ("9112-3.2 a Host with a path", request("Host: a.test/b\r\n"), 400),
    ("9112-3.2 a Host with user information", request("Host: u@a.test\r\n"), 400),
    ("9112-3.2 a Host with two ports", request("Host: a.test:80:81\r\n"), 400),
    ("9112-3.2 a Host with NUL", request("Host: a\0.test\r\n"), 400),
    ("9112-3.2 a Host that is not ASCII", request("Host: \xe4.test\r\n"), 400),
    ("9112-3.2 a Host behind a space before the colon", request("Host : a.test\r\n"), 400),
    ("9112-3.2 a second Host, folded", request(HOST + " Host: b.test\r\n"), 400),
    # Fields.
    ("9112-5 no colon", request(HOST + "A\r\n"), 400),
    ("9112-5 no name", request(HOST + ": b\r\n"), 400),
    ("9112-5.1 a space before the colon", request(HOST + "A : b\r\n"), 400),
    ("9112-5.1 a tab before the colon", request(HOST + "A\t: b\r\n"), 400),
    ("9112-5.1 NUL in a name", request(HOST + "A\0: b\r\n"), 400),
    ("9112-5.1 a name in brackets", request(HOST + "[A]: b\r\n"), 400),
    ("9112-5.1 a name with a no-break space", request(HOST + "A\xa0: b\r\n"), 400),
    ("9112-5.2 folded with a space", request(HOST + "A: b\r\n c\r\n"), 400),
    ("9112-5.2 folded with a tab", request(HOST + "A: b\r\n\tc\r\n"), 400),
    ("9112-5.2 folded into nothing", request(HOST + "A: b\r\n \r\n"), 400),
    ("9112-5.2 folded before any text", request(HOST + "A:\r\n b\r\n"), 400),
    ("9110-5.5 NUL in a value", request(HOST + "A: b\0\r\n"), 400),
    ("9110-5.5 a control in a value", request(HOST + "A: \x01b\r\n"), 400),
    ("9110-5.5 an escape in a value", request(HOST + "A: \x1b[2J\r\n"), 400),
    ("9110-5.5 DEL in a value", request(HOST + "A: \x7f\r\n"), 400),
    ("9110-5.5 a vertical tab in a value", request(HOST + "A: b\x0bc\r\n"), 400),
    # Transfer-Encoding (TE.TE: one of two parsers does not see it).
    ("9112-6.1 TE.TE: chunked twice", post(CHUNKED * 2, "0\r\n\r\n"), 400),
    ("9112-6.1 TE.TE: a list of chunked", post("Transfer-Encoding: chunked, chunked\r\n"), 400),
    ("9112-6.1 TE.TE: identity behind it", post(CHUNKED + "Transfer-Encoding: identity\r\n"), 400),
    ("9112-6.1 TE.TE: cow before it", post("Transfer-Encoding: cow\r\n" + CHUNKED), 400),
    ("9112-6.1 TE.TE: xchunked", post("Transfer-Encoding: xchunked\r\n"), 400),
    ("9112-6.1 TE.TE: chunkedx", post("Transfer-Encoding: chunkedx\r\n"), 400),
    ("9112-6.1 TE.TE: in quotes", post('Transfer-Encoding: "chunked"\r\n'), 400),
    ("9112-6.1 TE.TE: with a parameter", post("Transfer-Encoding: chunked;a=b\r\n"), 400),
    ("9112-6.1 TE.TE: a comma behind", post("Transfer-Encoding: chunked,\r\n"), 400),
    ("9112-6.1 TE.TE: a comma before", post("Transfer-Encoding: ,chunked\r\n"), 400),
    ("9112-6.1 TE.TE: a vertical tab before", post("Transfer-Encoding: \x0bchunked\r\n"), 400),
    ("9112-6.1 TE.TE: a form feed behind", post("Transfer-Encoding: chunked\f\r\n"), 400),
    ("9112-6.1 TE.TE: NUL behind", post("Transfer-Encoding: chunked\0\r\n"), 400),
    ("9112-6.1 TE.TE: a no-break space before", post("Transfer-Encoding: \xa0chunked\r\n"), 400),
    ("9112-6.1 TE.TE: CR before", post("Transfer-Encoding: \rchunked\r\n"), 400),
    ("9112-6.1 TE.TE: LF before", post("Transfer-Encoding:\n chunked\r\n"), 400),
    ("9112-6.1 TE.TE: folded", post("Transfer-Encoding:\r\n chunked\r\n"), 400),
    ("9112-6.1 TE.TE: behind a folded line", post("A: b\r\n " + CHUNKED), 400),
    ("9112-6.1 TE.TE: a space before the colon", post("Transfer-Encoding : chunked\r\n"), 400),
    ("9112-6.1 TE.TE: a tab before the colon", post("Transfer-Encoding\t: chunked\r\n"), 400),
    ("9112-6.1 TE.TE: hidden behind LF", post("A: b\n" + CHUNKED), 400),
    ("9112-6.1 TE.TE: hidden behind CR", post("A: b\r" + CHUNKED), 400),
    ("9112-6.1 TE.TE: empty", post("Transfer-Encoding:\r\n"), 400),
    ("9112-6.1 gzip", post("Transfer-Encoding: gzip\r\n"), 400),
    ("9112-6.1 chunked is not last", post("Transfer-Encoding: chunked, gzip\r\n"), 400),
    ("9112-6.1 in HTTP/1.0", post(CHUNKED, "0\r\n\r\n", "POST / HTTP/1.0"), 400),
    # Content-Length.
    ("9112-6.2 a sign", post("Content-Length: +3\r\n", "abc"), 400),
    ("9112-6.2 negative", post("Content-Length: -3\r\n", "abc"), 400),
    ("9112-6.2 hexadecimal", post("Content-Length: 0x3\r\n", "abc"), 400),
    ("9112-6.2 a fraction", post("Content-Length: 3.0\r\n", "abc"), 400),
    ("9112-6.2 an exponent", post("Content-Length: 3e0\r\n", "abc"), 400),
    ("9112-6.2 empty", post("Content-Length: \r\n", "abc"), 400),
    ("9112-6.2 two numbers", post("Content-Length: 3 3\r\n", "abc"), 400),
    ("9112-6.2 a list of equals", post("Content-Length: 3, 3\r\n", "abc"), 400),
    ("9112-6.2 other digits", post("Content-Length: \xb3\r\n", "abc"), 400),
    ("9112-6.2 NUL behind", post("Content-Length: 3\0\r\n", "abc"), 400),
    ("9112-6.2 a vertical tab before", post("Content-Length: \x0b3\r\n", "abc"), 400),
    ("9112-6.2 a space before the colon", post("Content-Length : 3\r\n", "abc"), 400),
    ("9112-6.2 2^63", post("Content-Length: 9223372036854775808\r\n"), 400),
    ("9112-6.2 31 digits", post("Content-Length: 1000000000000000000000000000003\r\n", "abc"), 400),
    ("9112-6.2 2^64 + 3", post("Content-Length: 18446744073709551619\r\n", "abc"), 400),
    ("9112-6.3 CL.CL: differing", post("Content-Length: 3\r\nContent-Length: 0\r\n", "abc"), 400),
    (
        "9112-6.3 CL.CL: differing, far apart",
        post("Content-Length: 3\r\nA: b\r\ncontent-length:4\r\n"),
        400,
    ),
    ("9112-6.3 CL.TE", post("Content-Length: 6\r\n" + CHUNKED, "0\r\n\r\nG"), 400),
    ("9112-6.3 TE.CL", post(CHUNKED + "Content-Length: 4\r\n", "5c\r\n" + SMUGGLED), 400),
    (
        "9112-6.3 0.TE: length 0 and chunked",
        post("Content-Length: 0\r\n" + CHUNKED, "0\r\n\r\n"),
        400,
    ),
    (
        "9112-6.3 CL.TE in another case",
        post("CONTENT-LENGTH: 6\r\ntRANSFER-eNCODING: CHUNKED\r\n"),
        400,
    ),
    # Connection.
    (
        "9110-7.6.1 Connection names Transfer-Encoding",
        post(CHUNKED + "Connection: transfer-encoding\r\n"),
        400,
    ),
    (
        "9110-7.6.1 Connection names Host among others",
        request(HOST + "Connection: close, HOST\r\n"),
        400,
    ),
    (
        "9110-7.6.1 Connection names Host in a second line",
        request(HOST + "Connection: a\r\nConnection: host\r\n"),
        400,
    ),
    (
        "9110-7.6.1 Connection names Sec-WebSocket-Protocol",
        request(HOST + WS + "Connection: Sec-WebSocket-Protocol\r\n"),
        400,
    ),
    (
        "9110-7.6.1 Connection names 101 fields",
        request(HOST + "Connection: " + "a," * 101 + "\r\n"),
        400,
    ),
    # Methods and Upgrade.
    ("9110-9.3.6 CONNECT", request(line="CONNECT a.test:443 HTTP/1.1"), 501),
    (
        "9110-9.3.6 CONNECT to an absolute target",
        request(line="CONNECT http://a.test/ HTTP/1.1"),
        501,
    ),
    ("6455-4.2.1 a chunked body", post(WS + CHUNKED, "0\r\n\r\n", "GET / HTTP/1.1"), 400),
    ("6455-4.2.1 two versions", request(HOST + WS + "Sec-WebSocket-Version: 13\r\n"), 426),
    ("6455-4.2.1 no version", request(HOST + WS.replace("Sec-WebSocket-Version: 13\r\n", "")), 426),
    ("6455-4.2.1 a list of versions", request(HOST + WS.replace("13", "13, 8")), 426),
    ("6455-4.2.1 a key of two in one line", request(HOST + WS.replace("==", "==, x")), 400),
    ("7540-3.5 the preface, and frames", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", 505),
]

# ---- what passes, and as what --------------------------------------------------------------------

TUNNEL = {
    "fields": HOST + "Sec-WebSocket-Version: 13\r\n" + f"Sec-WebSocket-Key: {lbtest.KEY}\r\n",
    "upgrade": "websocket",
}
AGREED = (
    "Sec-WebSocket-Protocol: a, b\r\nSec-WebSocket-Extensions: c; d=1\r\nOrigin: null\r\n"
)

# What a backend may believe of a client although lb has not said it.
OTHER_CLAIMS = (
    "X-Real-IP: 1.2.3.4\r\nX-Forwarded-Port: 443\r\nX-Forwarded-Prefix: /admin\r\n"
    "X-Forwarded-Server: b.test\r\nTrue-Client-IP: 1.2.3.4\r\nX-Client-IP: 1.2.3.4\r\n"
    "X-Original-URL: /admin\r\n"
)
UNDERSCORES = (
    "X_Forwarded_For: 1.2.3.4\r\nx_forwarded_proto: https\r\nContent_Length: 1\r\nHost_: a\r\n"
)
# Fields of whatever name behind the last chunk.
TRAILERS = (
    "Transfer-Encoding: chunked\r\nConnection: close, X-A\r\nX-A: b\r\nUpgrade: websocket\r\n"
    "X-Forwarded-For: 1.2.3.4\r\nforwarded: for=1.2.3.4\r\nCookie: a=b\r\nAuthorization: c\r\n"
    "HOST: b.test\r\nContent-Length: 3\r\nTE: trailers\r\nKeep-Alive: 5\r\n"
)

# (name, what is sent, what the backend sees, to the byte)
PASSED = [
    ("9112-2.2 an empty line before", "\r\n" + request(), seen()),
    ("9112-2.3 version 1.9 goes on as 1.1", request(line="GET / HTTP/1.9"), seen()),
    (
        "9110-2.5 version 1.0 goes on as 1.1",
        request(line="GET / HTTP/1.0"),
        seen(line="GET / HTTP/1.1"),
    ),
    (
        "9112-2.3 version 1.0 without Host",
        request("", "GET / HTTP/1.0"),
        seen("Host: BACKEND\r\n", "GET / HTTP/1.1", host=None),
    ),
    (
        "9112-3.1 a method of its own",
        request(line="b!r.e~w / HTTP/1.1"),
        seen(line="b!r.e~w / HTTP/1.1"),
    ),
    ("9112-3.1 a method's case", request(line="get / HTTP/1.1"), seen(line="get / HTTP/1.1")),
    (
        "9112-3.2.1 nothing is decoded",
        request(line="GET /%41%2f%00//b;c/?d=%0d%0a&/../ HTTP/1.1"),
        seen(line="GET /%41%2f%00//b;c/?d=%0d%0a&/../ HTTP/1.1"),
    ),
    (
        "9112-3.2.1 a backslash is not turned",
        request(line="GET /a\\b\\..\\c HTTP/1.1"),
        seen(line="GET /a\\b\\..\\c HTTP/1.1"),
    ),
    ("9112-3.2.1 an empty query", request(line="GET /? HTTP/1.1"), seen(line="GET /? HTTP/1.1")),
    (
        "9112-3.2.1 two slashes",
        request(line="GET //a.test/ HTTP/1.1"),
        seen(line="GET //a.test/ HTTP/1.1"),
    ),
    (
        "9112-3.2.2 the target's authority replaces Host",
        request("A: b\r\nHost: claimed.test\r\nC: d\r\n", "GET http://real.test:81/p?q HTTP/1.1"),
        seen("Host: real.test:81\r\nA: b\r\nC: d\r\n", "GET /p?q HTTP/1.1", host="real.test:81"),
    ),
    (
        "9112-3.2.2 absolute, of a WebSocket",
        request(HOST + WS, "GET ws://a.test/ws?q HTTP/1.1"),
        seen(TUNNEL["fields"], "GET /ws?q HTTP/1.1", upgrade="websocket"),
    ),
    (
        "9112-3.2.2 absolute, of a WebSocket in TLS",
        request("Host: b.test\r\n", "GET WSS://a.test HTTP/1.1"),
        seen(line="GET / HTTP/1.1"),
    ),
    (
        "9112-3.2.1 dot segments where no route looks at paths",
        request(line="GET /a/./b/%2e%2E/../c/.. HTTP/1.1"),
        seen(line="GET /a/./b/%2e%2E/../c/.. HTTP/1.1"),
    ),
    (
        "9112-3.2 Host with a mapped IPv4 address",
        request("Host: [::ffff:127.0.0.1]:80\r\n"),
        seen("Host: [::ffff:127.0.0.1]:80\r\n", host="[::ffff:127.0.0.1]:80"),
    ),
    (
        "9112-3.2 Host with a zone",
        request("Host: [fe80::1%25eth0]\r\n"),
        seen("Host: [fe80::1%25eth0]\r\n", host="[fe80::1%25eth0]"),
    ),
    (
        "9112-3.2.2 absolute without a path",
        request(line="GET HTTP://a.test HTTP/1.1"),
        seen(),
    ),
    (
        "9112-3.2.2 absolute with a query only",
        request(line="GET https://a.test?q HTTP/1.1"),
        seen(line="GET /?q HTTP/1.1"),
    ),
    (
        "9112-3.2.2 absolute in 1.0, without Host",
        request("", "GET http://a.test/ HTTP/1.0"),
        seen(line="GET / HTTP/1.1"),
    ),
    (
        "9112-3.2.4 OPTIONS for the server",
        request(line="OPTIONS * HTTP/1.1"),
        seen(line="OPTIONS * HTTP/1.1"),
    ),
    (
        "9112-3.2.4 OPTIONS, absolute without a path",
        request(line="OPTIONS http://a.test HTTP/1.1"),
        seen(line="OPTIONS * HTTP/1.1"),
    ),
    (
        "9112-3.2 Host with a port",
        request("hOST:a.test:8080\r\n"),
        seen("hOST: a.test:8080\r\n", host="a.test:8080"),
    ),
    (
        "9112-3.2 Host is IPv6",
        request("Host: [::1]:1\r\n"),
        seen("Host: [::1]:1\r\n", host="[::1]:1"),
    ),
    (
        "9112-5.1 white space around a value",
        request("Host:\t a.test \t\r\nA:b\r\nC: \t d e \t \r\n"),
        seen("Host: a.test\r\nA: b\r\nC: d e\r\n"),
    ),
    ("9110-5.5 an empty value", request(HOST + "A:\r\nB: \t\r\n"), seen(HOST + "A:\r\nB:\r\n")),
    (
        "9110-5.5 obs-text and tabs",
        request(HOST + "A: \xe9\x80\xff\tb\r\n"),
        seen(HOST + "A: \xe9\x80\xff\tb\r\n"),
    ),
    (
        "9110-5.1 a name of all token characters but an underscore",
        request(HOST + "!#$%&'*+-.^`|~09aZ: b\r\n"),
        seen(HOST + "!#$%&'*+-.^`|~09aZ: b\r\n"),
    ),
    (
        "9110-5.2 lines of one field keep their order",
        request("A: 1\r\n" + HOST + "a: 2\r\nB: 3\r\nA: 1\r\n"),
        seen("A: 1\r\n" + HOST + "a: 2\r\nB: 3\r\nA: 1\r\n"),
    ),
    (
        "9112-6.1 chunked in any case",
        post("transfer-ENCODING:\t CHUNKED \r\n", "1\r\na\r\n0\r\n\r\n"),
        seen_post("transfer-ENCODING: chunked\r\n", "1\r\na\r\n0\r\n\r\n"),
    ),
    (
        "9112-6.1 an underscore frames nothing",
        post("Transfer_Encoding: chunked\r\nContent-Length: 3\r\n", "abc" + SMUGGLED),
        seen_post("Content-Length: 3\r\n", "abc"),
    ),
    (
        "9112-6.1 a field that ends like it is another",
        post("X-Transfer-Encoding: chunked\r\n", "0\r\n\r\n" + SMUGGLED),
        seen_post("X-Transfer-Encoding: chunked\r\n"),
    ),
    (
        "9112-6.2 leading zeros",
        post("Content-Length: 0003\r\n", "abc"),
        seen_post("Content-Length: 3\r\n", "abc"),
    ),
    (
        "9112-6.2 a length of 31 digits behind a tab",
        post("Content-Length:\t0000000000000000000000000000003\r\n", "abc"),
        seen_post("Content-Length: 3\r\n", "abc"),
    ),
    (
        "9112-5 one spelling of every field",
        request("A:b\r\nHost:a.test\r\nC:\t d \t e\t\r\n"),
        seen("A: b\r\nHost: a.test\r\nC: d \t e\r\n"),
    ),
    (
        "9112-6.2 a GET with a body",
        request(HOST + "Content-Length: 3\r\n", body="abc"),
        seen(HOST + "Content-Length: 3\r\n", body="abc"),
    ),
    (
        "9112-6.3 equal lengths become one",
        post("Content-Length: 3\r\nA: b\r\nContent-Length: 3\r\n", "abc" + SMUGGLED),
        seen_post("Content-Length: 3\r\nA: b\r\n", "abc"),
    ),
    (
        "9112-6.3 0.CL: nothing behind length 0",
        post("Content-Length: 0\r\n", SMUGGLED),
        seen_post("Content-Length: 0\r\n"),
    ),
    ("9112-6.3 nothing behind no length", post("", SMUGGLED), seen_post("")),
    (
        "9112-6.3 nothing behind the body",
        post("Content-Length: 3\r\n", "abc" + SMUGGLED),
        seen_post("Content-Length: 3\r\n", "abc"),
    ),
    (
        "9112-6.3 a request within a body is a body",
        post(f"Content-Length: {len(SMUGGLED)}\r\n", SMUGGLED),
        seen_post(f"Content-Length: {len(SMUGGLED)}\r\n", SMUGGLED),
    ),
    (
        "9112-6.3 a body larger than what is held, answered at its end",
        post("Content-Length: 500000\r\n", "x" * 500000),
        seen_post("Content-Length: 500000\r\n", "x" * 500000),
    ),
    (
        "9112-7.1 chunks larger than what is held, answered at their end",
        post(CHUNKED, ("186a0\r\n" + "x" * 100000 + "\r\n") * 3 + "0\r\n\r\n"),
        seen_post(CHUNKED, ("186a0\r\n" + "x" * 100000 + "\r\n") * 3 + "0\r\n\r\n"),
    ),
    (
        "9112-7.1 nothing behind the last chunk",
        post(CHUNKED, "3\r\nabc\r\n0\r\n\r\n" + SMUGGLED),
        seen_post(CHUNKED, "3\r\nabc\r\n0\r\n\r\n"),
    ),
    (
        "9112-7.1 leading zeros of a size",
        post(CHUNKED, "0000000000000003\r\nabc\r\n00\r\n\r\n"),
        seen_post(CHUNKED, "3\r\nabc\r\n0\r\n\r\n"),
    ),
    (
        "9112-7.1 a chunk that looks like an end",
        post(CHUNKED, "7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n"),
        seen_post(CHUNKED, "7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n"),
    ),
    (
        "9112-7.1.1 extensions",
        post(CHUNKED, '3;a;b=c;d="e f"\r\nabc\r\n3 \t;g\r\ndef\r\n0;h\r\n\r\n'),
        seen_post(CHUNKED, "3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n"),
    ),
    (
        "9112-7.1.1 ill-formed extensions",
        post(CHUNKED, "5;\r\nabcde\r\n5;a=\xff\r\nfghij\r\n3\t;a=b\r\nklm\r\n0; \r\n\r\n"),
        seen_post(CHUNKED, "5\r\nabcde\r\n5\r\nfghij\r\n3\r\nklm\r\n0\r\n\r\n"),
    ),
    (
        "9112-7.1 digits in upper case",
        post(CHUNKED, "0A\r\n0123456789\r\n0\r\n\r\n"),
        seen_post(CHUNKED, "a\r\n0123456789\r\n0\r\n\r\n"),
    ),
    (
        "9112-7.1.2 trailers",
        post(CHUNKED, "0\r\nA: b\r\nC:\r\n\r\n" + SMUGGLED),
        seen_post(CHUNKED, "0\r\nA: b\r\nC:\r\n\r\n"),
    ),
    (
        "9112-7.1.2 a trailer frames nothing",
        post(CHUNKED, "0\r\nContent-Length: 41\r\nHost: b.test\r\n\r\n" + SMUGGLED),
        seen_post(CHUNKED, "0\r\n\r\n"),
    ),
    (
        "9110-6.5.1 no trailer says what lb has judged, or sets",
        post(CHUNKED, "0\r\n" + TRAILERS + "\r\n" + SMUGGLED),
        seen_post(CHUNKED, "0\r\nX-A: b\r\nCookie: a=b\r\nAuthorization: c\r\n\r\n"),
    ),
    (
        "9110-7.6.1 what Connection names, and what is always removed",
        request(
            HOST + "Connection: close ,, X-Hop\t,keep-alive\r\nX-HOP: 1\r\nx-hop: 2\r\n"
            "Keep-Alive: 5\r\nProxy-Connection: keep-alive\r\nTE: trailers\r\n"
            "Trailer: A\r\nX-Hops: 3\r\n"
        ),
        seen(HOST + "Trailer: A\r\nX-Hops: 3\r\n"),
    ),
    (
        "9110-7.6.1 Connection names what lb sets",
        request(HOST + "Connection: X-Forwarded-For, X-Forwarded-Host, Forwarded\r\n"),
        seen(),
    ),
    (
        "9110-7.6.1 nobody names Cookie without losing it",
        request(HOST + "Cookie: a=b\r\nConnection: cookie\r\n"),
        seen(),
    ),
    (
        "9110-7.6.1 a field called Close goes with its Connection: close",
        request(HOST + "Close: a\r\nCLOSE: b\r\nConnection: close\r\n"),
        seen(),
    ),
    (
        "9110-7.6.1 a field called Close means nothing",
        request(HOST + "Close: a\r\n"),
        seen(HOST + "Close: a\r\n"),
    ),
    (
        "7239-4 claims of a client",
        request(
            HOST + "X-Forwarded-For: 1.2.3.4\r\nx-forwarded-for: 5.6.7.8\r\n"
            "X-FORWARDED-PROTO: https\r\nX-Forwarded-Host: b.test\r\n"
            "Forwarded: for=1.2.3.4;host=b.test\r\nA: b\r\n"
        ),
        seen(HOST + "A: b\r\n"),
    ),
    (
        "7239-4 other claims of a client pass",
        request(HOST + OTHER_CLAIMS),
        seen(HOST + OTHER_CLAIMS),
    ),
    ("3875-4.1.18 underscores go", request(UNDERSCORES + HOST + "A: b_c\r\n"), seen(HOST + "A: b_c\r\n")),
    (
        "3875-4.1.18 underscores in trailers go",
        post(CHUNKED, "0\r\nA: b\r\n" + UNDERSCORES + "\r\n"),
        seen_post(CHUNKED, "0\r\nA: b\r\n\r\n"),
    ),
    (
        "9110-10.1.1 Expect passes",
        post("Expect: 100-continue\r\nContent-Length: 3\r\n", "abc"),
        seen_post("Expect: 100-continue\r\nContent-Length: 3\r\n", "abc"),
    ),
    (
        "9110-10.1.1 Expect of 1.0 means nothing",
        post("Expect: 100-continue\r\nContent-Length: 3\r\n", "abc", "POST / HTTP/1.0"),
        seen_post("Content-Length: 3\r\n", "abc", "POST / HTTP/1.1"),
    ),
    ("9110-7.8 websocket", request(HOST + WS), seen(**TUNNEL)),
    (
        "9110-7.8 websocket among others",
        request(HOST + WS.replace(": websocket", ": h2c, WebSocket ,irc/6.9")),
        seen(**TUNNEL),
    ),
    (
        "9110-7.8 websocket in a second line",
        request(HOST + "Upgrade: irc/6.9\r\n" + WS),
        seen(**TUNNEL),
    ),
    (
        "9110-7.8 a tunnel keeps what the endpoints agree on",
        request(HOST + WS + AGREED),
        seen(TUNNEL["fields"] + AGREED, upgrade="websocket"),
    ),
    (
        "9110-7.8 websocket with length 0",
        request(HOST + "Content-Length: 0\r\n" + WS),
        seen(HOST + "Content-Length: 0\r\n" + TUNNEL["fields"][len(HOST) :], upgrade="websocket"),
    ),
    (
        "9110-7.8 nothing glued to an upgrade that is not answered by 101",
        request(HOST + WS, body=SMUGGLED),
        seen(**TUNNEL),
    ),
    (
        "9110-7.8 another protocol",
        request(HOST + "Upgrade: irc/6.9, rta/x11\r\nConnection: upgrade\r\n", body=SMUGGLED),
        seen(upgrade="irc/6.9,rta/x11"),
    ),
    (
        "9110-7.8 another protocol, and a body: nothing behind it before a 101",
        post("Upgrade: irc/6.9\r\nConnection: upgrade\r\nContent-Length: 3\r\n", "abc" + SMUGGLED),
        seen(HOST + "Content-Length: 3\r\n", "POST / HTTP/1.1", "abc", upgrade="irc/6.9"),
    ),
    (
        "9110-7.8 another protocol, and chunks: nothing behind them before a 101",
        post("Upgrade: irc/6.9\r\nConnection: upgrade\r\n" + CHUNKED, "00\r\n\r\n" + SMUGGLED),
        seen(HOST + CHUNKED, "POST / HTTP/1.1", "0\r\n\r\n", upgrade="irc/6.9"),
    ),
    (
        "9110-7.8 Upgrade without Connection: plain",
        request(HOST + "Upgrade: irc/6.9\r\n", body=SMUGGLED),
        seen(),
    ),
    (
        "9110-7.8 Upgrade in 1.0: plain",
        request(HOST + WS, "GET / HTTP/1.0", SMUGGLED),
        seen(TUNNEL["fields"], "GET / HTTP/1.1"),
    ),
    (
        "7540-3.2 h2c smuggling",
        request(
            HOST + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
            "HTTP2-Settings: AAMAAABk\r\n",
            body="PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        ),
        seen(),
    ),
    (
        "7540-3.2 h2c by other names",
        request(HOST + "Connection: Upgrade\r\nUpgrade: H2C\r\nUpgrade: HTTP/2.0, h2, http/2\r\n"),
        seen(),
    ),
    (
        "7540-3.2 h2c beside another protocol",
        request(HOST + "Connection: Upgrade\r\nUpgrade: h2c, irc\r\nUpgrade: HTTP/2.0\r\n"),
        seen(upgrade="irc"),
    ),
]

# ---- bodies that turn out wrong ------------------------------------------------------------------

# (name, the body's bytes that may go on, those that must not); the head is right, and is a chunked
# POST's. What is wrong begins with the second part.
BROKEN = [
    ("9112-7.1 LF behind a size", "3", "\nabc\r\n0\r\n\r\n"),
    ("9112-7.1 LF behind a chunk", "3\r\nabc", "\n0\r\n\r\n"),
    ("9112-7.1 LF behind the last chunk", "0", "\n\r\n"),
    ("9112-7.1 LF ends the trailers", "0\r\n", "\n"),
    ("9112-7.1 CR without LF behind a size", "3\r", "abc\r\n0\r\n\r\n"),
    ("9112-7.1 a prefix of hexadecimal", "0", "x3\r\nabc\r\n0\r\n\r\n"),
    ("9112-7.1 a sign", "", "+3\r\nabc\r\n0\r\n\r\n"),
    ("9112-7.1 negative", "", "-3\r\nabc\r\n0\r\n\r\n"),
    ("9112-7.1 white space before a size", "", " 3\r\nabc\r\n0\r\n\r\n"),
    ("9112-7.1 white space behind a size", "3 ", "\r\nabc\r\n0\r\n\r\n"),
    ("9112-7.1 an underscore in a size", "1", "_0\r\nabc\r\n0\r\n\r\n"),
    ("9112-7.1 no size", "", "\r\nabc\r\n0\r\n\r\n"),
    ("9112-7.1 a size over 63 bits", "7ffffffffffffff", "f0\r\nabc\r\n0\r\n\r\n"),
    ("9112-7.1 a size over 64 bits", "", "10000000000000003\r\nabc\r\n0\r\n\r\n"),
    ("9112-7.1 more digits than a size can have", "0000000000000000", "3\r\nabc\r\n0\r\n\r\n"),
    ("9112-7.1 a chunk longer than its size", "3\r\nabc", "d\r\n0\r\n\r\n"),
    ("9112-7.1 a chunk shorter than its size", "5\r\nabc\r\n", "0\r\n\r\n" + SMUGGLED),
    ("9112-7.1.1 LF in an extension", "3;a", "\nabc\r\n0\r\n\r\n"),
    ("9112-7.1.1 CR in an extension", "3;a\r", "b\r\nabc\r\n0\r\n\r\n"),
    ("9112-7.1.1 NUL in an extension", "3;a", "\0\r\nabc\r\n0\r\n\r\n"),
    ("9112-7.1.1 an extension without end", "3;" + "a" * 1023, "a\r\nabc\r\n0\r\n\r\n"),
    ("9112-7.1.1 text behind white space", "3 ", "a\r\nabc\r\n0\r\n\r\n"),
    ("9112-7.1.2 a trailer without a colon", "0\r\nA", "\r\n\r\n"),
    ("9112-7.1.2 a trailer with a space before the colon", "0\r\nA", " : b\r\n\r\n"),
    ("9112-7.1.2 a folded trailer", "0\r\nA: b\r\n", " c\r\n\r\n"),
    ("9112-7.1.2 LF in a trailer", "0\r\nA: b", "\nC: d\r\n\r\n"),
    ("9112-7.1.2 NUL in a trailer", "0\r\nA: b", "\0\r\n\r\n"),
    ("9112-7.1.2 a request for a trailer", "0\r\nGET", " /smuggled HTTP/1.1\r\n\r\n"),
]

# ---- responses -----------------------------------------------------------------------------------


def response(fields="", line="HTTP/1.1 200 OK"):
    return f"{line}\r\n{fields}\r\n"


# (name, what a backend answers to a GET); the client gets 502 and none of it.
BAD_RESPONSES = [
    ("9112-2.2 an empty line before", "\r\n" + response()),
    ("9112-2.2 LF ends the status line", "HTTP/1.1 200 OK\n\n"),
    ("9112-2.2 CR in a value", response("A: b\rSet-Cookie: c\r\n")),
    ("9112-2.3 version 2", response(line="HTTP/2.0 200 OK")),
    ("9112-4 no status", response(line="HTTP/1.1 OK")),
    ("9112-4 a status of two digits", response(line="HTTP/1.1 20 OK")),
    ("9112-4 a status of four digits", response(line="HTTP/1.1 2000 OK")),
    ("9112-4 status 1000", response(line="HTTP/1.1 1000 OK")),
    ("9110-5.5 a control in Connection", response("Connection: \x01\r\n")),
    ("9112-4 status 000", response(line="HTTP/1.1 000 OK")),
    ("9112-4 two spaces before the status", response(line="HTTP/1.1  200 OK")),
    ("9112-4 NUL in the reason", response(line="HTTP/1.1 200 O\0K")),
    ("9112-5.1 a space in a name", response("Content Length: 2\r\n")),
    ("9112-5.1 a space before the colon of another length", response("Content-Length: 2\r\nContent-Length : 3\r\n")),
    ("9112-6.2 31 digits", response("Content-Length: 1000000000000000000000000000002\r\n")),
    ("9112-5.2 a folded line", response("A: b\r\n c\r\n")),
    ("9110-5.5 NUL in a value", response("A: \0\r\n")),
    ("9112-6.1 gzip", response("Transfer-Encoding: gzip\r\n")),
    ("9112-6.1 chunked twice", response(CHUNKED * 2)),
    ("9112-6.1 in HTTP/1.0", response(CHUNKED, "HTTP/1.0 200 OK")),
    ("9112-6.2 differing lengths", response("Content-Length: 2\r\nContent-Length: 3\r\n")),
    ("9112-6.2 a list of lengths", response("Content-Length: 2, 2\r\n")),
    ("9112-6.2 a length too large", response("Content-Length: 9223372036854775808\r\n")),
    ("9112-6.3 both framings", response("Content-Length: 2\r\n" + CHUNKED)),
    (
        "9110-7.6.1 Connection names Content-Length",
        response("Content-Length: 2\r\nConnection: content-length\r\n"),
    ),
    ("9110-15.2.2 a 101 that nobody asked for", lbtest.GOOD_101.decode()),
]

# (name, what a backend answers, what the client gets)
GOOD_RESPONSES = [
    (
        "9112-4 a reason of any text",
        response("Content-Length: 0\r\n", "HTTP/1.1 299 \xfcber\tall "),
        response("Content-Length: 0\r\nConnection: close\r\n", "HTTP/1.1 299 \xfcber\tall "),
    ),
    (
        "9110-15 a status of 600 or more",
        response("Content-Length: 0\r\n", "HTTP/1.1 999 Request denied"),
        response("Content-Length: 0\r\nConnection: close\r\n", "HTTP/1.1 999 Request denied"),
    ),
    (
        "9110-15 a status of 600, with a body",
        response("Content-Length: 2\r\n", "HTTP/1.1 600 x") + "ok",
        response("Content-Length: 2\r\nConnection: close\r\n", "HTTP/1.1 600 x") + "ok",
    ),
    (
        "9110-5.5 controls that end no line",
        response("A: \x01\x0b\x1b[\x7fb\r\nContent-Length: 0\r\n"),
        response("A: \x01\x0b\x1b[\x7fb\r\nContent-Length: 0\r\nConnection: close\r\n"),
    ),
    (
        "9112-2.3 a 1.0 goes on as 1.1",
        response("Content-Length: 0\r\n", "HTTP/1.0 404 Not Found"),
        response("Content-Length: 0\r\nConnection: close\r\n", "HTTP/1.1 404 Not Found"),
    ),
    (
        "9112-6.3 equal lengths become one",
        response("Content-Length: 2\r\nContent-Length: 2\r\n") + "okHTTP/1.1 200 OK\r\n\r\n",
        response("Content-Length: 2\r\nConnection: close\r\n") + "ok",
    ),
    (
        "9110-7.6.1 hop-by-hop fields end here",
        response(
            "Connection: keep-alive, x-a\r\nKeep-Alive: timeout=5\r\nX-A: 1\r\nUpgrade: h2c\r\n"
            "Set-Cookie: a\r\nset-cookie: b\r\nContent-Length: 0\r\n"
        ),
        response("Set-Cookie: a\r\nset-cookie: b\r\nContent-Length: 0\r\nConnection: close\r\n"),
    ),
    (
        "9110-8.6 no length in a 204",
        response("Content-Length: 5\r\nA: b\r\n", "HTTP/1.1 204 No Content") + "hello",
        response("A: b\r\nConnection: close\r\n", "HTTP/1.1 204 No Content"),
    ),
    (
        "9112-5.1 white space before the colon goes",
        response("A : b\r\nContent-Length\t: 002\r\nKeep-Alive : c\r\n") + "ok",
        response("A: b\r\nContent-Length: 2\r\nConnection: close\r\n") + "ok",
    ),
    (
        "9112-6.2 a length has one spelling",
        response("content-length:\t0000000000000000000000000000002\r\n") + "okay",
        response("content-length: 2\r\nConnection: close\r\n") + "ok",
    ),
    (
        "9112-7.1 chunks go on in one spelling",
        response(CHUNKED) + "2;a\r\nok\r\n02 ; b\r\nok\r\n0\r\nB: c\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        response(CHUNKED + "Connection: close\r\n") + "2\r\nok\r\n2\r\nok\r\n0\r\nB: c\r\n\r\n",
    ),
    (
        "9112-7.1 spaces behind a size",
        response(CHUNKED) + "6     \r\nabcdef\r\n0     \r\n\r\n",
        response(CHUNKED + "Connection: close\r\n") + "6\r\nabcdef\r\n0\r\n\r\n",
    ),
    (
        "9110-6.5.1 trailers that frame nothing go",
        response(CHUNKED) + "0\r\nContent-Length: 3\r\nB : c\r\nX-Forwarded-For: d\r\n\r\n",
        response(CHUNKED + "Connection: close\r\n") + "0\r\nB: c\r\nX-Forwarded-For: d\r\n\r\n",
    ),
]


# ---- the tests -----------------------------------------------------------------------------------


class Backend:
    """Answers once it has seen as many bytes as it is told to want, then reads to the end."""

    def __init__(self):
        self.expect(0, ANSWER)

    def expect(self, n_wanted, answer):
        """For the next connection; one that still hangs says nothing into its queues."""
        self.n_wanted = n_wanted
        self.answer = answer
        self.heard = queue.Queue()  # its head is whole
        self.seen = queue.Queue()  # all its bytes, once it has ended

    def serve(self, s):
        n_wanted, answer, heard, seen = self.n_wanted, self.answer, self.heard, self.seen
        got = b""
        has_head = has_answered = False
        try:
            while part := s.recv(1 << 16):
                got += part
                if not has_head and b"\r\n\r\n" in got:
                    has_head = True
                    heard.put(True)
                if not has_answered and len(got) >= n_wanted:
                    has_answered = True
                    s.sendall(answer)
        except ConnectionError:
            pass
        finally:
            seen.put(got)


class Wire:
    """An lb in front of one backend that says what it saw."""

    def __init__(self, proxy, port, fake, backend):
        self.proxy = proxy
        self.port = port
        self.fake = fake
        self.backend = backend

    def send(self, pieces, n_wanted, answer=ANSWER):
        """Sends a request and returns all that is answered; None for a reset. Between two pieces
        the backend has heard the first."""
        self.backend.expect(n_wanted, answer)
        with lbtest.connect(self.port) as s:
            try:
                for i, piece in enumerate(pieces):
                    if i > 0:
                        self.backend.heard.get(timeout=10 * SLOW)
                    s.sendall(piece.encode("latin-1"))
                return recv_all(s)
            except ConnectionError:
                return None

    def seen(self):
        return self.backend.seen.get(timeout=10 * SLOW)

    def n_picked(self):
        return self.proxy.backends()[self.fake.name]["total"]


@pytest.fixture(scope="module")
def wire(engine, tmp_path_factory):
    port = lbtest.free_port()
    backend = Backend()
    with fake_factory() as fake, lb_factory(engine, tmp_path_factory.mktemp("strict")) as lb:
        f = fake(backend.serve)
        yield Wire(lb(http_conf(port, [f.row()])), port, f, backend)


def rows(table):
    return pytest.mark.parametrize(
        "row", [r[1:] for r in table], ids=[r[0] for r in table]
    )


@rows(REFUSED)
def test_refused(wire, row):
    """The answer is lb's, one line, and no backend was asked."""
    data, status = row
    n = wire.n_picked()
    answer = wire.send([data], 0)
    assert status_of(answer) == status
    assert answer.count(b"HTTP/1.1 ") == 1
    assert len(answer.split(b"\r\n\r\n", 1)[1].splitlines()) == 1
    assert wire.n_picked() == n


@rows(PASSED)
def test_passed(wire, row):
    """To the byte, and nothing behind it until the end of the connection."""
    data, want = row
    want = want.replace("BACKEND", wire.fake.row()["address"]).encode("latin-1")
    answer = wire.send([data], len(want))
    assert wire.seen() == want
    assert answer.count(b"HTTP/1.1 200 OK\r\n") == 1 and answer.endswith(b"\r\n\r\nok")


NEVER = 1 << 30  # bytes that a backend waits for in vain


def check_broken(answer, got, good):
    head = seen_post(CHUNKED).encode("latin-1")
    goes_on = re.sub(r"[ \t]*;[^\r]*", "", good)  # without extensions
    assert answer is None or status_of(answer) in (0, 400)
    assert got[: len(head)] == head
    assert goes_on.encode("latin-1").startswith(got[len(head) :])


@rows(BROKEN)
def test_broken_chunks(wire, row):
    """Nothing from the offending byte on goes to the backend, which sees the connection end."""
    good, bad = row
    answer = wire.send([post(CHUNKED, good), bad], NEVER)
    check_broken(answer, wire.seen(), good)


@rows(BROKEN)
def test_broken_chunks_at_once(wire, row):
    """The same where all of it comes with the head: then there may be an answer and no backend."""
    good, bad = row
    n = wire.n_picked()
    answer = wire.send([post(CHUNKED, good + bad)], NEVER)
    if wire.n_picked() == n:
        assert status_of(answer) == 400
    else:
        check_broken(answer, wire.seen(), good)


@rows(BAD_RESPONSES)
def test_bad_response(wire, row):
    failed = wire.proxy.backends()[wire.fake.name]["failed"]
    answer = wire.send([request()], 1, row[0].encode("latin-1"))
    assert status_of(answer) == 502
    assert b"200 OK" not in answer and b"Set-Cookie" not in answer
    wire.seen()
    assert wire.proxy.backends()[wire.fake.name]["failed"] == failed + 1


@rows(GOOD_RESPONSES)
def test_good_response(wire, row):
    answer = wire.send([request()], 1, row[0].encode("latin-1"))
    assert answer == row[1].encode("latin-1")
    wire.seen()


def test_every_end_is_counted(wire):
    """After all of that each connection has ended, each for one reason."""
    wait_for("the ends", lambda: wire.proxy.stats()["connections"]["active"] == 0)
    stats = wire.proxy.stats()
    assert sum(stats["ends"].values()) == stats["connections"]["total"]
