"""Token buckets by the generic cell rate algorithm (GCRA), in integer microseconds.

A bucket is one number, its theoretical arrival time (TAT): the moment at which it will be full again. A request of
cost `n` moves the TAT by `n` emission intervals; it is let through if the TAT then lies at most the tolerance (the
burst, as time) ahead of now. There is no timer and no rounding drift: all arithmetic is on integers, and rounding is
always against the caller (a cost is rounded up, a tolerance down).

This is the model the Redis script is tested against; both must agree to the microsecond.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

MINUTE_US = 60_000_000
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US


@dataclass(frozen=True, slots=True)
class Rate:
    """`rate` units each `per_us` µs on average, at most `burst` at once. All are positive integers."""

    rate: int
    per_us: int
    burst: int

    def cost_us(self, units: int) -> int:
        """The time `units` are worth, in µs, rounded up."""
        return -(-units * self.per_us // self.rate)

    @property
    def tolerance_us(self) -> int:
        """The whole burst as time, in µs. Whole units times the rounded cost always fit into it."""
        return max(self.burst * self.per_us // self.rate, self.cost_us(1) * min(self.burst, 1 << 20))


class Charge(msgspec.Struct, frozen=True, gc=False):
    """One bucket a check wants to take from: the entity it belongs to, the limit's name, its price and its size.

    `entity` is already a pseudonym where the thing is personal. A `shadow` charge counts and never refuses.
    """

    entity: str
    limit: str
    cost_us: int
    tolerance_us: int
    shadow: bool


class Refusal(msgspec.Struct, frozen=True, gc=False):
    """The limit that refused and the µs until the same request would fit (None: it never will, it exceeds the burst)."""

    limit: str
    retry_after_us: int | None


def wait_us(tat_us: int, charge: Charge, now_us: int) -> int:
    """How many µs the charge has to wait; 0 where it fits now."""
    return max(0, max(tat_us, now_us) + charge.cost_us - charge.tolerance_us - now_us)


def take(
    tats: dict[tuple[str, str], int], charges: tuple[Charge, ...], now_us: int
) -> tuple[Refusal | None, tuple[str, ...]]:
    """Take all charges or none. Changes `tats` ((entity, limit) → µs) only when nothing refuses.

    Returns the refusal that must be waited for longest, and the names of shadow limits that would have refused.
    """
    refusal: Refusal | None = None
    longest = 0
    shadowed: list[str] = []
    fitting: list[Charge] = []
    for charge in charges:
        wait = wait_us(tats.get((charge.entity, charge.limit), 0), charge, now_us)
        if wait == 0:
            fitting.append(charge)
        elif charge.shadow:
            shadowed.append(charge.limit)
        elif charge.cost_us > charge.tolerance_us:
            refusal, longest = Refusal(charge.limit, None), 1 << 62
        elif wait > longest:
            refusal, longest = Refusal(charge.limit, wait), wait
    if refusal is None:
        for charge in fitting:
            key = (charge.entity, charge.limit)
            tats[key] = max(tats.get(key, 0), now_us) + charge.cost_us
    return refusal, tuple(shadowed)
