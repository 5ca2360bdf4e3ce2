"""The store of scores, and a score together with its encoded bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from gate.core.score import Score


class EncodedScore(NamedTuple):
    """A score and its bytes by `gate.records.score`. It is encoded once for all stores."""

    score: Score
    data: bytes


class ScoreStore(Protocol):
    """Keeps the latest score of each account, which takes read.

    Meaning: of two scores of an account the one with the later stamp in the order of `gate.core.score` is kept.
    Accuracy: a score is returned unchanged. Loss: a failover may lose the scores of the last second; the stream worker
    writes them again. Order: writes may come in any order, as the stamps decide. Growth: one score per account, which
    expires 90 days after it was last written.
    """

    async def put_scores(self, scores: Sequence[EncodedScore]) -> int:
        """Store scores. A score with an older stamp never replaces a newer one. Returns how many were stored.

        Repeating it changes nothing. Raises StoreUnavailable; then any part may have been stored.
        """
        ...

    async def scores(self, accounts: Sequence[str]) -> list[Score | None]:
        """The scores of `accounts`, in their order; None for an account without a score.

        Raises StoreUnavailable, and StateUnreadable if a stored score cannot be read.
        """
        ...


class ScoreMirror(ScoreStore, Protocol):
    """A score store that stream workers keep complete: it keeps a mark of how far it was filled, and can delete scores.

    Loss: a store that was emptied or restored from a copy has no marks or old ones, which shows workers that scores are
    missing. Growth: one mark per partition.
    """

    async def mark_filled(self, marks: Mapping[str, tuple[str, str]]) -> dict[str, str]:
        """Compare and set, in one atomic step. `marks` maps a name to (expected, next); "" means no mark.

        A mark becomes `next` if it is `expected`. Returns the previous marks. Raises StoreUnavailable; any part
        may have been set all the same.
        """
        ...

    async def forget_scores(self, accounts: Sequence[str], before_us: int) -> int:
        """Delete the score of each of `accounts` whose last event was before `before_us` (µs). Returns how many.

        Repeating it changes nothing. Raises StoreUnavailable; any part may have been deleted all the same.
        """
        ...
