"""A caller of several servers by a schedule: each request has a time, and its latency counts from that time.

A request that could not be sent in time, because all connections waited, was still due, so the wait counts. Without a rate
all requests are due at once: then each connection sends the next request when the last is answered. Requests are evenly
spaced. It keeps time to some 50 µs where an event loop would round to a millisecond, and takes little of the cores that it
shares with what it measures.

`python -m tests.bench.rivals.caller KIND PORT CONNECTIONS SEED ACCOUNTS` says `ready`; each line on stdin is a phase,
`{"count","rate"}`, answered by one JSON object of the fields of `Phase`. `ACCOUNTS` 0: each request has an account of its own.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import random
import select
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from gate.local.free_port import LOOPBACK
from tests.bench.client import requests_of
from tests.bench.crowd import upload
from tests.bench.latency import quantile

BATCH = 32
STUCK_S = 30.0
_LENGTH = b"content-length:"


@dataclass(frozen=True, slots=True)
class Target:
    """What a kind of server is sent and answers. `body` makes one request's JSON from its number and account."""

    path: str
    body: Callable[[int, int, random.Random], object]
    let_in: bytes
    batch: int = 1


def _descriptors(number: int, account: int, rng: random.Random) -> object:
    spans = ("minute", "hour", "day")
    return {
        "domain": "bench",
        "descriptors": [{"entries": [{"key": f"account_{span}", "value": f"a-{account:06d}"}]} for span in spans],
    }


def _throttle(number: int, account: int, rng: random.Random) -> object:
    return {"key": f"a-{account:06d}", "max_burst": 60, "count_per_period": 60, "period": 60, "quantity": 1}


_ALLOW = b'"decision":"allow"'
TARGETS = {
    "gate": Target("/v1/check", upload, _ALLOW),
    "gate-batch": Target("/v1/checks", upload, _ALLOW, BATCH),
    "ratelimit": Target("/json", _descriptors, b"HTTP/1.1 200"),
    "throttlecrab": Target("/throttle", _throttle, b'"allowed":true'),
}
PING = "ping"


@dataclass(frozen=True, slots=True)
class Phase:
    """The result of a phase: checks, those let in, those answered without the store, its seconds, latencies in ms.

    `late_p99` is the part of it before a request was sent: in ms, how late after its time.
    """

    checks: int
    allowed: int
    degraded: int
    seconds: float
    p50: float
    p99: float
    late_p99: float


def requests(kind: str, count: int, first: int, seed: int, accounts: int) -> list[bytes]:
    """`count` checks, or pings, numbered from `first`, as the bytes to send."""
    if kind == PING:
        return [b"PING\r\n"] * count
    target, rng = TARGETS[kind], random.Random(f"{seed}/{first}")
    numbers = range(first, first + count)
    made = [target.body(n, rng.randrange(accounts) if accounts else n, rng) for n in numbers]
    bodies = [json.dumps(each, separators=(",", ":")).encode() for each in made]
    sent = requests_of(bodies, target.batch)
    return sent if target.batch > 1 else [each.replace(b"/v1/check", target.path.encode(), 1) for each in sent]


def is_whole(kind: str, answer: bytes) -> bool:
    """Whether the answer has arrived to its end. Raises RuntimeError where it is none."""
    if kind == PING:
        return answer.endswith(b"\r\n")
    head = answer.find(b"\r\n\r\n")
    if head < 0:
        return False
    start = answer.lower().find(_LENGTH, 0, head)
    if start < 0 or not answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 429")):
        raise RuntimeError(f"the server answered {answer[:300]!r}")
    return len(answer) >= head + 4 + int(answer[start + len(_LENGTH) : answer.find(b"\r\n", start)])


def call(kind: str, connections: list[socket.socket], sent: list[bytes], rate: float | None) -> Phase:
    """Send all requests at `rate` a second, or as fast as they are answered."""
    let_in = TARGETS[kind].let_in if kind != PING else b"+PONG"
    by_fd = {connection.fileno(): connection for connection in connections}
    idle, due_s, arrived = list(by_fd), dict.fromkeys(by_fd, 0.0), dict.fromkeys(by_fd, b"")
    took: list[float] = []
    late: list[float] = []
    allowed = degraded = at = 0
    gap_s = 1 / rate if rate else 0.0
    clock = time.perf_counter
    with select.epoll() as ready:
        for fd in by_fd:
            ready.register(fd, select.EPOLLIN)
        began = clock()
        while len(took) < len(sent):
            now = clock() - began
            while at < len(sent) and idle and at * gap_s <= now:
                fd = idle.pop()
                due_s[fd] = at * gap_s
                late.append(now - due_s[fd])
                by_fd[fd].sendall(sent[at])
                at += 1
                now = clock() - began
            for fd, _ in ready.poll(0) or _awaited(ready, at * gap_s - now if at < len(sent) and idle else STUCK_S):
                answer = by_fd[fd].recv(1 << 16)
                if not answer:
                    raise RuntimeError("the server closed a connection")
                answer = arrived[fd] = arrived[fd] + answer
                if is_whole(kind, answer):
                    took.append(clock() - began - due_s[fd])
                    allowed += answer.count(let_in)
                    degraded += answer.count(b'"degraded":["store"]')
                    arrived[fd] = b""
                    idle.append(fd)
    seconds = clock() - began
    took.sort()
    late.sort()
    batch = TARGETS[kind].batch if kind != PING else 1
    p50, p99, late_p99 = (quantile(of, share) * 1e3 for of, share in ((took, 0.5), (took, 0.99), (late, 0.99)))
    return Phase(len(sent) * batch, allowed, degraded, seconds, p50, p99, late_p99)


def _awaited(ready: select.epoll, within_s: float) -> list[tuple[int, int]]:
    """What can be read within that time. Waits by `select`, as `poll` rounds to milliseconds. Raises RuntimeError if stuck."""
    if select.select((ready,), (), (), max(0.0, within_s))[0]:
        return ready.poll(0)
    if within_s == STUCK_S:
        raise RuntimeError(f"requests have no answer after {STUCK_S:.0f} s")
    return []


def main() -> None:
    """The command."""
    kind, port, number, seed, accounts = sys.argv[1], *(int(each) for each in sys.argv[2:6])
    gc.disable()
    first = 0
    print("ready", flush=True)
    for line in sys.stdin:
        given = json.loads(line)
        sent = requests(kind, given["count"], first, seed, accounts)
        first += given["count"]
        # what runs flat out must not interrupt what it measures; what keeps a schedule must be woken in time
        policy = os.SCHED_OTHER if given["rate"] else os.SCHED_BATCH
        os.sched_setscheduler(0, policy, os.sched_param(0))
        # opened for each phase, as servers close connections that are idle for long
        with contextlib.ExitStack() as stack:
            connections = [stack.enter_context(socket.create_connection((LOOPBACK, port))) for _ in range(number)]
            for connection in connections:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            phase = call(kind, connections, sent, given["rate"])
        print(json.dumps({name: getattr(phase, name) for name in Phase.__slots__}), flush=True)


if __name__ == "__main__":
    main()
