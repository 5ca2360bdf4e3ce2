"""History: how much the account did at all, and what became of it."""

from __future__ import annotations

from gate.core.duration import DAY_US
from streams.core.crowd import Surroundings
from streams.core.facts import Facts
from streams.core.features.feature import Feature

MINUTES_A_DAY = 1440.0

FEATURES = (
    Feature("uploads", "history", "uploads that were let through", "uploads"),
    Feature("completed", "history", "uploads that arrived in full", "uploads"),
    Feature("refused", "history", "attempts that were refused", "attempts"),
    Feature("quiet_days", "history", "from the last upload to the last event, 0 without an upload", "days"),
    Feature("late", "history", "uploads whose events came too late to count as a burst or a gap", "uploads"),
    Feature("sessions", "history", "uploads half an hour or more after the one before, and the first", "sessions"),
    Feature("longest_gap_days", "history", "the longest time without an upload between two of them", "days"),
    Feature("deleted_share", "history", "share of uploads that the owner removed", "", 0.0, 1.0),
    Feature("deleted_soon_share", "history", "share of uploads that the owner removed within minutes", "", 0.0, 1.0),
    Feature(
        "clean_completed",
        "history",
        "uploads that arrived in full, of an account that was never reported or removed",
        "uploads",
    ),
)


def read(facts: Facts, around: Surroundings, now_us: int) -> tuple[float, ...]:
    """The values of `FEATURES` in their order."""
    uploads = facts.uploads
    quiet_days = (now_us - facts.last_us) / DAY_US if uploads else 0.0
    return (
        uploads,
        facts.completed,
        facts.refused,
        quiet_days,
        facts.late,
        facts.sessions,
        facts.longest_gap / MINUTES_A_DAY,
        min(1.0, facts.deleted / (uploads + 2.0)) if facts.deleted else 0.0,
        min(1.0, facts.deleted_soon / (uploads + 2.0)) if facts.deleted_soon else 0.0,
        0 if facts.blamed else facts.completed,
    )
