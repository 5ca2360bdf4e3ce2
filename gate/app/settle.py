"""Settles reservations by reports, counts the outcomes, and gives back tokens of uploads that did not happen. There are
two kinds of these. The first are those whose answer nobody got, because the store answered too late or the caller went
away. The second, if the policy says so, are those that nobody has reported by the end of their lifetime. A gate settles
both in the background. At most `MOST_WAITING` of the first kind wait while the store is away; further ones are settled
as the second kind, or expire.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from itertools import islice
from typing import Final, Protocol

from gate.core.limits.reservation import Change, Notice, Report, SettledAs, Settlement, Unanswered
from gate.core.limits.take import ClassLimits
from gate.errors import StoreUnavailable
from gate.metrics import Counts
from gate.ports.reservations import ReservationStore

MOST_WAITING: Final = 10_000
EVERY_S: Final = 1.0
LOOK_AGAIN_S: Final = 3.0
"""When a notice of a check for which Redis took nothing is sent again: a call that was given up may still arrive."""
AT_ONCE: Final = 256


class TokenReturns(Protocol):
    """The leases of this gate, as far as uploads give back to them."""

    @property
    def remaining(self) -> Sequence[ClassLimits]:
        """The classes of the policy in force as the reservations have them whose tokens came from leases."""
        ...

    def put_back(self, changes: Sequence[Change]) -> None:
        """Make the changes of a settled upload in the leases that gave to it."""
        ...

    def never_taken(self, attempt: int) -> None:
        """Take the tokens of a check back into the leases, since the store took nothing for it."""
        ...

    def taken_after_all(self, attempt: int) -> None:
        """Note that a check used its tokens; a later settlement of its upload says which of them go back."""
        ...


class Reports:
    """Settles reported uploads; between `run` and its end also uploads whose answer nobody got.

    Tokens that an upload got from a lease, of whichever gate, go back to the `leases` of this gate.
    """

    def __init__(
        self,
        reservations: ReservationStore,
        counts: Counts,
        every_s: float = EVERY_S,
        look_again_s: float = LOOK_AGAIN_S,
        leases: TokenReturns | None = None,
    ) -> None:
        self._leases = leases
        self._reservations = reservations
        self._counts = counts
        self._every_s = every_s
        self._waiting: deque[Unanswered] = deque(maxlen=MOST_WAITING)
        self._look_again_s = look_again_s
        self._unknown: deque[tuple[float, Unanswered]] = deque(maxlen=MOST_WAITING)
        self._wake = asyncio.Event()

    @property
    def waiting(self) -> int:
        """Uploads that wait to be given back because nobody got their answer."""
        return len(self._waiting) + len(self._unknown)

    def expect(self, classes: Sequence[ClassLimits]) -> None:
        """Learn the limits of a policy, to which its reservations refer. The leases must have learned them before."""
        self._reservations.expect((*classes, *(self._leases.remaining if self._leases is not None else ())))

    async def settle(self, reports: Sequence[Report]) -> list[Settlement | Exception]:
        """The settlement of each report, or the store's error in its place. Raises nothing."""
        settled = await self._reservations.settle(reports)
        for report, each in zip(reports, settled, strict=True):
            self._put_back(each)
            self._count(report.outcome, "error" if isinstance(each, Exception) else each.settled)
        return settled

    def unanswered(self, notice: Unanswered) -> None:
        """Remember that nobody got the answer of a check."""
        self._waiting.append(notice)
        self._wake.set()

    async def run(self) -> None:
        """Give back, as soon as there is something and once in `every_s`. Never ends by itself."""
        while True:
            try:
                await self._give_back()
            except StoreUnavailable:
                self._counts.store_errors["unavailable"] += 1
            except Exception:
                self._counts.faults["settle"] += 1
            with suppress(TimeoutError):
                async with asyncio.timeout(self._every_s):
                    await self._wake.wait()
            self._wake.clear()

    async def stop(self) -> None:
        """Give back the tokens of checks whose answer nobody got, when the gate stops, as far as time permits."""
        if [*await self._unanswered_now(asyncio.get_running_loop().time()), *await self._unheard(0.0)]:
            self._counts.store_errors["unavailable"] += 1

    async def _give_back(self) -> None:
        """Give back the tokens of all waiting checks for which the store answers. Raises the first error of the others."""
        now_s = asyncio.get_running_loop().time()
        failed = [
            *await self._unanswered_now(now_s),
            *await self._unknown_before(now_s),
            *await self._unheard(self._look_again_s),
            *await self._expired_now(),
        ]
        if failed:
            raise failed[0]

    async def _unheard(self, older_than_s: float) -> list[Exception]:
        """Put back into the leases what settlements return that were carried out although their reply was lost."""
        try:
            for settled in await self._reservations.unheard(older_than_s):
                self._put_back(settled)
        except StoreUnavailable as error:
            return [error]
        return []

    async def _unanswered_now(self, now_s: float) -> list[Exception]:
        """A notice that fails waits on behind the others, so that an absent node of a Cluster does not delay those."""
        failed: list[Exception] = []
        while self._waiting and not failed:
            some = [self._waiting[n] for n in range(min(AT_ONCE, len(self._waiting)))]
            for notice, settled in zip(some, await self._settled(some), strict=True):
                if self._waiting and self._waiting[0] is notice:
                    self._waiting.popleft()
                if isinstance(settled, Exception):
                    self._waiting.append(notice)
                    failed.append(settled)
                elif settled.settled is SettledAs.UNKNOWN or settled.by_other:
                    self._unknown.append((now_s + self._look_again_s, notice))
                else:
                    self._end(notice, settled)
        return failed

    def _end(self, notice: Unanswered, settled: Settlement) -> None:
        self._count("unanswered", settled.settled)
        if self._leases is None:
            return
        if settled.settled is SettledAs.UNKNOWN or settled.by_other:
            self._leases.never_taken(notice.attempt)
        else:
            self._leases.taken_after_all(notice.attempt)

    async def _unknown_before(self, now_s: float) -> list[Exception]:
        failed: list[Exception] = []
        while not failed and (some := self._looked_at_again(now_s)):
            for waiting, settled in zip(some, await self._settled([notice for _, notice in some]), strict=True):
                if self._unknown and self._unknown[0] is waiting:
                    self._unknown.popleft()
                if isinstance(settled, Exception):
                    self._unknown.append((now_s + self._look_again_s, waiting[1]))
                    failed.append(settled)
                else:
                    self._end(waiting[1], settled)
        return failed

    def _looked_at_again(self, now_s: float) -> list[tuple[float, Unanswered]]:
        return [each for each in islice(self._unknown, AT_ONCE) if each[0] <= now_s]

    async def _expired_now(self) -> list[Exception]:
        failed: list[Exception] = []
        while not failed and (over := await self._reservations.due(AT_ONCE)):
            for each in await self._settled(over):
                if isinstance(each, Exception):
                    failed.append(each)
                else:
                    self._count("expired", SettledAs.SETTLED if each.settled is SettledAs.EXPIRED else each.settled)
            if len(over) < AT_ONCE:
                break
        return failed

    async def _settled(self, notices: Sequence[Notice]) -> list[Settlement | Exception]:
        """The settlement of each notice."""
        found = await self._reservations.settle(notices)
        for each in found:
            self._put_back(each)
        return found

    def _put_back(self, settled: Settlement | Exception) -> None:
        if self._leases is not None and isinstance(settled, Settlement) and settled.leased:
            self._leases.put_back(settled.leased)

    def _count(self, outcome: str, met: str) -> None:
        key = (str(outcome), str(met))
        self._counts.reports[key] = self._counts.reports.get(key, 0) + 1
