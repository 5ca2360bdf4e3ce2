"""A circuit breaker on a partition's unreadable events: it reads on, quarantines the unreadable ones, or halts.

Uploaders control the content of events, so unreadable events alone must not stop the scores of other accounts:

- **read**: at most half of the recent events are unreadable. Each unreadable one becomes a dead letter.
- **quarantine**: more than half of at least 1,000 recent events are unreadable, and at least 2 of 100 are readable.
  The readable events prove that topic and format are right, so they are still folded. Of the unreadable ones the first
  10,000 become dead letters, and after that each one with an offset divisible by 100. The others are counted, and stay
  in the events topic as long as it keeps them. Quarantine ends when at most a quarter is unreadable.
- **halt**: more than 98 of 100 are unreadable, so the topic or the format is wrong. The partition stops at its offset
  until an operator resumes it, because a corrected worker could still read these events.

Recent events are the last 1,000 to 4,000: the counts are halved once they pass 2,000. Each offset counts once, however
often its batch is repeated, and a repeated batch keeps the same dead letters.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from enum import Enum
from operator import attrgetter
from typing import Any

RECENT = 2_000
JUDGED_FROM = 1_000
HALT_ABOVE = 0.98
QUARANTINE_ABOVE = 0.5
QUARANTINE_UNTIL = 0.25
KEPT_WHOLE = 10_000
KEPT_EVERY = 100

_offset = attrgetter("offset")


class BreakerVerdict(Enum):
    """The breaker's verdict on a batch."""

    READ = "read"
    QUARANTINE = "quarantine"
    HALT = "halt"


class Breaker:
    """Counts how many of a partition's recent events were unreadable, and judges batches by it."""

    def __init__(self) -> None:
        self.verdict = BreakerVerdict.READ
        self.drains = False
        self._events = 0
        self._unreadable = 0
        self._counted_to = 0
        self._quarantined = 0
        self._thinned_from: int | None = None

    def judge(self, records: Sequence[Any], unreadable: Sequence[Any]) -> BreakerVerdict:
        """Count a batch (not empty) and its unreadable events, both with `offset`, in order of offsets.

        It never halts while it drains.
        """
        new = len(records) - bisect_left(records, self._counted_to, key=_offset)
        if new == 0:
            return self.verdict
        bad = unreadable[bisect_left(unreadable, self._counted_to, key=_offset) :]
        self._events += new
        self._unreadable += len(bad)
        self._counted_to = records[-1].offset + 1
        self.verdict = self._judged()
        if self.verdict is BreakerVerdict.QUARANTINE:
            self._count_quarantined(bad)
        elif self.verdict is BreakerVerdict.READ:
            self._quarantined, self._thinned_from = 0, None
        if self._events > RECENT:  # rounded so that halving alone never raises the share
            self._events -= self._events // 2
            self._unreadable //= 2
        return self.verdict

    def keeps(self, offset: int) -> bool:
        """Whether the unreadable event at `offset` becomes a dead letter, or is only counted."""
        return self.drains or self._thinned_from is None or offset < self._thinned_from or offset % KEPT_EVERY == 0

    def reset(self, drains: bool = False) -> None:
        """Clear the counts, because an operator resumed the partition or the topic is a new one.

        With `drains` every unreadable event becomes a dead letter and the partition does not halt, until at most a
        quarter of the recent events is unreadable.
        """
        self.verdict = BreakerVerdict.READ
        self.drains = drains
        self._events = self._unreadable = self._counted_to = self._quarantined = 0
        self._thinned_from = None

    def _judged(self) -> BreakerVerdict:
        if self._events < JUDGED_FROM:
            return self.verdict
        share = self._unreadable / self._events
        if share <= QUARANTINE_UNTIL:
            self.drains = False
            return BreakerVerdict.READ
        if share > HALT_ABOVE and not self.drains:
            return BreakerVerdict.HALT
        if share > QUARANTINE_ABOVE:
            return BreakerVerdict.QUARANTINE
        return BreakerVerdict.QUARANTINE if self.verdict is not BreakerVerdict.READ else BreakerVerdict.READ

    def _count_quarantined(self, bad: Sequence[Any]) -> None:
        rest = KEPT_WHOLE - self._quarantined
        if self._thinned_from is None and len(bad) > rest:
            self._thinned_from = bad[rest].offset
        self._quarantined += len(bad)
