"""Tempo: how fast, and how evenly. People pause; their gaps spread over orders of magnitude, a metronome's do not."""

from __future__ import annotations

from gate.core.signal import Signal
from streams.core.account import State
from streams.core.signals.surroundings import Found, Surroundings

BURST_MINUTE = (4.0, 12.0)
BURST_HOUR = (25.0, 80.0)
LEAST_GAPS = 3
EVEN_SPREAD = 0.35
"""Standard deviation of log gaps (natural) from which a rhythm is a person's."""
SLOW_LOG_GAP = 8.2
"""Log of the mean gap in seconds (an hour) from which evenness means nothing: habits are even too."""


def read(state: State, around: Surroundings, found: Found) -> None:
    """`tempo.burst`: uploads in the last minute or hour beyond what people do. `tempo.rhythm`: evenness of gaps."""
    burst = max(_ramp(state.minute, *BURST_MINUTE), _ramp(state.hour, *BURST_HOUR))
    if burst > 0.0:
        found.append((Signal.TEMPO_BURST, burst))
    if state.gaps >= LEAST_GAPS and state.gap_mean < SLOW_LOG_GAP:
        even = 1.0 - state.gap_variance**0.5 / EVEN_SPREAD
        if even > 0.0:
            found.append((Signal.TEMPO_RHYTHM, even * min(1.0, (state.gaps - LEAST_GAPS + 2) / 5.0)))


def _ramp(value: float, low: float, high: float) -> float:
    return 0.0 if value <= low else min(1.0, (value - low) / (high - low))
