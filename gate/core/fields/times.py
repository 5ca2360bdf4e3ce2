"""Times in RFC 3339 with a zone, and the plausible times of an account's creation."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from gate.core.fields.reasons import Dropped, Unusable

MAX_AHEAD_US = 5 * 60 * 1_000_000
"""How far a time may be ahead of the clock that it is compared with, µs."""
EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
"""An account is not older than the web."""
LATEST_US = 32_503_680_000_000_000
"""The year 3000. An event with a later time is refused."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EARLIEST_US = 631_152_000_000_000


def moment(value: object) -> datetime:
    """The time of a datetime or of RFC 3339 text. Raises Unusable for other values, and for a time without a zone."""
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
    since = value - EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds  # a division takes twice as long


def creation(value: object, at_us: int) -> datetime:
    """The time of an account's creation. Raises Unusable if it is over 5 minutes after `at_us`, or before 1990.

    In a recording whose own times are before 1990, earlier creations are accepted as well.
    """
    found = moment(value)
    made_us = since_epoch_us(found)
    if made_us < EARLIEST_US <= at_us:
        raise Unusable(Dropped.ABSURD)
    if made_us > at_us + MAX_AHEAD_US:
        raise Unusable(Dropped.FUTURE)
    return found
