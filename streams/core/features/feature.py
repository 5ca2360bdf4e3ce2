"""The word *feature*: one named number of the vector, with its family, its meaning, its unit and its range."""

from __future__ import annotations

from math import inf, nan
from typing import Final, NamedTuple

UNKNOWN: Final = nan
"""The value of a feature that is not known."""


class Feature(NamedTuple):
    """The meaning of one number of the vector. The evidence of a family's features is capped together.

    A value is between `low` and `high`, or `UNKNOWN` where it `may_be_unknown`.
    """

    name: str
    family: str
    meaning: str
    unit: str = ""
    low: float = 0.0
    high: float = inf
    may_be_unknown: bool = False
