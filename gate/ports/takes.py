"""The store of the token buckets from which checks take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gate.core.limits.take import ClassLimits, Peek, TakeRequest, TakeResult


class TakeStore(Protocol):
    """Takes tokens for uploads, and returns the score and override of their accounts at that moment.

    Meaning: a take reads the account's score and override and takes from all buckets of the request or from none, in
    one atomic step. Accuracy: exact to the µs, over any number of gates; a stored bucket that its limit does not allow
    is corrected. Loss: a failover may lose the takes of the last second, never more. Order: takes of one call are
    decided in their order, takes of different calls in any order. Growth: every key expires, a bucket once it is full
    again, a reservation at most an hour after its lifetime. Of the refusals of an account the last few are repeated.
    """

    @property
    def down(self) -> str | None:
        """Why each take would fail at once, None where the store may answer; it costs less to ask than to fail."""
        ...

    async def take(self, request: TakeRequest) -> TakeResult:
        """The result of one take request.

        Raises StoreUnavailable if the store does not answer within its deadline, and StoreOverloaded if the request
        was not sent because too many wait. If the caller stops waiting, the tokens may have been taken all the same;
        the same upload id never takes twice.
        """
        ...

    async def take_many(self, requests: Sequence[TakeRequest]) -> list[TakeResult | Exception]:
        """`take` for each request, concurrently. Returns, in their order, the result or the error of each."""
        ...

    async def peek(self, request: TakeRequest) -> Peek:
        """What `take` would answer now, and the room in each bucket. Nothing changes. Raises StoreUnavailable."""
        ...

    def expect(self, classes: Sequence[ClassLimits]) -> None:
        """Prepare for requests with these limits, all of a policy's. A store also takes requests with others."""
        ...
