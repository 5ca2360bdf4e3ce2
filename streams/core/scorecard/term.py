"""A term of a scorecard: the points of one feature by its bins, or of two features by their pairs of bins.

Points are log odds in whole units of 1/10,000, so that sums are exact and do not depend on their order. A feature with
cuts `c1 < … < cn` has n + 2 bins: below `c1`, from each cut to the next, from `cn` on, and the last one for an unknown
value (NaN).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from math import inf
from typing import Final

UNIT: Final = 10_000
"""Points of one unit of log odds."""


class AbuseKind(StrEnum):
    """Which kind of abuse a term's points are evidence of."""

    BOT = "bot"
    SCAM = "scam"
    BOTH = "both"


class Speaks(StrEnum):
    """Whether a term's points may speak against the account (0 or more), for it (0 or less), or both."""

    AGAINST = "against"
    FOR = "for"
    BOTH = "both"


class Monotone(StrEnum):
    """What a term's points do from one bin of a feature to the next: they never fall, never rise, or either."""

    UP = "up"
    DOWN = "down"
    EITHER = ""


@dataclass(frozen=True, slots=True)
class Term:
    """`points` has the points of all bins: for two features row by row, a row for each bin of the first feature.

    `features`, `cuts` and `monotone` have one item for each feature; no `monotone` claims nothing. `family` is the one
    whose cap bounds the points.
    """

    features: tuple[str, ...]
    family: str
    cuts: tuple[tuple[float, ...], ...]
    points: tuple[int, ...]
    kind: AbuseKind = AbuseKind.BOTH
    speaks: Speaks = Speaks.BOTH
    monotone: tuple[Monotone, ...] = ()

    def __post_init__(self) -> None:
        # -0.0 is 0.0, so that equal terms are written alike
        object.__setattr__(self, "cuts", tuple(tuple(cut + 0.0 for cut in cuts) for cuts in self.cuts))
        if not self.monotone:
            object.__setattr__(self, "monotone", (Monotone.EITHER,) * len(self.features))

    @property
    def name(self) -> str:
        """The name that reasons of scores give: `FAMILY.FEATURE`, or `FAMILY.FIRST.SECOND`."""
        return ".".join((self.family, *self.features))

    @property
    def rows(self) -> tuple[tuple[int, ...], ...]:
        """`points` as rows of the last feature's bins: a single row where there is one feature."""
        width = len(self.cuts[-1]) + 2
        return tuple(self.points[start : start + width] for start in range(0, len(self.points), width))

    def points_at(self, values: Sequence[float]) -> int:
        """The points of the bin that holds `values`, one for each feature."""
        place = 0
        for cuts, value in zip(self.cuts, values, strict=True):
            place = place * (len(cuts) + 2) + bisect_right((*cuts, inf), value)
        return self.points[place]


def faults(term: Term) -> list[str]:
    """How the points contradict what the term states of them, each as a clause about the term; empty if they do not."""
    found = []
    if term.speaks is Speaks.AGAINST and min(term.points) < 0:
        found.append(f"speaks against the account and has points below 0 ({min(term.points) / UNIT:g})")
    if term.speaks is Speaks.FOR and max(term.points) > 0:
        found.append(f"speaks for the account and has points above 0 ({max(term.points) / UNIT:g})")
    for number, (feature, monotone) in enumerate(zip(term.features, term.monotone, strict=True)):
        if monotone is not Monotone.EITHER:
            found += _not_monotone(term, number, feature, monotone)
    return found


def _not_monotone(term: Term, number: int, feature: str, monotone: Monotone) -> list[str]:
    rows = [row[:-1] for row in term.rows]  # the bins of an unknown value stand in no order
    if len(term.features) == 2:
        rows = rows[:-1]
        if number == 0:
            rows = list(zip(*rows, strict=True))
    for row in rows:
        for bin_, (low, high) in enumerate(pairwise(row)):
            if (high < low) if monotone is Monotone.UP else (high > low):
                cut = term.cuts[number][bin_]
                said = "falls" if monotone is Monotone.UP else "rises"
                return [f"goes {monotone} with {feature} and {said} from {low / UNIT:g} to {high / UNIT:g} at {cut:g}"]
    return []
