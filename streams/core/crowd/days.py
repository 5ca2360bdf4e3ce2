"""The current day in event time. One event opens one day at most.

An event of the next day opens that day. A single event further ahead opens no day: after a second event that is ahead
as well, the earlier of both days is opened. So one event with a wrong time ages all counts by at most one day, and a
topic that was quiet for a week continues with its second event. Until its day is open, an event counts on today. A day that
another partition's owner publishes a count for is taken as an event of that partition (`Crowd.hear`).
"""

from __future__ import annotations

from collections.abc import Callable

from gate.core.duration import DAY_US
from gate.core.fields.times import LATEST_US, MAX_AHEAD_US


def without_clock() -> int:
    """The time of one who believes every event, as a replay does: the latest that there is."""
    return LATEST_US


class Days:
    """The open day, counted from 1970, of all partitions together. Mutable, used by one thread."""

    def __init__(self, clock_us: Callable[[], int] = without_clock) -> None:
        """`clock_us` is the worker's own clock. No day opens that begins more than five minutes later, whatever events and the
        broker's clock say: counts that have aged do not come back, and no event of today would count."""
        self._clock_us = clock_us
        self.today: int | None = None
        self._ahead: tuple[int, int] | None = None

    def counted(self, at_us: int, account: int) -> int:
        """The day on which an account's event counts; it may open that day."""
        day, today = at_us // DAY_US, self.today
        if today is None or day > today:
            at_us = min(at_us, self._clock_us() + MAX_AHEAD_US)
            day = at_us // DAY_US
        if today is None or day == today + 1:
            self._open(day)
            return day
        if day <= today:
            return day
        event = (at_us, account)
        if self._ahead is None or self._ahead == event:
            self._ahead = event
            return today
        first, last = sorted((self._ahead, event))
        opened, latest = first[0] // DAY_US, last[0] // DAY_US
        if latest == opened + 1:
            opened = latest
        self._open(opened)
        if latest > opened:
            self._ahead = last
        return min(day, opened)

    def _open(self, day: int) -> None:
        self.today = day
        if self._ahead is not None and self._ahead[0] // DAY_US <= day + 1:
            self._ahead = None
