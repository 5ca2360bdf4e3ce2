"""The scores of the accounts that a batch touched, and the accounts whose scores are taken away."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from gate.ports.scores import EncodedScore
from gate.records.topics import Topic, Topics
from streams.pipeline.effects.part import Increment, KeyedRecord
from streams.pipeline.effects.shadow import shadow_increments


@dataclass(frozen=True, slots=True)
class Scores:
    """Encoded scores, one an account, and the accounts that are `gone`. Of merged scores the last of an account stays.

    The scores of `waited` were made without an event of the account, because others share what it showed; `skipped`
    accounts should have been scored so, and were too many.
    """

    encoded: list[EncodedScore]
    gone: tuple[str, ...] = ()
    waited: tuple[str, ...] = ()
    skipped: int = 0

    @property
    def backfilled(self) -> int:
        """How many scores were made without an event of the account."""
        return len(self.waited)

    @classmethod
    def merged(cls, parts: Sequence[Self]) -> Self:
        """See Part."""
        last: dict[str, EncodedScore] = {}
        gone: set[str] = set()
        for part in parts:
            scored = {one.score.account: one for one in part.encoded}
            if gone or part.gone:
                gone.difference_update(scored)
                gone.update(part.gone)
                for account in part.gone:
                    last.pop(account, None)
            last.update(scored)
        waited = tuple([account for part in parts for account in part.waited])
        return cls([*last.values()], tuple(sorted(gone)), waited, sum(part.skipped for part in parts))

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
        yield from ((score.account.encode(), encoded) for score, encoded in self.encoded)
        yield from ((account.encode(), None) for account in self.gone)

    def increments(self) -> Iterable[Increment]:
        """See Part."""
        yield Increment("upload_gate_scores", (), len(self.encoded))
        if self.backfilled:
            yield Increment("upload_gate_scores_backfilled", (), self.backfilled)
        if self.skipped:
            yield Increment("upload_gate_scores_backfill_skipped", (), self.skipped)
        if self.gone:
            yield Increment("upload_gate_worker_accounts_forgotten", (), len(self.gone))
        special = [one for one in self.encoded if not one[0].acts or one[0].shadow is not None]  # one look at thousands
        yield from shadow_increments(special)
        if lagging := sum([not score.acts for score, _ in special]):
            yield Increment("upload_gate_scores_lagging", (), lagging)
