"""Counts the fields of a batch's events that were dropped or changed, by field and reason. This part has no records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from streams.pipeline.effects.part import Increment, WithoutRecords


@dataclass(frozen=True, slots=True)
class DroppedFields(WithoutRecords):
    """`by_reason` counts fields of folded events by the field's name and the reason; both are of closed lists."""

    by_reason: dict[tuple[str, str], int]

    @classmethod
    def merged(cls, parts: Sequence[Self]) -> Self:
        """See Part."""
        by_reason: Counter[tuple[str, str]] = Counter()
        for part in parts:
            by_reason.update(part.by_reason)
        return cls(dict(by_reason))

    def increments(self) -> Iterable[Increment]:
        """See Part."""
        for labels, count in self.by_reason.items():
            yield Increment("upload_gate_event_fields_dropped", labels, count)
