"""The effects of a batch, as a value made of parts. Each kind of part has its own file.

To add a kind of effect, write its class in a file of its own (`part.Part` is the interface), add it to `KINDS`, and
make one in `streams.pipeline.step.process`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from gate.ports.scores import EncodedScore
from streams.core.crowd import CrowdCount
from streams.pipeline.effects.campaign_counts import CampaignCounts
from streams.pipeline.effects.crowd_counts import CrowdCounts
from streams.pipeline.effects.dead_letters import DeadLetter, DeadLetters
from streams.pipeline.effects.dropped_fields import DroppedFields
from streams.pipeline.effects.event_counts import EventCounts
from streams.pipeline.effects.part import Increment, KeyedRecord, Part
from streams.pipeline.effects.scores import Scores
from streams.pipeline.effects.states import States

__all__ = [
    "KINDS", "CampaignCounts", "CrowdCount", "CrowdCounts", "DeadLetter", "DeadLetters", "DroppedFields", "Effects",
    "EventCounts", "Increment", "KeyedRecord", "Part", "Scores", "States", "merged",
]  # fmt: skip

KINDS = (States, Scores, DeadLetters, CrowdCounts, CampaignCounts, EventCounts, DroppedFields)
"""Every kind of effect, in the order their records are written."""

P = TypeVar("P", bound=Part)


@dataclass(frozen=True, slots=True)
class Effects:
    """All effects of one batch, or of several consecutive batches.

    `parts` holds one part of each of `KINDS`, in that order. `next_offset` is the first offset of the next batch.
    """

    next_offset: int
    parts: tuple[Part, ...]

    @classmethod
    def of(cls, next_offset: int, *parts: Part) -> Effects:
        """The effects with these parts, at most one of each kind. Other kinds have no effect."""
        by_kind = {type(part): part for part in parts}
        return cls(next_offset, tuple([by_kind.get(kind) or kind.merged([]) for kind in KINDS]))

    def part(self, kind: type[P]) -> P:
        """The part of this kind."""
        for part in self.parts:
            if type(part) is kind:
                return part
        raise KeyError(kind)

    @property
    def states(self) -> dict[str, bytes]:
        """Packed states by account id."""
        return self.part(States).packed

    @property
    def scores(self) -> list[EncodedScore]:
        """One score for each account with an event in the batch."""
        return self.part(Scores).encoded

    @property
    def dead(self) -> list[DeadLetter]:
        """The events that could not be used."""
        return self.part(DeadLetters).letters

    @property
    def crowd(self) -> list[CrowdCount]:
        """Counts of shared features that changed, those of campaigns among them."""
        return self.part(CrowdCounts).counts + self.part(CampaignCounts).counts

    @property
    def events(self) -> dict[str, int]:
        """Folded events by type."""
        return self.part(EventCounts).by_type

    @property
    def unknown_fields(self) -> int:
        """Fields of folded events that no event of the type has."""
        return self.part(EventCounts).unknown_fields


def merged(effects: Sequence[Effects]) -> Effects:
    """The effects of consecutive batches, at least one."""
    if len(effects) == 1:
        return effects[0]
    by_kind = zip(*(one.parts for one in effects), strict=True)
    parts = tuple([type(parts[0]).merged(parts) for parts in by_kind])
    return Effects(effects[-1].next_offset, parts)
