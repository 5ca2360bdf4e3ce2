"""Limits as buckets apply them: a rate, one limit on an entity, and all limits of an entity together."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec


@dataclass(frozen=True, slots=True)
class Rate:
    """`rate` units per `per_us` µs on average, and at most `burst` units at once. All are positive integers."""

    rate: int
    per_us: int
    burst: int

    def cost_us(self, units: int) -> int:
        """The cost of `units`, as time in µs, rounded up."""
        return -(-units * self.per_us // self.rate)

    @property
    def tolerance_us(self) -> int:
        """The whole burst as time, in µs. It holds `burst` units at their rounded cost."""
        return max(self.burst * self.per_us // self.rate, self.cost_us(1) * min(self.burst, 1 << 20))


@dataclass(frozen=True, slots=True)
class Limit:
    """One named limit on an entity. It counts bytes if `by_bytes`, else uploads. A `shadow` limit never refuses."""

    name: str
    rate: Rate
    shadow: bool = False
    by_bytes: bool = False

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
