"""The closed table of families, and the one loop over it."""

from __future__ import annotations

from collections.abc import Callable

from streams.core.account import State
from streams.core.signals import age, crowd, links, network, reports, sameness, tempo, text
from streams.core.signals.surroundings import Found, Surroundings

Reader = Callable[[State, Surroundings, Found], None]

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


def read(state: State, around: Surroundings) -> Found:
    """Every signal above 0, each in (0, 1]."""
    found: Found = []
    if state.uploads:
        for family in FAMILIES:
            family(state, around, found)
    return found
