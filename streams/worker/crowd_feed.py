"""Who else: listens to what every partition's owner counted of shared features, and tells the crowd in memory.

Counts are published by `commit`, with the batch they come from. Leaves their meaning to `core.crowd`. A count that is
not heard yet, or was below the floor, is missing from the sum; that undercount is part of the contract. So is one that
was written longer ago than the crowd's window: whatever is still shared since then is told again with its next event.
"""

from __future__ import annotations

import time
from typing import Any, Protocol

from aiokafka import AIOKafkaConsumer, TopicPartition

from gate.stores.kafka.client import connected
from streams.core.crowd import WINDOW_US
from streams.pipeline.effects.crowd_counts import PARTITION, crowd_key

__all__ = ["Hears", "crowd_key", "hear", "is_recent", "listen"]

POLL_MS = 500


class Hears(Protocol):
    """What is told of counts: `streams.core.crowd.Crowd`."""

    def hear(self, partition: int, feature: str, count: int) -> object:
        """Partition `partition` counts `count` distinct accounts that share `feature`."""
        ...


async def listen(bootstrap: str, topic: str, crowd: Hears) -> None:
    """Read the window's counts, then go on with what comes. Ends only by being cancelled, or raises KafkaError."""
    consumer: Any = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, enable_auto_commit=False, isolation_level="read_committed"
    )
    try:
        await connected(consumer)
        at = TopicPartition(topic, PARTITION)
        consumer.assign([at])
        consumer.seek(at, (await consumer.beginning_offsets([at]))[at])
        while True:
            for records in (await consumer.getmany(at, timeout_ms=POLL_MS)).values():
                now_us = time.time_ns() // 1_000
                for record in records:
                    if is_recent(record.timestamp, now_us):
                        hear(crowd, record.key, record.value)
    finally:
        await consumer.stop()


def is_recent(timestamp_ms: int, now_us: int) -> bool:
    """Whether a record was written within the crowd's window; 0 or less is unknown, and passes."""
    return timestamp_ms <= 0 or now_us - timestamp_ms * 1_000 <= WINDOW_US


def hear(crowd: Hears, key: bytes | None, value: bytes | None) -> bool:
    """Tell `crowd` one record; False where it does not read as a count. A tombstone counts as 0."""
    partition, colon, feature = (key or b"").decode(errors="replace").partition(":")
    count = value or b"0"
    if not colon or not feature or not partition.isascii() or not partition.isdigit() or not count.isdigit():
        return False
    crowd.hear(int(partition), feature, int(count))
    return True
