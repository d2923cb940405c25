# SPDX-License-Identifier: Apache-2.0
"""Two parsers, one meaning: lb beside h11, a strict HTTP/1.1 library that nobody of lb has written.

Over a corpus and over generated messages (python3-hypothesis, the same ones in every run): what lb
accepts, h11 accepts too, and reads the same out of it that lb passes on (method, target, version,
fields less those that lb removes, body, trailers). What lb writes, h11 reads as one message with
nothing behind it. lb may refuse more; how much passes is asserted, so that none of this is empty.
"""

import queue
import re
import tempfile

import h11
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir

import lbtest
from conftest import fake_factory, lb_factory
from lbtest import SLOW, http_conf, status_of
from test_strict import GOOD_RESPONSES, PASSED, request

CORPUS = sorted((lbtest.ROOT / "tests" / "fuzz" / "corpus" / "request").iterdir())
RESPONSE_CORPUS = sorted((lbtest.ROOT / "tests" / "fuzz" / "corpus" / "response").iterdir())
N_EXAMPLES = 300

# Its caches go away with the run; nothing is kept between runs.
HOME = tempfile.TemporaryDirectory(prefix="lb-hypothesis-")
set_hypothesis_home_dir(HOME.name)

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
HOP_BY_HOP = {b"connection", b"keep-alive", b"proxy-connection", b"te", b"upgrade"}
CLAIMS = {b"forwarded", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"}
NO_TRAILER = HOP_BY_HOP | {b"host", b"content-length", b"transfer-encoding"}
HTTP2 = {b"h2c", b"h2", b"http/2.0", b"http/2"}
OWN = CLAIMS | {b"connection", b"upgrade"}


# ---- what h11 reads ------------------------------------------------------------------------------


def mended(data):
    """A response without what lb takes from backends and h11 does not: white space before a colon
    and before the extension of a chunk, and controls that end no line."""
    data = re.sub(rb"[\x01-\x08\x0b\x0c\x0e-\x1f\x7f]", b"?", data)
    data = re.sub(rb"(?m)^([^\s:]+)[ \t]+:", rb"\1:", data)
    return re.sub(rb"(?m)^([0-9A-Fa-f]+)[ \t]*;[^\r\n]*\r$", rb"\1\r", data)


def spelt(name, value):
    """The one spelling of what frames a message."""
    if name == b"content-length":
        return str(int(value)).encode()
    return value.lower() if name == b"transfer-encoding" else value


class Message:
    """The first message of a stream: `head` is h11's event, `fields` have their names as sent."""

    def __init__(self, conn, data, at_end=False):
        self.head = None
        self.body = b""
        self.trailers = None
        self.is_whole = False
        self.error = None
        try:
            conn.receive_data(data)
            if at_end:
                conn.receive_data(b"")
            while not self.is_whole:
                event = conn.next_event()
                if event in (h11.NEED_DATA, h11.PAUSED) or isinstance(event, h11.ConnectionClosed):
                    return
                self._take(event)
            self.behind = conn.trailing_data[0]
        except h11.RemoteProtocolError as e:
            self.error = e

    def _take(self, event):
        if isinstance(event, (h11.Request, h11.Response)):
            self.head = event
            self.fields = list(event.headers.raw_items())
        elif isinstance(event, h11.Data):
            self.body += event.data
        elif isinstance(event, h11.EndOfMessage):
            self.trailers = list(event.headers.raw_items())
            self.is_whole = True

    def values(self, name):
        return [v for n, v in self.fields if n.lower() == name]

    def tokens(self, name):
        tokens = [t.strip(b" \t") for v in self.values(name) for t in v.split(b",")]
        return [t for t in tokens if t]

    def kept(self, removed):
        """The fields that pass: nothing hop-by-hop, nothing that Connection names, one length."""
        gone = HOP_BY_HOP | removed | {t.lower() for t in self.tokens(b"connection")}
        kept = [(n, v) for n, v in self.fields if n.lower() not in gone]
        if isinstance(self.head, h11.Request):
            kept = [(n, v) for n, v in kept if b"_" not in n]
        lengths = [f for f in kept if f[0].lower() == b"content-length"]
        kept = [f for f in kept if f not in lengths[1:] or f is lengths[0]]
        return [(n, spelt(n.lower(), v)) for n, v in kept]


def read_request(data):
    """h11 knows nothing of the empty line that may stand before a request (RFC 9112, 2.2)."""
    data = data[2:] if data[:2] == b"\r\n" else data
    return Message(h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20), data)


def read_response(data, method=b"GET"):
    conn = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    conn.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
    conn.send(h11.EndOfMessage())
    return Message(conn, data, at_end=True)


# ---- what has to be the same ---------------------------------------------------------------------


def split_target(target, method):
    """(authority or None, what a backend is asked for)"""
    if target[:1] in b"/*":
        return None, target
    _, rest = target.split(b"//", 1)
    n = min((rest.find(c) for c in (b"/", b"?") if c in rest), default=len(rest))
    authority, rest = rest[:n], rest[n:]
    if rest == b"" and method == b"OPTIONS":
        return authority, b"*"
    return authority, rest if rest[:1] == b"/" else b"/" + rest


def check_request(sent, got, backend):
    """`sent` is what h11 reads in the client's bytes, `got` what it reads in the backend's, at the
    address `backend`."""
    assert sent.error is None, f"lb accepts what h11 refuses: {sent.error}"
    assert sent.is_whole, "lb sees an end that h11 does not"
    authority, target = split_target(sent.head.target, sent.head.method)
    assert got.head.method == sent.head.method
    assert got.head.target == target
    assert got.head.http_version == b"1.1"

    is_1_0 = sent.head.http_version == b"1.0"
    want = sent.kept(
        CLAIMS
        | ({b"host"} if authority is not None else set())
        | ({b"expect"} if is_1_0 else set())
    )
    has_host = authority is not None or sent.values(b"host") != []
    if authority is not None:
        want.insert(0, (b"Host", authority))
    elif not has_host:
        want.insert(0, (b"Host", backend))
    n = len(want)
    assert got.fields[:n] == want
    assert {name.lower() for name, _ in got.fields[n:]} <= OWN
    assert len(got.values(b"x-forwarded-for")) == len(got.values(b"x-forwarded-proto")) == 1
    assert got.values(b"x-forwarded-host") == (got.values(b"host") if has_host else [])
    check_upgrade(sent, got)
    assert got.body == sent.body
    gone = NO_TRAILER | CLAIMS
    assert got.trailers == [
        (n, v) for n, v in sent.trailers if n.lower() not in gone and b"_" not in n
    ]


def check_upgrade(sent, got):
    """Either the connection ends with the request, or it is to become what the client has named."""
    assert got.values(b"connection") in ([b"close"], [b"Upgrade"])
    if got.values(b"connection") == [b"close"]:
        assert got.values(b"upgrade") == []
        return
    asked = {t.lower() for t in sent.tokens(b"upgrade")} - HTTP2
    assert b"upgrade" in {t.lower() for t in sent.tokens(b"connection")}
    assert sent.head.http_version != b"1.0"
    assert sent.body == b"" or b"websocket" not in asked
    named = {t.lower() for t in got.tokens(b"upgrade")}
    assert named == ({b"websocket"} if b"websocket" in asked else asked)


def check_response(sent, got):
    assert sent.error is None, f"lb accepts what h11 refuses: {sent.error}"
    assert sent.is_whole, "lb sees an end that h11 does not"
    assert got.head.status_code == sent.head.status_code
    assert got.head.reason == sent.head.reason
    n = len(got.fields) - 1
    assert got.fields[n] == (b"Connection", b"close")
    removed = set()
    if sent.head.status_code == 204:
        removed = {b"content-length", b"transfer-encoding"}
    elif sent.values(b"transfer-encoding"):
        removed = {b"content-length"}
    if sent.head.status_code == 426:
        want = [f for f in sent.fields if f[0].lower() == b"upgrade"]
        assert [f for f in got.fields if f[0].lower() == b"upgrade"] == want
        got.fields = [f for f in got.fields if f[0].lower() not in (b"upgrade", b"connection")]
        n = len(got.fields)
    assert got.fields[:n] == sent.kept(removed)
    assert got.body == sent.body
    assert got.trailers == [t for t in sent.trailers if t[0].lower() not in NO_TRAILER]


# ---- the wire ------------------------------------------------------------------------------------


class Judge:
    """An lb, and a backend that reads with h11."""

    def __init__(self, port):
        self.port = port
        self.expect(OK)

    def expect(self, answer):
        """For the next connection; one that still hangs says nothing into its queue."""
        self.answer = answer
        self.seen = queue.Queue()  # all its bytes, once it has ended

    def serve(self, s):
        answer, seen = self.answer, self.seen
        got = b""
        has_answered = False
        try:
            while part := s.recv(1 << 16):
                got += part
                message = read_request(got)
                if not has_answered and (message.is_whole or message.error is not None):
                    has_answered = True
                    s.sendall(answer)
                    if answer is not OK:
                        break
        except ConnectionError:
            pass
        finally:
            seen.put(got)

    def n_picked(self):
        return self.proxy.backends()["f"]["total"]

    def ask(self, data, is_whole=True):
        """(all that lb answers, what the backend saw or None)"""
        n = self.n_picked()
        with lbtest.connect(self.port) as s:
            try:
                s.sendall(data)
                if not is_whole:
                    s.shutdown(lbtest.socket.SHUT_WR)
                answer = lbtest.recv_all(s)
            except ConnectionError:
                answer = b""
        is_asked = self.n_picked() > n
        return answer, self.seen.get(timeout=10 * SLOW) if is_asked else None

    def check_request(self, data):
        """One message of a client; returns whether it passed."""
        self.expect(OK)
        sent = read_request(data)
        answer, seen = self.ask(data, sent.is_whole)
        if answer:
            self.check_answer(answer, data.lstrip(b"\r\n").startswith(b"HEAD "))
        got = read_request(seen) if seen is not None else None
        if got is None or not got.is_whole:
            assert got is None or got.error is None, f"h11 refuses what lb wrote: {got.error}"
            assert status_of(answer) != 200
            return False
        assert got.behind == b"", "something is behind the request"
        check_request(sent, got, self.backend)
        return True

    def check_answer(self, answer, is_head):
        message = read_response(answer, b"HEAD" if is_head else b"GET")
        assert message.error is None and message.is_whole and message.behind == b""

    def check_response(self, data):
        """One message of a backend; returns whether it passed."""
        self.expect(data)
        answer, _ = self.ask(request().encode())
        got = read_response(mended(answer))
        if not got.is_whole or got.head.status_code == 502:
            # What began and cannot be ended is cut, so that the client sees that it is not whole.
            assert answer == b"" or got.head is not None, f"h11 refuses what lb wrote: {got.error}"
            return False
        assert got.behind == b"", "something is behind the response"
        check_response(read_response(mended(data)), got)
        return True


@pytest.fixture(scope="module")
def judge(engine, tmp_path_factory):
    port = lbtest.free_port()
    judge = Judge(port)
    with fake_factory() as fake, lb_factory(engine, tmp_path_factory.mktemp("h11")) as lb:
        row = fake(judge.serve).row()
        judge.backend = row["address"].encode()
        judge.proxy = lb(http_conf(port, [row], retries=0))
        yield judge


# ---- the corpus ----------------------------------------------------------------------------------

# Right by RFC 9112, 7.1.1, which h11 0.14 does not know: white space before a chunk's extension. And
# ill-formed extensions, which mean nothing and are dropped.
NOT_H11 = {"9112-7.1.1 extensions", "9112-7.1.1 ill-formed extensions"}
RIGHT = [r for r in PASSED if r[0] not in NOT_H11]


@pytest.mark.parametrize("path", CORPUS, ids=[p.name for p in CORPUS])
def test_corpus(judge, path):
    judge.check_request(path.read_bytes())


@pytest.mark.parametrize(
    "data", [r[1] for r in RIGHT], ids=[r[0] for r in RIGHT]
)
def test_what_passes_is_right(judge, data):
    assert judge.check_request(data.encode("latin-1"))


@pytest.mark.parametrize("path", RESPONSE_CORPUS, ids=[p.name for p in RESPONSE_CORPUS])
def test_response_corpus(judge, path):
    judge.check_response(path.read_bytes())


@pytest.mark.parametrize("data", [r[1] for r in GOOD_RESPONSES], ids=[r[0] for r in GOOD_RESPONSES])
def test_responses_that_pass_are_right(judge, data):
    assert judge.check_response(data.encode("latin-1"))


# ---- generated messages --------------------------------------------------------------------------


def mostly(usual, *odd):
    """`usual` in nine of ten, else one of the others."""
    return st.integers(0, 9).flatmap(lambda n: usual if n else st.one_of(*odd))


def just_mostly(usual, *odd):
    return mostly(st.just(usual), st.sampled_from(odd))


def any_case(text):
    return st.sampled_from([text, text, text.lower(), text.upper(), text.swapcase()])


TOKEN = st.text("abcXYZ019!#$%&'*+-.^_`|~", min_size=1, max_size=8)
TEXT = st.text("aZ09 \t,;=\"'()/:@[]\\{}\u00a0\u00ff\u0080", max_size=20)
NOISE = st.sampled_from(["\0", "\r", "\n", "\x0b", "\x7f", "\r\n ", "\x1f", "\u00a0", " ", "\t"])
EOL = st.integers(0, 39).flatmap(
    lambda n: st.just("\r\n") if n else st.sampled_from(["\n", "\r", "\r\r\n", "\r\n ", "\r\n\t"])
)
CUT = st.integers(0, 29)  # 0: noise is put somewhere

HOSTS = st.sampled_from(["a.test", "A.test:80", "[::1]", "a.test.", "a b", "", "a,b", "u@a", "a/b"])
LENGTHS = just_mostly("3", "+3", "03", "3, 3", "-1", "0x3", "", "9223372036854775808", "4", "0")
CODINGS = just_mostly("chunked", "Chunked", "gzip, chunked", "identity", "chunked;a", "", "x")
VALUES = {
    "Connection": st.sampled_from(
        ["close", "keep-alive", "Upgrade", "upgrade, x-a", "X-A,x-b", "host", "te ,, x-a", "", ","]
    ),
    "Upgrade": st.sampled_from(["websocket", "h2c", "irc/6.9", "h2c, irc", "WebSocket,irc", ""]),
    "Sec-WebSocket-Key": just_mostly(lbtest.KEY, "x", ""),
    "Sec-WebSocket-Version": just_mostly("13", "8", "13, 8"),
    "Expect": st.just("100-continue"),
    "TE": st.sampled_from(["trailers", "gzip"]),
}
NAMES = st.sampled_from(
    [*VALUES, "X-A", "X-B", "Keep-Alive", "Proxy-Connection", "X-Forwarded-For", "X-Forwarded-Host",
     "Forwarded", "Cookie", "Trailer", "Transfer_Encoding", "Content-Length2", "Accept"]
)


@st.composite
def a_field(draw, name=None, value=None):
    if name is None:
        name = draw(mostly(NAMES, TOKEN))
    if value is None:
        value = draw(VALUES.get(name, TEXT))
    colon = draw(st.sampled_from([": "] * 60 + [":", ":\t", ":  "] * 12 + [" :", "", ":\x0b"]))
    behind = draw(st.sampled_from(["", "", "", " ", "\t "]))
    return draw(any_case(name)) + colon + value + behind + draw(EOL)


@st.composite
def chunks(draw):
    out = ""
    for size in draw(st.lists(st.integers(1, 20), max_size=3)):
        formats = just_mostly("{:x}", "{:X}", "{:05x}", "0x{:x}", "+{:x}", " {:x}")
        digits = draw(formats).format(size)
        extension = draw(just_mostly("", ";a", ";a=b;c", ';d="e f"', " ", ";a\x0b"))
        out += digits + extension + draw(EOL) + "d" * size + draw(EOL)
    out += draw(just_mostly("0", "000", "-0", "0;a")) + "\r\n"
    trailer = st.tuples(TOKEN, st.sampled_from(["b", "", "c d"]))
    for name, value in draw(st.lists(trailer, max_size=2)):
        out += f"{name}: {value}" + draw(EOL)
    return out + "\r\n"


@st.composite
def framing(draw):
    """(fields, body) that mostly belong together"""
    kind = draw(st.sampled_from(["none", "length", "chunks"] * 2 + ["both", "two"]))
    length = a_field("Content-Length", draw(LENGTHS))
    coding = a_field("Transfer-Encoding", draw(CODINGS))
    if kind == "none":
        return [], ""
    if kind == "length":
        return [draw(length)], "abc"
    if kind == "chunks":
        return [draw(coding)], draw(chunks())
    if kind == "both":
        return [draw(length), draw(coding)], draw(chunks())
    return [draw(length), draw(length)], "abc"


@st.composite
def with_noise(draw, text):
    """Now and then an octet where it does not belong, or one that is lost."""
    if draw(CUT) != 0 or not text:
        return text
    at = draw(st.integers(0, len(text) - 1))
    return text[:at] + draw(st.one_of(NOISE, st.just(""))) + text[at + 1 :]


@st.composite
def requests(draw):
    method = draw(mostly(st.sampled_from(["GET", "POST", "HEAD", "OPTIONS", "PUT"]), TOKEN))
    target = draw(
        mostly(
            st.sampled_from(["/", "/ws", "/a/b?c=d", "/?", "//a", "/%2f..", "/a;b"]),
            st.sampled_from(["http://b.test/p?q", "HTTPS://b.test:1", "http://b.test?q", "*"]),
            st.sampled_from(["/../", "a"]),
            st.text("/?a%.:@\\\"<|", min_size=1, max_size=8).map(lambda t: "/" + t),
        )
    )
    version = draw(just_mostly("HTTP/1.1", "HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "http/1.1"))
    space = draw(just_mostly(" ", "  ", "\t", "\xa0"))
    host = [draw(a_field("Host", draw(mostly(st.just("a.test"), HOSTS))))]
    host = draw(st.sampled_from([host] * 12 + [[], host * 2]))
    framed, body = draw(framing())
    fields = draw(st.lists(a_field(), max_size=5)) + host + framed
    fields = draw(st.permutations(fields))
    first = draw(st.sampled_from([""] * 9 + ["\r\n"]))
    head = f"{first}{method} {target}{space}{version}\r\n{''.join(fields)}\r\n"
    behind = draw(st.sampled_from(["", "", "GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n"]))
    return draw(with_noise(head + body)) + behind


@st.composite
def responses(draw):
    version = draw(just_mostly("HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "http/1.1"))
    status = draw(
        mostly(
            st.sampled_from(["200", "404", "204", "304", "426", "500"]),
            st.sampled_from(["99", "600", "0200"]),
        )
    )
    reason = draw(st.sampled_from([" OK", " ", "", " \xfcber\tall", " a  b"]))
    names = st.sampled_from(
        ["Set-Cookie", "Server", "Connection", "Keep-Alive", "X-A", "Host", "Upgrade"]
    )
    extra = [draw(a_field(draw(names))) for _ in range(draw(st.integers(0, 4)))]
    framed, body = draw(framing())
    fields = draw(st.permutations(extra + framed))
    behind = draw(st.sampled_from(["", "HTTP/1.1 200 OK\r\n\r\nsmuggled"])) if framed else ""
    return draw(with_noise(f"{version} {status}{reason}\r\n{''.join(fields)}\r\n{body}")) + behind


EXAMPLES = settings(
    max_examples=N_EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def test_generated_requests(judge):
    n = n_passed = 0

    @EXAMPLES
    @given(requests())
    def run(text):
        nonlocal n, n_passed
        n += 1
        n_passed += judge.check_request(text.encode("latin-1"))

    run()
    assert n >= N_EXAMPLES and n_passed > n / 5, f"{n_passed} of {n} passed"


def test_generated_responses(judge):
    n = n_passed = 0

    @EXAMPLES
    @given(responses())
    def run(text):
        nonlocal n, n_passed
        n += 1
        n_passed += judge.check_response(text.encode("latin-1"))

    run()
    assert n >= N_EXAMPLES and n_passed > n / 5, f"{n_passed} of {n} passed"
