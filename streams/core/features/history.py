"""History: how much the account did at all, and what became of it."""

from __future__ import annotations

from gate.core.duration import DAY_US
from streams.core.crowd import Surroundings
from streams.core.facts import Facts
from streams.core.features.feature import Feature

FEATURES = (
    Feature("uploads", "history", "uploads that were let through", "uploads"),
    Feature("completed", "history", "uploads that arrived in full", "uploads"),
    Feature("refused", "history", "attempts that were refused", "attempts"),
    Feature("quiet_days", "history", "from the last upload to the last event, 0 without an upload", "days"),
    Feature("late", "history", "uploads whose events came too late to count as a burst or a gap", "uploads"),
)


def read(facts: Facts, around: Surroundings, now_us: int) -> tuple[float, ...]:
    """The values of `FEATURES` in their order."""
    quiet_days = (now_us - facts.last_us) / DAY_US if facts.uploads else 0.0
    return facts.uploads, facts.completed, facts.refused, quiet_days, facts.late
