# SPDX-License-Identifier: Apache-2.0
"""Network namespaces of a test's own. One lives as long as somebody is in it, so that nothing is
left even when a test is killed."""

import ctypes
import os
import socket
import subprocess
import sys

from lbtest import SLOW

# Who may not make a network namespace makes it in a user namespace.
IN_USER = [] if os.geteuid() == 0 else ["--user"]

# Makes sockets where it runs, and hands them over.
AT_ONCE = 12
GIVE_SOCKETS = f"""
import socket, sys
new = [socket.socket() for _ in range({AT_ONCE})]
socket.send_fds(socket.socket(fileno=int(sys.argv[1])), [b"x"], [s.fileno() for s in new])
"""

CLONE_NEWNET = 0x40000000

MODEST = {
    # Each connection begins as new: else the kernel remembers how an address has fared, and after
    # losses gives every socket a buffer many times as large.
    "tcp_no_metrics_save": "1",
    # Thousands that are full at the same time must not take all memory that TCP has on the machine
    # (tcp_mem): it would drop what others are sent, and end them.
    "tcp_wmem": "4096 16384 262144",
    "tcp_rmem": "4096 131072 524288",
}


def move_into_new():
    """Moves this thread, and with it all that it starts from now on, into a namespace with nothing
    but a loopback, where nobody else takes a port."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) < 0:
        raise OSError(ctypes.get_errno(), "no network namespace of the tests' own")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for name, value in MODEST.items():
        with open(f"/proc/sys/net/ipv4/{name}", "w") as f:
            f.write(value)


class Namespace:
    """A network namespace that a process of ours keeps alive until its stdin ends."""

    def __init__(self, stack, above=None):
        self.stack = stack
        self.spare = []
        enter = above.enter if above else []
        new_user = ["--user", "--map-root-user"] if IN_USER and not above else []
        self.keeper = subprocess.Popen(
            [*enter, "unshare", *new_user, "--net", "sh", "-c", "echo; exec cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        stack.callback(self._close)
        assert self.keeper.stdout.readline() == b"\n", "no namespace could be made"
        self.pid = self.keeper.pid
        keep = ["--preserve-credentials"] if IN_USER else []
        self.enter = ["nsenter", "--target", str(self.pid), *IN_USER, *keep, "--net"]

    def _close(self):
        self.keeper.stdin.close()
        self.keeper.wait(10)
        self.keeper.stdout.close()

    def ip(self, args):
        subprocess.run([*self.enter, "ip", *args.split()], check=True)

    def sysctl(self, name, value):
        """Sets one of this namespace's own, under /proc/sys/net."""
        path = f"/proc/sys/net/{name}"
        subprocess.run([*self.enter, "sh", "-c", f"echo '{value}' > {path}"], check=True)

    def socket(self):
        """A socket that is in here, whoever holds it."""
        if not self.spare:
            self._make_sockets()
        return self.spare.pop()

    def _make_sockets(self):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            subprocess.run(
                [*self.enter, sys.executable, "-c", GIVE_SOCKETS, str(theirs.fileno())],
                check=True,
                pass_fds=[theirs.fileno()],
            )
            fds = socket.recv_fds(ours, 1, AT_ONCE)[1]
        for fd in fds:
            s = socket.socket(fileno=fd)
            s.settimeout(20 * SLOW)
            self.stack.callback(s.close)
            self.spare.append(s)

    def connect(self, own, address, port):
        s = self.socket()
        s.bind((own, 0))
        s.connect((address, port))
        return s
