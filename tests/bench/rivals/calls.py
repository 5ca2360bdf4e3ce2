"""Phases of load by a caller in a process of its own: what they cost the server and Redis, and how long answers took."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from redis import Redis

from tests.bench import proc
from tests.bench.report import BenchError
from tests.bench.rivals.caller import Phase
from tests.bench.stage import Stage, Talker

CONNECTIONS = 64
ALLOWED_AT_LEAST = 0.95


@dataclass(frozen=True, slots=True)
class Load:
    """A phase, and the CPU µs a check of the server and of Redis in it; `…_waited_us` is how long each waited for a core."""

    phase: Phase
    server_us: float
    redis_us: float
    server_waited_us: float
    redis_waited_us: float
    caller_waited_us: float

    @property
    def per_s(self) -> float:
        """Checks a second."""
        return self.phase.checks / self.phase.seconds


class Calls:
    """One caller of one server."""

    def __init__(self, talker: Talker, name: str, pid: int, redis_pid: int) -> None:
        self._talker = talker
        self._name = name
        self._pid = pid
        self._redis_pid = redis_pid

    def load(self, count: int, rate: float | None = None) -> Load:
        """Send `count` checks at `rate` a second, None: as fast as they are answered. Raises BenchError."""
        pids = self._pid, self._redis_pid, self._talker.pid
        before, redis_before = proc.cpu_s(self._pid), proc.cpu_s(self._redis_pid)
        waited_before = [proc.waited_s(pid) for pid in pids]
        phase = Phase(**json.loads(self._talker.go(json.dumps({"count": count, "rate": rate}))))
        used, redis_used = proc.cpu_s(self._pid) - before, proc.cpu_s(self._redis_pid) - redis_before
        if phase.allowed < ALLOWED_AT_LEAST * phase.checks:
            raise BenchError(
                f"{self._name} let in only {phase.allowed} of {phase.checks} checks, {phase.degraded} without the store, "
                "so refusals would be measured"
            )
        waited_us = [
            (proc.waited_s(pid) - earlier) / phase.checks * 1e6
            for pid, earlier in zip(pids, waited_before, strict=True)
        ]
        return Load(phase, used / phase.checks * 1e6, redis_used / phase.checks * 1e6, *waited_us)


@contextmanager
def calls(
    stage: Stage, kind: str, port: int, pid: int, seed: int, connections: int = CONNECTIONS, accounts: int = 0
) -> Iterator[Calls]:
    """A caller of the server of that kind at `port`, whose process is `pid`."""
    arguments = (kind, str(port), str(connections), str(seed), str(accounts))
    with Talker("tests.bench.rivals.caller", *arguments) as talker:
        yield Calls(talker, kind, pid, stage.redis().pid or 0)


def flush(stage: Stage) -> None:
    """Forget all that earlier phases left in Redis, which would slow down later ones."""
    with Redis.from_url(stage.redis().url) as client:
        client.flushall()
