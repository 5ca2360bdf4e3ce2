"""The only way into the app: an aiokafka consumer, run as a service of the Faust app, hands fetches to the agents.

A partition's whole fetch is one message on the agents' channel, and one batch per partition is being folded at a time;
what arrives meanwhile is the next batch. Decides when to read what; leaves who owns a partition to `owners`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError
from mode import Service

from gate.errors import StoreUnavailable
from gate.stores.kafka.client import connected
from gate.stores.kafka.topics import answers, declare, incarnation
from streams.worker.commit import Misplaced, Owner
from streams.worker.crowd_feed import Hears, listen
from streams.worker.metrics import WorkerMetrics
from streams.worker.outage import Outage
from streams.worker.owners import Owners

log = logging.getLogger("upload_gate.worker")

Batch = tuple[Owner, Sequence[Any]]

BATCH_RECORDS = 2_000
IDLE_POLL_MS = 200
BUSY_POLL_MS = 5  # a partition that gets free is not read before the current poll ends
PACE_S = 0.01
TRY_AGAIN_S = 0.5
LOOK_EVERY_S = 1.0
SAME_TOPIC_EVERY = 15  # looks


class Intake(Service):
    """Reads events and hands them over. Survives the cluster being away, at the start and later."""

    def __init__(
        self,
        owners: Owners,
        crowd: Hears,
        kafka: Outage,
        metrics: WorkerMetrics,
        hand_over: Callable[[Batch], Awaitable[object]],
        open_channel: Callable[[], object],
        session_timeout_ms: int,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._owners = owners
        self._crowd = crowd
        self._kafka = kafka
        self._metrics = metrics
        self._hand_over = hand_over
        self._open_channel = open_channel
        self._session_timeout_ms = session_timeout_ms
        self._topic = owners.where.topics.events.name
        self._consumer: Any = None
        self._same_as = ""

    def read_from(self, partition: int, offset: int) -> None:
        """Read `partition` on from `offset`, which no group offset may overrule."""
        at = TopicPartition(self._topic, partition)
        try:
            self._consumer.seek(at, offset)
            self._consumer.resume(at)
        except IllegalStateError:
            pass  # the group has moved it already; `revoke` is on its way

    async def on_stop(self) -> None:
        """Finish the batches in hand, close the owners, leave the group."""
        await self._owners.stop()
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            try:
                async with asyncio.timeout(5.0):
                    await consumer.stop()
            except (KafkaError, OSError, TimeoutError) as error:
                log.warning("could not leave the group properly: %s", str(error) or type(error).__name__)

    @Service.task
    async def _run(self) -> None:
        if not await self._until_connected():
            return
        self._open_channel()  # Faust's own consumer would do this; without it the channel stays shut and silent
        self._consumer.subscribe([self._topic], listener=Assignments(self._owners, self, self._hold))
        while not self.should_stop:
            try:
                await self._feed()
            except (IllegalStateError, KafkaError, OSError) as error:  # the assignment moved, or the cluster is away
                log.debug("poll: %r", error)
                await asyncio.sleep(0.02)

    async def _until_connected(self) -> bool:
        where = self._owners.where
        while not self.should_stop:
            consumer = AIOKafkaConsumer(
                bootstrap_servers=where.bootstrap,
                group_id=where.group,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                isolation_level="read_committed",
                session_timeout_ms=self._session_timeout_ms,
                heartbeat_interval_ms=max(100, self._session_timeout_ms // 6),
                max_poll_interval_ms=300_000,
                max_partition_fetch_bytes=1 << 20,
                metadata_max_age_ms=60_000,
            )
            try:
                await declare(where.bootstrap, where.topics)
                await connected(consumer)
            except (KafkaError, StoreUnavailable, OSError, TimeoutError) as error:
                self._kafka.down(str(error))
                await consumer.stop()
                await asyncio.sleep(TRY_AGAIN_S)
                continue
            except asyncio.CancelledError:  # the worker ends while it connects
                await consumer.stop()
                raise
            self._consumer = consumer
            self._kafka.up()
            return True
        return False

    async def _feed(self) -> None:
        owners = self._owners
        live = owners.live
        idle = {TopicPartition(self._topic, owner.partition): owner for owner in live if not owner.busy}
        if not idle:
            owners.wake.clear()
            try:
                async with asyncio.timeout(IDLE_POLL_MS / 1000):
                    await owners.wake.wait()
            except TimeoutError:
                pass
            return
        wait_ms = IDLE_POLL_MS if len(idle) == len(live) else BUSY_POLL_MS
        got = await self._consumer.getmany(*idle, timeout_ms=wait_ms, max_records=BATCH_RECORDS)
        polled = time.monotonic()
        for at, messages in got.items():
            owner = idle.get(at)
            if messages and owner is not None and owner.live and owners.owner(at.partition) is owner:
                owner.busy = True
                await self._hand_over((owner, messages))
        if sum(map(len, got.values())) < BATCH_RECORDS // 4:  # no backlog: let a few more arrive, a batch has its price
            await asyncio.sleep(PACE_S - (time.monotonic() - polled))

    def _hold(self, partitions: Sequence[int]) -> None:
        """Do not fetch before the partition's position is known."""
        self._consumer.pause(*(TopicPartition(self._topic, partition) for partition in partitions))

    @Service.task
    async def _hear_crowd(self) -> None:
        where = self._owners.where
        while not self.should_stop:
            try:
                await listen(where.bootstrap, where.topics.crowd.name, self._crowd)
            except (KafkaError, OSError, TimeoutError, KeyError) as error:
                log.debug("crowd: %r", error)
                await self.sleep(2.0)

    @Service.task
    async def _look_after(self) -> None:
        looks = 0
        while not self.should_stop:
            await self.sleep(LOOK_EVERY_S)
            looks += 1
            try:
                await self._look(looks % SAME_TOPIC_EVERY == 0)
            except (KafkaError, StoreUnavailable, IllegalStateError, OSError, TimeoutError) as error:
                log.debug("look: %r", error)

    async def _look(self, at_topic: bool) -> None:
        owners = self._owners
        if self._kafka.is_down and self._consumer is not None and await answers(owners.where.bootstrap):
            self._kafka.up()
        if self._consumer is not None:
            for owner in owners.live:
                end = self._consumer.highwater(TopicPartition(self._topic, owner.partition))
                self._metrics.lag.labels(str(owner.partition)).set(max(0, (end or 0) - owner.next))
        owners.count()
        await owners.pay_redis()
        if at_topic:
            await self._see_that_topic_is_same()

    async def _see_that_topic_is_same(self) -> None:
        now = "/".join(await incarnation(self._owners.where.bootstrap, self._topic))
        before, self._same_as = self._same_as, now
        if before not in ("", now):
            log.warning("the topic %s was created anew: every partition begins again at its beginning", self._topic)
            for owner in self._owners.live:
                self._owners.failed(owner, Misplaced(f"{self._topic} is another topic now"))


class Assignments(ConsumerRebalanceListener):
    """Passes on what the group decides."""

    def __init__(self, owners: Owners, intake: Intake, hold: Callable[[Sequence[int]], None]) -> None:
        self._owners = owners
        self._intake = intake
        self._hold = hold

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Called before each rebalance."""
        await self._owners.revoke()

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Called after it."""
        partitions = sorted(at.partition for at in assigned)
        log.info("assigned: partitions %s", partitions or "none")
        self._hold(partitions)
        self._owners.assign(partitions, self._intake)
