"""Style: how captions are written and how much that varies, in any language. All are unknown without captions."""

from __future__ import annotations

from collections.abc import Sequence
from math import log, sqrt
from typing import Final

from streams.core.crowd import Surroundings
from streams.core.facts import Facts
from streams.core.features.feature import UNKNOWN, Feature

FEATURES = (
    Feature("caption_length", "style", "mean length of the captions", "characters", may_be_unknown=True),
    Feature("caption_length_variation", "style", "how much the length varies: its standard deviation over its mean",
            may_be_unknown=True),
    Feature("upper_share", "style", "share of characters that are capitals", "", 0.0, 1.0, True),
    Feature("digit_share", "style", "share of characters that are digits", "", 0.0, 1.0, True),
    Feature("beyond_share", "style", "share of characters that are letters of other scripts than Latin", "", 0.0, 1.0, True),
    Feature("punctuation_share", "style", "share of characters that are punctuation", "", 0.0, 1.0, True),
    Feature("space_share", "style", "share of characters that are spaces", "", 0.0, 1.0, True),
    Feature("emoji_share", "style", "share of characters that are emoji or other symbols", "", 0.0, 1.0, True),
    Feature("mention_rate", "style", "names addressed in each caption", "names", may_be_unknown=True),
    Feature("tag_rate", "style", "tags in each caption", "tags", may_be_unknown=True),
    Feature("caption_link_rate", "style", "links in each caption", "links", may_be_unknown=True),
    Feature("reply_share", "style", "share of captions that begin by addressing somebody", "", 0.0, 1.0, True),
    Feature("layout_sameness", "style", "how alike captions are built of links, names and tags, as far as so few of them tell: "
            "0 if all builds are equally common, 1 if there is one", "", 0.0, 1.0, True),
)  # fmt: skip
BUILDS: Final = 8
"""Layouts without regard to length: with a link or not, addressing somebody or not, tagged or not."""
_HALF: Final = 0.5
"""What each build counts before the first caption (Jeffreys' prior), so that few captions do not look uniform."""
_TIMES_LOG: Final = tuple((count + _HALF) * log(count + _HALF) for count in range(256))
_UNKNOWN = (UNKNOWN,) * len(FEATURES)


def read(facts: Facts, around: Surroundings, now_us: int) -> tuple[float, ...]:
    """The values of `FEATURES` in their order."""
    kept = facts.captions
    if kept is None:
        return _UNKNOWN
    count, chars = kept.count, kept.chars or 1
    length = kept.chars / count
    variance = kept.char_squares / count - length * length
    return (
        length,
        (sqrt(variance) if variance > 0.0 else 0.0) / (length + 1.0),
        kept.upper / chars,
        kept.digits / chars,
        kept.beyond / chars,
        kept.punctuation / chars,
        kept.spaces / chars,
        kept.emoji / chars,
        kept.mentions / count,
        kept.tags / count,
        kept.links / count,
        kept.replies / count,
        layout_sameness(facts.layouts),
    )


def layout_sameness(layouts: Sequence[int]) -> float:
    """One less the entropy of the builds, as a share of the most there can be. `layouts` counts captions by layout."""
    captions, times_log = 0, 0.0
    for at in range(0, len(layouts), 2):  # the layouts of short captions are even, those of long ones follow
        count = sum(layouts[at : at + 2])
        captions += count
        times_log += _TIMES_LOG[count] if count < len(_TIMES_LOG) else (count + _HALF) * log(count + _HALF)
    times_log += (BUILDS - (len(layouts) + 1) // 2) * _TIMES_LOG[0]
    total = captions + BUILDS * _HALF
    return max(0.0, 1.0 - (log(total) - times_log / total) / log(BUILDS))
