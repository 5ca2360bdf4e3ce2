"""Captions: what a fitted model reads in them, how nearly they repeat each other, and how they are written.

All are unknown for an account without captions.
"""

from __future__ import annotations

from math import nan, sqrt
from typing import Final

from streams.core.facts import Facts
from streams.core.models.marks import MARKS, ODDS_STEPS

_UNKNOWN: Final = (nan,) * 19
NAMES: Final = (
    "caption_odds",
    "caption_odds_deviation",
    "caption_low_share",
    "caption_high_share",
    "near_mean",
    "near_share",
    "skeleton_share",
    "template_again",
    "content_again",
    "caption_length",
    "caption_length_variation",
    "upper_share",
    "digit_share",
    "beyond_share",
    "punctuation_share",
    "space_share",
    "mention_rate",
    "tag_rate",
    "reply_share",
    "caption_link_rate",
    "emoji_share",
)


def read(facts: Facts) -> tuple[float, ...]:
    kept = facts.captions
    if kept is None:
        return _UNKNOWN
    count = kept.count
    later = count - 1 if count > 1 else 1
    chars = kept.chars or 1
    mean = kept.odds / count
    length = kept.chars / count
    spread = kept.odds_squares / count - mean * mean
    varied = kept.char_squares / count - length * length
    return (
        mean / ODDS_STEPS,
        sqrt(spread) / ODDS_STEPS if spread > 0.0 else 0.0,
        kept.low / count,
        kept.high / count,
        kept.near / (MARKS * later),
        kept.nearly / later,
        kept.skeleton_repeats / later,
        facts.template_repeats / later,
        facts.content_repeats / later,
        length,
        (sqrt(varied) if varied > 0.0 else 0.0) / (length + 1.0),
        kept.upper / chars,
        kept.digits / chars,
        kept.beyond / chars,
        kept.punctuation / chars,
        kept.spaces / chars,
        kept.mentions / count,
        kept.tags / count,
        kept.replies / count,
        kept.links / count,
        kept.emoji / chars,
    )
