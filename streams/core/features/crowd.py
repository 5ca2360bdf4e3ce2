"""Crowd: how many other accounts spread the same content, or link to the same host over and over."""

from __future__ import annotations

from math import log2

from streams.core.crowd import Surroundings
from streams.core.features.age import freshness
from streams.core.features.fact_features import Sharing
from streams.core.features.feature import Feature
from streams.core.features.network import strangers

PLAIN_WORTH = 0.1
"""The weight of a shared host that does not look suspicious, for an account that is not new."""
FULL_DOUBLINGS = 3.0
"""How often the accounts double from two until a spread is complete."""

FEATURES = (
    Feature("content_accounts", "crowd", "accounts known to share the account's last content; 0 without an upload",
            "accounts"),
    Feature("link_accounts", "crowd", "accounts known to share the account's last link host; 0 without an upload",
            "accounts"),
    Feature("link_strangers", "crowd", "those among them that are not established, times their share", "accounts"),
    Feature("content_spread", "crowd", "how far the last content spreads, 1 at 16 accounts; for a newborn account or one "
            "that goes on uploading, as everybody passes on a picture once", "", 0.0, 1.0),
    Feature("link_spread", "crowd", "how far the last host spreads, 1 at 16 accounts, times how often the account repeats "
            "hosts; for a newborn account or hosts that look suspicious, as half of a platform links to the same big sites; "
            "nothing where half of these accounts are established",
            "", 0.0, 1.0),
)  # fmt: skip


def read(facts: Sharing, around: Surroundings, now_us: int) -> tuple[float, ...]:
    """The values of `FEATURES` in their order."""
    uploads, contents, hosts = facts.uploads, around.content_accounts, around.link_accounts
    if not uploads or (contents <= 2 and hosts <= 2):
        return (contents, hosts, hosts, 0.0, 0.0) if uploads else (0, 0, 0, 0.0, 0.0)
    fresh = freshness(facts.created_us, now_us) if facts.created_us > 0 else 0.0
    content = link = 0.0
    if contents > 2:
        worth = max(fresh, (uploads - 1.0) / (uploads + 1.0))
        content = worth * min(1.0, log2(contents / 2.0) / FULL_DOUBLINGS)
    if hosts > 2 and facts.host_repeats:
        worth = PLAIN_WORTH + (1.0 - PLAIN_WORTH) * max(fresh, min(1.0, facts.suspicion))
        worth *= max(0.0, 1.0 - 2.0 * around.link_established / hosts)
        link = min(1.0, facts.host_repeats / uploads) * worth * min(1.0, log2(hosts / 2.0) / FULL_DOUBLINGS)
    return contents, hosts, strangers(hosts, around.link_established), content, link
