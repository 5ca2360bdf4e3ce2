"""Who else: listens to what every partition's owner counted of shared features, and tells the crowd in memory.

Counts are published by `commit`, with the batch they come from. Leaves their meaning to `core.crowd`. A count that is
not heard yet, or was below the floor, is missing from the sum; that undercount is part of the contract.
"""

from __future__ import annotations

from typing import Any, Protocol

from aiokafka import AIOKafkaConsumer, TopicPartition

PARTITION = 0
POLL_MS = 500


class Hears(Protocol):
    """What is told of counts: `streams.core.crowd.Crowd`."""

    def hear(self, partition: int, feature: str, count: int) -> object:
        """Partition `partition` has seen `count` distinct accounts share `feature`."""
        ...


def crowd_key(partition: int, feature: str) -> bytes:
    """The key of a count's record."""
    return f"{partition}:{feature}".encode()


async def listen(bootstrap: str, topic: str, crowd: Hears) -> None:
    """Read all counts from the first, then go on with what comes. Ends only by being cancelled, or raises KafkaError."""
    consumer: Any = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, enable_auto_commit=False, isolation_level="read_committed"
    )
    try:
        await consumer.start()
        at = TopicPartition(topic, PARTITION)
        consumer.assign([at])
        consumer.seek(at, (await consumer.beginning_offsets([at]))[at])
        while True:
            for records in (await consumer.getmany(at, timeout_ms=POLL_MS)).values():
                for record in records:
                    hear(crowd, record.key, record.value)
    finally:
        await consumer.stop()


def hear(crowd: Hears, key: bytes | None, value: bytes | None) -> bool:
    """Tell `crowd` one record; False where it does not read as a count. A tombstone counts as 0."""
    partition, colon, feature = (key or b"").decode(errors="replace").partition(":")
    count = value or b"0"
    if not colon or not feature or not partition.isascii() or not partition.isdigit() or not count.isdigit():
        return False
    crowd.hear(int(partition), feature, int(count))
    return True
