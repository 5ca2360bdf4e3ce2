"""Reports: how many others reported the account and how many uploads staff removed, lately and per upload."""

from __future__ import annotations

from streams.core.crowd import Surroundings
from streams.core.facts import Facts
from streams.core.features.feature import Feature
from streams.core.features.times import reporters_lately
from streams.core.migration import WEEK_US
from streams.core.window import value

FEATURES = (
    Feature(
        "reporters", "reports", "distinct reporters lately by their standing, halving with every week", "reporters"
    ),
    Feature(
        "removals", "reports", "uploads removed by others than the owner lately, halving with every week", "uploads"
    ),
    Feature("report_rate", "reports", "reporters and, twice as heavy, removals lately, for each upload", "", 0.0, 1.0),
)
_NONE = (0.0, 0.0, 0.0)


def read(facts: Facts, around: Surroundings, now_us: int) -> tuple[float, ...]:
    """The values of `FEATURES` in their order."""
    if not facts.reporters and not facts.removals:
        return _NONE
    reporters = reporters_lately(facts)
    removals = value(facts.removals, now_us, WEEK_US) if facts.removals else 0.0
    return reporters, removals, min(1.0, (reporters + 2.0 * removals) / (facts.uploads + 3.0))
