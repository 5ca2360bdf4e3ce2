"""The store of reservations: how each upload that was let in ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gate.core.limits.reservation import Expired, Notice, Settlement
from gate.core.limits.take import ClassLimits


class ReservationStore(Protocol):
    """Settles the reservations that takes make, each once.

    Meaning: a notice about a reservation that is open changes its state and its buckets in one atomic step, as
    `gate.core.limits.reservation.settle` says; a later notice changes nothing, and its result says so. Accuracy: exact to the µs,
    over any number of gates. Loss: a failover may lose the settlements of the last second. Order: notices of one call about one
    upload are carried out in their order. Growth: a reservation is kept for its lifetime and an hour at most after it.
    """

    async def settle(self, notices: Sequence[Notice], now_us: int | None = None) -> list[Settlement | Exception]:
        """The settlement of each notice, or the StoreUnavailable that kept it from being carried out. Repeating is safe.

        `now_us` is the recorded time of a replay; None means the store's own clock.
        """
        ...

    async def due(self, most: int, now_us: int | None = None) -> list[Expired]:
        """At most `most` reservations whose lifetime is over and whose tokens are to be given back.

        Only those of classes that give unreported uploads back. Raises StoreUnavailable.
        """
        ...

    async def unheard(self, older_than_s: float) -> list[Settlement]:
        """Settlements that failed at least so long ago, and that were carried out all the same, as far as they return tokens to
        leases. Each is returned once; a call that is carried out even later is not noticed. Raises StoreUnavailable.
        """
        ...

    def expect(self, classes: Sequence[ClassLimits]) -> None:
        """Learn the limits of a policy, to which its reservations refer."""
        ...
