"""Times as RFC 3339 writes them, with their zone, and which of them an account can have been made at."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec

from gate.core.fields.reasons import Dropped, Unusable

MAX_AHEAD_US = 5 * 60 * 1_000_000
"""How far a time may be ahead of the clock it is held against, µs."""
EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
"""An account is not older than the web."""
LATEST_US = 32_503_680_000_000_000
"""The year 3000; an event beyond it has no time."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EARLIEST_US = 631_152_000_000_000
_MICROSECOND = timedelta(microseconds=1)


def moment(value: object) -> datetime:
    """The time that `value` is or spells. Raises Unusable for any other thing, and for one without its zone."""
    if isinstance(value, str):
        try:
            value = msgspec.convert(value.strip(), datetime)
        except (msgspec.ValidationError, UnicodeError):
            raise Unusable(Dropped.INVALID) from None
    if not isinstance(value, datetime):
        raise Unusable(Dropped.TYPE_WRONG)
    if value.tzinfo is None:
        raise Unusable(Dropped.INVALID)
    return value


def since_epoch_us(value: datetime) -> int:
    """µs since 1970."""
    return (value - EPOCH) // _MICROSECOND


def creation(value: object, at_us: int) -> datetime:
    """When an account was made, as of `at_us`. Raises Unusable for the future and for before the web.

    A recording whose own clock stands before the web keeps its accounts' ages.
    """
    found = moment(value)
    made_us = since_epoch_us(found)
    if made_us < EARLIEST_US <= at_us:
        raise Unusable(Dropped.ABSURD)
    if made_us > at_us + MAX_AHEAD_US:
        raise Unusable(Dropped.FUTURE)
    return found
