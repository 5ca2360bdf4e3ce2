"""Age: how young the account is, and how soon after its creation it acted. Unknown without uploads, too."""

from __future__ import annotations

from typing import Final

from gate.core.duration import DAY_US, MINUTE_US
from streams.core.crowd import Surroundings
from streams.core.facts import Facts
from streams.core.features.feature import UNKNOWN, Feature

FEATURES = (
    Feature("age_days", "age", "age of the account", "days", may_be_unknown=True),
    Feature("freshness", "age", "1 for a newborn account, halving with each day", "", 0.0, 1.0, may_be_unknown=True),
    Feature("first_action_minutes", "age", "from the account's creation to its first upload", "minutes",
            may_be_unknown=True),
)  # fmt: skip
CHEAP: Final = ("freshness", "first_action_minutes")
"""The features that `read_cheap` reads."""
_UNKNOWN = (UNKNOWN, UNKNOWN, UNKNOWN)


def read(facts: Facts, around: Surroundings, now_us: int) -> tuple[float, ...]:
    """The values of `FEATURES` in their order."""
    created_us = facts.created_us
    if created_us <= 0 or not facts.uploads:
        return _UNKNOWN
    age_days = (now_us - created_us) / DAY_US if created_us < now_us else 0.0
    return age_days, *read_cheap(facts, around, now_us)


def read_cheap(facts: Facts, around: Surroundings, now_us: int) -> tuple[float, ...]:
    """The values of `CHEAP` in their order."""
    created_us = facts.created_us
    if created_us <= 0 or not facts.uploads:
        return UNKNOWN, UNKNOWN
    waited = facts.first_us - created_us
    return freshness(created_us, now_us), waited / MINUTE_US if waited > 0 else 0.0


def freshness(created_us: int, now_us: int) -> float:
    """1 for a newborn account, halving with each day."""
    result: float = 2.0 ** (-(now_us - created_us) / DAY_US) if created_us < now_us else 1.0
    return result
