"""Reports: what others said of the account and what staff took down, lately and per upload."""

from __future__ import annotations

from gate.core.duration import DAY_US
from gate.core.signal import Signal
from streams.core.facts import Facts
from streams.core.scorecard import Found
from streams.core.window import decayed

RATE = str(Signal.REPORTS_RATE)
HALF_LIFE_US = 7 * DAY_US
NEGLIGIBLE = 0.01


def read(state: Facts, at_us: int, found: Found) -> None:
    """`reports.rate`: reports and, twice as heavy, removals, against the number of uploads; halves with each week."""
    blame = decayed(state.reports + 2.0 * state.removals, at_us - state.blamed_us, HALF_LIFE_US)
    if blame > NEGLIGIBLE:
        found.append((RATE, min(1.0, blame / (state.uploads + 3.0))))
