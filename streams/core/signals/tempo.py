"""Tempo: how fast, and how evenly. People pause; their gaps spread over orders of magnitude, a metronome's do not."""

from __future__ import annotations

from gate.core.duration import DAY_US, HOUR_US, MINUTE_US
from gate.core.signal import Signal
from streams.core.facts import Facts
from streams.core.scorecard import Found
from streams.core.window import decayed

BURST = str(Signal.TEMPO_BURST)
RHYTHM = str(Signal.TEMPO_RHYTHM)
BUSY_MINUTE, FRANTIC_MINUTE = 4.0, 12.0
BUSY_HOUR, FRANTIC_HOUR = 25.0, 80.0
BUSY_DAY, FRANTIC_DAY = 120.0, 400.0
"""Uploads lately, as decaying counts: from what people do at most, to what none does."""
LEAST_GAPS = 3
EVEN_SPREAD = 0.35
"""Standard deviation of log gaps (natural) from which a rhythm is a person's."""
EVEN_VARIANCE = EVEN_SPREAD * EVEN_SPREAD
SLOW_LOG_GAP = 8.2
"""Log of the mean gap in seconds (an hour) from which evenness means nothing: habits are even too."""


def read(state: Facts, at_us: int, found: Found) -> None:
    """`tempo.burst`: recent uploads beyond what people do. `tempo.rhythm`: evenness of gaps, more with each gap."""
    if state.minute > BUSY_MINUTE or state.hour > BUSY_HOUR or state.day > BUSY_DAY:
        burst = _burst(state, at_us - state.last_us)
        if burst > 0.0:
            found.append((BURST, burst))
    if state.gap_variance < EVEN_VARIANCE and state.gaps >= LEAST_GAPS and state.gap_mean < SLOW_LOG_GAP:
        even = 1.0 - state.gap_variance**0.5 / EVEN_SPREAD
        found.append((RHYTHM, even * min(1.0, (state.gaps - LEAST_GAPS + 2) / 5.0)))


def _burst(state: Facts, since_us: int) -> float:
    minute, hour, day = state.minute, state.hour, state.day
    if since_us:
        minute = decayed(minute, since_us, MINUTE_US)
        hour = decayed(hour, since_us, HOUR_US)
        day = decayed(day, since_us, DAY_US)
    burst = max(
        (minute - BUSY_MINUTE) / (FRANTIC_MINUTE - BUSY_MINUTE),
        (hour - BUSY_HOUR) / (FRANTIC_HOUR - BUSY_HOUR),
        (day - BUSY_DAY) / (FRANTIC_DAY - BUSY_DAY),
    )
    return burst if burst < 1.0 else 1.0
