"""What an account takes: memory in the worker, bytes in the changelog, and time when a partition is recovered.

Memory is what the worker grows by when further accounts become active, once the crowd and the caches of the first
ones have the size that they keep; what those take is shown for orientation. Bytes of state are those of accounts with
150 uploads each. Recovery reads a partition's changelog as a worker does that takes it over.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

from gate.local.free_port import LOOPBACK, free_port
from gate.local.process import Child
from gate.records.topics import PARTITIONS, Topics
from streams.worker.changelog import Accounts, PartitionReader
from tests.bench import proc
from tests.bench.report import BenchError, Spec
from tests.bench.stage import Stage, await_
from tests.bench.streams import feed, is_through, pid_of, worker_environment

MANY, FURTHER, FEW = 100_000, 300_000, 1_000
EVENTS = 150_000
FURTHER_EVENTS = 200_000
BUSY, WARM_UP = 50, 20_000
"""Accounts and events of the warm-up, after which the buffers have the size that they keep."""

_MEMORY = Spec("worker's memory per further active account", "B", 900, 600)
_FIRST = Spec("worker's memory for the first 75,000 active accounts, crowd and caches included", "MB")
_MEDIAN = Spec("bytes of an account's state, median", "B", 600, 350)
_MOST = Spec("bytes of an account's state, most", "B", 1_200, 1_000)
_RECOVERY = Spec("recovery of a partition's states, accounts per second", "1/s", 100_000, 300_000, True)
SPECS = (_MEMORY, _FIRST, _MEDIAN, _MOST, _RECOVERY)


def measure(stage: Stage, rounds: int) -> dict[Spec, list[float]]:
    """One worker for each crowd, since sizes are the same in each round; `rounds` recoveries. Raises BenchError."""
    stage.say("states: many accounts")
    with _worker(stage) as (child, topics, url):
        fed = _feed(stage, child, topics, url, WARM_UP, BUSY, 0)
        empty = proc.pss_mb(pid_of(child))
        fed = _feed(stage, child, topics, url, EVENTS, MANY, fed)
        first = proc.pss_mb(pid_of(child))
        accounts = len(_recovered(stage, topics)[0])
        _feed(stage, child, topics, url, FURTHER_EVENTS, FURTHER, fed)
        last = proc.pss_mb(pid_of(child))
    recoveries = [_recovered(stage, topics) for _ in range(rounds)]
    further = len(recoveries[0][0]) - accounts
    stage.say("states: few accounts")
    sizes = [len(state) for state in _few(stage).values()]
    return {
        _MEMORY: [(last - first) * 1e6 / further],
        _FIRST: [first - empty],
        _MEDIAN: [median(sizes)],
        _MOST: [max(sizes)],
        _RECOVERY: [len(states) / seconds for states, seconds in recoveries],
    }


def _few(stage: Stage) -> dict[str, bytes]:
    """The states of accounts with many uploads."""
    with _worker(stage) as (child, topics, url):
        _feed(stage, child, topics, url, EVENTS, FEW, 0)
    return _recovered(stage, topics)[0]


@contextmanager
def _worker(stage: Stage) -> Iterator[tuple[Child, Topics, str]]:
    name = stage.fresh("states")
    topics = Topics(f"{name}.")
    stage.declare(topics.all())
    port = free_port()
    with stage.process("worker", ["-m", "streams.worker"], worker_environment(stage, name, port)) as child:
        yield child, topics, f"http://{LOOPBACK}:{port}/metrics"


def _feed(stage: Stage, child: Child, topics: Topics, url: str, count: int, accounts: int, first: int) -> int:
    """Send events and wait until they are through; how many there are now."""
    feed(stage, topics.events.name, count, accounts, 0, first)
    await_(child, lambda: is_through(url, first + count), f"{count} events", every_s=0.25)
    return first + count


def _recovered(stage: Stage, topics: Topics) -> tuple[dict[str, bytes], float]:
    """The states of all partitions, and in how many seconds they were read, one partition after the other."""
    bootstrap, topic = stage.kafka().bootstrap, topics.states.name

    async def read() -> tuple[dict[str, bytes], float]:
        states: dict[str, bytes] = {}
        seconds = 0.0
        for number in range(PARTITIONS):
            accounts = Accounts(number)
            async with PartitionReader(bootstrap, topic, number) as reader:
                began = time.perf_counter()
                await accounts.load(reader, topic)
                seconds += time.perf_counter() - began
            states |= accounts.states
        return states, seconds

    states, seconds = asyncio.run(read())
    if not states:
        raise BenchError(f"{topic} holds no states")
    return states, seconds
