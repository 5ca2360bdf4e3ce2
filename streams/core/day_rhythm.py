"""The rhythm of an account's days: in which hours of the day it uploads.

People sleep, in whatever time zone they live, and a script does not. There is a counter of four bits for each hour of
the day. It counts active hours and not uploads, so that one album or one busy evening weighs no more than a single
picture. All counters halve before one would overflow, so habits of long ago fade. Behind the counters stands what they
tell, in a byte: it is worked out once an active hour, and read at every event.
"""

from __future__ import annotations

from math import nan
from typing import Final

from gate.core.duration import DAY_US, HOUR_US

COUNTER_BYTES: Final = 12
LEAST_ACTIVE_HOURS: Final = 48
"""Active hours from which their rhythm means something; fewer leave a quarter of the day out by chance."""
_FULL: Final = 15
_HALF: Final = int.from_bytes(b"\x77" * COUNTER_BYTES, "little")
_EVEN: Final = int.from_bytes(b"\x0f" * COUNTER_BYTES, "little")
_ALL: Final = (1 << 8 * COUNTER_BYTES) - 1
_STEPS: Final = 1_000
_TOO_FEW: Final = b"\xff"


def with_hour(hours: bytes, at_us: int, first_us: int) -> bytes:
    """What is kept of the active hours with one more, that of `at_us`; `first_us` is the time of the first upload.

    Where nothing is kept yet, `hours` is empty.
    """
    counters = int.from_bytes(hours[:COUNTER_BYTES], "little")
    place = 4 * (at_us // HOUR_US % 24)
    if counters >> place & _FULL == _FULL:
        counters = counters >> 1 & _HALF
    counters += 1 << place
    # within less than two days there cannot be enough of them
    told = _TOO_FEW if at_us - first_us < 2 * DAY_US - HOUR_US else _told(counters)
    return counters.to_bytes(COUNTER_BYTES, "little") + told


def night_share(hours: bytes) -> float:
    """The share of the active hours in the quietest six hours of the day: 0 for most people, a quarter at most.

    Not a number before there are enough active hours.
    """
    return nan if not hours or hours.endswith(_TOO_FEW) else hours[COUNTER_BYTES] / _STEPS


def _told(counters: int) -> bytes:
    pairs = (counters & _EVEN) + (counters >> 4 & _EVEN)  # a byte for every two hours
    begun_before = (pairs << 8 & _ALL | pairs >> 88) + (pairs << 16 & _ALL | pairs >> 80)
    quarters = (pairs + begun_before).to_bytes(COUNTER_BYTES, "little")
    active = sum(quarters) // 3
    return bytes((min(quarters) * _STEPS // active,)) if active >= LEAST_ACTIVE_HOURS else _TOO_FEW
