"""The closed table of families, and the one loop over it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from gate.core.signal import Signal
from streams.core.account import State
from streams.core.signals import age, crowd, links, network, reports, sameness, tempo, text
from streams.core.signals.surroundings import Surroundings

Reader = Callable[[State, Surroundings], Iterable[tuple[Signal, float]]]

FAMILIES: tuple[Reader, ...] = (
    tempo.read,
    age.read,
    sameness.read,
    network.read,
    crowd.read,
    links.read,
    text.read,
    reports.read,
)


def read(state: State, around: Surroundings) -> list[tuple[Signal, float]]:
    """Every signal above 0, each in (0, 1]."""
    found: list[tuple[Signal, float]] = []
    if state.uploads:
        for family in FAMILIES:
            found.extend(family(state, around))
    return found
