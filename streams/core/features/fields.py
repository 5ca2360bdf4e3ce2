"""Fields: whether the fields of an account's events break the table of field rules."""

from __future__ import annotations

from streams.core.crowd import Surroundings
from streams.core.facts import Facts
from streams.core.features.feature import Feature

FEATURES = (
    Feature("malformed", "fields", "fields of events that broke their rule", "fields"),
    Feature(
        "malformed_share", "fields", "fields that broke their rule for each attempt, 1 for one or more", "", 0.0, 1.0
    ),
)


def read(facts: Facts, around: Surroundings, now_us: int) -> tuple[float, ...]:
    """The values of `FEATURES` in their order."""
    malformed = facts.malformed
    return malformed, min(1.0, malformed / (facts.uploads + facts.refused + 2)) if malformed else 0.0
