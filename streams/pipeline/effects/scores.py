"""The scores of the accounts that a batch touched."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from gate.ports.scores import EncodedScore
from gate.records.topics import Topic, Topics
from streams.pipeline.effects.part import Increment, KeyedRecord


@dataclass(frozen=True, slots=True)
class Scores:
    """Encoded scores, one an account. Of merged scores the last of an account stays."""

    encoded: list[EncodedScore]

    @classmethod
    def merged(cls, parts: Sequence[Self]) -> Self:
        """See Part."""
        last = {scored.score.account: scored for part in parts for scored in part.encoded}
        return cls([*last.values()])

    @staticmethod
    def topic(topics: Topics) -> Topic:
        """See Part."""
        return topics.scores

    @staticmethod
    def partition(own: int) -> int:
        """See Part."""
        return own

    def records(self, own: int) -> Iterable[KeyedRecord]:
        """See Part."""
        return ((score.account.encode(), encoded) for score, encoded in self.encoded)

    def increments(self) -> Iterable[Increment]:
        """See Part."""
        yield Increment("upload_gate_scores", (), len(self.encoded))
        lagging = sum([not score.acts for score, _ in self.encoded])
        if lagging:
            yield Increment("upload_gate_scores_lagging", (), lagging)
