"""The worker's periodic work, as timers of the Faust app: gauges, lag, scores that Redis lacks, the topic's id."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

import faust
from aiokafka import TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError

from gate.errors import ForeignCluster, StoreUnavailable
from gate.stores.kafka.topics import LOOK_AT_IT, answers, incarnation, require_answer
from streams.worker.assignment import Partitions
from streams.worker.intake import Intake
from streams.worker.metrics import WorkerMetrics
from streams.worker.monitor import RebalanceMonitor
from streams.worker.one_cluster import OneCluster
from streams.worker.one_group import OneGroup
from streams.worker.outage import Outage
from streams.worker.partition import Partition

EVERY_S = 1.0
SAME_TOPIC_EVERY_S = 15.0
REQUESTS_EVERY_S = 2.0
OFFSETS_WITHIN_S = 2.0
ANSWER_TURNS, TURN_S = 15, 0.1
"""In so many turns of the event loop a broker must answer that did not return offsets in time."""
ASKED_FOR_S = 60.0


class Upkeep:
    """The work of the timers. No method raises because a server is away."""

    def __init__(
        self,
        partitions: Partitions,
        intake: Intake,
        kafka: Outage,
        metrics: WorkerMetrics,
        monitor: RebalanceMonitor,
        cluster: OneCluster,
        one_group: OneGroup,
    ) -> None:
        self._partitions = partitions
        self._intake = intake
        self._kafka = kafka
        self._metrics = metrics
        self._monitor = monitor
        self._cluster = cluster
        self._one_group = one_group
        self._topic_was = ""

    async def look(self) -> None:
        """Update the gauges, and notice that Kafka is back."""
        self._partitions.count()
        self._monitor.export()
        self._kafka.look()
        await self._against_outages(self._look)

    async def compare_topic(self) -> None:
        """Restart all partitions if the events topic was created anew."""
        await self._against_outages(self._compare_topic)

    async def _look(self) -> None:
        where = self._partitions.where
        if self._kafka.is_down and self._intake.consumer is not None and await answers(where.bootstrap):
            await self._cluster.require()
            self._kafka.up()
        if self._intake.consumer is not None and not self._kafka.is_down:
            try:
                await self._measure_lag(self._intake.consumer)
            except TimeoutError:  # the assignment is changing, or no broker answers any more
                await require_answer_in_turns(where.bootstrap, ANSWER_TURNS)

    async def fill_redis(self) -> None:
        """Write the scores that Redis lacks, including those that it has lost."""
        await self._against_outages(lambda: self._partitions.catch_up_redis(self._one_group))

    async def claim_redis(self) -> None:
        """Notice other groups that fill this Redis. It takes its turn of its own, because filling may take minutes."""
        with suppress(StoreUnavailable, OSError):  # `fill_redis` says that Redis is away
            await self._one_group.is_alone()

    async def look_for_requests(self) -> None:
        """Obey a request to score all accounts again."""
        await self._against_outages(self._look_for_requests)

    async def _look_for_requests(self) -> None:
        consumer = self._intake.consumer
        if consumer is None or self._kafka.is_down or not self._partitions.mine:
            return
        at = TopicPartition(self._partitions.where.topics.rescores.name, 0)
        async with asyncio.timeout(OFFSETS_WITHIN_S):
            ends = await consumer.end_offsets([at])
        self._partitions.request_scores(ends[at])

    async def _measure_lag(self, consumer: Any) -> None:
        self._metrics.events_partitions.set(len(consumer.partitions_for_topic(self._intake.topic) or ()))
        mine = self._partitions.mine
        if not mine:  # the broker must answer all the same
            async with asyncio.timeout(OFFSETS_WITHIN_S):
                await consumer.end_offsets([TopicPartition(self._intake.topic, 0)])
            return
        async with asyncio.timeout(OFFSETS_WITHIN_S):
            found = await lags(consumer, self._intake.topic, mine)
        still_mine = {partition.number for partition in self._partitions.mine}
        for partition, lag in found.items():
            if partition in still_mine:
                self._metrics.lag.labels(str(partition)).set(lag)

    async def _compare_topic(self) -> None:
        topic = await incarnation(self._partitions.where.bootstrap, self._intake.topic)
        self._cluster.compare(topic.cluster)
        now = "/".join(topic)
        before, self._topic_was = self._topic_was, now
        if before not in ("", now):
            self._partitions.topic_changed()

    async def _against_outages(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except (IllegalStateError, TimeoutError):  # the assignment is changing
            pass
        except ForeignCluster as error:
            self._intake.end(error)
        except (KafkaError, StoreUnavailable, OSError) as error:
            self._kafka.failed(error)


async def require_answer_in_turns(bootstrap: str, turns: int) -> None:
    """Return if any broker answers within so many turns of the event loop, each of at least a tenth of a second.

    A loop that was held up for seconds does not take its own delay for that of the broker. Raises StoreUnavailable.
    """
    asking = asyncio.create_task(require_answer(bootstrap, within_s=ASKED_FOR_S))
    try:
        for _ in range(turns):
            await asyncio.wait({asking}, timeout=TURN_S)
            if asking.done():
                return asking.result()
    finally:
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    raise StoreUnavailable(f"Kafka at {bootstrap} accepts connections and answers nothing", LOOK_AT_IT)


async def lags(consumer: Any, topic: str, partitions: list[Partition]) -> Mapping[int, int]:
    """How many events of each partition are not committed: its end minus its committed offset. Halted and opening
    partitions count as well. Raises KafkaError."""
    at = {TopicPartition(topic, partition.number): partition for partition in partitions}
    ends = await consumer.end_offsets(list(at))
    return {
        partition.number: max(0, ends[one] - await _committed_to(consumer, one, partition))
        for one, partition in at.items()
    }


async def _committed_to(consumer: Any, at: TopicPartition, partition: Partition) -> int:
    if partition.owner is not None:
        return partition.owner.committed_to
    if partition.accounts.mark is not None:
        return partition.accounts.mark.offset
    committed: int | None = await consumer.committed(at)  # the group's offset is committed with the watermark
    if committed is not None:
        return committed
    begins = await consumer.beginning_offsets([at])
    begin: int = begins[at]
    return begin


def declare_timers(app: faust.App, upkeep: Upkeep) -> None:
    """Attach the timers to `app`."""

    @app.timer(interval=EVERY_S)
    async def look() -> None:
        await upkeep.look()

    @app.timer(interval=EVERY_S)
    async def claim_redis() -> None:
        await upkeep.claim_redis()

    @app.timer(interval=EVERY_S)
    async def fill_redis() -> None:
        await upkeep.fill_redis()

    @app.timer(interval=REQUESTS_EVERY_S)
    async def look_for_requests() -> None:
        await upkeep.look_for_requests()

    @app.timer(interval=SAME_TOPIC_EVERY_S)
    async def compare_topic() -> None:
        await upkeep.compare_topic()
