"""Folds the log odds of an upload's worst link into the account's facts of links."""

from __future__ import annotations

from typing import Final

from streams.core.facts import Facts, LinkFacts
from streams.core.models.marks import ODDS_STEPS

HIGH: Final = ODDS_STEPS
"""Log odds above which a link speaks against the account."""


def fold_links(facts: Facts, odds: int) -> None:
    """Fold one upload with links that was let in, in place; `odds` is in 64ths."""
    kept = facts.links
    if kept is None:
        kept = facts.links = LinkFacts()
    kept.count += 1
    kept.odds += odds
    kept.odds_squares += odds * odds
    kept.high += odds > HIGH
