"""Links: how often an account links at all, to the same host, and to hosts of a shape that scams use; also the log odds
of abuse that a fitted model gives its links, which are unknown without such a model."""

from __future__ import annotations

from math import inf

from streams.core.crowd import Surroundings
from streams.core.facts import Facts
from streams.core.features.feature import UNKNOWN, Feature
from streams.core.models.marks import ODDS_STEPS

FEATURES = (
    Feature("linked", "links", "uploads with links", "uploads"),
    Feature("host_repeats", "links", "uploads with a link host shortly before", "uploads"),
    Feature(
        "suspicion", "links", "how suspicious the worst link host of an upload looks, a running mean", "", 0.0, 1.0
    ),
    Feature("link_share", "links", "share of uploads with links", "", 0.0, 1.0),
    Feature("host_share", "links", "share of uploads with a link host shortly before", "", 0.0, 1.0),
    Feature("link_odds", "links", "mean over uploads of the log odds of abuse of their worst link, as the link model "
            "reads it", "", -inf, may_be_unknown=True),
    Feature("link_odds_high_share", "links", "share of uploads with links that the link model takes for abuse", "",
            0.0, 1.0, True),
)  # fmt: skip
_UNREAD = (UNKNOWN, UNKNOWN)
_NONE = (0, 0, 0.0, 0.0, 0.0, *_UNREAD)


def read(facts: Facts, around: Surroundings, now_us: int) -> tuple[float, ...]:
    """The values of `FEATURES` in their order."""
    linked = facts.linked
    if not linked:
        return _NONE
    uploads, kept = facts.uploads + 2, facts.links
    odds = _UNREAD if kept is None else (kept.odds / kept.count / ODDS_STEPS, kept.high / kept.count)
    return linked, facts.host_repeats, facts.suspicion, linked / uploads, facts.host_repeats / uploads, *odds
