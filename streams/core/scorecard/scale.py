"""From points to probabilities: the numbers of a scorecard that turn a sum into `bot`, `scam` and `risk`."""

from __future__ import annotations

from math import exp, log
from typing import Final, NamedTuple

SUREST: Final = 40.0
"""Log odds beyond which a probability is not told from 0 or 1."""


def probability(log_odds: float) -> float:
    """The probability with these log odds."""
    if -SUREST < log_odds < SUREST:
        return 1.0 / (1.0 + exp(-log_odds))
    return 1.0 / (1.0 + exp(-SUREST if log_odds > 0.0 else SUREST))


def log_odds_of(share: float) -> float:
    """The log odds of a probability between 0 and 1."""
    return log(share / (1.0 - share))


class Scale(NamedTuple):
    """`start` is the log odds of an account without evidence, `point` what a point adds to the log odds of the risk."""

    start: float
    point: float

    def log_odds(self, points: int) -> float:
        """The log odds of the risk."""
        return points * self.point + self.start

    def split(self, points: int, bot: int, scam: int, both: int) -> tuple[float, float, float]:
        """bot, scam and risk for the capped sum and the points above 0 of each kind."""
        risk = probability(points * self.point + self.start)
        as_bot, as_scam = 1.0 + (bot + both) * self.point, 1.0 + (scam + both) * self.point
        more = as_bot if as_bot > as_scam else as_scam
        return risk * (as_bot / more), risk * (as_scam / more), risk
