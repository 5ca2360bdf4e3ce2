"""Who else: listens to what every partition's owner counted of shared features, and tells the crowd in memory.

Counts are published by `commit`, with the batch they come from. Leaves their meaning to `core.crowd`. A count that is
not heard yet, or was below the floor, is missing from the sum; that undercount is part of the contract. A count that was
written longer ago than the crowd's window is passed over: no account in it still counts.
"""

from __future__ import annotations

import time
from typing import Protocol

from streams.core.crowd import WINDOW_US
from streams.pipeline.effects.crowd_counts import crowd_key
from streams.worker.follow import TopicFollower

__all__ = ["Hears", "crowd_key", "hear", "is_recent", "listen"]

MAX_DIGITS = 9


class Hears(Protocol):
    """What is told of counts: `streams.core.crowd.Crowd`."""

    def hear(self, partition: int, feature: str, value: int | bytes, at_us: int = 0, /) -> object:
        """The owner of `partition` published `value` for `feature`; the broker wrote it down at `at_us`."""
        ...


async def listen(bootstrap: str, topic: str, crowd: Hears) -> None:
    """Read the window's counts, then go on with what comes. Ends only by being cancelled, or raises KafkaError."""
    async with TopicFollower(bootstrap, topic, 0) as follower:
        while True:
            records = await follower.next()
            now_us = time.time_ns() // 1_000
            for record in records:
                if is_recent(record.timestamp, now_us):
                    hear(crowd, record.key, record.value, record.timestamp)


def is_recent(timestamp_ms: int, now_us: int) -> bool:
    """Whether a record was written within the crowd's window; 0 or less is unknown, and passes."""
    return timestamp_ms <= 0 or now_us - timestamp_ms * 1_000 <= WINDOW_US


def hear(crowd: Hears, key: bytes | None, value: bytes | None, timestamp_ms: int = 0) -> bool:
    """Tell `crowd` one record; False where it does not read as a count. A tombstone counts as 0."""
    partition, colon, feature = (key or b"").decode(errors="replace").partition(":")
    if not colon or not feature or not partition.isascii() or not partition.isdigit() or len(partition) > MAX_DIGITS:
        return False
    if value is not None and value[:1] == b"[":
        return bool(crowd.hear(int(partition), feature, value, timestamp_ms * 1_000))
    count = value or b"0"
    if not count.isdigit() or len(count) > MAX_DIGITS:
        return False
    crowd.hear(int(partition), feature, int(count))
    return True
