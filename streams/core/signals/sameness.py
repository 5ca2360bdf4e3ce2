"""Sameness: the same content, or captions cut from one template, again and again."""

from __future__ import annotations

from gate.core.signal import Signal
from streams.core.account import State
from streams.core.signals.surroundings import Found, Surroundings

LEAST_TEXTS = 4
USUAL_CONCENTRATION = 0.45
"""How much of a person's captions share a layout, as the sum of squared shares; bots are close to 1."""


def read(state: State, around: Surroundings, found: Found) -> None:
    """`sameness.content`: share of uploads seen before. `sameness.text`: repeated templates and a uniform layout."""
    if state.content_repeats:
        found.append((Signal.SAMENESS_CONTENT, min(1.0, 1.5 * state.content_repeats / (state.uploads + 2))))
    if state.texts >= LEAST_TEXTS:
        repeats = min(1.0, 1.5 * state.template_repeats / (state.texts + 2))
        shares = sum(count * count for count in state.layouts) / (state.texts * state.texts)
        uniform = max(0.0, shares - USUAL_CONCENTRATION) / (1.0 - USUAL_CONCENTRATION)
        value = max(repeats, 0.7 * uniform * min(1.0, state.texts / 20.0))
        if value > 0.0:
            found.append((Signal.SAMENESS_TEXT, value))
