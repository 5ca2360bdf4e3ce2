"""Decides whether an account is established: old and clean, which counts in favour of its networks and devices."""

from __future__ import annotations

from gate.core.duration import DAY_US
from streams.core.facts import Facts
from streams.core.features import reporters_lately
from streams.core.migration import WEEK_US
from streams.core.window import value

OLD_US = 30 * DAY_US
"""Age from which an account is old: since it was created, or since its first upload where that is unknown."""
LEAST_UPLOADS = 5
FORGIVEN = 0.1
"""Reporters, removals and failed challenges that are forgiven, as decayed counts: one of more than three weeks ago."""


def is_established(facts: Facts) -> bool:
    """Whether the account is old, has uploads, and has no reports, removals or failed challenges of the last weeks."""
    now_us = facts.latest_us
    if facts.uploads < LEAST_UPLOADS or now_us - (facts.created_us or facts.first_us) < OLD_US:
        return False
    if not (facts.removals or facts.failed or facts.reporters):  # nearly all of them
        return True
    removed, failed = value(facts.removals, now_us, WEEK_US), value(facts.failed, now_us, WEEK_US)
    return max(removed, failed, reporters_lately(facts)) < FORGIVEN
