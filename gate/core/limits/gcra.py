"""Token buckets by the generic cell rate algorithm (GCRA), in integer microseconds.

A bucket is one number, its theoretical arrival time (TAT): the moment at which it will be full again. A request of
cost `n` moves the TAT by `n` emission intervals; it is let through if the TAT then lies at most the tolerance (the
burst, as time) ahead of now. There is no timer and no rounding drift: all arithmetic is on integers, and rounding is
always against the caller (a cost is rounded up, a tolerance down).

This is the model the Redis script is tested against; both must agree to the microsecond.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from gate.core.limits.limit import EntityBuckets


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
    tats: dict[tuple[str, str], int], charges: tuple[EntityBuckets, ...], size: int, now_us: int, *, lenient: bool = False,
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


def _terms(charges: tuple[EntityBuckets, ...], size: int, sharers: int) -> Iterator[_Term]:
    for charge in charges:
        for price in charge.tariff.prices:
            whole_us, tolerance_us = price.cost_us(size), price.rate.tolerance_us
            # a rate divided by n is a price times n; the burst, being counted in time, is divided by the same stroke
            cost_us = whole_us * sharers
            if whole_us <= tolerance_us:
                tolerance_us = max(tolerance_us, cost_us)
            yield _Term((charge.entity, price.limit), cost_us, tolerance_us, price.shadow)
