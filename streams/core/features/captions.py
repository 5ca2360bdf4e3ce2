"""Captions: the log odds of abuse that a fitted model gives them. All are unknown without captions or without a model."""

from __future__ import annotations

from math import inf, sqrt
from typing import Final

from streams.core.crowd import Surroundings
from streams.core.facts import Facts
from streams.core.features.feature import UNKNOWN, Feature
from streams.core.models.marks import ODDS_STEPS

FEATURES = (
    Feature("caption_odds", "captions", "mean log odds of abuse of the captions, as the caption model reads them", "",
            -inf, may_be_unknown=True),
    Feature("caption_odds_deviation", "captions", "standard deviation of the same", may_be_unknown=True),
    Feature("caption_low_share", "captions", "share of captions that the caption model takes for honest", "",
            0.0, 1.0, True),
    Feature("caption_high_share", "captions", "share of captions that the caption model takes for abuse", "",
            0.0, 1.0, True),
)  # fmt: skip
CHEAP: Final = ("caption_odds",)
"""The features that `read_cheap` reads."""
_UNKNOWN = (UNKNOWN,) * len(FEATURES)


def read(facts: Facts, around: Surroundings, now_us: int) -> tuple[float, ...]:
    """The values of `FEATURES` in their order."""
    kept = facts.captions
    if kept is None or not kept.odds_squares:
        return _UNKNOWN
    count = kept.count
    mean = kept.odds / count
    variance = kept.odds_squares / count - mean * mean
    deviation = sqrt(variance) if variance > 0.0 else 0.0
    return mean / ODDS_STEPS, deviation / ODDS_STEPS, kept.low / count, kept.high / count


def read_cheap(facts: Facts, around: Surroundings, now_us: int) -> tuple[float, ...]:
    """The values of `CHEAP` in their order."""
    kept = facts.captions
    return (UNKNOWN if kept is None or not kept.odds_squares else kept.odds / kept.count / ODDS_STEPS,)
