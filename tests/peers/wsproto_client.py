# SPDX-License-Identifier: Apache-2.0
"""python3 wsproto_client.py PORT PATH: python3-wsproto as a client of an echoing server on
127.0.0.1 that agrees to permessage-deflate and to the subprotocol "v2.lb". Prints "ok" and exits 0,
or fails with what went wrong."""

import os
import random
import socket
import sys

from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Message,
    Ping,
    Pong,
    Request,
    TextMessage,
)
from wsproto.extensions import PerMessageDeflate


class Client:
    def __init__(self, port, path):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.ws = WSConnection(ConnectionType.CLIENT)
        self.pieces = random.Random(1)
        self.send(
            Request(
                host=f"127.0.0.1:{port}",
                target=path,
                subprotocols=["v1.lb", "v2.lb"],
                extensions=[PerMessageDeflate()],
            )
        )
        self.accept = self.next()
        assert isinstance(self.accept, AcceptConnection), self.accept

    def send(self, *events):
        """All in one write."""
        self.sock.sendall(b"".join(self.ws.send(e) for e in events))

    def next(self):
        """The next event; what comes is read in pieces of odd sizes."""
        while True:
            for event in self.ws.events():
                return event
            data = self.sock.recv(self.pieces.choice((1, 2, 7, 4096, 65536)))
            self.ws.receive_data(data or None)

    def message(self, kind):
        """A whole message of `kind`, which may come in parts."""
        parts = []
        while True:
            event = self.next()
            assert isinstance(event, kind), event
            parts.append(event.data)
            if event.message_finished:
                return (b"" if kind is BytesMessage else "").join(parts)


def main(port, path):
    client = Client(port, path)
    assert client.accept.subprotocol == "v2.lb"
    assert [e.name for e in client.accept.extensions] == ["permessage-deflate"]

    for text in ("", "hello", "\u00fcber \U0001f600", "a" * 125, "b" * 126, "c" * 70000):
        client.send(Message(text))
        assert client.message(TextMessage) == text, len(text)
    for n in (0, 1, 65535, 65536, 300000):
        data = os.urandom(n)
        client.send(Message(data))
        assert client.message(BytesMessage) == data, n

    client.send(Ping(b"there?"))
    assert client.next() == Pong(b"there?")

    # A message in fragments with a ping between: the pong may not wait for the last of them.
    client.send(Message("frag", message_finished=False), Ping(b"between"))
    assert client.next() == Pong(b"between")
    client.send(Message("men", message_finished=False), Message("ts"))
    assert client.message(TextMessage) == "fragments"

    client.send(CloseConnection(4002, "done"))
    event = client.next()
    assert isinstance(event, CloseConnection), event
    assert (event.code, event.reason) == (4002, "done")
    assert client.sock.recv(1) == b"", "bytes behind the Close"
    print("ok")


main(int(sys.argv[1]), sys.argv[2])
