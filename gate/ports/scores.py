"""The store of scores, and a score beside its encoded bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from gate.core.score import Score


class EncodedScore(NamedTuple):
    """A score and its bytes by `gate.records.score`: encoded once, for every place that keeps it."""

    score: Score
    data: bytes


class ScoreStore(Protocol):
    """The latest score of each account, where takes find it.

    Meaning: of two scores of an account the one whose stamp comes later in the order of `gate.core.score` is kept.
    Accuracy: a score comes back as it was put. Loss: a failover may lose the scores of the last second; the stream
    puts them again. Order: none is needed, as the stamps decide. Growth: one score an account, which expires 90 days
    after it was put last.
    """

    async def put_scores(self, scores: Sequence[EncodedScore]) -> int:
        """Store scores; one with an older stamp never replaces a newer. Returns how many were stored.

        Repeating it changes nothing. Raises StoreUnavailable; then any part may have been stored.
        """
        ...

    async def scores(self, accounts: Sequence[str]) -> list[Score | None]:
        """The scores of `accounts`, in their order, None where there is none.

        Raises StoreUnavailable, and StateUnreadable where a stored score cannot be read.
        """
        ...


class ScoreMirror(ScoreStore, Protocol):
    """A score store that stream workers keep complete: it remembers how far it was filled, and can forget.

    Loss: a store that was emptied or restored from a copy has lost its marks or has old ones, with the scores; that is
    how workers notice. Growth: one mark a partition.
    """

    async def mark_filled(self, marks: Mapping[str, tuple[str, str]]) -> dict[str, str]:
        """Compare and set: a mark (expected, next) by name becomes `next` if it is `expected`; "" stands for none.

        Returns what each mark was before. One atomic step. Raises StoreUnavailable; then any part may have been set.
        """
        ...

    async def forget_scores(self, accounts: Sequence[str], before_us: int) -> int:
        """Take away the scores of those of `accounts` whose last event was before `before_us`; returns how many.

        Repeating it changes nothing. Raises StoreUnavailable; then any part may have been taken away.
        """
        ...
