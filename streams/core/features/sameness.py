"""Sameness: repeated content, and captions from one template or with one layout.

People repeat words. Bots also repeat the layout, and mention nobody.
"""

from __future__ import annotations

from typing import Final

from streams.core.crowd import Surroundings
from streams.core.facts import CaptionFacts, Facts
from streams.core.features.feature import UNKNOWN, Feature
from streams.core.models.marks import MARKS

LEAST_TEXTS = 3
SETTLED_TEXTS = 8.0
"""Captions after which their build counts in full."""
USUAL_CONCENTRATION = 0.2
"""How much of a person's captions share a layout, as the sum of squared shares; 1 if all do."""
USUAL_MENTIONS = 0.4
"""Share of captions from which an account talks to others like a person."""

FEATURES = (
    Feature("content_repeats", "sameness", "uploads of a content that the account uploaded shortly before", "uploads"),
    Feature("content_share", "sameness", "share of uploads whose content the account uploaded shortly before",
            "", 0.0, 1.0),
    Feature("template_repeats", "sameness", "captions that begin like one shortly before", "captions"),
    Feature("template_share", "sameness", "share of captions that begin like one shortly before, from three captions on",
            "", 0.0, 1.0),
    Feature("layout_concentration", "sameness", "how alike captions are laid out: the sum of squared shares", "", 0.0, 1.0),
    Feature("mentions", "sameness", "captions that address somebody", "captions"),
    Feature("uniformity", "sameness", "captions of one layout that address nobody, more with each up to eight",
            "", 0.0, 1.0),
    Feature("near_mean", "sameness", "how much of a caption's wording stood in one shortly before, on average",
            "", 0.0, 1.0, True),
    Feature("near_share", "sameness", "share of captions that nearly repeat one shortly before", "", 0.0, 1.0, True),
    Feature("skeleton_share", "sameness", "share of captions with the marks of one shortly before, in the same order",
            "", 0.0, 1.0, True),
    Feature("template_again", "sameness", "share of later captions that begin like one shortly before", "", 0.0, 1.0, True),
    Feature("content_again", "sameness", "content repeated shortly after, for each later caption", "", may_be_unknown=True),
)  # fmt: skip
CHEAP: Final = ("content_share", "template_share", "uniformity")
"""The features that `read_cheap` reads."""
_NO_CAPTIONS = (UNKNOWN,) * 5


def read(facts: Facts, around: Surroundings, now_us: int) -> tuple[float, ...]:
    """The values of `FEATURES` in their order."""
    likeness = _NO_CAPTIONS if facts.captions is None else _likeness(facts, facts.captions)
    return _repeats(facts, *read_cheap(facts, around, now_us)) + likeness


def read_cheap(facts: Facts, around: Surroundings, now_us: int) -> tuple[float, ...]:
    """The values of `CHEAP` in their order."""
    content, texts = facts.content_repeats, facts.texts
    content_share = min(1.0, 1.5 * content / (facts.uploads + 2)) if content else 0.0
    if texts < LEAST_TEXTS:
        return content_share, 0.0, 0.0
    repeats = facts.template_repeats
    template_share = min(1.0, 1.5 * repeats / (texts + 2)) if repeats else 0.0
    uniformity = _uniformity(facts.layout_squares / (texts * texts), facts.mentions / texts)
    return content_share, template_share, uniformity * min(1.0, texts / SETTLED_TEXTS)


def _likeness(facts: Facts, kept: CaptionFacts) -> tuple[float, ...]:
    """Shares of the captions after the first, which has nothing to repeat."""
    later = max(1, kept.count - 1)
    return (
        kept.near / (MARKS * later),
        kept.nearly / later,
        kept.skeleton_repeats / later,
        min(1.0, facts.template_repeats / later),
        facts.content_repeats / later,
    )


def _repeats(facts: Facts, content_share: float, template_share: float, uniformity: float) -> tuple[float, ...]:
    content, texts = facts.content_repeats, facts.texts
    if not texts:
        return content, content_share, 0, 0.0, 0.0, 0, 0.0
    concentration = facts.layout_squares / (texts * texts)
    return content, content_share, facts.template_repeats, template_share, concentration, facts.mentions, uniformity


def _uniformity(concentration: float, mentions: float) -> float:
    """Half of it for one layout, half for captions that address nobody."""
    uniform = (concentration - USUAL_CONCENTRATION) / (1.0 - USUAL_CONCENTRATION)
    monologue = 1.0 - mentions / USUAL_MENTIONS
    return (0.5 * uniform if uniform > 0.0 else 0.0) + (0.5 * monologue if monologue > 0.0 else 0.0)
