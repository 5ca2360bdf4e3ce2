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
        """What `units` cost, as time in µs, rounded up."""
        return -(-units * self.per_us // self.rate)

    @property
    def tolerance_us(self) -> int:
        """The whole burst as time, in µs. Whole units times the rounded cost always fit into it."""
        return max(self.burst * self.per_us // self.rate, self.cost_us(1) * min(self.burst, 1 << 20))


@dataclass(frozen=True, slots=True)
class Limit:
    """One named limit on an entity. `by_bytes` tells what it counts; a `shadow` limit counts and never refuses."""

    name: str
    rate: Rate
    shadow: bool = False
    by_bytes: bool = False

    def cost_us(self, size: int) -> int:
        """What one upload of `size` bytes costs, in µs."""
        return self.rate.cost_us(size if self.by_bytes else 1)


@dataclass(frozen=True, slots=True, eq=False)
class EntityLimits:
    """All limits on one kind of entity. The policy builds them once; they are compared by identity, which is cheap."""

    limits: tuple[Limit, ...]
    byte_rates: tuple[Rate, ...] = field(init=False)
    """The rates of those limits that count bytes, in their order."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "byte_rates", tuple(limit.rate for limit in self.limits if limit.by_bytes))


class EntityBuckets(msgspec.Struct, frozen=True, gc=False):
    """One entity, one bucket for each of its limits. `entity` is a pseudonym where the thing is personal."""

    entity: str
    limits: EntityLimits
