"""A score beside its encoded bytes, and the store of scores."""

from __future__ import annotations

from typing import NamedTuple

from gate.core.score import Score


class EncodedScore(NamedTuple):
    """A score and its bytes by `gate.records.score`: encoded once, for every place that keeps it."""

    score: Score
    data: bytes
