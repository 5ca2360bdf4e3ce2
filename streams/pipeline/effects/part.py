"""What every kind of effect can say of itself: how it merges, where its records go, what they are, what it counts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol, Self

from gate.records.topics import Topic, Topics

KeyedRecord = tuple[bytes | None, bytes | None]
"""Key and value of a Kafka record; a value of None takes away what the key had."""


class Increment(NamedTuple):
    """`amount` more of the counter `metric`, which has these label values in the metric's order."""

    metric: str
    labels: tuple[str, ...]
    amount: int


class Part(Protocol):
    """One kind of effect of a batch, as a value. Each kind is one file of this package."""

    @classmethod
    def merged(cls, parts: Sequence[Self]) -> Self:
        """One part that has the effect of all of these, which follow each other; an empty one of none."""
        ...

    @staticmethod
    def topic(topics: Topics) -> Topic | None:
        """The topic that its records go to; None for a part that only counts."""
        ...

    @staticmethod
    def partition(own: int) -> int:
        """The partition of `topic` that its records go to, if the batch came from partition `own`."""
        ...

    def records(self, own: int) -> Iterable[KeyedRecord]:
        """Its records in the order they are written, if the batch came from partition `own`."""
        ...

    def increments(self) -> Iterable[Increment]:
        """What the worker's metrics count once the batch is committed."""
        ...
