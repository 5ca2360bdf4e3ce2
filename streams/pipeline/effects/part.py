"""The interface of a kind of effect: its merge, its topic and partition, its records, and its metrics."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol, Self

from gate.records.topics import Topic, Topics

KeyedRecord = tuple[bytes | None, bytes | None]
"""Key and value of a Kafka record. A value of None deletes the key's earlier value."""


class Increment(NamedTuple):
    """`amount` more of the counter `metric`, which has these label values in the metric's order."""

    metric: str
    labels: tuple[str, ...]
    amount: int


class Part(Protocol):
    """One kind of effect of a batch, as a value. Each kind is one file of this package."""

    @classmethod
    def merged(cls, parts: Sequence[Self]) -> Self:
        """One part with the effect of all of `parts`, which are consecutive; an empty part if there are none."""
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
        """The increments of the worker's metrics once the batch is committed."""
        ...


class WithoutRecords:
    """The base of parts that only count: they have no topic and no records."""

    __slots__ = ()

    @staticmethod
    def topic(topics: Topics) -> None:
        """See Part."""
        return

    @staticmethod
    def partition(own: int) -> int:
        """See Part."""
        return own

    def records(self, own: int) -> Iterable[KeyedRecord]:
        """See Part."""
        return ()
