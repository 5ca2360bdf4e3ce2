"""The caption model: a table of weights for hashed n-grams, summed into calibrated log odds that a caption is abusive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.core.models.alphabet import Alphabet
from streams.core.models.ngrams import TABLE_BITS, NgramView, views

CHUNK: Final = 300
"""Captions read at once: what is held meanwhile stays inside a processor's cache."""


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
        sums, counts = sums_and_counts(model.table, alphabet, texts[start : start + CHUNK])
        parts.append(sums * model.scale / np.sqrt(np.maximum(counts, 1)) + model.offset)
    odds = np.concatenate(parts)
    return odds if base_rate is None else odds - model.prior + log(base_rate / (1.0 - base_rate))


def sums_and_counts(
    table: NDArray[np.int16], alphabet: Alphabet, texts: Sequence[str]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The sum of each caption's weights, and how many n-grams it has."""
    return view_sums(table, views(texts, alphabet))


def view_sums(table: NDArray[np.int16], of: tuple[NgramView, NgramView]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The same from the two views of a batch."""
    sums = np.zeros(len(of[0].starts) - 1, np.int64)
    counts = np.zeros(len(sums), np.int64)
    for view in of:
        end = int(view.starts[-1])
        weights = np.zeros(end, np.int32)
        for cells in view.cells:
            weights += table.take(cells[:end])
        weights *= view.first
        sums += np.add.reduceat(weights, view.starts[:-1], dtype=np.int64)
        counts += len(view.cells) * np.add.reduceat(view.first, view.starts[:-1], dtype=np.int64)
    return sums, counts
