"""Token buckets by the generic cell rate algorithm (GCRA), in integer microseconds.

A bucket is one number, its theoretical arrival time (TAT): the moment at which it will be full again. A request of
cost `n` moves the TAT by `n` emission intervals; it is let through if the TAT then lies at most the tolerance (the
burst, as time) ahead of now. There is no timer and no rounding drift: all arithmetic is on integers, and each rounding
is against the caller (a cost is rounded up, a tolerance down).

A stored TAT that is too late is corrected. No take leaves a TAT later than now plus the tolerance, so a TAT that is
more than GRACE_US later comes from a clock that was set back, from a limit that was wider, or from a damaged value.
It becomes now plus the tolerance: an empty bucket that fills from now on. The correction is written back even if the
request is refused, because otherwise the bucket would stay empty until the clock has caught up.

This is the model the Redis script is tested against; both must agree to the microsecond.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from gate.core.limits.limit import EntityBuckets

GRACE_US: Final = 60_000_000
"""How far the clock may step back before a TAT counts as too late. Within it no second fills a bucket twice."""


class Refusal(msgspec.Struct, frozen=True, gc=False):
    """The limit that refused, and the µs until the same request would fit; None if it exceeds the burst."""

    limit: str
    retry_after_us: int | None


class _Cost(msgspec.Struct, frozen=True, gc=False):
    key: tuple[str, str]
    cost_us: int
    tolerance_us: int
    shadow: bool


def take(
    tats: dict[tuple[str, str], int], buckets: tuple[EntityBuckets, ...], size: int, now_us: int, *,
    never_refuse: bool = False, sharers: int = 1,
) -> tuple[Refusal | None, tuple[str, ...]]:  # fmt: skip
    """Take an upload of `size` bytes from all buckets or from none.

    `tats` maps (entity, limit) to its TAT in µs and is changed in place. Tokens move only if no limit refuses; a TAT
    that is too late is always corrected. Returns the refusal with the longest wait, and the names of shadow limits
    that would have refused. With `never_refuse` no limit refuses, and a bucket without room keeps its TAT. Each limit
    is divided by `sharers`.
    """
    refusal: Refusal | None = None
    longest = 0
    shadowed: list[str] = []
    fitting: list[_Cost] = []
    for cost in _costs(buckets, size, sharers):
        wait = _believed_tat_us(tats, cost, now_us) + cost.cost_us - cost.tolerance_us - now_us
        limit = cost.key[1]
        if wait <= 0:
            fitting.append(cost)
        elif cost.shadow:
            shadowed.append(limit)
        elif never_refuse:
            continue
        elif cost.cost_us > cost.tolerance_us:
            refusal, longest = Refusal(limit, None), 1 << 62
        elif wait > longest:
            refusal, longest = Refusal(limit, wait), wait
    if refusal is None:
        for cost in fitting:
            tats[cost.key] = max(tats.get(cost.key, 0), now_us) + cost.cost_us
    return refusal, tuple(shadowed)


def _believed_tat_us(tats: dict[tuple[str, str], int], cost: _Cost, now_us: int) -> int:
    tat_us = tats.get(cost.key, 0)
    if tat_us > now_us + cost.tolerance_us + GRACE_US:
        tats[cost.key] = tat_us = now_us + cost.tolerance_us
    return max(tat_us, now_us)


def _costs(buckets: tuple[EntityBuckets, ...], size: int, sharers: int) -> Iterator[_Cost]:
    for each in buckets:
        for limit in each.limits.limits:
            whole_us, tolerance_us = limit.cost_us(size), limit.rate.tolerance_us
            # a rate divided by n is a cost times n; the burst is counted in time, so the same factor divides it
            cost_us = whole_us * sharers
            if whole_us <= tolerance_us:
                tolerance_us = max(tolerance_us, cost_us)
            yield _Cost((each.entity, limit.name), cost_us, tolerance_us, limit.shadow)
