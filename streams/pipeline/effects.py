"""What follows from a batch, as a value."""

from __future__ import annotations

from dataclasses import dataclass

from gate.ports.scores import EncodedScore
from streams.core.crowd import CrowdCount


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that could not be used: where it stood, why, and its bytes as they were."""

    topic: str
    partition: int
    offset: int
    reason: str
    detail: str
    event: bytes
    key: bytes | None


@dataclass(frozen=True, slots=True)
class Effects:
    """All that follows from one batch, as it will be kept.

    `events` counts by type; `next_offset` is where the next batch starts.
    """

    states: dict[str, bytes]
    scores: list[EncodedScore]
    dead: list[DeadLetter]
    crowd: list[CrowdCount]
    events: dict[str, int]
    unknown_fields: int
    next_offset: int
