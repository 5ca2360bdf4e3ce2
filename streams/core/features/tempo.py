"""Tempo: how fast and how evenly an account uploads.

The gaps between a person's uploads spread over orders of magnitude, and a person sleeps; neither holds of a script.
"""

from __future__ import annotations

from math import inf, log, sqrt
from operator import mul
from typing import Final

from gate.core.duration import DAY_US, HOUR_US, MINUTE_US
from streams.core.beats import Beats, gaps_ms
from streams.core.crowd import Surroundings
from streams.core.day_rhythm import night_share
from streams.core.facts import Facts
from streams.core.features.feature import UNKNOWN, Feature
from streams.core.window import value

BUSY_MINUTE, FRANTIC_MINUTE = 4.0, 12.0
BUSY_HOUR, FRANTIC_HOUR = 25.0, 80.0
BUSY_DAY, FRANTIC_DAY = 120.0, 400.0
"""Uploads lately, as decaying counts: from what people do at most, to what none does."""
LEAST_GAPS = 3
EVEN_SPREAD = 0.35
"""Standard deviation of log gaps (natural) from which a rhythm is a person's."""
SLOW_LOG_GAP = 8.2
"""Log of the mean gap in seconds (an hour) from which evenness means nothing: habits are even too."""
_LOG_SECOND_MS = log(1_000.0)
_TOO_FEW_BEATS = 2 * LEAST_GAPS
"""Numbers of a list of beats with fewer gaps than a rhythm has: two for each beat."""

FEATURES = (
    Feature("minute", "tempo", "uploads lately, each halving in worth with every minute", "uploads"),
    Feature("hour", "tempo", "uploads lately, each halving in worth with every hour", "uploads"),
    Feature("day", "tempo", "uploads lately, each halving in worth with every day", "uploads"),
    Feature("gaps", "tempo", "gaps between uploads that the next two features describe", "gaps"),
    Feature("gap_log_mean", "tempo", "mean of the natural logarithm of the gaps in seconds, unknown without one",
            "ln s", -inf, may_be_unknown=True),
    Feature("gap_log_deviation", "tempo", "standard deviation of the same", "ln s", may_be_unknown=True),
    Feature("burst", "tempo", "uploads lately beyond what people do; 1 where nobody does as many", "", 0.0, 1.0),
    Feature("rhythm", "tempo", "evenness of the gaps, more with each gap up to six", "", 0.0, 1.0),
    Feature("night_share", "tempo", "share of the active hours in the quietest six hours of the day, a quarter where no "
            "hour is quiet; unknown before 48 active hours after the first two days", "", 0.0, 0.25, True),
)  # fmt: skip


CHEAP: Final = ("burst", "rhythm", "night_share")
"""The features that `read_cheap` reads."""


def read_cheap(facts: Facts, around: Surroundings, now_us: int) -> tuple[float, ...]:
    """The values of `CHEAP` in their order.

    An account with few uploads, which most have, is neither in a burst nor has a rhythm, so nothing is summed for it.
    """
    if 0 < facts.uploads < BUSY_MINUTE and len(facts.beats) <= _TOO_FEW_BEATS:
        hours = facts.hours
        return 0.0, 0.0, night_share(hours) if hours else UNKNOWN
    return read(facts, around, now_us)[-len(CHEAP) :]


def read(facts: Facts, around: Surroundings, now_us: int) -> tuple[float, ...]:
    """The values of `FEATURES` in their order."""
    if not facts.uploads:
        return 0.0, 0.0, 0.0, 0, UNKNOWN, UNKNOWN, 0.0, 0.0, UNKNOWN
    minute = value(facts.minute, now_us, MINUTE_US)
    hour = value(facts.hour, now_us, HOUR_US)
    day = value(facts.day, now_us, DAY_US)
    burst = rhythm = 0.0
    if minute > BUSY_MINUTE or hour > BUSY_HOUR or day > BUSY_DAY:
        burst = max(
            (minute - BUSY_MINUTE) / (FRANTIC_MINUTE - BUSY_MINUTE),
            (hour - BUSY_HOUR) / (FRANTIC_HOUR - BUSY_HOUR),
            (day - BUSY_DAY) / (FRANTIC_DAY - BUSY_DAY),
        )
        burst = min(1.0, burst)
    night = night_share(facts.hours)
    if len(facts.beats) <= 2:
        return minute, hour, day, 0, UNKNOWN, UNKNOWN, burst, 0.0, night
    gaps, mean, deviation = _gaps(facts.beats)
    if gaps >= LEAST_GAPS and deviation < EVEN_SPREAD and mean < SLOW_LOG_GAP:
        rhythm = (1.0 - deviation / EVEN_SPREAD) * min(1.0, (gaps - LEAST_GAPS + 2) / 5.0)
    return minute, hour, day, gaps, mean, deviation, burst, rhythm, night


def _gaps(beats: Beats) -> tuple[int, float, float]:
    """How many gaps there are between beats, at least one, and the mean and standard deviation of their logarithms."""
    gaps = gaps_ms(beats)
    count = len(gaps)
    logs = list(map(log, gaps))
    mean = sum(logs) / count
    variance = sum(map(mul, logs, logs)) / count - mean * mean
    return count, mean - _LOG_SECOND_MS, sqrt(variance) if variance > 0.0 else 0.0
