"""Campaign: how many other accounts show nearly the same picture, link, caption or name of a site within a few days, and
who they are.

Established accounts speak for a campaign, because many honest people pass on a funny picture. If they are half of the
members, the campaign is no evidence against the others.
"""

from __future__ import annotations

from math import log2

from streams.core.crowd import Surroundings
from streams.core.features.age import freshness
from streams.core.features.fact_features import Sharing
from streams.core.features.feature import Feature

LONE = 2.0
FULL_DOUBLINGS = 4.0
"""How often the accounts double from two until a campaign is complete, which is 32 accounts."""
OLD_WORTH = 0.4
"""The weight of membership for an old account or one of unknown age, against a newborn one."""

FEATURES = (
    Feature("content_campaign", "campaign", "accounts of the largest campaign of contents that the account belongs to",
            "accounts"),
    Feature("link_campaign", "campaign", "accounts of the largest campaign of links that the account belongs to",
            "accounts"),
    Feature("text_campaign", "campaign", "accounts of the largest campaign of captions that the account belongs to",
            "accounts"),
    Feature("content_wave", "campaign", "how far that campaign of contents spreads among accounts that are not "
            "established, 1 at 32 accounts, for a newborn account", "", 0.0, 1.0),
    Feature("link_wave", "campaign", "the same of links", "", 0.0, 1.0),
    Feature("text_wave", "campaign", "the same of captions", "", 0.0, 1.0),
    Feature("name_campaign", "campaign", "accounts that brought a new site to the largest campaign of names that the account "
            "belongs to", "accounts"),
    Feature("name_odds", "campaign", "what campaigns of names add to the log odds of its links", "", 0.0, 10.0),
)  # fmt: skip


def read(facts: Sharing, around: Surroundings, now_us: int) -> tuple[float, ...]:
    """The values of `FEATURES` in their order."""
    content, link, text = around.content_campaign, around.link_campaign, around.text_campaign
    if not facts.uploads or not (content or link or text or around.name_campaign):
        return 0, 0, 0, 0.0, 0.0, 0.0, 0, 0.0
    fresh = freshness(facts.created_us, now_us) if facts.created_us > 0 else 0.0
    worth = OLD_WORTH + (1.0 - OLD_WORTH) * fresh
    return (
        content,
        link,
        text,
        worth * _wave(content, around.content_campaign_established),
        worth * _wave(link, around.link_campaign_established),
        worth * _wave(text, around.text_campaign_established),
        around.name_campaign,
        around.name_odds,
    )


def _wave(accounts: int, established: int) -> float:
    if accounts <= LONE:
        return 0.0
    strangers = max(0.0, 1.0 - 2.0 * established / accounts)
    return strangers * min(1.0, log2(accounts / LONE) / FULL_DOUBLINGS)
