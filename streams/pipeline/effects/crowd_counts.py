"""How many accounts of the partition share a feature, for the workers of the other partitions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from gate.records.topics import Topic, Topics
from streams.core.crowd import CrowdCount
from streams.pipeline.effects.part import Increment, KeyedRecord

PARTITION = 0
"""The one partition of the topic."""


@dataclass(frozen=True, slots=True)
class CrowdCounts:
    """Counts that changed. Of merged counts the last of a feature stays."""

    counts: list[CrowdCount]

    @classmethod
    def merged(cls, parts: Sequence[Self]) -> Self:
        """See Part."""
        last = {count.feature: count for part in parts for count in part.counts}
        return cls([*last.values()])

    @staticmethod
    def topic(topics: Topics) -> Topic:
        """See Part."""
        return topics.crowd

    @staticmethod
    def partition(own: int) -> int:
        """See Part."""
        return PARTITION

    def records(self, own: int) -> Iterable[KeyedRecord]:
        """See Part."""
        return ((crowd_key(own, count.feature), count.record) for count in self.counts)

    def increments(self) -> Iterable[Increment]:
        """See Part."""
        return ()


def crowd_key(partition: int, feature: str) -> bytes:
    """The key of a count's record."""
    return f"{partition}:{feature}".encode()
