"""Age: how young the account is, and how soon after its birth it acted. Unknown age says nothing."""

from __future__ import annotations

from gate.core.signal import Signal
from streams.core.account import State
from streams.core.signals.surroundings import Found, Surroundings
from streams.core.window import DAY_US, MINUTE_US, decayed

FRESH_HALF_LIFE_US = DAY_US
INSTANT_US = MINUTE_US
HASTE_HALF_LIFE_US = 5 * MINUTE_US


def read(state: State, around: Surroundings, found: Found) -> None:
    """`age.fresh`: halves with each day since creation. `age.first_action`: 1 within a minute of it, halving after."""
    if not state.created_us:
        return
    fresh = decayed(1.0, max(0, state.last_us - state.created_us), FRESH_HALF_LIFE_US)
    if fresh > 0.01:
        found.append((Signal.AGE_FRESH, fresh))
    haste = decayed(1.0, max(0, state.first_us - state.created_us - INSTANT_US), HASTE_HALF_LIFE_US)
    if haste > 0.01:
        found.append((Signal.AGE_FIRST_ACTION, haste))
