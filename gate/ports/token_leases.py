"""The store of the buckets from which gates draw tokens beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gate.core.limits.token_lease import Exchange, Exchanged


class TokenLeaseStore(Protocol):
    """Draws tokens from buckets of the TakeStore for the leases of a gate, and takes them back.

    Meaning: each exchange is one atomic step, by `gate.core.limits.token_lease.exchange`; a bucket that has less than is wanted
    gives what it has. Accuracy: exact to the µs, over any number of gates. Loss: an exchange whose answer is lost is not
    repeated, so its tokens may be gone, and are never given twice; a failover may lose the exchanges of the last second.
    Order: exchanges of one call are carried out in their order. Growth: a bucket expires once it is full again.
    """

    async def exchange(self, wanted: Sequence[Exchange], now_us: int | None = None) -> list[Exchanged | Exception]:
        """The result of each exchange, or a StoreUnavailable in its place, which says whether it may have been carried
        out.

        `now_us` is the recorded time of a replay; None means the store's own clock.
        """
        ...
