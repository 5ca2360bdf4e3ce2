"""Which partitions are ours, and the one path by which each becomes ours: on assignment, and after any failure.

A batch that fails for any reason fences itself: its owner is closed and a new one opened under the same id, with
states and position read again from the changelog. That one path serves a worker that was frozen, a broker that went
away and a transaction that timed out. Leaves reading events to `intake` and acting to `commit`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from typing import Protocol

from gate.errors import StateUnreadable, StoreUnavailable
from gate.ports.scores import ScoreStore
from streams.pipeline.effects import Effects
from streams.worker.changelog import Accounts
from streams.worker.commit import Owner, Where, kind_of
from streams.worker.metrics import WorkerMetrics
from streams.worker.outage import Outage
from streams.worker.scores_to_redis import ScoresToRedis

log = logging.getLogger("upload_gate.worker")

FINISH_WITHIN_S = 3.0
TRY_AGAIN_S = 0.5
FENCED_PAUSE_S = 2.0  # long enough to hear from the group that the partition moved, before we would fence its new owner


class Reader(Protocol):
    """What reads events for the owners: `intake`."""

    def read_from(self, partition: int, offset: int) -> None:
        """Read `partition` on from `offset`."""
        ...


class Owners:
    """The partitions of this worker. All methods run in its event loop."""

    def __init__(
        self,
        where: Where,
        store: ScoreStore | None,
        metrics: WorkerMetrics,
        kafka: Outage,
        redis: Outage,
        fatal: Callable[[BaseException], None],
    ) -> None:
        """`fatal` is told of what no trying again cures."""
        self.where = where
        self.wake = asyncio.Event()
        self.halted: set[int] = set()
        self._store = store
        self._metrics = metrics
        self._kafka = kafka
        self._redis = redis
        self._fatal = fatal
        self._reader: Reader | None = None
        self._owned: dict[int, Owner] = {}
        self._opening: dict[int, asyncio.Task[None]] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._kept: dict[int, Accounts] = {}

    @property
    def live(self) -> list[Owner]:
        """The partitions that can be worked on, but for those that were halted."""
        return [o for o in self._owned.values() if o.live and o.partition not in self.halted]

    def owner(self, partition: int) -> Owner | None:
        """Whoever works on `partition` here."""
        return self._owned.get(partition)

    def assign(self, partitions: Iterable[int], reader: Reader) -> None:
        """These, and only these, are ours now; each is opened by itself, so that a slow one holds up none."""
        wanted = set(partitions)
        self._reader = reader
        self._kept = {p: accounts for p, accounts in self._kept.items() if p in wanted}
        for partition in wanted:
            accounts = self._kept.pop(partition, None) or Accounts(partition)
            self._open(accounts, 0.0)
        self._metrics.partitions.set(len(wanted))

    async def revoke(self) -> None:
        """Nothing is ours any more. Waits a little for batches in hand, keeps states in case they come back to us."""
        openings = list(self._opening.values())
        self._opening.clear()
        for task in openings:
            task.cancel()
        if openings:
            await asyncio.wait(openings)
        old = list(self._owned.values())
        self._owned.clear()
        if old:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FINISH_WITHIN_S):
                    await asyncio.gather(*(self._finish(owner) for owner in old))
            for owner in old:
                self._kept[owner.partition] = owner.accounts
            self._close(old)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FINISH_WITHIN_S):
                    await asyncio.gather(*self._closing)
        self._metrics.partitions.set(0)

    async def stop(self) -> None:
        """Revoke, and wait until everything is closed."""
        await self.revoke()
        for task in self._closing:
            task.cancel()
        if self._closing:
            await asyncio.wait(self._closing)

    def failed(self, owner: Owner, error: Exception) -> None:
        """A batch of `owner` came to nothing: fence ourselves and begin again where the partition stands."""
        owner.live = False
        if self._owned.get(owner.partition) is not owner:
            return  # given up already, and this is how its last batch noticed
        if isinstance(error, StateUnreadable):
            self._fatal(error)
            return
        kind = kind_of(error)
        self._metrics.batch_failures.labels(kind).inc()
        if kind == "other":
            log.error("partition %d: a batch failed and is done again", owner.partition, exc_info=error)
        elif not self._kafka.is_down:
            said = str(error) or type(error).__name__
            log.warning("partition %d: a batch is done again (%s: %s)", owner.partition, kind, said)
        del self._owned[owner.partition]
        self._open(owner.accounts, TRY_AGAIN_S if kind != "fenced" else FENCED_PAUSE_S, owner)

    def committed(self, effects: Effects, seconds: float) -> None:
        """See Hooks."""
        metrics = self._metrics
        for kind, count in effects.events.items():
            metrics.events.labels(kind).inc(count)
        for letter in effects.dead:
            metrics.dead_letters.labels(letter.reason).inc()
        if effects.unknown_fields:
            metrics.unknown_fields.inc(effects.unknown_fields)
        metrics.scores.inc(len(effects.scores))
        metrics.batch_seconds.observe(seconds)

    async def pay_redis(self) -> None:
        """Write what Redis is owed, once; says when Redis is away or back. Raises KafkaError."""
        owing = [owner for owner in self._owned.values() if owner.live and owner.owed.since is not None]
        if self._store is None or not (owing or self._redis.is_down):
            return
        try:
            async with asyncio.timeout(1.0):
                await self._store.scores(("-",))
            paid = [await self._pay(owner) for owner in owing]
        except (StoreUnavailable, TimeoutError) as error:
            self._redis.down(str(error) or "no answer in time")
            return
        if all(paid):
            self._redis.up()

    def count(self) -> None:
        """Bring the gauges up to date."""
        owned = self._owned.values()
        self._metrics.owed_scores.set(sum(owner.owed.count for owner in owned))
        self._metrics.accounts.set(sum(len(owner.accounts.states) for owner in owned))
        self._metrics.halted.set(len(self.halted & self._owned.keys()))

    async def _pay(self, owner: Owner) -> bool:
        return await owner.owed.pay(self.where.bootstrap, self.where.topics.scores.name, owner.partition)

    def _open(self, accounts: Accounts, after_s: float, old: Owner | None = None) -> None:
        task = asyncio.create_task(self._become_owner(accounts, after_s, old))
        task.add_done_callback(self._opened)
        self._opening[accounts.partition] = task

    def _opened(self, task: asyncio.Task[None]) -> None:
        # a fault of ours here would leave a partition that nobody reads: better to end, and say why
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fatal(error)

    async def _become_owner(self, accounts: Accounts, after_s: float, old: Owner | None) -> None:
        if old is not None:
            self._close([old])
            while old.busy:  # its last batch notices within a moment that it is over
                await asyncio.sleep(0.01)
            await old.let_go()
        await asyncio.sleep(after_s)
        while True:
            owner = Owner(self.where, accounts, ScoresToRedis(self._store, self._redis), self)
            try:
                read = await owner.open()
            except StateUnreadable as error:
                self._close([owner])
                self._fatal(error)
                return
            except asyncio.CancelledError:
                self._keep(accounts)
                self._close([owner])
                raise
            except Exception as error:  # whatever the client raises while the cluster comes and goes
                self._close([owner])
                self._kafka.down(str(error) or type(error).__name__)
                await asyncio.sleep(TRY_AGAIN_S)
                continue
            break
        owner.live = True
        self._owned[accounts.partition] = owner
        self._opening.pop(accounts.partition, None)
        self._kafka.up()
        if self._reader is not None:
            self._reader.read_from(accounts.partition, owner.next)
        log.info("partition %d is ours from %d, %d changelog records read", owner.partition, owner.next, read)
        if forgotten := len(accounts.forgotten):
            self._metrics.forgotten.inc(forgotten)
            said = "partition %d: %d accounts start anew, for an older release wrote their states"
            log.warning(said, owner.partition, forgotten)
        self.wake.set()

    def _keep(self, accounts: Accounts) -> None:
        self._kept[accounts.partition] = accounts

    async def _finish(self, owner: Owner) -> None:
        while owner.busy:
            await asyncio.sleep(0.005)
        await owner.settle()
        owner.live = False

    def _close(self, owners: Iterable[Owner]) -> None:
        for owner in owners:
            task = asyncio.create_task(owner.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
