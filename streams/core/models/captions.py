"""The caption model: weights of hashed n-grams and words, summed into calibrated log odds that a caption is abusive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import log
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.core.models.alphabet import Alphabet
from streams.core.models.ngrams import TABLE_BITS, CaptionBatch, NgramView, read_batch, view_sums
from streams.core.models.word_pairs import word_view

CHUNK: Final = 300
"""Captions read at once: what is held meanwhile stays inside a processor's cache."""
_LETTER_VIEWS: Final = 2
"""N-grams of 3 and of 4 letters; beside words, longer ones add nothing."""


@dataclass(frozen=True, slots=True)
class CaptionModel:
    """Weights fitted from labelled captions.

    `table` holds 2^18 int16 weights; `scale` turns their sum into log odds, `offset` is added. `prior` is the log odds
    of an abusive caption among those it was fitted on. `hash` names the whole.
    """

    table: NDArray[np.int16]
    scale: float
    offset: float
    prior: float
    hash: str

    def __post_init__(self) -> None:
        if self.table.shape != (1 << TABLE_BITS,) or self.table.dtype != np.int16:
            raise ValueError(f"a caption model has {1 << TABLE_BITS} weights of 16 bits")


def caption_log_odds(
    model: CaptionModel, alphabet: Alphabet, texts: Sequence[str], base_rate: float | None = None
) -> NDArray[np.float64]:
    """The log odds of each caption, at the share of abuse the model was fitted on, or at `base_rate`.

    A caption's value does not depend on the captions around it.
    """
    if not texts:
        return np.zeros(0)
    parts = []
    for start in range(0, len(texts), CHUNK):
        batch = read_batch(texts[start : start + CHUNK], alphabet)
        sums, counts = view_sums(model.table, caption_views(batch, alphabet))
        parts.append(sums * model.scale / np.sqrt(np.maximum(counts, 1)) + model.offset)
    odds = np.concatenate(parts)
    return odds if base_rate is None else odds - model.prior + log(base_rate / (1.0 - base_rate))


def caption_views(batch: CaptionBatch, alphabet: Alphabet) -> tuple[NgramView, ...]:
    """The views that a caption model sums over: n-grams of 3 and 4 letters and of 6 classes, words and pairs of words."""
    letters = batch.letter_view
    words = word_view(batch.letters, letters.starts, alphabet)
    return replace(letters, cells=letters.cells[:_LETTER_VIEWS]), batch.shape_view, words
