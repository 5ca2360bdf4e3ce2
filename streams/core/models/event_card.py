"""The card of events: additive points over binned counters and pairs of them, as a scorecard has for accounts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class EventTerm:
    """Points of one counter or of two, log odds. A value below the first of `cuts` is in the first bin."""

    features: tuple[str, ...]
    cuts: tuple[NDArray[np.float64], ...]
    points: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.points.shape != tuple(len(cuts) + 1 for cuts in self.cuts) or len(self.features) != len(self.cuts):
            raise ValueError(f"{' and '.join(self.features)}: there is one point more than cuts")


@dataclass(frozen=True, slots=True)
class EventCard:
    """Terms and an intercept; `share` is the share of abusive events among those it was fitted on."""

    terms: tuple[EventTerm, ...]
    intercept: float
    share: float
    hash: str

    def log_odds(self, matrix: Matrix, names: Sequence[str]) -> NDArray[np.float64]:
        """The log odds of each row of `matrix`, whose columns are called `names`, that its event is abusive."""
        odds: NDArray[np.float64] = self.intercept + self.contributions(matrix, names).sum(axis=1)
        return odds

    def contributions(self, matrix: Matrix, names: Sequence[str]) -> Matrix:
        """Rows by terms: what each term adds."""
        place = {name: number for number, name in enumerate(names)}
        added = np.zeros((len(matrix), len(self.terms)))
        for number, term in enumerate(self.terms):
            bins = tuple(
                np.searchsorted(cuts, matrix[:, place[name]], side="right")
                for name, cuts in zip(term.features, term.cuts, strict=True)
            )
            added[:, number] = term.points[bins]
        return added
