"""The account store: buckets, scores and overrides of accounts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gate.core.limits.take import TakeRequest, TakeResult
from gate.core.override import Override
from gate.core.score import Score
from gate.ports.scores import EncodedScore


class AccountStore(Protocol):
    """Buckets, scores and overrides of accounts.

    Loss: a failover may lose the last second of takes and scores; scores come again from the stream. Growth: every
    key expires by itself, a bucket once it is full again.
    """

    async def take(self, request: TakeRequest) -> TakeResult:
        """Read the standing and take from all buckets or from none, in one atomic step (see `TakeRequest`).

        Raises StoreUnavailable. A caller that gives up waiting may still have been charged; the same upload id
        again does not charge twice.
        """
        ...

    async def take_many(self, requests: Sequence[TakeRequest]) -> list[TakeResult | Exception]:
        """`take` for each, side by side, in their order; what `take` would raise stands in its place."""
        ...

    async def put_scores(self, scores: Sequence[EncodedScore]) -> int:
        """Store scores; one with an older stamp of the same epoch never replaces a newer. Returns how many were stored.

        Repeating it changes nothing. Raises StoreUnavailable; then any part may have been stored.
        """
        ...

    async def scores(self, accounts: Sequence[str]) -> list[Score | None]:
        """The scores of `accounts`, in their order, None where there is none. Raises StoreUnavailable."""
        ...

    async def put_override(self, account: str, override: Override) -> None:
        """Set a staff override that removes itself when it expires. Raises StoreUnavailable."""
        ...
