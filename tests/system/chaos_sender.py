"""The writer of the fault run: it outlives the broker, and can add partitions while it writes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from aiokafka.errors import KafkaError

from gate.errors import StoreUnavailable
from gate.records.topics import Topics
from gate.stores.kafka.events import EventProducer


class Sender:
    """Writes events until the topic holds them, whatever happens to the broker."""

    def __init__(self, bootstrap: str, topics: Topics) -> None:
        self._bootstrap = bootstrap
        self._producer = EventProducer(bootstrap, topics)

    async def start(self) -> None:
        await self._producer.start()

    async def stop(self) -> None:
        await self._producer.stop()

    async def send(self, records: list[tuple[bytes | None, bytes]]) -> None:
        """Write them; perhaps twice, for what counts is what the topic holds."""
        while True:
            try:
                await self._producer.send_raw(records)
                return
            except StoreUnavailable:
                await asyncio.sleep(0.5)

    async def add_partitions(self, topics: Topics) -> None:
        """Give the topics as many partitions as `topics` says, and go on with all of them."""
        await self._producer.stop()
        # those that workers write to come before the one that they read
        for topic in (topics.states, topics.scores, topics.dead_letters, topics.decisions, topics.events):
            await _until_done(partial(_grow, self._bootstrap, topic.name, topic.partitions))
        self._producer = EventProducer(self._bootstrap, topics)
        await _until_done(self._producer.start)


async def _grow(bootstrap: str, topic: str, partitions: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        await admin.start()
        (known,) = await admin.describe_topics([topic])
        if len(known["partitions"]) < partitions:
            await admin.create_partitions({topic: NewPartitions(partitions)})
            raise TimeoutError("look again")
    finally:
        await admin.close()


async def _until_done(act: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            return await act()
        except (KafkaError, StoreUnavailable, OSError, TimeoutError):
            await asyncio.sleep(0.3)
