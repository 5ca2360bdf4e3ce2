"""The states of the accounts that a batch changed, for the changelog."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from gate.records.topics import Topic, Topics
from streams.pipeline.effects.part import Increment, KeyedRecord


@dataclass(frozen=True, slots=True)
class States:
    """Packed states by account id. Of merged states the last of an account stays."""

    packed: dict[str, bytes]

    @classmethod
    def merged(cls, parts: Sequence[Self]) -> Self:
        """See Part."""
        packed: dict[str, bytes] = {}
        for part in parts:
            packed.update(part.packed)
        return cls(packed)

    @staticmethod
    def topic(topics: Topics) -> Topic:
        """See Part."""
        return topics.states

    @staticmethod
    def partition(own: int) -> int:
        """See Part."""
        return own

    def records(self, own: int) -> Iterable[KeyedRecord]:
        """See Part."""
        return ((account.encode(), state) for account, state in self.packed.items())

    def increments(self) -> Iterable[Increment]:
        """See Part."""
        return ()
