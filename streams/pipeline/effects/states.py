"""The states of the accounts that a batch changed, for the changelog, and the accounts whose state is forgotten."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from gate.records.topics import Topic, Topics
from streams.pipeline.effects.part import Increment, KeyedRecord


@dataclass(frozen=True, slots=True)
class States:
    """Packed states by account id, and the accounts that are `gone`. Of merged states the last of an account stays.

    `latest_us` is the time of the latest event of any of these accounts, 0 if no event changed them.
    """

    packed: dict[str, bytes]
    gone: tuple[str, ...] = ()
    latest_us: int = 0

    @classmethod
    def merged(cls, parts: Sequence[Self]) -> Self:
        """See Part."""
        packed: dict[str, bytes] = {}
        gone: set[str] = set()
        for part in parts:
            if gone or part.gone:
                gone.difference_update(part.packed)
                gone.update(part.gone)
                for account in part.gone:
                    packed.pop(account, None)
            packed.update(part.packed)
        return cls(packed, tuple(sorted(gone)), max((part.latest_us for part in parts), default=0))

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
        yield from ((account.encode(), state) for account, state in self.packed.items())
        yield from ((account.encode(), None) for account in self.gone)

    def increments(self) -> Iterable[Increment]:
        """See Part."""
        return ()
