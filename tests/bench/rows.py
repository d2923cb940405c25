# SPDX-License-Identifier: Apache-2.0
"""The rows of the benchmark: what is done, who takes part, which figures come of it, and what lb is
to reach in each."""

from dataclasses import dataclass, field

from contestants import is_peer


@dataclass(frozen=True)
class Target:
    """What the median of `who` is to be: a figure itself, or its ratio to the best peer's (or to
    that of the peers named)."""
    figure: str
    who: str
    limit: float
    is_ratio: bool = True
    peers: tuple = ()


@dataclass(frozen=True)
class Figure:
    key: str
    title: str
    digits: int = 1
    is_more_better: bool = False

    def best(self, values):
        """The name whose value is best, of a dictionary of values by name."""
        return (max if self.is_more_better else min)(values, key=values.get)

    def is_met(self, value, limit):
        return value >= limit if self.is_more_better else value <= limit


@dataclass(frozen=True)
class Row:
    key: str
    title: str
    plan: str  # of lb-load
    contestants: tuple
    figures: tuple
    targets: tuple
    load: dict = field(default_factory=dict)   # options of lb-load
    quick: dict = field(default_factory=dict)  # those that are smaller in a smoke run
    threads: int = 2
    quota: float = 0  # of one core; 0: none
    # Where two builds of lb are compared (compare.py): as which contestants, which figures' ratios
    # are judged (a smaller figure is the better one), and the most that a figure of the new build
    # may be, by contestant and figure.
    compared: tuple = ("lb-http",)
    judged: tuple = ("cpu_us",)
    limits: dict = field(default_factory=dict)

    def peers(self):
        return [name for name in self.contestants if is_peer(name)]

    def bare(self):
        return next((name for name in self.contestants if name.startswith("bare")), None)


PEERS = ("haproxy-tcp", "haproxy-http", "nginx-tcp", "nginx-http")
CPU = Figure("cpu_us", "CPU per message, us", 2)
USER = Figure("user_percent", "of it in user mode, %", 0)
RATE = Figure("rate", "messages/s", 0, is_more_better=True)
LATENCY = (Figure("p50_us", "p50, us", 0), Figure("p99_us", "p99, us", 0))

ROWS = [
    Row("idle", "8,000 idle WebSockets", "hold",
        ("direct", "bare", *PEERS, "lb-tcp", "lb-http"),
        (Figure("user_b", "user memory each, B", 0),
         Figure("slab_b", "kernel slab each, B", 0),
         Figure("both_b", "user and slab each, B", 0),
         Figure("start_mb", "just started, MB", 1),
         Figure("idle_ms", "CPU while idle, ms/s", 2)),
        (Target("user_b", "lb-http", 400, is_ratio=False),
         Target("start_mb", "lb-http", 24, is_ratio=False),
         Target("both_b", "lb-http", 1)),
        load={"-c": 8000}, quick={"-c": 400}, compared=("lb-http", "lb-http-epoll"), judged=(),
        limits={("lb-http", "user_b"): 400, ("lb-http-epoll", "user_b"): 500}),
    Row("active100", "100 of 200 connections echo 64 B", "echo",
        ("bare", *PEERS, "lb-http"), (CPU, USER, RATE), (Target("cpu_us", "lb-http", 0.90),),
        load={"-c": 200, "-a": 100, "-s": 64}),
    Row("active1000", "1,000 connections echo 64 B", "echo",
        ("bare", *PEERS, "lb-http"), (CPU, USER, RATE), (Target("cpu_us", "lb-http", 0.80),),
        load={"-c": 1000, "-s": 64}),
    Row("quota", "1,000 connections echo 64 B, the proxy held to 30 % of one core", "echo",
        ("bare", *PEERS, "lb-http"), (RATE, CPU), (Target("rate", "lb-http", 1.28),),
        load={"-c": 1000, "-s": 64}, quota=0.3),
    Row("bulk", "16 connections echo 1 MiB", "echo",
        ("bare-256k", *PEERS, "haproxy-splice", "haproxy-tcp-64k", "nginx-tcp-64k",
         "nginx-http-64k", "lb-tcp", "lb-http"),
        (Figure("cpu_ms_mb", "CPU per MiB echoed, ms", 3),
         Figure("mb_s", "MiB/s", 0, is_more_better=True)),
        (Target("cpu_ms_mb", "lb-tcp", 0.40), Target("cpu_ms_mb", "lb-http", 0.50)),
        load={"-c": 16, "-s": 1 << 20}, compared=("lb-tcp", "lb-http"), judged=("cpu_ms_mb",)),
    Row("open", "5,000 messages/s over 1,000 connections, open loop", "open",
        ("bare", *PEERS, "lb-http"), (CPU, *LATENCY, USER),
        (Target("cpu_us", "lb-http", 0.97), Target("p50_us", "lb-http", 1),
         Target("p99_us", "lb-http", 1)),
        load={"-c": 1000, "-s": 64, "-r": 5000}, judged=("cpu_us", "p50_us", "p99_us")),
    Row("connect", "connect, upgrade, close", "churn",
        ("bare", *PEERS, "lb-http"),
        (Figure("cpu_us", "CPU per connection, us", 1), USER,
         Figure("rate", "connections/s", 0, is_more_better=True)),
        (Target("cpu_us", "lb-http", 0.90, peers=("nginx-http",)),),
        load={"-c": 64}, quick={"-c": 16}),
    Row("fair", "2,000 messages/s over 100 connections beside one that echoes 1 MiB, one thread",
        "open",
        ("direct", *PEERS, "lb-http"),
        (Figure("times", "p99 beside it / alone", 2), Figure("p99_alone_us", "p99 alone, us", 0),
         Figure("p99_us", "p99 beside it, us", 0)),
        (Target("times", "lb-http", 2, is_ratio=False),),
        load={"-c": 100, "-s": 64, "-r": 2000}, threads=1, judged=("p99_us",)),
    Row("slow", "2,000 messages/s over 100 connections beside 5,000 slow requests (slowloris)",
        "open",
        ("haproxy-http", "nginx-http", "lb-http"),
        (Figure("times", "p99 beside them / alone", 2),
         Figure("p50_times", "p50 beside them / alone", 2),
         Figure("p99_alone_us", "p99 alone, us", 0),
         Figure("p99_us", "p99 beside them, us", 0)),
        (),
        load={"-c": 100, "-s": 64, "-r": 2000}, judged=("p99_us",)),
]

BARE_LIMIT = 1.10  # lb's CPU to the bare relay's, asked of every row with a CPU figure
