"""The rhythm of an account's days: in which hours of the day it uploads.

People sleep, in whatever time zone they live, and a script does not. There is a counter of four bits for each hour of
the day. It counts active hours and not uploads, so that one album or one busy evening weighs no more than a single
picture. All counters halve before one would overflow, so habits of long ago fade. Behind the counters stands what they
tell, in a byte: it is worked out once an active hour, and read at every event. Counting begins two days after the first
upload, so an account of a day takes no room for it.
"""

from __future__ import annotations

from math import nan
from typing import Final

from gate.core.duration import HOUR_US

COUNTER_BYTES: Final = 12
LEAST_ACTIVE_HOURS: Final = 48
"""Active hours from which their rhythm means something; fewer leave a quarter of the day out by chance."""
_ONE: Final = tuple(1 << 4 * hour for hour in range(24))
_FULL: Final = tuple(15 << 4 * hour for hour in range(24))
_HALF: Final = int.from_bytes(b"\x77" * COUNTER_BYTES, "little")
_EVEN: Final = int.from_bytes(b"\x0f" * COUNTER_BYTES, "little")
_ALL: Final = (1 << 8 * COUNTER_BYTES) - 1
_STEPS: Final = 1_000
_TOO_FEW: Final = 0xFF
BEGINS_AFTER_US: Final = 48 * HOUR_US


def with_hour(hours: bytes, at_us: int, first_us: int) -> bytes:
    """What is kept of the active hours with one more, that of `at_us`; `first_us` is the time of the first upload.

    Where nothing is kept yet, `hours` is empty.
    """
    if at_us - first_us < BEGINS_AFTER_US:
        return hours
    hour = at_us // HOUR_US % 24
    counters = int.from_bytes(hours, "little") & _ALL
    if counters & _FULL[hour] == _FULL[hour]:
        counters = counters >> 1 & _HALF
    counters += _ONE[hour]
    return (_told(counters) << 8 * COUNTER_BYTES | counters).to_bytes(COUNTER_BYTES + 1, "little")


def night_share(hours: bytes) -> float:
    """The share of the active hours in the quietest six hours of the day: 0 for most people, a quarter at most.

    Not a number before there are enough active hours.
    """
    return nan if not hours or hours[COUNTER_BYTES] == _TOO_FEW else hours[COUNTER_BYTES] / _STEPS


def _told(counters: int) -> int:
    pairs = (counters & _EVEN) + (counters >> 4 & _EVEN)  # a byte for every two hours
    begun_before = (pairs << 8 & _ALL | pairs >> 88) + (pairs << 16 & _ALL | pairs >> 80)
    quarters = (pairs + begun_before).to_bytes(COUNTER_BYTES, "little")
    active = sum(quarters) // 3
    return min(quarters) * _STEPS // active if active >= LEAST_ACTIVE_HOURS else _TOO_FEW
