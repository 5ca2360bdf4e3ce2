"""Reads and writes topic `crowd.hot.v1`: the hot facts, compacted, one record a feature."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from gate.stores.kafka.client import closed, connected, stopped
from gate.stores.kafka.connection import connection
from gate.stores.kafka.recreation import RecreationWatch
from gate.stores.kafka.trouble import kafka_unavailable

PARTITION: Final = 0
"""The one partition of the topic."""
POLL_MS: Final = 500
TRY_AGAIN_S: Final = 2.0
SEND_WITHIN_S: Final = 10.0

Hear = Callable[[bytes | None, bytes | None], object]
"""Gets the key and the value of each record."""


async def follow_hot_facts(bootstrap: str, topic: str, hear: Hear) -> None:
    """Pass every record from the topic's beginning to `hear`, then each new one. Ends only by being cancelled.

    While Kafka is away, or has no such topic yet, it tries again; what was heard stays as it is.
    """
    while True:
        try:
            await _follow(bootstrap, topic, hear)
        except (KafkaError, OSError, TimeoutError, KeyError):
            await asyncio.sleep(TRY_AGAIN_S)


async def _follow(bootstrap: str, topic: str, hear: Hear) -> None:
    """Follow the topic until it is created anew."""
    consumer: Any = AIOKafkaConsumer(
        **connection(bootstrap),
        enable_auto_commit=False,
        auto_offset_reset="earliest",  # of a topic that was created anew, all; the client's default is the end
        isolation_level="read_committed",
    )
    try:
        await connected(consumer)
        if topic not in await consumer.topics():  # asking for it by name might create it, with other settings
            raise KeyError(topic)
        at = TopicPartition(topic, PARTITION)
        consumer.assign([at])
        consumer.seek(at, (await consumer.beginning_offsets([at]))[at])
        async with RecreationWatch(bootstrap, [topic]) as watch:
            while not watch.take():
                for records in (await consumer.getmany(at, timeout_ms=POLL_MS)).values():
                    for record in records:
                        hear(record.key, record.value)
    finally:
        await closed(consumer.stop())


class HotFactProducer:
    """Writes hot facts. It connects on first use; use it in one event loop, until `stop`."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._bootstrap = bootstrap
        self._topic = topic
        self._producer: Any = None

    async def send(self, records: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Write records in their order and wait until all are kept. Raises StoreUnavailable; then any may be kept."""
        try:
            async with asyncio.timeout(SEND_WITHIN_S):
                if self._producer is None:
                    self._producer = AIOKafkaProducer(
                        **connection(self._bootstrap), acks="all", enable_idempotence=True
                    )
                    await connected(self._producer)
                kept = [
                    await self._producer.send(self._topic, value=value, key=key, partition=PARTITION)
                    for key, value in records
                ]
                await asyncio.gather(*kept)
        except (KafkaError, OSError, TimeoutError) as error:
            await self.stop()
            raise kafka_unavailable(self._bootstrap, "did not keep hot facts", error) from error

    async def stop(self) -> None:
        """Disconnect. Nothing when it is not connected."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await stopped(producer)
