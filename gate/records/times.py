"""Times in JSON documents: RFC 3339 in UTC with up to six digits of a second, converted from and to µs since 1970."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from gate.errors import StateUnreadable

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def time_of(us: int) -> datetime:
    """The time `us` µs after the start of 1970. Raises OverflowError outside the years 1 to 9999."""
    return _EPOCH + timedelta(0, 0, us)


def us_of(time: datetime) -> int:
    """The µs from the start of 1970 to `time`. Raises StateUnreadable if `time` has no zone."""
    if time.tzinfo is None:
        raise StateUnreadable("a time without its zone")
    return (time - _EPOCH) // _MICROSECOND
