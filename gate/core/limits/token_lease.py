"""Leases: tokens of a shared bucket that a gate takes beforehand, and gives to uploads out of its own memory.

A class or the whole platform has one bucket, from which the uploads of all gates take. A gate that has many of them takes a
portion at once. The bucket is debited before the first token of the portion is given out, so that a check needs neither the
bucket nor a call for it. Where the lease has run dry, the check takes from the bucket itself.

    bucket ──draw──▶ lease of a gate ──spend──▶ upload
       ▲                 │     ▲                  │
       └───give back─────┘     └────put back──────┘   an upload that was refused elsewhere, or failed

The bound: tokens in the bucket and in all leases together only grow by the bucket's rate. So in any window of length w all
n gates together admit at most b + r·w + n·L, where b is the burst, r the rate, and L the most that a gate holds. Classes with
different rates of one limit have a lease for each rate, as a token of one is not one of the other; L is their sum.

A gate that dies takes its lease with it: tokens are lost, and never given twice. Amounts are time in µs, as in
`gate.core.limits.gcra`.
"""

from __future__ import annotations

from typing import Final

import msgspec

from gate.core.limits.gcra import Tats, believed_tat_us
from gate.core.limits.limit import Limit, Room

SHARE_OF_BURST: Final = 10
"""By default all leases of a bucket hold a tenth of its burst at most."""
LEAST_UNITS: Final = 100
"""By default a lease that could hold fewer uploads is not used, so that small limits stay exact."""
LEAST_BYTES: Final = 100 << 20
LEAST_PER_S: Final = 16
"""A gate with fewer uploads a second takes them from the bucket one by one."""
WINDOW_US: Final = 250_000
"""The time over which uploads are counted, to say how much a lease holds."""
IDLE_US: Final = 3_000_000
"""For how long a lease may hold more than twice what recent uploads need."""
SCARCE_US: Final = 1_000_000
"""How long a lease waits that got less than half of what it wanted. Meanwhile its uploads take one by one, as those of gates
without a lease do; leases that drew more often would leave these gates next to nothing of a scarce limit."""
LOST_US: Final = 1_000_000
"""How long a lease waits after a call that failed."""


def most_held(limit: Limit, gates: int) -> int:
    """The most that the lease of one of `gates` gates may hold, as time in µs; 0: the limit is not leased."""
    rate = limit.rate
    units = limit.lease
    if units is None:
        second = rate.rate * 1_000_000 // rate.per_us
        units = min(rate.burst // (SHARE_OF_BURST * max(1, gates)), second)
        if units < (LEAST_BYTES if limit.by_bytes else LEAST_UNITS):
            return 0
    return min(limit.tolerance_us, rate.cost_us(units) if limit.by_bytes else units * limit.unit_us)


class Exchange(msgspec.Struct, frozen=True, gc=False):
    """A request to one bucket: to draw at most `us`, or, where it is negative, to give that back."""

    entity: str
    limit: Limit
    us: int


class Exchanged(msgspec.Struct, frozen=True, gc=False):
    """The amount drawn (negative: given back), and when the bucket will be full, by the clock of the store: `now_us`."""

    us: int
    full_at_us: int
    now_us: int


def exchange(tats: Tats, wanted: Exchange, now_us: int) -> Exchanged:
    """Carry out one exchange: draw what there is in whole units, all that is wanted at most, or give back.

    It changes `tats` in place. The script of the store in Redis agrees with it to the microsecond.
    """
    limit = wanted.limit
    key = wanted.entity, limit.name
    if wanted.us < 0:
        if key in tats:
            tats[key] += wanted.us
        return Exchanged(wanted.us, max(tats.get(key, now_us), now_us), now_us)
    tat_us = believed_tat_us(tats, key, limit.tolerance_us, now_us)
    given = max(0, min(wanted.us, now_us + limit.tolerance_us - tat_us))
    given -= given % (1 if limit.by_bytes else limit.unit_us)
    if given:
        tats[key] = tat_us + given
    return Exchanged(given, tat_us + given, now_us)


class TokenLease:
    """The tokens that one gate holds of one bucket. Times are those of a clock that never steps, except in `room`.
    `held_us`, and `out_us`, which uploads got and have not used yet, are never more together than `most_us`.
    """

    __slots__ = (
        "_away_until_us", "_busy_at_us", "_drawing_us", "_not_before_us", "_since_us", "_surplus_us", "demand_us", "demands",
        "entity", "held_us", "is_scarce", "limit", "low_us", "most_us", "out_us", "room", "share", "target_us",
    )  # fmt: skip

    def __init__(self, entity: str, limit: Limit, now_us: int) -> None:
        self.entity = entity
        self.limit = limit
        self.held_us = 0
        """Below 0 if an upload was larger than its check stated; the lease then gives nothing."""
        self.out_us = 0
        self.low_us = 0
        """The lease is renewed once it holds less."""
        self.target_us = 0
        self.most_us = 0
        self.demand_us = 0
        """Tokens that uploads wanted since the window began, whether the lease had them or not."""
        self.demands = 0
        self.room: Room | None = None
        """The room in the bucket and in this lease together, at the last exchange."""
        self.share = 1.0
        """The part of the bucket's burst that this room is."""
        self.is_scarce = False
        """Whether the last draw got less than half of what was wanted."""
        self._drawing_us = 0
        self._surplus_us = 0
        self._since_us = self._busy_at_us = now_us
        self._not_before_us = self._away_until_us = now_us

    @property
    def all_us(self) -> int:
        """All that the lease holds, with the part that it may not give out."""
        return max(0, self.held_us) + self._surplus_us

    @property
    def held(self) -> int:
        """How many whole units it may give out."""
        limit, held_us = self.limit, max(0, self.held_us)
        return held_us * limit.rate.rate // limit.rate.per_us if limit.by_bytes else held_us // limit.unit_us

    @property
    def is_over(self) -> bool:
        """Whether it holds nothing, has nothing to pay, and no upload has anything of it."""
        return not (self.held_us or self._surplus_us or self.out_us)

    def take_back(self, us: int) -> None:
        """Take back tokens that an upload used (where negative: debit tokens that it needed besides). Tokens beyond
        `most_us` go back to the bucket with the next exchange.
        """
        self.held_us += us
        over_us = min(self.held_us, self.held_us + self.out_us + self._drawing_us - self.most_us)
        if us > 0 and over_us > 0:
            self.held_us -= over_us
            self._surplus_us += over_us

    def look(self, most_us: int, now_us: int) -> None:
        """Count anew how much to hold: what uploads of about a second need, and at most `most_us`."""
        self.most_us = most_us
        elapsed_us = now_us - self._since_us
        if elapsed_us >= WINDOW_US:
            per_s = self.demands * 1_000_000 // elapsed_us
            self.target_us = self.demand_us * 1_000_000 // elapsed_us if per_s >= LEAST_PER_S else 0
            self._since_us, self.demand_us, self.demands = now_us, 0, 0
        if self.target_us > most_us:
            self.target_us = most_us
        self.low_us = self.target_us // 2
        if self.held_us <= 2 * self.target_us:
            self._busy_at_us = now_us

    def wanted(self, now_us: int) -> int:
        """How much to draw now, negative: to give back."""
        if now_us < self._away_until_us:
            return 0
        over_us = self.held_us + self.out_us - self.most_us
        if now_us - self._busy_at_us >= IDLE_US:
            over_us = max(over_us, self.held_us - self.target_us)
        over_us = max(0, min(over_us, self.held_us))
        if over_us or self._surplus_us:
            return -over_us - self._surplus_us
        if self.held_us < self.low_us and now_us >= self._not_before_us:
            more_us = max(0, self.target_us - self.held_us - self.out_us)
            return more_us if self.limit.by_bytes else more_us - more_us % self.limit.unit_us
        return 0

    def begin(self, us: int) -> None:
        """Begin an exchange. Uploads get none of the tokens that are about to be given back."""
        if us > 0:
            self._drawing_us = us
            return
        from_surplus = min(-us, self._surplus_us)
        self._surplus_us -= from_surplus
        self.held_us += us + from_surplus

    def end(self, us: int, met: Exchanged | None, now_us: int, *, may_have_run: bool = True) -> None:
        """End the exchange. Where nobody knows whether it was carried out (None), its tokens are lost."""
        self._drawing_us = 0
        if met is None:
            self._away_until_us = now_us + LOST_US
            if us < 0 and not may_have_run:
                self.take_back(-us)
        if met is not None:
            if us > 0:
                self.held_us += met.us
            held_us, tolerance_us = max(0, self.held_us), self.limit.tolerance_us or 1
            self.room = Room(self.limit, met.full_at_us - held_us, held_us=held_us)
            self.share = (met.now_us + tolerance_us - self.room.full_at_us) / tolerance_us
        if us > 0:
            self.is_scarce = met is None or met.us * 2 < us
            if self.is_scarce:
                self._not_before_us = now_us + SCARCE_US
