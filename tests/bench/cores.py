"""How much faster two workers are than one: the time in which a backlog is through.

The workers are stopped while the backlog is sent, so that the sender takes no time from them. The broker and Redis do,
which on a machine of two cores leaves the second worker less than a core: the CPU of the workers tells how much of the
ratio that takes. Virtual cores may also share a real one: two busy loops, measured in the same rounds, tell how much
more work the machine does on two of its cores at all.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import NamedTuple

from gate.local.free_port import LOOPBACK, free_port
from gate.local.process import Child
from gate.records.topics import PARTITIONS, Topics
from tests.bench.proc import cpu_s
from tests.bench.report import Spec
from tests.bench.stage import Stage, await_, metric
from tests.bench.streams import WARM_UP, feed, pid_of, worker_environment

EVENTS = 150_000
ACCOUNTS = 10_000
SESSION_MS = 120_000
"""Longer than the backlog takes to be sent, so that a stopped worker keeps its partitions."""

LOOP = """
import time
began = time.perf_counter()
kept = {}
for n in range(5_000_000):
    kept[n & 65535] = n * 3
print(time.perf_counter() - began)
"""

_RATIO = Spec("two workers on two cores / one, events per second", "×", 1.7, 1.9, True)
_ONE = Spec("one worker, events per second", "1/s")
_TWO = Spec("two workers, events per second", "1/s")
_LOOPS = Spec("two busy loops on two cores / one, loops per second", "×")
_COST = Spec("workers' CPU an event, one worker / two", "×")
SPECS = (_RATIO, _ONE, _TWO, _COST, _LOOPS)


def measure(stage: Stage, rounds: int) -> dict[Spec, list[float]]:
    """Alternate one worker and two, one loop and two. Raises BenchError."""
    found: dict[Spec, list[float]] = {spec: [] for spec in SPECS}
    for turn in range(rounds):
        stage.say(f"cores: round {turn + 1} of {rounds}")
        one, two = _run(stage, 1, turn), _run(stage, 2, turn)
        found[_ONE].append(one.speed)
        found[_TWO].append(two.speed)
        found[_RATIO].append(two.speed / one.speed)
        found[_COST].append(one.cpu_s / two.cpu_s)
        found[_LOOPS].append(_loops(2) / _loops(1))
    return found


class _Run(NamedTuple):
    """`speed` in events a second, `cpu_s` of all workers."""

    speed: float
    cpu_s: float


def _run(stage: Stage, workers: int, seed: int) -> _Run:
    """What so many workers of one group take from a backlog."""
    name = stage.fresh("cores")
    topics = Topics(f"{name}.")
    stage.declare(topics.all())
    with contextlib.ExitStack() as stack:
        urls: list[str] = []
        children: list[Child] = []
        for number in range(workers):
            port = free_port()
            urls.append(f"http://{LOOPBACK}:{port}/metrics")
            environment = {
                **worker_environment(stage, name, port),
                "UPLOAD_GATE_SESSION_TIMEOUT_MS": str(SESSION_MS),
            }
            child = stack.enter_context(stage.process(f"worker-{number}", ["-m", "streams.worker"], environment))
            children.append(child)
        await_(children[-1], lambda: _share(urls), "an even share of partitions", every_s=0.25)
        feed(stage, topics.events.name, WARM_UP, ACCOUNTS, seed, 0)
        await_(children[0], lambda: _total(urls) >= WARM_UP, "the end of its warm-up", every_s=0.25)
        with _stopped(children):
            feed(stage, topics.events.name, EVENTS, ACCOUNTS, seed, WARM_UP)
        used, began = sum(cpu_s(pid_of(each)) for each in children), time.monotonic()
        await_(children[0], lambda: _total(urls) >= WARM_UP + EVENTS, f"{EVENTS} events", every_s=0.1)
        passed = time.monotonic() - began
        return _Run(EVENTS / passed, sum(cpu_s(pid_of(each)) for each in children) - used)


def _loops(count: int) -> float:
    """Busy loops a second of so many processes that run beside each other."""
    loops = [subprocess.Popen([sys.executable, "-c", LOOP], stdout=subprocess.PIPE) for _ in range(count)]
    return sum(1 / float(each.communicate()[0]) for each in loops)


def _share(urls: list[str]) -> bool:
    return all(metric(url, "upload_gate_worker_partitions") == PARTITIONS / len(urls) for url in urls)


def _total(urls: list[str]) -> float:
    """Events that the workers have committed."""
    return sum(metric(url, "upload_gate_events_total") for url in urls)


@contextlib.contextmanager
def _stopped(children: list[Child]) -> Iterator[None]:
    pids = [pid_of(child) for child in children]
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
