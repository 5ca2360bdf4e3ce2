"""Text: how much an account's captions look like advertisements, by their shape alone."""

from __future__ import annotations

from typing import Final

from streams.core.crowd import Surroundings
from streams.core.facts import Facts
from streams.core.features.feature import Feature

FEATURES = (
    Feature("texts", "text", "uploads with a caption", "uploads"),
    Feature("spam", "text", "how much captions look like advertisements, a running mean", "", 0.0, 1.0),
)
CHEAP: Final = ("spam",)
"""The features that `read_cheap` reads."""


def read(facts: Facts, around: Surroundings, now_us: int) -> tuple[float, ...]:
    """The values of `FEATURES` in their order."""
    return facts.texts, facts.spam


def read_cheap(facts: Facts, around: Surroundings, now_us: int) -> tuple[float, ...]:
    """The values of `CHEAP` in their order."""
    return (facts.spam,)
