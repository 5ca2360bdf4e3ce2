"""The only way into the app: an aiokafka consumer, run as a service of the Faust app, hands fetches to the agents.

A partition's whole fetch is one message on the agents' channel, and one fetch of a partition is being folded at a
time; what arrives meanwhile is the next one. A fetch is requested for an owner whose own position is the consumer's,
and handed over only with that owner, so no record is folded twice or passed over. Decides when to read what; leaves a
partition's life to `partition`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError
from mode import Service

from gate.errors import ForeignCluster, StoreUnavailable, TopicUnfit
from gate.stores.kafka.client import closed, connected
from gate.stores.kafka.connection import connection
from gate.stores.kafka.topic_settings import require_partitions, unlike
from gate.stores.kafka.topics import declare, require_answer
from gate.stores.kafka.trouble import kafka_trouble
from streams.worker.agents import Fetch
from streams.worker.assignment import Partitions
from streams.worker.commit import Misplaced, Owner
from streams.worker.crowd_feed import Hears, listen
from streams.worker.one_cluster import OneCluster
from streams.worker.outage import Outage
from streams.worker.partition import Event, ImpossibleStep, Partition, State
from streams.worker.plain_records import plain_records, without_copies

log = logging.getLogger("upload_gate.worker")

BATCH_RECORDS = 8_000
"""Most events of a batch: the more, the more of them are of one account, which is scored and written once a batch."""
FETCH_BYTES = 3 << 20
"""Most bytes of a batch: 7,000 plain events. Two thirds of them take 12 to 27 MB less memory, and more CPU for 1,000 busy
accounts, but not for 100,000."""
FEW_RECORDS = 500
IDLE_POLL_MS = 200
BUSY_POLL_MS = 5  # a partition that gets free is not read before the current poll ends
POSITIONS_WITHIN_S = 1.0
METADATA_MAX_AGE_MS = 5_000
"""A broker that just started may not know its topics yet; a group that joins then owns nothing until this has passed."""
REQUEST_TIMEOUT_MS = 15_000  # a request that a dying broker took and never answers holds up the group so long
JOIN_GRACE_MS = 9_000  # joining takes as long as the slowest member takes to settle
NOWHERE = -1
"""No partition has this number. A fetch of it raises what the group refuses, which the client keeps for the next fetch."""
PACE_S = 0.01
WAIT_S = 0.2
TRY_AGAIN_S = 0.5


class Rebalance(Protocol):
    """Who is told how long rebalances take: `streams.worker.monitor`."""

    def begin(self) -> None:
        """All partitions are taken away before they are given out again."""
        ...

    def end(self) -> None:
        """Partitions are given out."""
        ...


Requested = Mapping[TopicPartition, tuple[Partition, Owner]]


class Intake(Service):
    """Reads events and hands them over. Survives the cluster being away, at the start and later."""

    def __init__(
        self,
        partitions: Partitions,
        crowd: Hears,
        kafka: Outage,
        rebalance: Rebalance,
        hand_over: Callable[[Fetch], Awaitable[object]],
        open_channel: Callable[[], object],
        session_timeout_ms: int,
        cluster: OneCluster,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.topic = partitions.where.topics.events.name
        self.consumer: Any = None
        self._partitions = partitions
        self._crowd = crowd
        self._kafka = kafka
        self._rebalance = rebalance
        self._hand_over = hand_over
        self._open_channel = open_channel
        self._session_timeout_ms = session_timeout_ms
        self._cluster = cluster
        self._ending: asyncio.Future[None] | None = None
        partitions.read_by(self)

    def read_from(self, partition: int, offset: int) -> None:
        """Read `partition` on from `offset`, which no group offset may overrule."""
        at = TopicPartition(self.topic, partition)
        try:
            self.consumer.seek(at, offset)
            self.consumer.resume(at)
        except IllegalStateError:
            pass  # the group has moved it already; `revoke` is on its way

    def end(self, error: Exception) -> None:
        """Crash, and with this service the whole app."""
        self._ending = asyncio.ensure_future(self.crash(error))

    def assignments(self) -> Assignments:
        """The listener to which the consumer reports the group's decisions."""
        return Assignments(self._partitions, self._hold, self._rebalance, self._cluster)

    async def on_stop(self) -> None:
        """Finish the batches in hand, close the owners, leave the group."""
        await self._partitions.stop()
        consumer, self.consumer = self.consumer, None
        if consumer is not None:
            try:
                async with asyncio.timeout(5.0):
                    await consumer.stop()
            except (KafkaError, OSError, TimeoutError) as error:
                log.warning("could not leave the group properly: %s", kafka_trouble(error))

    @Service.task
    async def _read(self) -> None:
        if not await self._until_connected():
            return
        self._open_channel()  # Faust's own consumer would do this; without it the channel stays shut
        self.consumer.subscribe([self.topic], listener=self.assignments())
        while not self.should_stop:
            try:
                await self.feed()
            except (IllegalStateError, TimeoutError):  # the assignment moves
                await asyncio.sleep(0.02)
            except (KafkaError, OSError) as error:
                self._kafka.failed(error)
                await asyncio.sleep(0.02)

    async def _until_connected(self) -> bool:
        where = self._partitions.where
        while not self.should_stop:
            consumer = AIOKafkaConsumer(
                **connection(where.bootstrap),
                group_id=where.group,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                isolation_level="read_committed",
                session_timeout_ms=self._session_timeout_ms,
                heartbeat_interval_ms=max(100, self._session_timeout_ms // 6),
                max_poll_interval_ms=300_000,
                max_partition_fetch_bytes=FETCH_BYTES,
                metadata_max_age_ms=METADATA_MAX_AGE_MS,
                request_timeout_ms=max(REQUEST_TIMEOUT_MS, self._session_timeout_ms + JOIN_GRACE_MS),
            )
            try:
                await require_answer(where.bootstrap)  # a frozen broker is told within seconds
                await declare(where.bootstrap, where.topics)
                await self._compare_topics()
                await connected(consumer)
                await self._cluster.require()
            except TopicUnfit:
                await closed(consumer.stop())
                raise
            except (KafkaError, StoreUnavailable, OSError, TimeoutError) as error:
                self._kafka.failed(error)
                await closed(consumer.stop())
                await asyncio.sleep(TRY_AGAIN_S)
                continue
            except asyncio.CancelledError:  # the worker ends while it connects
                await closed(consumer.stop())
                raise
            without_copies(consumer)
            self.consumer = consumer
            self._kafka.up()
            return True
        return False

    async def _compare_topics(self) -> None:
        """Log, for every topic whose settings differ from those that the worker needs, the command that corrects it.

        Raises TopicUnfit where a topic has too few partitions, and StoreUnavailable.
        """
        where = self._partitions.where
        await require_partitions(where.bootstrap, where.topics)
        try:
            different = await unlike(where.bootstrap, where.topics)
        except StoreUnavailable as error:  # a user without the right to look at settings may still read and write
            log.warning("the topics' settings cannot be compared with what this worker needs: %s", error)
            return
        for said in different:
            log.warning("%s", said)

    async def feed(self) -> None:
        """Request one fetch for all partitions that are free, and hand over what came.

        Raises KafkaError, and IllegalStateError where the assignment moves meanwhile.
        """
        partitions = self._partitions
        has_chores = await self._hand_chores_over(partitions.in_state(State.LIVE))
        requested = await self._requested(partitions.in_state(State.LIVE))
        if not requested and not has_chores:
            partitions.wake.clear()
            try:
                async with asyncio.timeout(IDLE_POLL_MS / 1000):
                    await partitions.wake.wait()
            except TimeoutError:
                pass
        if not requested:
            if self.consumer is not None:  # the worker may have ended meanwhile
                await self.consumer.getmany(TopicPartition(self.topic, NOWHERE), timeout_ms=0, max_records=1)
            return
        is_busy = partitions.in_state(State.FOLDING) or any(
            owner.chores.is_due(owner.next) for _, owner in requested.values()
        )
        wait_ms = BUSY_POLL_MS if is_busy else IDLE_POLL_MS
        got = await self._fetched(requested, wait_ms)
        polled = time.monotonic()
        for at, (partition, owner) in requested.items():
            await self._take(at, partition, owner, got.get(at, ()))
        if sum(map(len, got.values())) < FEW_RECORDS:  # no backlog: wait for a few more, each batch has a cost
            await asyncio.sleep(PACE_S - (time.monotonic() - polled))

    async def _fetched(self, requested: Requested, wait_ms: int) -> dict[TopicPartition, list[Any]]:
        """What each partition has at hand, up to `BATCH_RECORDS`; waits for the first of it only.

        The client's own bound is one for all partitions, and would cut the batch of the last one short.
        """
        got: dict[TopicPartition, list[Any]] = dict(
            await self.consumer.getmany(*requested, timeout_ms=wait_ms, max_records=BATCH_RECORDS)
        )
        if sum(map(len, got.values())) < BATCH_RECORDS:
            return got
        with suppress(
            KafkaError, IllegalStateError
        ):  # comes again with the next fetch; what is at hand must not be lost
            for at in requested:
                batch = got.setdefault(at, [])
                if room := BATCH_RECORDS - len(batch):
                    batch += (await self.consumer.getmany(at, timeout_ms=0, max_records=room)).get(at, ())
        return got

    async def _hand_chores_over(self, live: Sequence[Partition]) -> bool:
        """Where a partition's chores have their turn, hand them over in place of a fetch; whether any were."""
        handed_over = False
        for partition in live:
            owner, behind = partition.owner, partition.behind
            if owner is not None and partition.state is State.LIVE and owner.chores.has_turn(owner.next, behind):
                partition.on(Event.FETCH)
                await self._hand_over(Fetch(partition, owner, (), owner.next))
                handed_over = True
        return handed_over

    async def _requested(self, live: Sequence[Partition]) -> Requested:
        requested: dict[TopicPartition, tuple[Partition, Owner]] = {}
        async with asyncio.timeout(POSITIONS_WITHIN_S):
            for partition in live:
                owner, at = partition.owner, TopicPartition(self.topic, partition.number)
                position = await self.consumer.position(at)
                if owner is None or partition.owner is not owner or partition.state is not State.LIVE:
                    continue
                if position == owner.next:
                    requested[at] = (partition, owner)
                    continue
                said = f"the consumer is at offset {position}, and {owner.next} is next"
                partition.of_owner(owner, Event.MISPLACED, Misplaced(said))
        return requested

    async def _take(self, at: TopicPartition, partition: Partition, owner: Owner, records: Sequence[Any]) -> None:
        """Hand over `records` if they are still the owner's; else put the consumer back to where its new owner is."""
        if partition.owner is not owner:
            if records and partition.owner is not None and partition.state is State.LIVE:
                self.read_from(partition.number, partition.owner.next)
            return
        try:
            end = await self.consumer.position(at)
            highwater = self.consumer.highwater(at)
        except IllegalStateError:
            return  # the group took it away, and the position with it
        if partition.owner is not owner or partition.state is not State.LIVE:
            return  # it is given up; whoever opens it reads from the owner's position
        if highwater is not None:  # None until the broker has answered a fetch
            partition.behind = max(0, highwater - end)
        if records:
            partition.on(Event.FETCH)
            await self._hand_over(Fetch(partition, owner, plain_records(records), end, partition.behind))
        else:
            owner.next = end  # markers of transactions and aborted records are passed over

    def _hold(self, partitions: Sequence[int]) -> None:
        """Do not fetch before the partition's position is known."""
        self.consumer.pause(*(TopicPartition(self.topic, partition) for partition in partitions))

    @Service.task
    async def _hear_crowd(self) -> None:
        where = self._partitions.where
        while not self.should_stop:
            if self.consumer is None:  # the topic may be missing until then
                await self.sleep(WAIT_S)
                continue
            try:
                await listen(where.bootstrap, where.topics.crowd.name, self._crowd)
            except (KeyError, TimeoutError):  # the topic is not known yet
                await self.sleep(2.0)
            except (KafkaError, OSError) as error:
                self._kafka.failed(error)
                await self.sleep(2.0)


class Assignments(ConsumerRebalanceListener):
    """Passes on what the group decides."""

    def __init__(
        self, partitions: Partitions, hold: Callable[[Sequence[int]], None], rebalance: Rebalance, cluster: OneCluster
    ) -> None:
        self._partitions = partitions
        self._hold = hold
        self._rebalance = rebalance
        self._cluster = cluster
        self._is_ending = False

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Called before this worker joins the group, and before each rebalance."""
        self._rebalance.begin()
        try:
            await self._cluster.require()
            await self._partitions.revoke()
        except (ForeignCluster, ImpossibleStep) as fault:  # the client would only log it
            self._is_ending = True
            self._partitions.end(fault)

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Called after it. A worker that is ending takes none."""
        if self._is_ending:
            return
        partitions = sorted(at.partition for at in assigned)
        log.info("assigned: partitions %s", partitions or "none")
        self._hold(partitions)
        try:
            self._partitions.assign(partitions)
        except ImpossibleStep as fault:  # the client would only log it
            self._partitions.end(fault)
        self._rebalance.end()
