"""How the numbers of a take are packed, by its class, and which limits the numbers in its answer name.

The layouts stand at the top of `lua/take.lua`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import lru_cache
from math import gcd

from gate.core.limits.limit import Limit, Rate
from gate.core.limits.take import ClassLimits
from gate.stores.redis.layout import FINGERPRINT

Alone = tuple[int, int] | tuple[()] | None
"""For a class whose requests carry a cost as their only further number: the period and the rate of its limit on bytes. Empty if
they carry no further number, None if they carry others."""
Packing = tuple[int, Alone, bool, bool, Callable[..., bytes], Callable[..., bytes]]
"""The values by which requests of a class are packed: the class's number, the further numbers, whether the class limits
networks and devices, the function that packs the numbers, and the one that packs them with a fingerprint of pseudonyms. A plain
tuple, because each check takes it apart.
"""


def packing_of(limits: ClassLimits, number: int, flights: Sequence[str]) -> Packing:
    """The packing of a class with this number in its script; `flights` are the subjects of its limits on what is in flight."""
    numbers = struct.Struct(f"<BBHHHIH{len(limits.byte_rates)}d{len(flights)}H")
    whole = struct.Struct(numbers.format + FINGERPRINT.format.removeprefix("<"))
    alone = None if flights else _period_and_rate(limits.byte_rates)
    return number, alone, limits.ip is not None, limits.device is not None, numbers.pack, whole.pack


def _period_and_rate(rates: Sequence[Rate]) -> Alone:
    """In lowest terms, because small numbers are multiplied and divided faster."""
    if not rates:
        return ()
    if len(rates) != 1 or not (rates[0].rate and rates[0].burst):
        return None
    shared = gcd(rates[0].per_us, rates[0].rate)
    return rates[0].per_us // shared, rates[0].rate // shared


@lru_cache(maxsize=64)
def numbered_limits(classes: tuple[ClassLimits, ...]) -> tuple[tuple[Limit, ...], ...]:
    """All limits of each class, in the order of their numbers in the script."""
    return tuple(tuple(limit for each in one.entity_limits for limit in each.limits) for one in classes)
