"""Age: how young the account is, and how soon after its birth it acted. Unknown age says nothing."""

from __future__ import annotations

from gate.core.duration import DAY_US, MINUTE_US
from gate.core.signal import Signal
from streams.core.facts import Facts
from streams.core.scorecard import Found
from streams.core.window import decayed

FRESH = str(Signal.AGE_FRESH)
FIRST_ACTION = str(Signal.AGE_FIRST_ACTION)
FRESH_HALF_LIFE_US = DAY_US
INSTANT_US = MINUTE_US
HASTE_HALF_LIFE_US = 5 * MINUTE_US
NEGLIGIBLE = 0.01


def freshness(state: Facts, at_us: int) -> float:
    """1 for a newborn account, halving with each day. The account's age must be known."""
    age_us = at_us - state.created_us
    return decayed(1.0, age_us, FRESH_HALF_LIFE_US) if age_us > 0 else 1.0


def read(state: Facts, at_us: int, found: Found) -> None:
    """`age.fresh`: halves with each day since creation. `age.first_action`: 1 within a minute of it, halving after."""
    fresh = freshness(state, at_us)
    if fresh > NEGLIGIBLE:
        found.append((FRESH, fresh))
    waited_us = state.first_us - state.created_us - INSTANT_US
    haste = decayed(1.0, waited_us, HASTE_HALF_LIFE_US) if waited_us > 0 else 1.0
    if haste > NEGLIGIBLE:
        found.append((FIRST_ACTION, haste))
