"""The partitions of this worker: it follows the group's assignments, and logs and counts what happens to partitions.

`partition` runs the state machine of each one, `intake` reads events, and `commit` writes effects.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Protocol

from gate.errors import StoreUnavailable
from gate.ports.scores import ScoreMirror
from gate.stores.kafka.trouble import kafka_trouble
from streams.pipeline.effects import CrowdCount, Effects, Scores
from streams.worker.breaker import BreakerVerdict
from streams.worker.changelog import Accounts
from streams.worker.commit import Hooks, Misplaced, Owner, Where, kind_of
from streams.worker.continuity import LogChange
from streams.worker.lag import ACT_WITHIN_RECORDS, acts
from streams.worker.metrics import WorkerMetrics
from streams.worker.one_group import OneGroup
from streams.worker.outage import Outage
from streams.worker.partition import Event, Partition, State
from streams.worker.refusals import refused
from streams.worker.scores_to_redis import PUT_WITHIN_S, UNKNOWN_MARK, ScoresToRedis, within

log = logging.getLogger("upload_gate.worker")

CLOSE_WITHIN_S = 3.0
HEAR_WITHIN_S = 5.0
HEAR_AGAIN_S = 0.02
MOST_REMEMBERED = 1 << 20
REMEMBERED_A_TURN = 5_000
ENDING = (State.UNASSIGNED, State.SETTLING)


class Reader(Protocol):
    """The reader of events: `streams.worker.intake`."""

    def read_from(self, partition: int, offset: int) -> None:
        """Continue to read `partition` at `offset`."""
        ...

    def end(self, error: Exception) -> None:
        """End the worker because of an error that no retry cures."""
        ...


class Partitions:
    """The partitions of this worker. All methods run in its event loop."""

    def __init__(
        self,
        where: Where,
        store: ScoreMirror | None,
        metrics: WorkerMetrics,
        kafka: Outage,
        redis: Outage,
        give_back: Callable[[int, Sequence[CrowdCount]], None] = lambda partition, counts: None,
        scoring: str = "",
        forget_after_us: int | None = None,
        waiting: Callable[[int], int] = lambda partition: 0,
        wait_again: Callable[[int, Sequence[str]], None] = lambda partition, accounts: None,
        knows_others: Callable[[], bool] = lambda: True,
        act_within_records: int = ACT_WITHIN_RECORDS,
        remember: Callable[[Sequence[str]], None] = lambda accounts: None,
        look: Callable[[], bool] = lambda: False,
    ) -> None:
        """`give_back` gets crowd counts that were taken and not committed, `wait_again` the accounts that were scored
        without an event and not committed; for `scoring`, `forget_after_us` and `waiting` see `commit.Owner`.

        Accounts are scored again, without an event, only while the worker `knows_others`, the counts of all partitions, and
        their partition is no more than `act_within_records` behind. `remember` gets the accounts of a partition that opens.
        `look` takes in some of what was heard of other partitions, and says whether there is more.
        """
        self.where = where
        self._give_back = give_back
        self._scoring = scoring
        self._forget_after_us = forget_after_us
        self._waiting = waiting
        self._wait_again = wait_again
        self._knows_others = knows_others
        self._act_within_records = act_within_records
        self._remember = remember
        self._look = look
        self.wake = asyncio.Event()
        self._store = store
        self._metrics = metrics
        self._kafka = kafka
        self._redis = redis
        self._reader: Reader | None = None
        self._is_stopping = False
        self._all: dict[int, Partition] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def __getitem__(self, number: int) -> Partition:
        return self._all[number]

    @property
    def mine(self) -> list[Partition]:
        """The partitions that the group assigned to this worker, in any state."""
        return [partition for partition in self._all.values() if partition.state not in ENDING]

    def has(self, number: int) -> bool:
        """Whether the group assigned the partition to this worker."""
        return number in self._all

    def in_state(self, state: State) -> list[Partition]:
        """The partitions in this state."""
        return [partition for partition in self._all.values() if partition.state is state]

    def read_by(self, reader: Reader) -> None:
        """Send reading positions to `reader` from now on."""
        self._reader = reader

    def assign(self, numbers: Iterable[int]) -> None:
        """Own exactly these partitions from now on. Each opens in its own task, so that a slow one delays no other.

        A worker that is stopping takes none, although it leaves the group only after its partitions are closed.
        """
        if self._is_stopping:
            return
        wanted = set(numbers)
        # partitions that return to this worker keep their states in memory
        self._all = {number: self._all.get(number) or Partition(number, self) for number in sorted(wanted)}
        for partition in self._all.values():
            partition.on(Event.ASSIGNED)
        self.count()

    async def revoke(self) -> None:
        """Give up all partitions; wait briefly for batches under way."""
        await self._leave(Event.REVOKED)

    async def stop(self) -> None:
        """Give up all partitions, and wait until they are closed."""
        self._is_stopping = True
        await self._leave(Event.STOP)
        for task in self._closing:
            task.cancel()
        if self._closing:
            await asyncio.wait(self._closing)

    async def _leave(self, event: Event) -> None:
        partitions = list(self._all.values())
        for partition in partitions:
            self._metrics.forget_partition(partition.number)
            partition.on(event)
        for partition in partitions:
            await partition.rest()
        if self._closing:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_WITHIN_S):
                    await asyncio.gather(*self._closing)
        self.count()

    def topic_changed(self) -> None:
        """Restart every partition, because the events topic was replaced by a new one of the same name."""
        topic = self.where.topics.events.name
        log.warning("the topic %s was created anew: every partition begins again at its beginning", topic)
        for partition in self._all.values():
            partition.on(Event.TOPIC_CHANGED, Misplaced(f"{topic} is another topic now"))

    async def catch_up_redis(self, one_group: OneGroup | None = None) -> None:
        """Write the scores that Redis lacks, once. Logs if Redis is away, was emptied or is back. Raises KafkaError.

        Where `one_group` knows of another group that fills this Redis, the marks say nothing and are not compared.
        """
        if self._store is None:
            return
        owners = [p.owner for p in self._all.values() if p.owner is not None and p.state is not State.SETTLING]
        try:
            await within(PUT_WITHIN_S, self._compare_marks(self._store, owners, one_group))
            behind = [owner for owner in owners if owner.redis.missing_from is not None]
            done = [await owner.redis.catch_up(self.where.bootstrap, self.where.topics.scores.name) for owner in behind]
            if any(done):  # an owner that does not live until the next call would leave its successor the same work
                await within(PUT_WITHIN_S, self._compare_marks(self._store, behind, one_group))
        except (StoreUnavailable, TimeoutError) as error:
            self._redis.down(str(error) or "no answer in time")
            return
        recovered = {owner.partition: owner.redis.take_recovered() for owner in owners}
        if any(recovered.values()):
            said = "Redis lacked scores of partitions %s when they changed hands: %d were written again"
            log.info(said, [number for number, scores in recovered.items() if scores], sum(recovered.values()))
        if all(done):
            self._redis.up()

    async def _compare_marks(self, store: ScoreMirror, owners: Sequence[Owner], one_group: OneGroup | None) -> None:
        """Check by the marks whether Redis has lost scores, and whether it answers again. Raises StoreUnavailable."""
        if one_group is not None and not one_group.alone:
            owners = ()
        prefix = f"{self.where.topics.scores.name}:"
        offered = {f"{prefix}{owner.partition}": owner.redis.mark() for owner in owners}
        found = await store.mark_filled(offered)
        lost = [
            owner.partition
            for owner in owners
            for name in (f"{prefix}{owner.partition}",)
            if owner.redis.compare_mark(found[name], offered[name], owner.uncommitted)
        ]
        # of partitions that changed hands, `catch_up_redis` says what was missing
        if emptied := [n for n in lost if offered[f"{prefix}{n}"][0] != UNKNOWN_MARK]:
            log.warning("Redis lacks scores that it had, of partitions %s: they are written again", emptied)
        if self._redis.is_down:
            await store.scores(("-",))

    def request_scores(self, requests: int) -> None:
        """Score all accounts again, unless `requests` requests were obeyed already."""
        for partition in self._all.values():
            if partition.owner is not None:
                partition.owner.request_scores(requests)
        self.wake.set()

    def count(self) -> None:
        """Update the gauges. A partition that this worker is giving up has none any more."""
        owners = [partition.owner for partition in self.mine if partition.owner is not None]
        self._metrics.partitions.set(len(self.mine))
        self._metrics.halted.set(len(self.in_state(State.HALTED)))
        self._metrics.quarantined.set(sum(p.breaker.verdict is BreakerVerdict.QUARANTINE for p in self.mine))
        self._metrics.redis_missing_scores.set(sum(owner.redis.missing for owner in owners))
        self._metrics.accounts.set(sum(len(owner.accounts.states) for owner in owners))
        self._metrics.unscored.set(sum(owner.chores.unscored(len(owner.accounts.states)) for owner in owners))
        for owner in owners:
            partition = str(owner.partition)
            self._metrics.state_bytes.labels(partition).set(owner.accounts.bytes)
            self._metrics.partition_accounts.labels(partition).set(len(owner.accounts.states))

    # the methods of partition.Around

    def new_owner(self, accounts: Accounts, hooks: Hooks) -> Owner:
        """See Around."""
        redis = ScoresToRedis(self._store, self._redis, accounts.partition)
        return Owner(
            self.where, accounts, redis, hooks, self._scoring, self._forget_after_us, self._waiting, self._may_rescore
        )

    def _may_rescore(self, number: int) -> bool:
        partition = self._all.get(number)
        return self._knows_others() and partition is not None and acts(partition.behind, self._act_within_records)

    async def prepare(self, owner: Owner) -> None:
        """See Around. Waits for the counts and campaigns of all partitions, so that no account's first score lacks them.

        Waits at most HEAR_WITHIN_S seconds, since a score without them is better than none, and not at all if the partition has
        no account.
        """
        states = owner.accounts.states
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HEAR_WITHIN_S):
                while states and not self._knows_others():
                    await asyncio.sleep(HEAR_AGAIN_S)
                while states and self._look():
                    await asyncio.sleep(0)
        latest = list(islice(reversed(states), MOST_REMEMBERED))
        for at in range(0, len(latest), REMEMBERED_A_TURN):
            self._remember(latest[at : at + REMEMBERED_A_TURN])
            await asyncio.sleep(0)  # heartbeats go out in between

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
        log.info(
            "partition %d: this worker reads from offset %d, after %d changelog records", partition, owner.next, records
        )
        self._tell(partition, owner)
        mark = owner.accounts.mark
        if mark is not None and mark.salt not in ("", self.where.salt_mark):
            said = (
                "partition %d: its accounts were folded under another UPLOAD_GATE_SALT, so their networks, devices, contents "
                "and links count as new ones. If nobody changed it, give this worker the salt of the others and of the gates"
            )
            log.warning(said, partition)
        if mark is not None and mark.scoring not in ("", self._scoring):
            log.info(
                "partition %d: its accounts were scored by the scorecard, layout and models %s, and are scored again by %s. A "
                "group whose workers differ does so at each change of hands",
                partition, mark.scoring, self._scoring,
            )  # fmt: skip
        if forgotten := len(owner.accounts.forgotten):
            self._metrics.forgotten.inc(forgotten)
            said = "partition %d: %d accounts start without history, because an older release wrote their states"
            log.warning(said, partition, forgotten)

    def _tell(self, partition: int, owner: Owner) -> None:
        """Log what happened to the partition's log or changelog since it was last owned."""
        change, _, next_offset, lost = owner.resumed
        if change in (LogChange.NONE, LogChange.FIRST):
            return
        self._metrics.log_changes.labels(change.value).inc()
        self._metrics.events_lost.labels(change.value).inc(lost)
        topics = self.where.topics
        said = {
            LogChange.RECREATED: f"{topics.events.name} was created anew: it is read from offset {next_offset}",
            LogChange.TRUNCATED: f"the log lost its last {lost} events, which were folded: it is read from its end "
            f"{next_offset}, and none is counted twice",
            LogChange.EXPIRED: f"retention loss: {lost} events were never read, because they expired",
            LogChange.CHANGELOG_LOST: f"{topics.states.name} holds nothing of it, though the group had read it: its "
            f"accounts are built again from what {topics.events.name} still holds, from offset {next_offset}",
        }
        log.warning("partition %d: %s", partition, said[change])

    def not_committed(self, partition: int, effects: Sequence[Effects]) -> None:
        """See Around."""
        counts = [count for one in effects for count in one.crowd]
        if counts:
            self._give_back(partition, counts)
        waited = [account for one in effects for account in one.part(Scores).waited]
        if waited:
            self._wait_again(partition, waited)

    def open_failed(self, error: Exception) -> None:
        """See Around."""
        self._kafka.failed(error)

    def fenced(self, partition: int, error: Exception) -> None:
        """See Around."""
        kind = kind_of(error)
        self._metrics.batch_failures.labels(kind).inc()
        if refused(error) is not None:
            self._kafka.failed(error, "Write")
        elif kind == "other":
            log.error("partition %d: a batch failed and is repeated", partition, exc_info=error)
        elif not self._kafka.is_down:
            log.warning("partition %d: a batch is repeated (%s: %s)", partition, kind, kafka_trouble(error))

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
