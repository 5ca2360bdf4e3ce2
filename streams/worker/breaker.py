"""Stops a partition when most of its recent events are unreadable, rather than drain it to the dead letters."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from operator import attrgetter
from typing import Any

RECENT = 2_000
JUDGED_FROM = 1_000

_offset = attrgetter("offset")


class Breaker:
    """How many of a partition's recent events were unreadable. Halves what it counted when that is old.

    Each offset counts once, however often its batch is done again.
    """

    def __init__(self) -> None:
        self._events = 0
        self._unreadable = 0
        self._counted_to = 0
        self._is_open = False

    def is_open_after(self, records: Sequence[Any], unreadable: Sequence[Any]) -> bool:
        """Count a batch (not empty) and what is unreadable of it, both with `offset`, in order of offsets.

        True when most of at least 1,000 recent events are unreadable.
        """
        new = len(records) - bisect_left(records, self._counted_to, key=_offset)
        if new == 0:
            return self._is_open
        self._events += new
        self._unreadable += len(unreadable) - bisect_left(unreadable, self._counted_to, key=_offset)
        self._counted_to = records[-1].offset + 1
        self._is_open = self._events >= JUDGED_FROM and self._unreadable * 2 > self._events
        if self._events > RECENT:
            self._events //= 2
            self._unreadable //= 2
        return self._is_open

    def reset(self) -> None:
        """Forget everything, because someone reads on or the topic is a new one."""
        self._events = self._unreadable = self._counted_to = 0
        self._is_open = False
