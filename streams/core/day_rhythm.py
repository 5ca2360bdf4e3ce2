"""The rhythm of an account's days: in which hours of the day it uploads.

People sleep, in whatever time zone they live, and a script does not. There is a counter of four bits for each hour of
the day. It counts active hours and not uploads, so that one album or one busy evening weighs no more than a single
picture. All counters halve before one would overflow, so habits of long ago fade.
"""

from __future__ import annotations

from math import nan
from typing import Final

from gate.core.duration import DAY_US, HOUR_US

HOURS_BYTES: Final = 12
LEAST_ACTIVE_HOURS: Final = 48
"""Active hours from which their rhythm means something; fewer leave a quarter of the day out by chance."""
_FULL: Final = 15
_HALF: Final = int.from_bytes(b"\x77" * HOURS_BYTES, "little")
_EVEN: Final = int.from_bytes(b"\x0f" * HOURS_BYTES, "little")
_ALL: Final = (1 << 8 * HOURS_BYTES) - 1


def with_hour(hours: bytes, at_us: int) -> bytes:
    """The counters with one more active hour, that of `at_us`. Counters that are empty begin at 0."""
    counters = int.from_bytes(hours, "little")
    place = 4 * (at_us // HOUR_US % 24)
    if counters >> place & _FULL == _FULL:
        counters = counters >> 1 & _HALF
    return (counters + (1 << place)).to_bytes(HOURS_BYTES, "little")


def night_share(hours: bytes, first_us: int, last_us: int) -> float:
    """The share of the active hours in the quietest six hours of the day: 0 for most people, a quarter at most.

    Not a number before there are enough active hours between the times `first_us` and `last_us`.
    """
    if last_us - first_us < 2 * DAY_US - HOUR_US:  # which fewer active hours fit into, at little cost
        return nan
    counters = int.from_bytes(hours, "little")
    pairs = (counters & _EVEN) + (counters >> 4 & _EVEN)  # a byte for every two hours
    begun_before = (pairs << 8 & _ALL | pairs >> 88) + (pairs << 16 & _ALL | pairs >> 80)
    quarters = (pairs + begun_before).to_bytes(HOURS_BYTES, "little")
    active = sum(quarters) // 3
    return min(quarters) / active if active >= LEAST_ACTIVE_HOURS else nan
