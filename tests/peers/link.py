# SPDX-License-Identifier: Apache-2.0
"""python3 link.py SEED: a link between this network namespace and a new one, as good or as bad as
its stdin says. Ends, and takes the namespace with it, when stdin does. Needs to be root.

  here: device lblinkN, 10.203.x.y  <-- this process, packet by packet -->  10.203.x.y+1: there

Several may run at once: N is free, and names the addresses.

Lines on stdin: "loss P" (of 100 packets), "double P", "delay MS JITTER_MS" (which reorders),
"cut" (every packet is dropped), "mend". Each is answered with "ok". The first line of stdout is
"ready NAMESPACE HERE THERE": a path for nsenter --net=, and the addresses.

Packets pass through user space, because not every kernel has the netem qdisc."""

import ctypes
import errno
import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import sys
import time

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 1, 0x1000
CLONE_NEWNET = 0x40000000
MOST = 1 << 15  # pairs of addresses in 10.203.0.0/16


def tun(name):
    """A device for IP packets, which is gone when the descriptor is closed; None where another one
    has that name."""
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    try:
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    except OSError as e:
        os.close(fd)
        if e.errno not in (errno.EBUSY, errno.EEXIST):
            raise
        return None
    return fd


def free_tun():
    """A device whose number nobody has; its name is what reserves the number."""
    first = random.SystemRandom().randrange(MOST)
    for i in range(MOST):
        n = (first + i) % MOST
        fd = tun(f"lblink{n}")
        if fd is not None:
            return fd, n
    raise OSError(errno.EBUSY, "no free device")


def ip(*args):
    subprocess.run(["ip", *args], check=True)


def set_up(name, own, other):
    ip("address", "add", own, "peer", other, "dev", name)
    ip("link", "set", name, "up")


class Link:
    def __init__(self, seed, here, there):
        self.dice = random.Random(seed)
        self.to = {here: there, there: here}
        self.loss = self.double = self.delay = self.jitter = 0.0
        self.is_cut = False
        self.waiting = []  # (when, number, descriptor, packet)
        self.n = 0

    def obey(self, line):
        word, *args = line.split()
        if word == "loss":
            self.loss = float(args[0]) / 100
        elif word == "double":
            self.double = float(args[0]) / 100
        elif word == "delay":
            self.delay, self.jitter = (float(a) / 1000 for a in args)
        elif word in ("cut", "mend"):
            self.is_cut = word == "cut"
        else:
            raise ValueError(line)
        print("ok", flush=True)

    def take(self, fd):
        """Every packet that waits on a device."""
        while True:
            try:
                packet = os.read(fd, 1 << 16)
            except BlockingIOError:
                return
            if self.is_cut or self.dice.random() < self.loss:
                continue
            for _ in range(2 if self.dice.random() < self.double else 1):
                when = time.monotonic() + self.delay + self.dice.random() * self.jitter
                self.n += 1
                heapq.heappush(self.waiting, (when, self.n, self.to[fd], packet))

    def give(self):
        """Every packet whose time has come; returns the seconds until the next one, or None."""
        while self.waiting:
            left = self.waiting[0][0] - time.monotonic()
            if left > 0:
                return left
            _, _, fd, packet = heapq.heappop(self.waiting)
            try:
                os.write(fd, packet)
            except BlockingIOError:
                pass  # its queue is full: a router would drop it, too
        return None

    def run(self):
        commands = b""
        while True:
            ready, _, _ = select.select([0, *self.to], [], [], self.give())
            for fd in ready:
                if fd != 0:
                    self.take(fd)
                    continue
                part = os.read(0, 4096)
                if not part:
                    return
                *lines, commands = (commands + part).split(b"\n")
                for line in lines:
                    self.obey(line.decode())


def main(seed):
    here, n = free_tun()
    own, other = (f"10.203.{i >> 8}.{i & 255}" for i in (2 * n, 2 * n + 1))
    set_up(f"lblink{n}", own, other)
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) < 0:
        raise OSError(ctypes.get_errno(), "unshare")
    there = tun("lblink")
    set_up("lblink", other, own)
    ip("link", "set", "lo", "up")
    print(f"ready /proc/{os.getpid()}/ns/net {own} {other}", flush=True)
    Link(seed, here, there).run()


main(int(sys.argv[1]))
