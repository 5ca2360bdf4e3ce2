"""Counters of the runs of one source: events in quick succession, and how each amount compares with those before it.

Stolen access is tried with a small amount and then used with large ones, or the same amount is taken again and again. So
the amount is compared with the last, the largest and the least of its source, and the run so far has a length and a sum.
"""

from __future__ import annotations

from math import log1p
from typing import Final

from streams.core.counter_tables import Entry

RUN_COUNTERS: Final = ("amount_change", "amount_above_most", "amount_above_least", "run_count", "run_amount")
"""The counters that are read of an entry, in order. Amounts are compared as logarithms."""
WIDTH: Final = 6
_LAST, _SIZE, _MOST, _LEAST, _RUN, _SUM = range(WIDTH)
_FIRST: Final = (12.0, 12.0, 12.0, 0.0, 0.0)


def read_run(entry: Entry | None, now: float, size: float, longest: float) -> tuple[float, ...]:
    """The values in the order of RUN_COUNTERS. A run goes on while no gap is longer than `longest`.

    `size` is log(1 + amount).
    """
    if entry is None:
        return _FIRST
    last, before, most, least, count, amount = entry
    goes_on = now - last <= longest
    return (
        size - before, size - most, size - least, log1p(count) if goes_on else 0.0, log1p(amount) if goes_on else 0.0,
    )  # fmt: skip


def add_to_run(entry: Entry, now: float, size: float, amount: float, longest: float) -> None:
    """Count an event. An entry with a run of 0 is new."""
    if not entry[_RUN]:
        entry[_MOST] = entry[_LEAST] = size
    elif now - entry[_LAST] > longest:
        entry[_RUN] = entry[_SUM] = 0.0
    entry[_LAST], entry[_SIZE] = now, size
    entry[_MOST], entry[_LEAST] = max(entry[_MOST], size), min(entry[_LEAST], size)
    entry[_RUN] += 1.0
    entry[_SUM] += amount
