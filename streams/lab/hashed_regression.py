"""Fits a logistic regression over hashed n-grams of links, each of which is a name and a path.

The forms of a link share names and paths, so each distinct text is counted once, and a form points to its texts. The
solver is L-BFGS on sparse sums in single precision: the same rows give the same weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from streams.lab.caption_regression import USUAL_LENGTH

Weights = NDArray[np.float32]

MOST_STEPS: Final = 40
ENOUGH: Final = 5e-5
"""The solver stops where a step lowers the loss by less than this share of it."""
_REMEMBERED: Final = 6
"""Steps whose changes of the gradient stand for the curvature."""
_SLOPE_KEPT: Final = 1e-4
_SHORTER: Final = 0.4
_SHORTEST: Final = 1e-4


@dataclass(frozen=True, slots=True)
class HashedTexts:
    """Distinct texts as rows of `matrix`, over the cells of the table that forms use; `of_form` is the row of each form.

    Values are divided by the root of a text's number of n-grams and multiplied by the rarity of their cell.
    """

    matrix: Any
    transposed: Any
    of_form: NDArray[np.int64]
    used: NDArray[np.int64]
    rarity: NDArray[np.float64]
    cells: int

    def values(self, weights: Weights) -> NDArray[np.float64]:
        """The weighted sum of each form."""
        sums: NDArray[np.float64] = (self.matrix @ weights).astype(np.float64)[self.of_form]
        return sums

    def gradient(self, of_forms: NDArray[np.float64]) -> Weights:
        """The sum of each cell's values over forms, each form multiplied by its number."""
        of_texts = np.bincount(self.of_form, of_forms, self.matrix.shape[0]).astype(np.float32)
        sums: Weights = self.transposed @ of_texts
        return sums

    def table(self, weights: Weights) -> NDArray[np.float64]:
        """The weight of every cell, for sums that are divided by the root of a text's number of n-grams."""
        table = np.zeros(self.cells)
        table[self.used] = weights * self.rarity / np.sqrt(USUAL_LENGTH)
        return table


def hashed_texts(texts: Sequence[str], matrix_of: Callable[[Sequence[str]], Any]) -> HashedTexts:
    """Count the n-grams of the text of each form with `matrix_of`. A form whose text is empty has none."""
    from scipy.sparse import csr_matrix, diags

    number: dict[str, int] = {}
    of_form = np.array([number.setdefault(text, len(number)) for text in texts], np.int64)
    counted = matrix_of(list(number))
    forms = np.bincount(of_form, minlength=len(number))
    if "" in number:
        forms[number[""]] = 0
    cells = counted.shape[1]
    uses = np.bincount(counted.indices, np.repeat(forms, np.diff(counted.indptr)), cells)
    used = np.flatnonzero(uses)
    rarity = np.log((1 + len(texts)) / (1 + uses[used])) + 1.0
    lengths = np.sqrt(USUAL_LENGTH * np.maximum(np.asarray(counted.sum(1)).ravel(), 1))
    scaled = diags((forms > 0) / lengths) @ counted[:, used] @ diags(rarity)
    matrix = csr_matrix(scaled, dtype=np.float32)
    matrix.eliminate_zeros()
    return HashedTexts(matrix, matrix.T, of_form, used, rarity, cells)


def regressed(
    parts: Sequence[HashedTexts],
    labels: NDArray[np.int64],
    weights: NDArray[np.float64],
    strength: float,
    start: Weights,
) -> Weights:
    """Weights by cell of each part, one part behind the other, and the intercept as the last number.

    They minimise the logistic loss of the forms, each times its weight and `strength`, plus half the sum of squared weights.
    `start` is where the search begins.
    """
    chosen = np.flatnonzero(weights)
    sign = np.where(labels[chosen] == 1, 1.0, -1.0)
    strengths = strength * weights[chosen]

    def loss(at: Weights) -> tuple[float, Weights]:
        margin = sign * values(parts, at)[chosen]
        shrunk = np.exp(-np.abs(margin))
        wrong = np.where(margin > 0, shrunk, 1.0) / (1.0 + shrunk)
        of_forms = np.zeros(len(labels))
        of_forms[chosen] = -strengths * sign * wrong
        slopes = [part.gradient(of_forms) for part in parts]
        gradient = at + np.concatenate([*slopes, np.array([of_forms.sum()], np.float32)])
        lost = float(strengths @ (np.maximum(-margin, 0.0) + np.log1p(shrunk)))
        return lost + 0.5 * float(at @ at), gradient

    return _minimum(loss, start)


def values(parts: Sequence[HashedTexts], weights: Weights) -> NDArray[np.float64]:
    """The value of each form: the sum of its parts and the intercept."""
    total = np.full(len(parts[0].of_form), float(weights[-1]))
    for part, of_part in zip(parts, split(parts, weights), strict=True):
        total += part.values(of_part)
    return total


def split(parts: Sequence[HashedTexts], weights: Weights) -> list[Weights]:
    """The weights of each part, without the intercept."""
    ends = np.cumsum([len(part.used) for part in parts])
    return np.split(weights[:-1], ends[:-1])


def no_weights(parts: Sequence[HashedTexts]) -> Weights:
    """Where a first search begins."""
    return np.zeros(sum(len(part.used) for part in parts) + 1, np.float32)


def _minimum(loss: Callable[[Weights], tuple[float, Weights]], at: Weights) -> Weights:
    lost, slope = loss(at)
    steps: list[tuple[Weights, Weights]] = []
    for _ in range(MOST_STEPS):
        direction = _direction(slope, steps)
        along = float(slope @ direction)
        length = 1.0
        while True:
            there = at + np.float32(length) * direction
            lost_there, slope_there = loss(there)
            if lost_there <= lost + _SLOPE_KEPT * length * along or length < _SHORTEST:
                break
            length *= _SHORTER
        if lost_there >= lost:
            break
        steps = [*steps[1 - _REMEMBERED :], (there - at, slope_there - slope)]
        gained, at, lost, slope = lost - lost_there, there, lost_there, slope_there
        if gained < ENOUGH * lost:
            break
    return at


def _direction(slope: Weights, steps: Sequence[tuple[Weights, Weights]]) -> Weights:
    """The L-BFGS direction: down the slope, corrected by the curvature that the remembered steps met."""
    direction: Weights = -slope
    if not steps:
        first: Weights = direction / np.float32(max(1.0, float(np.linalg.norm(slope))))
        return first
    shares: list[np.float32] = []
    for moved, turned in reversed(steps):
        share = np.float32((moved @ direction) / (moved @ turned))
        direction = np.subtract(direction, share * turned, dtype=np.float32)
        shares.append(share)
    moved, turned = steps[-1]
    direction *= np.float32((moved @ turned) / (turned @ turned))
    for (moved, turned), share in zip(steps, reversed(shares), strict=True):
        direction += (share - np.float32((turned @ direction) / (moved @ turned))) * moved
    return direction
