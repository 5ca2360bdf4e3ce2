"""Decaying counters in event time: how much happened lately, without keeping what happened.

A counter halves every half-life. Late events are added at the worth they still have; time never moves back, so a
backlog read after downtime counts as when it happened, not as a burst.
"""

from __future__ import annotations

from gate.core.duration import MINUTE_US


def decayed(count: float, elapsed_us: int, half_life_us: int) -> float:
    """`count` after `elapsed_us` (0 or more) µs."""
    worth: float = 2.0 ** (-elapsed_us / half_life_us)
    return count * worth


def added(count: float, counted_us: int, at_us: int, half_life_us: int, amount: float = 1.0) -> float:
    """The counter, worth `count` at `counted_us`, with `amount` more from `at_us`, as of the later of the two."""
    if at_us >= counted_us:
        return decayed(count, at_us - counted_us, half_life_us) + amount
    return count + decayed(amount, counted_us - at_us, half_life_us)


def one_more(minute: float, hour: float, day: float, elapsed_us: int) -> tuple[float, float, float]:
    """Counters with half-lives of a minute, an hour and a day, and one event `elapsed_us` after what they stand for.

    The same as `added` three times, at a third of its price; `elapsed_us` is below 0 for a late event.
    """
    minutes = elapsed_us / MINUTE_US
    if minutes >= 0.0:
        return (
            minute * 2.0**-minutes + 1.0,
            hour * 2.0 ** (minutes / -60.0) + 1.0,
            day * 2.0 ** (minutes / -1440.0) + 1.0,
        )
    return minute + 2.0**minutes, hour + 2.0 ** (minutes / 60.0), day + 2.0 ** (minutes / 1440.0)
