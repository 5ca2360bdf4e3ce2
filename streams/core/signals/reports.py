"""Reports: what others said of the account and what staff took down, lately and per upload."""

from __future__ import annotations

from gate.core.signal import Signal
from streams.core.account import State
from streams.core.signals.surroundings import Found, Surroundings


def read(state: State, around: Surroundings, found: Found) -> None:
    """`reports.rate`: reports and, twice as heavy, removals, against the number of uploads."""
    blame = state.reports + 2.0 * state.removals
    if blame > 0.01:
        found.append((Signal.REPORTS_RATE, min(1.0, blame / (state.uploads + 3.0))))
