"""Receives operators' commands on `worker.controls.v1`, carries them out, and answers there.

A worker reads the commands that are written while it runs. A worker that starts later does not need them, because it
counts unreadable events from zero. Only Kafka is required. `partition` runs a partition's state machine.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from mode import Service

from gate.errors import StoreUnavailable
from gate.records.topics import Topic
from gate.stores.kafka.client import connected, stopped
from gate.stores.kafka.connection import connection
from gate.stores.kafka.recreation import RecreationWatch
from gate.stores.kafka.trouble import kafka_unavailable
from streams.worker.assignment import ENDING, Partitions
from streams.worker.control_records import (
    ControlRecord,
    ResumeAnswer,
    ResumeCommand,
    ResumeOutcome,
    decode_control,
    encode_control,
)
from streams.worker.follow import TopicFollower
from streams.worker.outage import Outage
from streams.worker.partition import Partition, State

log = logging.getLogger("upload_gate.worker")

ANSWER_WITHIN_S = 20.0
SEND_WITHIN_S = 5.0
LOOK_EVERY_S = 0.05
TRY_AGAIN_S = 2.0
WAIT_S = 0.2


class Controls(Service):
    """Follows the topic as a service of the app. It keeps running while the cluster is away."""

    def __init__(
        self, partitions: Partitions, kafka: Outage, topics_are_there: Callable[[], bool], **options: Any
    ) -> None:
        """`topics_are_there` is set when the topic may be read. Before that, a read could make a broker create the
        topic with its own defaults."""
        super().__init__(**options)
        self._partitions = partitions
        self._topics_are_there = topics_are_there
        self._kafka = kafka
        self._heard_to: int | None = None
        self._resuming: set[asyncio.Task[None]] = set()

    async def on_stop(self) -> None:
        """Called by mode."""
        for task in self._resuming:
            task.cancel()
        if self._resuming:
            await asyncio.wait(self._resuming)

    @Service.task
    async def _follow(self) -> None:
        where = self._partitions.where
        topic = where.topics.controls.name
        watch = RecreationWatch(where.bootstrap, [topic])
        while not self.should_stop:
            if not self._topics_are_there():
                await self.sleep(WAIT_S)
                continue
            try:
                async with TopicFollower(where.bootstrap, topic, self._heard_to, watch) as follower:
                    self._heard_to = follower.position
                    while not self.should_stop:
                        for record in await follower.next():
                            self.hear(record.value)
                        self._heard_to = follower.position
            except (KeyError, TimeoutError):  # the topic is not known yet
                await self.sleep(TRY_AGAIN_S)
            except (KafkaError, OSError) as error:
                self._kafka.failed(error)
                await self.sleep(TRY_AGAIN_S)

    def hear(self, value: bytes | None) -> None:
        """Carry out one record if it is a command for partitions of this worker."""
        record = decode_control(value)
        if not isinstance(record, ResumeCommand):
            return
        for partition in self._partitions.mine:
            if record.partition in (None, partition.number):
                task = asyncio.create_task(self._resume(partition, record))
                self._resuming.add(task)
                task.add_done_callback(self._resuming.discard)

    async def _resume(self, partition: Partition, command: ResumeCommand) -> None:
        where = self._partitions.where
        outcome = await resumed(partition, command.drains)
        self._partitions.count()
        offset = None if partition.owner is None else partition.owner.next
        answer = ResumeAnswer(command.id[:64], partition.number, outcome, offset=offset)
        try:
            await send_control(where.bootstrap, where.topics.controls, answer)
        except StoreUnavailable as error:
            log.warning("partition %d: its answer (%s) was not sent: %s", partition.number, outcome.value, error)


async def resumed(partition: Partition, drains: bool, within_s: float = ANSWER_WITHIN_S) -> ResumeOutcome:
    """Resume a halted partition, and wait until it has advanced or is halted again."""
    if partition.state is not State.HALTED:
        return ResumeOutcome.NOT_HALTED
    halted_at = partition.owner.next if partition.owner is not None else 0
    draining = "; unreadable events become dead letters until most are readable again" if drains else ""
    log.warning("partition %d reads on from offset %d, as an operator asks%s", partition.number, halted_at, draining)
    partition.resume(drains)
    try:
        async with asyncio.timeout(within_s):
            while partition.state not in ENDING:
                if partition.state is State.HALTED:
                    return ResumeOutcome.HALTED_AGAIN
                if partition.owner is not None and partition.owner.next > halted_at:
                    return ResumeOutcome.LIVE
                await asyncio.sleep(LOOK_EVERY_S)
    except TimeoutError:
        return ResumeOutcome.SLOW
    return ResumeOutcome.MOVED


async def send_control(bootstrap: str, topic: Topic, record: ControlRecord) -> None:
    """Write a control record and wait until it is kept. Raises StoreUnavailable."""
    producer: Any = AIOKafkaProducer(**connection(bootstrap), acks="all", enable_idempotence=True)
    try:
        async with asyncio.timeout(SEND_WITHIN_S):
            await connected(producer)
            await producer.send_and_wait(topic.name, key=record.key, value=encode_control(record), partition=0)
    except (KafkaError, OSError, TimeoutError) as error:
        raise kafka_unavailable(bootstrap, "did not keep the record", error) from error
    finally:
        await stopped(producer)
