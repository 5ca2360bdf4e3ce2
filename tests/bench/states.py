"""What an account takes: memory in the worker, bytes in the changelog, and time when a partition is recovered.

Memory is what the worker has grown by while 100,000 accounts became active, a warm-up of a few accounts aside, so it
includes what the crowd and the caches keep of them. Bytes of state are those of accounts with 150 uploads each.
Recovery reads a partition's changelog as a worker does that takes it over.
"""

from __future__ import annotations

import asyncio
import time
from statistics import median

from gate.local.free_port import LOOPBACK, free_port
from gate.records.topics import PARTITIONS, Topics
from streams.worker.changelog import Accounts, PartitionReader
from tests.bench import proc
from tests.bench.report import BenchError, Spec
from tests.bench.stage import Stage, await_
from tests.bench.streams import feed, is_through, pid_of, worker_environment

MANY, FEW = 100_000, 1_000
EVENTS = 150_000
BUSY, WARM_UP = 50, 20_000
"""Accounts and events of the warm-up, after which the buffers have the size that they keep."""

_MEMORY = Spec("worker's memory per active account", "B", 900, 600)
_MEDIAN = Spec("bytes of an account's state, median", "B", 600, 350)
_MOST = Spec("bytes of an account's state, most", "B", 1_200, 1_000)
_RECOVERY = Spec("recovery of a partition's states, accounts per second", "1/s", 100_000, 300_000, True)
SPECS = (_MEMORY, _MEDIAN, _MOST, _RECOVERY)


def measure(stage: Stage, rounds: int) -> dict[Spec, list[float]]:
    """One worker for each crowd and round. Raises BenchError."""
    found: dict[Spec, list[float]] = {spec: [] for spec in SPECS}
    for turn in range(rounds):
        stage.say(f"states: round {turn + 1} of {rounds}")
        topics, grown = _filled(stage, MANY, turn)
        states, seconds = _recovered(stage, topics)
        found[_MEMORY].append(grown / len(states))
        found[_RECOVERY].append(len(states) / seconds)
        topics, _ = _filled(stage, FEW, turn)
        states, _ = _recovered(stage, topics)
        sizes = [len(state) for state in states.values()]
        found[_MEDIAN].append(median(sizes))
        found[_MOST].append(max(sizes))
    return found


def _filled(stage: Stage, accounts: int, seed: int) -> tuple[Topics, float]:
    """Topics with the states of so many accounts, and the bytes by which the worker grew meanwhile."""
    name = stage.fresh("states")
    topics = Topics(f"{name}.")
    stage.declare(topics.all())
    port = free_port()
    url = f"http://{LOOPBACK}:{port}/metrics"
    with stage.process("worker", ["-m", "streams.worker"], worker_environment(stage, name, port)) as child:
        feed(stage, topics.events.name, WARM_UP, BUSY, seed, 0)
        await_(child, lambda: is_through(url, WARM_UP), "the end of its warm-up", every_s=0.25)
        before = proc.pss_mb(pid_of(child))
        feed(stage, topics.events.name, EVENTS, accounts, seed, WARM_UP)
        await_(child, lambda: is_through(url, WARM_UP + EVENTS), f"{EVENTS} events", every_s=0.25)
        return topics, (proc.pss_mb(pid_of(child)) - before) * 1e6


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
