"""Challenge: whether the account lately passed a challenge or failed one."""

from __future__ import annotations

from streams.core.crowd import Surroundings
from streams.core.facts import Facts
from streams.core.features.feature import Feature
from streams.core.migration import WEEK_US
from streams.core.window import value

FEATURES = (
    Feature("passed", "challenge", "challenges passed lately, each halving in worth with every week", "challenges"),
    Feature("failed", "challenge", "challenges failed lately, each halving in worth with every week", "challenges"),
)


def read(facts: Facts, around: Surroundings, now_us: int) -> tuple[float, ...]:
    """The values of `FEATURES` in their order."""
    return (
        value(facts.passed, now_us, WEEK_US) if facts.passed else 0.0,
        value(facts.failed, now_us, WEEK_US) if facts.failed else 0.0,
    )
