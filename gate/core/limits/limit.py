"""Limits as buckets apply them: a rate, one limit on an entity, and all limits of an entity together."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

import msgspec

NEVER_US: Final = 1 << 51
"""The cost of an upload that fits into no bucket, 71 years. No sum of such spans leaves the exact integers of a double."""
MOST_BUCKETS: Final = 60
"""Buckets that one entity may have. A stored value of more cannot be told from one of another kind."""


@dataclass(frozen=True, slots=True)
class Rate:
    """`rate` units per `per_us` µs on average, and at most `burst` units at once. Where either is 0, nothing passes."""

    rate: int
    per_us: int
    burst: int

    def cost_us(self, units: int) -> int:
        """The cost of `units`, as time in µs, rounded up; NEVER_US where nothing passes."""
        return -(-units * self.per_us // self.rate) if self.rate and self.burst else NEVER_US

    def part(self, share: float) -> Rate:
        """The same with a part of rate and burst, in whole units and never more than that part."""
        thousandths = round(share * 1_000)
        return Rate(self.rate * thousandths // 1_000, self.per_us, self.burst * thousandths // 1_000)

    @property
    def tolerance_us(self) -> int:
        """The whole burst as time, in µs. It holds `burst` units at their rounded cost."""
        if not (self.rate and self.burst):
            return 0
        return max(self.burst * self.per_us // self.rate, self.cost_us(1) * min(self.burst, 1 << 20))


@dataclass(frozen=True, slots=True, eq=False)
class Limit:
    """One named limit on an entity, compared by identity as the limits of an entity are.

    It counts bytes if `by_bytes`, open reservations if `in_flight`, else uploads. A `shadow` limit never refuses. Of the rate
    of an `in_flight` limit only the burst counts: that many at once. A gate may take `lease` units beforehand and give them
    out by itself, None: as many as `gate.core.limits.token_lease` says, 0: none.

    With `reserve_of` it is the part of the limit of that name which a class alone uses. The rest of it comes next among the
    limits of its entity. An upload takes from the rest only where the reserve has no room for it, and is refused where
    neither has.
    """

    name: str
    rate: Rate
    shadow: bool = False
    by_bytes: bool = False
    in_flight: bool = False
    lease: int | None = 0
    reserve_of: str = ""
    tolerance_us: int = field(init=False, repr=False)
    """The whole burst as time, in µs."""
    unit_us: int = field(init=False, repr=False)
    """The cost of one unit, in µs."""
    id: bytes = field(init=False, repr=False)
    """Four bytes that name the limit in stored values."""
    debt_id: bytes = field(init=False, repr=False)
    """Four bytes that name the limit's debt in stored values."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "tolerance_us", self.rate.tolerance_us)
        object.__setattr__(self, "unit_us", self.rate.cost_us(1))
        object.__setattr__(self, "id", blake2b(self.name.encode(), digest_size=4).digest())
        object.__setattr__(self, "debt_id", blake2b(self.debt_of(self.name).encode(), digest_size=4).digest())

    @staticmethod
    def debt_of(name: str) -> str:
        """The name under which the debt of a limit is kept: until when its bucket is believed beyond its burst."""
        return f"{name}\0debt"

    def cost_us(self, size: int) -> int:
        """The cost of one upload of `size` bytes, in µs."""
        return self.rate.cost_us(size if self.by_bytes else 1)


@dataclass(frozen=True, slots=True, eq=False)
class EntityLimits:
    """All limits on one kind of entity. The policy builds them once, so comparing them by identity is enough."""

    limits: tuple[Limit, ...]
    byte_rates: tuple[Rate, ...] = field(init=False)
    """The rates of the limits that count bytes, in the order of `limits`."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "byte_rates", tuple(limit.rate for limit in self.limits if limit.by_bytes))


class EntityBuckets(msgspec.Struct, frozen=True, gc=False):
    """One entity with one bucket for each of its limits. `entity` is a pseudonym for IP addresses and devices."""

    entity: str
    limits: EntityLimits


class Room(msgspec.Struct, frozen=True, gc=False):
    """The room in one bucket: its limit, and when it is full again. Of what is in flight, how many are `open`.

    Where the gate holds a lease of the bucket, its `held_us` count as room too: `full_at_us` is earlier by as much.
    """

    limit: Limit
    full_at_us: int
    open: int = 0
    held_us: int = 0

    def left(self, now_us: int) -> int:
        """How many units fit at `now_us`."""
        limit = self.limit
        rate = limit.rate
        if limit.in_flight:
            return max(0, rate.burst - self.open)
        tolerance_us = limit.tolerance_us
        if not tolerance_us:
            return 0
        full_in_us = self.full_at_us - now_us
        room_us = tolerance_us - full_in_us if full_in_us > 0 else tolerance_us
        if room_us <= 0:
            return 0
        units = room_us * rate.rate // rate.per_us if limit.by_bytes else room_us // limit.unit_us
        return units if units < rate.burst else rate.burst

    @property
    def held(self) -> int:
        """How many units of it the gate holds as its lease."""
        limit, rate = self.limit, self.limit.rate
        return self.held_us * rate.rate // rate.per_us if limit.by_bytes else self.held_us // limit.unit_us
