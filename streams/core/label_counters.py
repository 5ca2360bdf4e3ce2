"""Counters of the labels that came for one part of an event, or for a pair of parts.

Abuse comes in turns: a source is abused twice in a minute and then left alone, or a target is honest for a thousand
events and then is not. So beside smoothed odds, which fade with time, there are counters that go by labels: how long ago the
last abusive one was, how many honest ones came after it, and the share of abusive ones among the last few.
"""

from __future__ import annotations

from math import exp, inf, log, log1p
from typing import Final

from streams.core.counter_tables import Entry

LABEL_COUNTERS: Final = ("odds", "odds_fast", "abusive_gap", "honest_run", "abusive_recent")
"""The counters that are read of an entry, in order."""
NEVER: Final = 12.0
WIDTH: Final = 8
_NUMBER, _ABUSIVE, _AT, _QUICK, _QUICK_ABUSIVE, _ABUSIVE_AT, _HONEST, _RECENT = range(WIDTH)
_NO_LABEL: Final = -1.0
_LATEST: Final = 0.3
"""The share of the latest label in `abusive_recent`."""


class LabelCounters:
    """Reads and counts labels in the places of an entry that begin at `at`. Rates are per unit of `now`."""

    __slots__ = ("_fast", "_slow")

    def __init__(self, slow: float, fast: float) -> None:
        self._slow = slow
        self._fast = fast

    def read(self, entry: Entry | None, at: int, now: float, base: float) -> tuple[float, ...]:
        """The values in the order of LABEL_COUNTERS; `base` is the share of abusive labels in the stream."""
        if entry is None or not entry[at]:
            usual = log(base / (1.0 - base)) if 0.0 < base < 1.0 else -inf
            return usual, usual, NEVER, _NO_LABEL, base
        number, abusive, last, quick, quick_abusive, abusive_at, honest, recent = entry[at : at + WIDTH]
        gap = now - last
        slow, fast = exp(-gap * self._slow), exp(-gap * self._fast)
        good, bad = 2.0 * (1.0 - base), 2.0 * base
        return (
            log((abusive * slow + bad) / ((number - abusive) * slow + good)),
            log((quick_abusive * fast + bad) / ((quick - quick_abusive) * fast + good)),
            log1p(now - abusive_at) if abusive else NEVER,
            log1p(honest),
            recent,
        )

    def learn(self, entry: Entry, at: int, now: float, label: int, base: float) -> None:
        """Count a label: 1 abusive, 0 honest."""
        if not entry[at]:
            entry[at + _RECENT] = base
        gap = now - entry[at + _AT]
        slow, fast = exp(-gap * self._slow), exp(-gap * self._fast)
        entry[at] = entry[at] * slow + 1.0
        entry[at + _ABUSIVE] = entry[at + _ABUSIVE] * slow + label
        entry[at + _AT] = now
        entry[at + _QUICK] = entry[at + _QUICK] * fast + 1.0
        entry[at + _QUICK_ABUSIVE] = entry[at + _QUICK_ABUSIVE] * fast + label
        if label:
            entry[at + _ABUSIVE_AT], entry[at + _HONEST] = now, 0.0
        else:
            entry[at + _HONEST] += 1.0
        entry[at + _RECENT] += _LATEST * (label - entry[at + _RECENT])
