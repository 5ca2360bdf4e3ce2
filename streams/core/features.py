"""The complete vector of named features that an account's facts and surroundings give, zeros included.

Signals and scores read this vector and nothing else; a replay writes it out for fitting. A batch of vectors is a
two-dimensional array as it stands. To add a feature, add it at the end of `Features` and of `FEATURES`.
"""

from __future__ import annotations

from math import inf
from typing import Final, NamedTuple

from gate.core.duration import DAY_US, HOUR_US, MINUTE_US
from streams.core.crowd import Surroundings
from streams.core.facts import Facts
from streams.core.window import decayed

WEEK_US = 7 * DAY_US


class Feature(NamedTuple):
    """What one number of the vector means, its unit, and the range it stays in."""

    name: str
    meaning: str
    unit: str
    low: float = 0.0
    high: float = inf


class Features(NamedTuple):
    """One number for each of `FEATURES`, in its order. All are as of the account's last event."""

    uploads: float
    minute: float
    hour: float
    day: float
    gaps: float
    gap_log_mean: float
    gap_log_deviation: float
    age_known: float
    age_days: float
    freshness: float
    first_action_minutes: float
    content_repeats: float
    texts: float
    template_repeats: float
    layout_concentration: float
    mentions: float
    spam: float
    linked: float
    host_repeats: float
    suspicion: float
    ip_accounts: float
    device_accounts: float
    content_accounts: float
    link_accounts: float
    completed: float
    refused: float
    reports: float
    removals: float


FEATURES: Final = (
    Feature("uploads", "uploads that were let through", "uploads"),
    Feature("minute", "uploads lately, each halving in worth with every minute", "uploads"),
    Feature("hour", "uploads lately, each halving in worth with every hour", "uploads"),
    Feature("day", "uploads lately, each halving in worth with every day", "uploads"),
    Feature("gaps", "gaps between uploads that the next two features describe", "gaps"),
    Feature("gap_log_mean", "mean of the natural logarithm of the gaps in seconds", "ln s", -inf),
    Feature("gap_log_deviation", "standard deviation of the same", "ln s"),
    Feature("age_known", "1 if it is known when the account was created", "", 0.0, 1.0),
    Feature("age_days", "age of the account, 0 where unknown", "days"),
    Feature("freshness", "1 for a newborn account, halving with each day, 0 where the age is unknown", "", 0.0, 1.0),
    Feature("first_action_minutes", "from the account's creation to its first upload, 0 where unknown", "minutes"),
    Feature("content_repeats", "uploads of a content that the account uploaded shortly before", "uploads"),
    Feature("texts", "uploads with a caption", "uploads"),
    Feature("template_repeats", "captions that begin like one shortly before", "captions"),
    Feature("layout_concentration", "how alike captions are laid out: the sum of squared shares", "", 0.0, 1.0),
    Feature("mentions", "captions that address somebody", "captions"),
    Feature("spam", "how much captions look like advertisements, a running mean", "", 0.0, 1.0),
    Feature("linked", "uploads with links", "uploads"),
    Feature("host_repeats", "uploads with a link host shortly before", "uploads"),
    Feature("suspicion", "how suspicious the worst link host of an upload looks, a running mean", "", 0.0, 1.0),
    Feature("ip_accounts", "accounts known to share a network with the account, itself among them", "accounts"),
    Feature("device_accounts", "accounts known to share a device with the account, itself among them", "accounts"),
    Feature("content_accounts", "accounts known to share the account's last content", "accounts"),
    Feature("link_accounts", "accounts known to share the account's last link host", "accounts"),
    Feature("completed", "uploads that arrived in full", "uploads"),
    Feature("refused", "attempts that were refused", "attempts"),
    Feature("reports", "reports lately, each halving in worth with every week", "reports"),
    Feature("removals", "uploads removed by others than the owner lately, halving with every week", "uploads"),
)
"""The closed, ordered list: what each number of `Features` means."""


def features(facts: Facts, around: Surroundings) -> Features:
    """The vector of an account with these surroundings."""
    now_us = at_us(facts)
    since_us = now_us - facts.last_us
    minute, hour, day = facts.minute, facts.hour, facts.day
    if since_us:
        minute = decayed(minute, since_us, MINUTE_US)
        hour = decayed(hour, since_us, HOUR_US)
        day = decayed(day, since_us, DAY_US)
    created_us = facts.created_us
    age_days = max(0, now_us - created_us) / DAY_US if created_us else 0.0
    texts = facts.texts
    blamed_us = now_us - facts.blamed_us
    return Features(
        facts.uploads,
        minute,
        hour,
        day,
        facts.gaps,
        facts.gap_mean,
        facts.gap_variance**0.5,
        1.0 if created_us else 0.0,
        age_days,
        2.0**-age_days if created_us else 0.0,
        max(0, facts.first_us - created_us) / MINUTE_US if created_us and facts.uploads else 0.0,
        facts.content_repeats,
        texts,
        facts.template_repeats,
        facts.layout_squares / (texts * texts) if texts else 0.0,
        facts.mentions,
        facts.spam,
        facts.linked,
        facts.host_repeats,
        facts.suspicion,
        around.ip_accounts,
        around.device_accounts,
        around.content_accounts,
        around.link_accounts,
        facts.completed,
        facts.refused,
        decayed(facts.reports, blamed_us, WEEK_US) if facts.reports else 0.0,
        decayed(facts.removals, blamed_us, WEEK_US) if facts.removals else 0.0,
    )


def at_us(facts: Facts) -> int:
    """The event time that an account's vector and score stand for, µs."""
    return facts.last_us if facts.last_us > facts.blamed_us else facts.blamed_us
