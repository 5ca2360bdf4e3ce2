"""Limits as buckets apply them: a rate, one limit on an entity, and all limits of an entity together."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec


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
class Limit:
    """One limit on an entity. `by_bytes` tells what it counts; a `shadow` one counts and never refuses."""

    limit: str
    rate: Rate
    shadow: bool = False
    by_bytes: bool = False

    def cost_us(self, size: int) -> int:
        """What one upload of `size` bytes takes, in µs."""
        return self.rate.cost_us(size if self.by_bytes else 1)


@dataclass(frozen=True, slots=True, eq=False)
class EntityLimits:
    """All limits on an entity. Worked out once for many checks; two are never equal, so that asking is cheap."""

    prices: tuple[Limit, ...]
    by_bytes: tuple[Rate, ...] = field(init=False)
    """The rates of those prices that count bytes, in their order."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_bytes", tuple(price.rate for price in self.prices if price.by_bytes))


class EntityBuckets(msgspec.Struct, frozen=True, gc=False):
    """One entity an upload is charged to, at each of its limits. It is a pseudonym where the thing is personal."""

    entity: str
    tariff: EntityLimits
