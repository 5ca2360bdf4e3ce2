"""Links: how often an account links at all, to the same host, and to hosts of a shape that scams use."""

from __future__ import annotations

from streams.core.crowd import Surroundings
from streams.core.facts import Facts
from streams.core.features.feature import Feature

FEATURES = (
    Feature("linked", "links", "uploads with links", "uploads"),
    Feature("host_repeats", "links", "uploads with a link host shortly before", "uploads"),
    Feature(
        "suspicion", "links", "how suspicious the worst link host of an upload looks, a running mean", "", 0.0, 1.0
    ),
    Feature("link_share", "links", "share of uploads with links", "", 0.0, 1.0),
    Feature("host_share", "links", "share of uploads with a link host shortly before", "", 0.0, 1.0),
)
_NONE = (0, 0, 0.0, 0.0, 0.0)


def read(facts: Facts, around: Surroundings, now_us: int) -> tuple[float, ...]:
    """The values of `FEATURES` in their order."""
    linked = facts.linked
    if not linked:
        return _NONE
    uploads = facts.uploads + 2
    return linked, facts.host_repeats, facts.suspicion, linked / uploads, facts.host_repeats / uploads
