"""The ways in which an upload of a class may get the tokens of its shared buckets from leases.

A class has one way, unless it has a part of a limit reserved: then it takes from the lease of its reserve first, and from that of
the rest where the reserve has nothing for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace as copy_with
from itertools import islice, product
from typing import Final

from msgspec.structs import replace

from gate.core.limits.limit import EntityBuckets, EntityLimits, Limit, Room
from gate.core.limits.take import ClassLimits, TakeResult
from gate.core.limits.token_lease import TokenLease

MOST_WAYS: Final = 8


class LeasedWay:
    """One choice of leases for an upload of a class, what the upload costs each, and the limits that remain for the store."""

    __slots__ = ("costs", "leases", "remaining", "scarce", "scarce_share")

    def __init__(self, leases: tuple[TokenLease, ...], remaining: ClassLimits) -> None:
        self.leases = leases
        self.remaining = remaining
        self.costs = None if any(lease.limit.by_bytes for lease in leases) else self._costs(0)
        self.scarce: Room | None = None
        """The emptiest of its buckets at the last look."""
        self.scarce_share = 2.0

    def costs_of(self, size: int) -> tuple[int, ...]:
        """What an upload of that size costs each lease."""
        return self.costs if self.costs is not None else self._costs(size)

    def _costs(self, size: int) -> tuple[int, ...]:
        return tuple(lease.limit.cost_us(size) for lease in self.leases)

    def has(self, costs: Sequence[int]) -> bool:
        """Whether each lease holds that much."""
        for lease, cost in zip(self.leases, costs):  # noqa: B905, SIM110  (as long as each other; each check runs it)
            if lease.held_us < cost:
                return False
        return True

    def spend(self, costs: Sequence[int], uploads: int) -> bool:
        """Give `uploads` what they cost together. Returns whether a lease runs low."""
        is_low = False
        for lease, cost in zip(self.leases, costs):  # noqa: B905
            held_us = lease.held_us - cost
            lease.held_us = held_us
            lease.out_us += cost
            lease.demand_us += cost
            lease.demands += uploads
            if held_us < lease.low_us:
                is_low = True
        return is_low

    def settle(self, costs: Sequence[int], unused: Sequence[int]) -> None:
        """Note how uploads used their tokens: all but the `unused` ones were used."""
        for lease, cost, back in zip(self.leases, costs, unused):  # noqa: B905
            lease.out_us -= cost
            lease.held_us += back

    def told(self, result: TakeResult) -> TakeResult:
        """The answer to an upload, with the room of a leased bucket where that is the emptiest."""
        room = result.room
        if room is None:
            newly = result.charged and not result.repeated
            return replace(result, room=self.scarce) if newly and self.scarce is not None else result
        tolerance_us = room.limit.tolerance_us or 1
        if (result.now_us + tolerance_us - room.full_at_us) / tolerance_us <= self.scarce_share:
            return result
        return replace(result, room=self.scarce)

    def note_scarce(self) -> None:
        """Look which of the buckets is the emptiest. A reserve is none, as the rest of its limit has room besides."""
        self.scarce, self.scarce_share = None, 2.0
        for lease in self.leases:
            limit = lease.limit
            if lease.room is not None and not limit.shadow and not limit.reserve_of and lease.share < self.scarce_share:
                self.scarce, self.scarce_share = lease.room, lease.share


class LeasedBatch:
    """Tokens that the leases gave to all uploads of one class in a batch. `used` counts the uploads that used theirs."""

    __slots__ = ("given", "remaining", "told", "used", "way")

    def __init__(self, way: LeasedWay, given: int) -> None:
        self.way = way
        self.remaining = way.remaining
        self.told = way.told
        self.given = given
        self.used = 0

    def settle(self) -> None:
        costs, unused = self.way.costs or (), self.given - self.used
        self.way.settle([cost * self.given for cost in costs], [cost * unused for cost in costs])


class LeasedClass:
    """The ways in which an upload of a class may get its tokens from leases: first those with the reserve of the class."""

    __slots__ = ("is_on", "leases", "ways")

    def __init__(self, ways: tuple[LeasedWay, ...]) -> None:
        self.ways = ways
        self.leases = tuple(dict.fromkeys(lease for way in ways for lease in way.leases))
        self.is_on = True
        """Whether each lease may hold anything."""
        self.look()

    def want(self, size: int, uploads: int) -> None:
        """Note that so many uploads of that size found no tokens."""
        for lease in self.wanting():
            lease.demand_us += lease.limit.cost_us(size) * uploads
            lease.demands += uploads

    def wanting(self) -> list[TokenLease]:
        """The leases that an upload without tokens needs: those of the first way that is not scarce, and all scarce ones."""
        ways = (way for way in self.ways if not any(lease.is_scarce for lease in way.leases))
        way = next(ways, self.ways[-1])
        return [lease for lease in self.leases if lease.is_scarce or lease in way.leases]

    def look(self) -> None:
        """Work out what follows from the leases as they are now."""
        self.is_on = all(lease.most_us for lease in self.leases)
        for way in self.ways:
            way.note_scarce()


def leased_class(limits: ClassLimits, lease_of: Callable[[str, Limit], TokenLease]) -> LeasedClass | None:
    """The ways of a class with these limits; None where none of them is leased. `lease_of` gives the lease of a bucket."""
    shared: list[EntityBuckets] = []
    choices: list[list[tuple[str, Limit]]] = []
    for each in limits.shared:
        kept: list[Limit] = []
        reserve: list[tuple[str, Limit]] = []
        for limit in each.limits.limits:
            if limit.lease == 0 or limit.in_flight:
                kept.append(limit)
            elif limit.reserve_of:
                reserve = [(each.entity, limit)]
            else:
                choices.append([*reserve, (each.entity, limit)])
                reserve = []
        if kept:
            whole = len(kept) == len(each.limits.limits)
            shared.append(each if whole else EntityBuckets(each.entity, EntityLimits(tuple(kept))))
    if not choices:
        return None
    ways = []
    for chosen in islice(product(*choices), MOST_WAYS):
        leases = tuple(lease_of(entity, limit) for entity, limit in chosen)
        leased = tuple(EntityBuckets(entity, EntityLimits((limit,))) for entity, limit in chosen)
        ways.append(LeasedWay(leases, copy_with(limits, shared=tuple(shared), leased=leased)))
    return LeasedClass(tuple(ways))
