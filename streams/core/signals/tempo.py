"""Tempo: how fast, and how evenly. People pause; their gaps spread over orders of magnitude, a metronome's do not."""

from __future__ import annotations

from streams.core.features import Features

BUSY_MINUTE, FRANTIC_MINUTE = 4.0, 12.0
BUSY_HOUR, FRANTIC_HOUR = 25.0, 80.0
BUSY_DAY, FRANTIC_DAY = 120.0, 400.0
"""Uploads lately, as decaying counts: from what people do at most, to what none does."""
LEAST_GAPS = 3
EVEN_SPREAD = 0.35
"""Standard deviation of log gaps (natural) from which a rhythm is a person's."""
SLOW_LOG_GAP = 8.2
"""Log of the mean gap in seconds (an hour) from which evenness means nothing: habits are even too."""


def read(of: Features) -> tuple[float, float]:
    """`tempo.burst`: recent uploads beyond what people do. `tempo.rhythm`: evenness of gaps, more with each gap."""
    minute, hour, day, gaps = of.minute, of.hour, of.day, of.gaps
    burst = rhythm = 0.0
    if minute > BUSY_MINUTE or hour > BUSY_HOUR or day > BUSY_DAY:
        burst = max(
            (minute - BUSY_MINUTE) / (FRANTIC_MINUTE - BUSY_MINUTE),
            (hour - BUSY_HOUR) / (FRANTIC_HOUR - BUSY_HOUR),
            (day - BUSY_DAY) / (FRANTIC_DAY - BUSY_DAY),
        )
    if gaps >= LEAST_GAPS and of.gap_log_deviation < EVEN_SPREAD and of.gap_log_mean < SLOW_LOG_GAP:
        rhythm = (1.0 - of.gap_log_deviation / EVEN_SPREAD) * min(1.0, (gaps - LEAST_GAPS + 2) / 5.0)
    return burst if burst < 1.0 else 1.0, rhythm
