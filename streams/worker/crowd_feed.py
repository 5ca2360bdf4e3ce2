"""Reads the counts of shared features that every partition's owner publishes, and adds them to the crowd in memory.

`commit` publishes counts in the transaction of their batch; `core.crowd` defines them. A count that has not arrived
yet, or was below the floor, is missing from the sum; that undercount is part of the contract. A count that is older than
the crowd's window is skipped, because no account in it still counts.
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
    """The receiver of counts: `streams.core.crowd.Crowd`."""

    def hear(self, partition: int, feature: str, value: int | bytes, at_us: int = 0, /) -> object:
        """Take the count `value` of `feature` that the owner of `partition` published, by the broker's time `at_us`."""
        ...

    def stored_are_heard(self) -> None:
        """All stored counts were taken, perhaps before."""
        ...


async def listen(bootstrap: str, topic: str, crowd: Hears) -> None:
    """Read the window's counts, then new ones as they come. Runs until it is cancelled or raises KafkaError."""
    async with TopicFollower(bootstrap, topic, 0) as follower:
        while True:
            records = await follower.next()
            now_us = time.time_ns() // 1_000
            for record in records:
                if is_recent(record.timestamp, now_us):
                    hear(crowd, record.key, record.value, record.timestamp)
            if follower.has_read_stored:
                crowd.stored_are_heard()


def is_recent(timestamp_ms: int, now_us: int) -> bool:
    """Whether a record was written within the crowd's window. A time of 0 or less is unknown and counts as recent."""
    return timestamp_ms <= 0 or now_us - timestamp_ms * 1_000 <= WINDOW_US


def hear(crowd: Hears, key: bytes | None, value: bytes | None, timestamp_ms: int = 0) -> bool:
    """Add one record to `crowd`. Returns False if it is not a count. A tombstone counts as 0."""
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
