"""Counts the folded events of a batch by type, and their unknown fields. This part has no records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from streams.pipeline.effects.part import Increment, WithoutRecords


@dataclass(frozen=True, slots=True)
class EventCounts(WithoutRecords):
    """`by_type` counts folded events, `unknown_fields` their top-level fields that no event of the type has.

    `duplicates` counts events that were delivered before and changed nothing, `late` folded uploads that came too late
    to count as a burst or a gap, `foreign` accounts whose events stood in a partition that their keys do not belong to.
    """

    by_type: dict[str, int]
    unknown_fields: int = 0
    duplicates: int = 0
    late: int = 0
    foreign: int = 0

    @classmethod
    def merged(cls, parts: Sequence[Self]) -> Self:
        """See Part."""
        by_type: Counter[str] = Counter()
        for part in parts:
            by_type.update(part.by_type)
        return cls(
            dict(by_type),
            sum(part.unknown_fields for part in parts),
            sum(part.duplicates for part in parts),
            sum(part.late for part in parts),
            sum(part.foreign for part in parts),
        )

    def increments(self) -> Iterable[Increment]:
        """See Part."""
        for kind, count in self.by_type.items():
            yield Increment("upload_gate_events", (kind,), count)
        if self.unknown_fields:
            yield Increment("upload_gate_event_unknown_fields", (), self.unknown_fields)
        if self.duplicates:
            yield Increment("upload_gate_event_duplicates", (), self.duplicates)
        if self.late:
            yield Increment("upload_gate_event_late_uploads", (), self.late)
        if self.foreign:
            yield Increment("upload_gate_event_foreign_accounts", (), self.foreign)
