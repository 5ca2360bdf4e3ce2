"""The store of buckets, from which checks take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gate.core.limits.take import TakeRequest, TakeResult


class TakeStore(Protocol):
    """Takes tokens for uploads, and tells what is known of their accounts at that moment.

    Meaning: a take reads the account's score and override and takes from all buckets of the request or from none, in
    one atomic step. Accuracy: exact to the µs, over any number of gates; a stored number is believed as far as its
    limit allows. Loss: a failover may lose the takes of the last second, never more. Order: takes of one call are
    decided in their order, takes of different calls in any. Growth: every key expires by itself, a bucket once it is
    full again, an upload id after its lifetime.
    """

    async def take(self, request: TakeRequest) -> TakeResult:
        """The result of one take request.

        Raises StoreUnavailable where the store does not answer within its deadline, and StoreOverloaded where the
        request was not sent because too many wait. A caller that gives up waiting may still have been charged; the
        same upload id again does not charge twice.
        """
        ...

    async def take_many(self, requests: Sequence[TakeRequest]) -> list[TakeResult | Exception]:
        """`take` for each, side by side, in their order; what `take` would raise stands in its place."""
        ...
