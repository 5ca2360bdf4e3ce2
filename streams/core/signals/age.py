"""Age: how young the account is, and how soon after its creation it acted.

The signals are 0 if the age is unknown or the account has no uploads.
"""

from __future__ import annotations

from streams.core.features import Features

INSTANT_MINUTES = 1.0
HASTE_HALF_LIFE_MINUTES = 5.0
NEGLIGIBLE = 0.01


def read(of: Features) -> tuple[float, float]:
    """`age.fresh`: halves with each day since creation. `age.first_action`: 1 within a minute of it, halving after."""
    if not of.age_known or not of.uploads:
        return 0.0, 0.0
    fresh = of.freshness
    waited = of.first_action_minutes - INSTANT_MINUTES
    haste: float = 2.0 ** (-waited / HASTE_HALF_LIFE_MINUTES) if waited > 0.0 else 1.0
    return fresh if fresh > NEGLIGIBLE else 0.0, haste if haste > NEGLIGIBLE else 0.0
