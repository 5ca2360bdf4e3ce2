"""Sameness: the same content again and again, captions cut from one template or all of one build.

People repeat themselves in words; machines also in layout, and they address nobody.
"""

from __future__ import annotations

from gate.core.signal import Signal
from streams.core.facts import Facts
from streams.core.scorecard import Found

CONTENT = str(Signal.SAMENESS_CONTENT)
TEXT = str(Signal.SAMENESS_TEXT)
LEAST_TEXTS = 3
SETTLED_TEXTS = 8.0
"""Captions after which their build counts in full."""
USUAL_CONCENTRATION = 0.2
"""How much of a person's captions share a layout, as the sum of squared shares; 1 if all do."""
USUAL_MENTIONS = 0.4
"""Share of captions from which an account talks to others like a person."""
BUILD_AT_MOST = 0.58
"""Most that layout and monologue are worth without a repeated template."""


def read(state: Facts, found: Found) -> None:
    """`sameness.content`: share of uploads seen before. `sameness.text`: repeated templates, or a uniform build."""
    if state.content_repeats:
        found.append((CONTENT, min(1.0, 1.5 * state.content_repeats / (state.uploads + 2))))
    if state.texts >= LEAST_TEXTS:
        repeats = min(1.0, 1.5 * state.template_repeats / (state.texts + 2))
        build = BUILD_AT_MOST * _build(state) * min(1.0, state.texts / SETTLED_TEXTS)
        value = repeats + (1.0 - repeats) * build
        if value > 0.0:
            found.append((TEXT, value))


def _build(state: Facts) -> float:
    """How uniform the captions are built, in [0, 1]."""
    texts = state.texts
    uniform = (state.layout_squares / (texts * texts) - USUAL_CONCENTRATION) / (1.0 - USUAL_CONCENTRATION)
    monologue = 1.0 - state.mentions / (texts * USUAL_MENTIONS)
    return (0.5 * uniform if uniform > 0.0 else 0.0) + (0.5 * monologue if monologue > 0.0 else 0.0)
