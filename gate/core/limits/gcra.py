"""Token buckets by the generic cell rate algorithm (GCRA), in integer microseconds, and counts of what is in flight.

A bucket is one number, its theoretical arrival time (TAT): the moment at which it will be full again. A request of
cost `n` moves the TAT by `n` emission intervals; it is let through if the TAT then lies at most the tolerance (the
burst, as time) ahead of now. There is no timer and no rounding drift: all arithmetic is on integers, and each rounding
is against the caller (a cost is rounded up, a tolerance down).

A stored TAT that is too late is corrected. No take leaves a TAT later than now plus the tolerance, so a TAT that is
more than GRACE_US later comes from a clock that was set back, from a limit that was wider, or from a damaged value.
It becomes now plus the tolerance: an empty bucket that fills from now on. The correction is written back even if the
request is refused, because otherwise the bucket would stay empty until the clock has caught up.

A settled upload may turn out larger than it was taken for. Its bucket may then be in debt, and its TAT later than any
take leaves it. The debt is kept beside the bucket under `Limit.debt_of`; a TAT that is no later than it is true.

A limit on what is in flight keeps the times at which the open reservations end by themselves.

This is the model the Redis script is tested against; both must agree to the microsecond.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from gate.core.limits.limit import EntityBuckets, Limit, Rate, Room

GRACE_US: Final = 60_000_000
"""How far the clock may step back before a TAT counts as too late. Within it no second fills a bucket twice."""
LATEST_TAT_US: Final = (1 << 53) - 1
"""The latest TAT: a store keeps it as a double, which is exact up to here."""

Tats = dict[tuple[str, str], int]
"""(entity, limit) → TAT in µs; a debt stands under the limit's `debt_of`."""
Flights = dict[tuple[str, str], list[int]]
"""(entity, limit) → the times (µs) at which the open reservations end."""


class Refusal(msgspec.Struct, frozen=True, gc=False):
    """The limit that refused, and the µs until the same request would fit; None if it exceeds the burst."""

    limit: str
    retry_after_us: int | None


class Took(msgspec.Struct, frozen=True, gc=False):
    """What an upload took from one bucket, as time in µs; a reservation in flight costs no time.

    `rate` is set where the limit counts bytes: it gives the cost of the real size. The `leased` part came from a lease:
    the gate had taken it from the bucket beforehand.
    """

    entity: str
    limit: str
    cost_us: int
    rate: Rate | None = None
    in_flight: bool = False
    leased: bool = False


class Taken(msgspec.Struct, frozen=True, gc=False):
    """The result of a take: the refusal with the longest wait, or else the amounts taken, and the emptiest bucket.

    `shadow` names the shadow limits that would have refused.
    """

    refusal: Refusal | None
    shadow: tuple[str, ...]
    took: tuple[Took, ...] = ()
    room: Room | None = None


class _Cost(msgspec.Struct, frozen=True, gc=False):
    key: tuple[str, str]
    cost_us: int
    tolerance_us: int
    limit: Limit


def take(
    tats: Tats, buckets: tuple[EntityBuckets, ...], size: int, now_us: int, *,
    never_refuse: bool = False, sharers: int = 1,
) -> tuple[Refusal | None, tuple[str, ...]]:  # fmt: skip
    """Take an upload of `size` bytes from all buckets or from none, as `take_reserved` does. Nothing is in flight."""
    taken = take_reserved(tats, {}, buckets, size, now_us, now_us, never_refuse=never_refuse, sharers=sharers)
    return taken.refusal, taken.shadow


def take_reserved(
    tats: Tats, flights: Flights, buckets: tuple[EntityBuckets, ...], size: int, now_us: int, until_us: int, *,
    never_refuse: bool = False, sharers: int = 1,
) -> Taken:  # fmt: skip
    """Take an upload of `size` bytes from all buckets or from none, for a reservation that ends at `until_us`.

    `tats` and `flights` are changed in place. Tokens move only if no limit refuses; a TAT that is too late is always
    corrected. With `never_refuse` no limit refuses, and a bucket without room keeps its TAT. Each limit is divided by
    `sharers`.
    """
    refusal: Refusal | None = None
    room: Room | None = None
    longest, least = 0, 2.0
    shadowed: list[str] = []
    fitting: list[_Cost] = []
    reserve_wait: int | None = None
    reserve_fits = False
    for cost in _costs(buckets, size, sharers):
        limit = cost.limit
        if limit.reserve_of:
            reserve_wait = _wait_us(tats, flights, cost, now_us)
            reserve_fits = reserve_wait is not None and reserve_wait <= 0
            if reserve_fits:
                fitting.append(cost)
            continue
        if reserve_fits:  # the rest of the limit is spared
            reserve_wait, reserve_fits = None, False
            continue
        wait = _wait_us(tats, flights, cost, now_us)
        if reserve_wait is not None:
            if wait is None or wait > reserve_wait:
                wait = reserve_wait
            reserve_wait = None
        if wait is not None and wait <= 0:
            fitting.append(cost)
            share = -wait * (1.0 / (cost.tolerance_us or 1))
            if not limit.shadow and not limit.in_flight and share < least:
                least, room = share, Room(limit, wait + cost.tolerance_us + now_us)
        elif limit.shadow:
            shadowed.append(limit.name)
        elif never_refuse:
            continue
        elif wait is None:
            refusal, longest = Refusal(limit.name, None), LATEST_TAT_US
        elif wait > longest:
            refusal, longest = Refusal(limit.name, wait), wait
    if refusal is not None:
        return Taken(refusal, tuple(shadowed))
    return Taken(None, tuple(shadowed), _move(tats, flights, fitting, now_us, until_us), room)


def rooms(tats: Tats, flights: Flights, buckets: tuple[EntityBuckets, ...], now_us: int) -> tuple[Room, ...]:
    """The room in each of the buckets, in their order. Nothing is taken or corrected."""
    found: list[Room] = []
    for cost in _costs(buckets, 0, 1):
        if cost.limit.in_flight:
            open_ = [until for until in flights.get(cost.key, ()) if until > now_us]
            found.append(Room(cost.limit, max(open_, default=now_us), len(open_)))
        else:
            found.append(Room(cost.limit, believed_tat_us(dict(tats), cost.key, cost.tolerance_us, now_us)))
    return tuple(found)


def _move(tats: Tats, flights: Flights, fitting: list[_Cost], now_us: int, until_us: int) -> tuple[Took, ...]:
    took: list[Took] = []
    for cost in fitting:
        entity, limit = cost.key
        if cost.limit.in_flight:
            flights[cost.key] = sorted([*(until for until in flights.get(cost.key, ()) if until > now_us), until_us])
        else:
            tats[cost.key] = max(tats.get(cost.key, now_us), now_us) + cost.cost_us
        took.append(
            Took(entity, limit, cost.cost_us, cost.limit.rate if cost.limit.by_bytes else None, cost.limit.in_flight)
        )
    return tuple(took)


def _wait_us(tats: Tats, flights: Flights, cost: _Cost, now_us: int) -> int | None:
    """How long until the limit has room, at most 0 where it has; None where it never has."""
    if cost.limit.in_flight:
        burst = cost.limit.rate.burst
        open_ = sorted(until for until in flights.get(cost.key, ()) if until > now_us)
        if not burst:
            return None
        return 0 if len(open_) < burst else open_[len(open_) - burst] - now_us
    tat_us = believed_tat_us(tats, cost.key, cost.tolerance_us, now_us)
    return None if cost.cost_us > cost.tolerance_us else tat_us + cost.cost_us - cost.tolerance_us - now_us


def believed_tat_us(tats: Tats, key: tuple[str, str], tolerance_us: int, now_us: int) -> int:
    """When the bucket will be full, at the earliest now. A TAT that is too late is corrected in place."""
    tat_us = tats.get(key, now_us)
    if tat_us > now_us + tolerance_us + GRACE_US:
        entity, limit = key
        if tat_us > tats.get((entity, Limit.debt_of(limit)), now_us):
            tats[key] = tat_us = now_us + tolerance_us
    return max(tat_us, now_us)


def _costs(buckets: tuple[EntityBuckets, ...], size: int, sharers: int) -> Iterator[_Cost]:
    for each in buckets:
        for limit in each.limits.limits:
            if limit.in_flight:
                yield _Cost((each.entity, limit.name), 0, 0, limit)
                continue
            whole_us, tolerance_us = limit.cost_us(size), limit.rate.tolerance_us
            # a rate divided by n is a cost times n; the burst is counted in time, so the same factor divides it
            cost_us = whole_us * sharers
            if whole_us <= tolerance_us:
                tolerance_us = max(tolerance_us, cost_us)
            yield _Cost((each.entity, limit.name), cost_us, tolerance_us, limit)
