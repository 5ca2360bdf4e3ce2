"""Sameness: repeated content, and captions from one template or with one layout.

People repeat words. Machines also repeat the layout, and do not address other people.
"""

from __future__ import annotations

from streams.core.features import Features

LEAST_TEXTS = 3
SETTLED_TEXTS = 8.0
"""Captions after which their build counts in full."""
USUAL_CONCENTRATION = 0.2
"""How much of a person's captions share a layout, as the sum of squared shares; 1 if all do."""
USUAL_MENTIONS = 0.4
"""Share of captions from which an account talks to others like a person."""
BUILD_AT_MOST = 0.58
"""Most that layout and monologue are worth without a repeated template."""


def read(of: Features) -> tuple[float, float]:
    """`sameness.content`: share of uploads seen before. `sameness.text`: repeated templates, or a uniform build."""
    texts = of.texts
    content = min(1.0, 1.5 * of.content_repeats / (of.uploads + 2)) if of.content_repeats else 0.0
    if texts < LEAST_TEXTS:
        return content, 0.0
    repeats = min(1.0, 1.5 * of.template_repeats / (texts + 2))
    return content, repeats + (1.0 - repeats) * BUILD_AT_MOST * _build(of) * min(1.0, texts / SETTLED_TEXTS)


def _build(of: Features) -> float:
    """How uniform the captions are built, in [0, 1]."""
    uniform = (of.layout_concentration - USUAL_CONCENTRATION) / (1.0 - USUAL_CONCENTRATION)
    monologue = 1.0 - of.mentions / (of.texts * USUAL_MENTIONS)
    return (0.5 * uniform if uniform > 0.0 else 0.0) + (0.5 * monologue if monologue > 0.0 else 0.0)
