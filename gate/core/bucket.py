"""Token buckets by the generic cell rate algorithm (GCRA), in integer microseconds.

A bucket is one number, its theoretical arrival time (TAT): the moment at which it will be full again. A request of
cost `n` moves the TAT by `n` emission intervals; it is let through if the TAT then lies at most the tolerance (the
burst, as time) ahead of now. There is no timer and no rounding drift: all arithmetic is on integers, and rounding is
always against the caller (a cost is rounded up, a tolerance down).

This is the model the Redis script is tested against; both must agree to the microsecond.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

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


@dataclass(frozen=True, slots=True)
class Price:
    """One limit on an entity. `by_bytes` tells what it counts; a `shadow` one counts and never refuses."""

    limit: str
    rate: Rate
    shadow: bool = False
    by_bytes: bool = False

    def cost_us(self, size: int) -> int:
        """What one upload of `size` bytes takes, in µs."""
        return self.rate.cost_us(size if self.by_bytes else 1)


@dataclass(frozen=True, slots=True, eq=False)
class Tariff:
    """All limits on an entity. Worked out once for many checks; two are never equal, so that asking is cheap."""

    prices: tuple[Price, ...]
    by_bytes: tuple[Rate, ...] = field(init=False)
    """The rates of those prices that count bytes, in their order."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_bytes", tuple(price.rate for price in self.prices if price.by_bytes))


class Charge(msgspec.Struct, frozen=True, gc=False):
    """One entity an upload is charged to, at each of its limits. It is a pseudonym where the thing is personal."""

    entity: str
    tariff: Tariff


class Refusal(msgspec.Struct, frozen=True, gc=False):
    """The limit that refused and the µs until the same request would fit (None: it never will, it exceeds the burst)."""

    limit: str
    retry_after_us: int | None


class _Term(msgspec.Struct, frozen=True, gc=False):
    key: tuple[str, str]
    cost_us: int
    tolerance_us: int
    shadow: bool


def take(
    tats: dict[tuple[str, str], int], charges: tuple[Charge, ...], size: int, now_us: int, *, lenient: bool = False,
    sharers: int = 1,
) -> tuple[Refusal | None, tuple[str, ...]]:  # fmt: skip
    """Take all charges of an upload of `size` bytes or none. Changes `tats` ((entity, limit) → µs) only when nothing refuses.

    Returns the refusal that must be waited for longest, and the names of shadow limits that would have refused. Where
    `lenient`, no limit refuses. `sharers` is by how many each limit is divided.
    """
    refusal: Refusal | None = None
    longest = 0
    shadowed: list[str] = []
    fitting: list[_Term] = []
    for term in _terms(charges, size, sharers):
        wait = max(tats.get(term.key, 0), now_us) + term.cost_us - term.tolerance_us - now_us
        limit = term.key[1]
        if wait <= 0:
            fitting.append(term)
        elif term.shadow:
            shadowed.append(limit)
        elif lenient:
            continue
        elif term.cost_us > term.tolerance_us:
            refusal, longest = Refusal(limit, None), 1 << 62
        elif wait > longest:
            refusal, longest = Refusal(limit, wait), wait
    if refusal is None:
        for term in fitting:
            tats[term.key] = max(tats.get(term.key, 0), now_us) + term.cost_us
    return refusal, tuple(shadowed)


def _terms(charges: tuple[Charge, ...], size: int, sharers: int) -> Iterator[_Term]:
    for charge in charges:
        for price in charge.tariff.prices:
            whole_us, tolerance_us = price.cost_us(size), price.rate.tolerance_us
            # a rate divided by n is a price times n; the burst, being counted in time, is divided by the same stroke
            cost_us = whole_us * sharers
            if whole_us <= tolerance_us:
                tolerance_us = max(tolerance_us, cost_us)
            yield _Term((charge.entity, price.limit), cost_us, tolerance_us, price.shadow)
