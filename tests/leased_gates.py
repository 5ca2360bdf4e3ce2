"""Gates that take from leases, without sockets and without time: a test steps their uptime and lets them renew."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from gate.app.leased_takes import LeasedTakes
from gate.core.limits.limit import EntityBuckets, EntityLimits, Limit
from gate.core.limits.reservation import Report, Settlement, UploadOutcome
from gate.core.limits.take import ClassLimits, TakeRequest, TakeResult
from gate.metrics import Counts
from gate.ports.clock import Clock
from gate.ports.reservations import ReservationStore
from gate.ports.takes import TakeStore
from gate.ports.token_leases import TokenLeaseStore

DAY_US = 86_400_000_000
SECOND_US = 1_000_000


class LeasedGate:
    """One gate over a store that it may share with others. With a `clock`, checks have the time of it."""

    def __init__(
        self, takes: TakeStore, leases: TokenLeaseStore, reservations: ReservationStore, limits: ClassLimits,
        name: str = "g", gates: int = 1, clock: Clock | None = None,
    ) -> None:  # fmt: skip
        self.counts = Counts()
        self._clock = clock
        self.uptime_us = 0
        self.takes = LeasedTakes(takes, leases, self.counts, lambda: gates, lambda: self.uptime_us)
        self.takes.expect((limits,))
        self._reservations = reservations
        self._limits = limits
        self.name = name
        self._attempts = itertools.count(1)

    @property
    def held_us(self) -> int:
        """What its leases hold, as time."""
        return sum(lease.all_us for lease in self.takes.leases)

    def request(self, upload: int | str, size: int = 0, account: str | None = None) -> TakeRequest:
        """A check of an upload; each is of an account of its own unless one is given."""
        account = f"{self.name}-{upload}" if account is None else account
        return TakeRequest(
            account, f"u-{self.name}-{upload}", self._limits, size=size, class_=self._limits.name, kind="image",
            attempt=next(self._attempts), now_us=None if self._clock is None else self._clock.now_us(),
        )  # fmt: skip

    async def upload(self, *uploads: int | str, size: int = 0, account: str | None = None) -> list[TakeResult]:
        """The answers to checks of these uploads, in one batch."""
        results = await self.takes.take_many([self.request(each, size, account) for each in uploads])
        return [result for result in results if isinstance(result, TakeResult)]

    async def report(
        self, upload: int | str, outcome: UploadOutcome, real: int | None = None, account: str | None = None
    ) -> Settlement:
        """Report an upload of this gate, and put back what it got from a lease."""
        account = f"{self.name}-{upload}" if account is None else account
        (settled,) = await self._reservations.settle([Report(account, f"u-{self.name}-{upload}", outcome, real)])
        assert isinstance(settled, Settlement)
        self.takes.put_back(settled.leased)
        return settled

    async def renew(self, after_us: int = SECOND_US) -> None:
        """Let time pass, and renew."""
        self.uptime_us += after_us
        await self.takes.renew()


def leased_class(*limits: Limit, own: Sequence[Limit] = (), name: str = "new", entity: str = "platform") -> ClassLimits:
    """A class with these limits on a shared entity, and its own on each account."""
    return ClassLimits(
        EntityLimits(tuple(own)) if own else None, None, None, (EntityBuckets(entity, EntityLimits(limits)),),
        0.9, DAY_US, 600 * SECOND_US, name=name,
    )  # fmt: skip
