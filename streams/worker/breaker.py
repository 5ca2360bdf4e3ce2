"""Judges a partition's recent events: are they readable, is a flood of unreadable ones mixed in, or is nothing readable?

Whoever uploads chooses what is in the events, so unreadable ones alone must not stop the scores of others:

- **read**: at most half of the recent events are unreadable. Each unreadable one becomes a dead letter.
- **quarantine**: more than half of at least 1,000 recent events are unreadable, and at least 2 of 100 are readable.
  The readable events tell that topic and format are right, so they go on being folded. Of the unreadable ones the first
  10,000 become dead letters, and from there each whose offset divides by 100; the others are counted, and stay in the
  events topic as long as it keeps them. It ends when at most a quarter is unreadable.
- **halt**: more than 98 of 100 are unreadable: a wrong topic or a wrong format. The partition stops where it is rather
  than pass over events that a mended worker could read, until someone resumes it.

Recent are the last 1,000 to 4,000 events: what was counted is halved once it passes 2,000. Each offset counts once,
however often its batch is done again, and whatever is done again is kept or not kept as before.
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
    """What becomes of a batch."""

    READ = "read"
    QUARANTINE = "quarantine"
    HALT = "halt"


class Breaker:
    """How many of a partition's recent events were unreadable, and what follows from it."""

    def __init__(self) -> None:
        self.verdict = BreakerVerdict.READ
        self.drains = False
        self._events = 0
        self._unreadable = 0
        self._counted_to = 0
        self._quarantined = 0
        self._thinned_from: int | None = None

    def judge(self, records: Sequence[Any], unreadable: Sequence[Any]) -> BreakerVerdict:
        """Count a batch (not empty) and what is unreadable of it, both with `offset`, in order of offsets.

        While it drains it never halts.
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
        """Forget everything, because someone reads on or the topic is a new one.

        With `drains` every unreadable event becomes a dead letter and nothing halts, until at most a quarter of the
        recent ones is unreadable.
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
