"""A listener that keeps the counts which a reader of the topic of crowd counts passes to it."""

from __future__ import annotations


class HeardCounts:
    """Keeps each count as partition, feature and number of accounts, in the order in which it came."""

    def __init__(self) -> None:
        self.counts: list[tuple[int, str, int]] = []

    def hear(self, partition: int, feature: str, count: int) -> None:
        self.counts.append((partition, feature, count))

    def stored_are_heard(self) -> None:
        """It has no days."""
