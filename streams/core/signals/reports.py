"""Reports: what others said of the account and what staff took down, lately and per upload."""

from __future__ import annotations

from collections.abc import Iterator

from gate.core.signal import Signal
from streams.core.account import State
from streams.core.signals.surroundings import Surroundings


def read(state: State, around: Surroundings) -> Iterator[tuple[Signal, float]]:
    """`reports.rate`: reports and, twice as heavy, removals, against the number of uploads."""
    blame = state.reports + 2.0 * state.removals
    if blame > 0.01:
        yield Signal.REPORTS_RATE, min(1.0, blame / (state.uploads + 3.0))
