"""Sameness: repeated content, and captions from one template or with one layout.

People repeat words. Machines also repeat the layout, and do not address other people.
"""

from __future__ import annotations

from streams.core.crowd import Surroundings
from streams.core.facts import Facts
from streams.core.features.feature import Feature

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
)  # fmt: skip


def read(facts: Facts, around: Surroundings, now_us: int) -> tuple[float, ...]:
    """The values of `FEATURES` in their order."""
    content, texts = facts.content_repeats, facts.texts
    content_share = min(1.0, 1.5 * content / (facts.uploads + 2)) if content else 0.0
    if not texts:
        return content, content_share, 0, 0.0, 0.0, 0, 0.0
    concentration = facts.layout_squares / (texts * texts)
    template_share = uniformity = 0.0
    if texts >= LEAST_TEXTS:
        template_share = min(1.0, 1.5 * facts.template_repeats / (texts + 2))
        uniformity = _uniformity(concentration, facts.mentions / texts) * min(1.0, texts / SETTLED_TEXTS)
    return content, content_share, facts.template_repeats, template_share, concentration, facts.mentions, uniformity


def _uniformity(concentration: float, mentions: float) -> float:
    """Half of it for one layout, half for captions that address nobody."""
    uniform = (concentration - USUAL_CONCENTRATION) / (1.0 - USUAL_CONCENTRATION)
    monologue = 1.0 - mentions / USUAL_MENTIONS
    return (0.5 * uniform if uniform > 0.0 else 0.0) + (0.5 * monologue if monologue > 0.0 else 0.0)
