"""The partitions of this worker: what the group decides about them, what they share, and what is told of them.

Leaves the life of each one to `partition`, reading events to `intake` and acting to `commit`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable
from typing import Protocol

from gate.errors import StoreUnavailable
from gate.ports.scores import ScoreStore
from streams.pipeline.effects import Effects
from streams.worker.breaker import BreakerVerdict
from streams.worker.changelog import Accounts
from streams.worker.commit import Hooks, Misplaced, Owner, Where, kind_of
from streams.worker.metrics import WorkerMetrics
from streams.worker.outage import Outage
from streams.worker.partition import Event, Partition, State
from streams.worker.scores_to_redis import ScoresToRedis

log = logging.getLogger("upload_gate.worker")

CLOSE_WITHIN_S = 3.0
ENDING = (State.UNASSIGNED, State.SETTLING)


class Reader(Protocol):
    """What reads events: `streams.worker.intake`."""

    def read_from(self, partition: int, offset: int) -> None:
        """Read `partition` on from `offset`."""
        ...

    def end(self, error: Exception) -> None:
        """End the worker, which no retry can help."""
        ...


class Partitions:
    """The partitions of this worker. All methods run in its event loop."""

    def __init__(
        self, where: Where, store: ScoreStore | None, metrics: WorkerMetrics, kafka: Outage, redis: Outage
    ) -> None:
        self.where = where
        self.wake = asyncio.Event()
        self._store = store
        self._metrics = metrics
        self._kafka = kafka
        self._redis = redis
        self._reader: Reader | None = None
        self._all: dict[int, Partition] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def __getitem__(self, number: int) -> Partition:
        return self._all[number]

    @property
    def mine(self) -> list[Partition]:
        """Those that the group gave to this worker, whatever their state."""
        return [partition for partition in self._all.values() if partition.state not in ENDING]

    def in_state(self, state: State) -> list[Partition]:
        """Those in this state."""
        return [partition for partition in self._all.values() if partition.state is state]

    def read_by(self, reader: Reader) -> None:
        """Tell `reader` where to read."""
        self._reader = reader

    def assign(self, numbers: Iterable[int]) -> None:
        """These, and only these, are ours now; each is opened by itself, so that a slow one holds up none."""
        wanted = set(numbers)
        # those that come back to us keep their states in memory
        self._all = {number: self._all.get(number) or Partition(number, self) for number in sorted(wanted)}
        for partition in self._all.values():
            partition.on(Event.ASSIGNED)
        self.count()

    async def revoke(self) -> None:
        """Nothing is ours any more; waits a little for what is in hand."""
        await self._leave(Event.REVOKED)

    async def stop(self) -> None:
        """Revoke, and wait until everything is closed."""
        await self._leave(Event.STOP)
        for task in self._closing:
            task.cancel()
        if self._closing:
            await asyncio.wait(self._closing)

    async def _leave(self, event: Event) -> None:
        partitions = list(self._all.values())
        for partition in partitions:
            self._metrics.forget_lag(partition.number)
            partition.on(event)
        for partition in partitions:
            await partition.rest()
        if self._closing:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_WITHIN_S):
                    await asyncio.gather(*self._closing)
        self.count()

    def topic_changed(self) -> None:
        """The events topic is another one of the same name: every partition begins again."""
        topic = self.where.topics.events.name
        log.warning("the topic %s was created anew: every partition begins again at its beginning", topic)
        for partition in self._all.values():
            partition.on(Event.TOPIC_CHANGED, Misplaced(f"{topic} is another topic now"))

    async def catch_up_redis(self) -> None:
        """Write the scores that Redis lacks, once; says when Redis is away or back. Raises KafkaError."""
        scores = [p.owner.redis for p in self._all.values() if p.owner is not None and p.state is not State.SETTLING]
        behind = [redis for redis in scores if redis.missing_from is not None]
        if self._store is None or not (behind or self._redis.is_down):
            return
        try:
            async with asyncio.timeout(1.0):
                await self._store.scores(("-",))
            done = [await redis.catch_up(self.where.bootstrap, self.where.topics.scores.name) for redis in behind]
        except (StoreUnavailable, TimeoutError) as error:
            self._redis.down(str(error) or "no answer in time")
            return
        if all(done):
            self._redis.up()

    def count(self) -> None:
        """Bring the gauges up to date."""
        owners = [partition.owner for partition in self._all.values() if partition.owner is not None]
        self._metrics.partitions.set(len(self.mine))
        self._metrics.halted.set(len(self.in_state(State.HALTED)))
        self._metrics.quarantined.set(sum(p.breaker.verdict is BreakerVerdict.QUARANTINE for p in self.mine))
        self._metrics.redis_missing_scores.set(sum(owner.redis.missing for owner in owners))
        self._metrics.accounts.set(sum(len(owner.accounts.states) for owner in owners))

    # from here: see partition.Around

    def new_owner(self, accounts: Accounts, hooks: Hooks) -> Owner:
        """See Around."""
        return Owner(self.where, accounts, ScoresToRedis(self._store, self._redis, accounts.partition), hooks)

    def close(self, owner: Owner) -> None:
        """See Around."""
        task = asyncio.create_task(owner.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def read_from(self, partition: int, offset: int) -> None:
        """See Around."""
        if self._reader is not None:
            self._reader.read_from(partition, offset)

    def request_more(self) -> None:
        """See Around."""
        self.wake.set()

    def opened(self, partition: int, owner: Owner, records: int) -> None:
        """See Around."""
        self._kafka.up()
        log.info("partition %d is ours from %d, %d changelog records read", partition, owner.next, records)
        if forgotten := len(owner.accounts.forgotten):
            self._metrics.forgotten.inc(forgotten)
            said = "partition %d: %d accounts start anew, for an older release wrote their states"
            log.warning(said, partition, forgotten)

    def open_failed(self, error: Exception) -> None:
        """See Around."""
        self._kafka.failed(error)

    def fenced(self, partition: int, error: Exception) -> None:
        """See Around."""
        kind = kind_of(error)
        self._metrics.batch_failures.labels(kind).inc()
        if kind == "other":
            log.error("partition %d: a batch failed and is done again", partition, exc_info=error)
        elif not self._kafka.is_down:
            said = str(error) or type(error).__name__
            log.warning("partition %d: a batch is done again (%s: %s)", partition, kind, said)

    def committed(self, effects: Effects, seconds: float) -> None:
        """See Around."""
        for part in effects.parts:
            for increment in part.increments():
                self._metrics.count(increment)
        self._metrics.batch_seconds.observe(seconds)

    def end(self, error: Exception) -> None:
        """See Around."""
        if self._reader is not None:
            self._reader.end(error)
