"""How many accounts of the partition belong to a campaign, for the workers of the other partitions and for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from gate.records.topics import Topic, Topics
from streams.core.campaigns import CampaignKind, key_of
from streams.core.crowd import CrowdCount
from streams.pipeline.effects.part import Increment, KeyedRecord

PARTITION = 0
"""The one partition of the topic."""


@dataclass(frozen=True, slots=True)
class CampaignCounts:
    """Campaigns whose counts changed, and how many accounts of the partition joined visible ones, by kind.

    Of merged counts the last of a campaign stays.
    """

    counts: list[CrowdCount]
    joined: Mapping[CampaignKind, int] = field(default_factory=dict)

    @classmethod
    def merged(cls, parts: Sequence[Self]) -> Self:
        """See Part."""
        last = {count.feature: count for part in parts for count in part.counts}
        joined: Counter[CampaignKind] = Counter()
        for part in parts:
            joined.update(part.joined)
        return cls([*last.values()], joined)

    @staticmethod
    def topic(topics: Topics) -> Topic:
        """See Part."""
        return topics.campaigns

    @staticmethod
    def partition(own: int) -> int:
        """See Part."""
        return PARTITION

    def records(self, own: int) -> Iterable[KeyedRecord]:
        """See Part."""
        return ((key_of(own, count), count.record) for count in self.counts)

    def increments(self) -> Iterable[Increment]:
        """See Part."""
        for kind, count in self.joined.items():
            if count:
                yield Increment("upload_gate_campaign_members_joined", (kind.value,), count)
