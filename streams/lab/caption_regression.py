"""Fits the weights of a caption model: a logistic regression over the n-grams and words of captions, in one of two forms.

The simple form weighs each n-gram by its rarity. The rich one lets an n-gram weigh more whose log odds between the classes are
far from 0, as naive Bayes has them, and adds a cell that all n-grams share: it says how much more, or less, a caption is
suspected for each n-gram that it has, known or not, so that a long caption of new words is told from a short one.

Which form serves best depends on the source: the rich one finds more spam under other videos, and does not hold for bots of
other families. `fit_texts` takes the one that groups which a fit did not see bear out. Both end in one weight a cell: the
weight of the shared cell is added to that of all cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

EVIDENCE: Final = 100_000.0
"""How much all rows together weigh against the pull of weights to zero. More rows weigh no more: most of them come from
authors and bots that are known already."""
STRONGEST: Final = 100.0
"""The most that one row weighs."""
USUAL_LENGTH: Final = 20.0
"""N-grams of a usual text. Values are divided by its root, so that the strength of a fit means the same for all."""
MANY: Final = 20_000
"""Rows from which the faster solver is used; it ends near the same weights."""


@dataclass(frozen=True, slots=True)
class Form:
    """How freely the weights of a regression may differ.

    `shared` is what an n-gram counts in the cell that all share, beside its rarity of 1 or more in its own. `by_odds` is the
    exponent of its absolute log odds by which it counts more; 0 leaves them out.
    """

    shared: float
    by_odds: float


FORMS: Final = (Form(0.0, 0.0), Form(0.05, 0.25))
"""The simple and the rich one. With twice as much in the shared cell a few long honest captions of another source rank above most
abuse."""
WORTH: Final = 0.97
"""The rich form is taken where it lowers the loss of unseen groups at least to this share. Smaller gains are mostly chance."""


def learn(
    matrix: Any, labels: NDArray[np.int64], rows: NDArray[np.float64], form: Form
) -> tuple[NDArray[np.float64], float]:
    """Weights by cell, for sums divided by the root of a text's number of n-grams, and the intercept.

    `matrix` counts texts × cells. `rows` weigh the texts of a class against each other. Both classes weigh the same.
    """
    from scipy.sparse import csr_matrix, diags, hstack
    from sklearn.linear_model import LogisticRegression

    counts = np.asarray(matrix.sum(1), np.float64).ravel()
    rows_with = np.diff(matrix.tocsc().indptr)
    used = np.flatnonzero(rows_with)  # with all cells of the table the solver's vectors are mostly zeros
    cells = matrix[:, used]
    row_weights = rows * (len(labels) / 2.0 / np.bincount(labels, rows, 2))[labels]
    strengths = np.log((1 + matrix.shape[0]) / (1 + rows_with[used])) + 1.0
    if form.by_odds:
        strengths = _by_odds(strengths, cells, labels, row_weights, form.by_odds)
    weighed = diags(1.0 / np.sqrt(USUAL_LENGTH * np.maximum(counts, 1))) @ cells @ diags(strengths)
    if form.shared:
        weighed = hstack([weighed, csr_matrix(form.shared * np.sqrt(counts / USUAL_LENGTH)[:, None])])
    many = len(labels) > MANY
    model = LogisticRegression(
        C=min(STRONGEST, EVIDENCE / len(labels)),
        max_iter=200,
        solver="liblinear",
        random_state=0,
        dual=many,
        tol=0.1 if many else 1e-4,
    )
    model.fit(csr_matrix(weighed, dtype=np.float64), labels, sample_weight=row_weights)
    weights = np.full(matrix.shape[1], form.shared * model.coef_[0, -1])
    weights[used] += model.coef_[0, : len(used)] * strengths
    return weights / np.sqrt(USUAL_LENGTH), float(model.intercept_[0])


def values_of(matrix: Any, weights: NDArray[np.float64], intercept: float) -> NDArray[np.float64]:
    """The value of each text: the sum of its weights over the root of its number of n-grams, and the intercept."""
    counts = np.asarray(matrix.sum(1)).ravel()
    found: NDArray[np.float64] = matrix @ weights / np.sqrt(np.maximum(1, counts)) + intercept
    return found


def worth_taking(losses: Sequence[float]) -> Form:
    """The form to take, for the log loss that each of FORMS has on groups which its fits did not see."""
    simple, rich = losses
    return FORMS[rich <= WORTH * simple]


def _by_odds(
    strengths: NDArray[np.float64],
    cells: Any,
    labels: NDArray[np.int64],
    row_weights: NDArray[np.float64],
    exponent: float,
) -> NDArray[np.float64]:
    """The strengths times the cells' absolute log odds to the power of `exponent`, at the same mean square."""
    having = (cells > 0).astype(np.float64).T
    abusive, honest = (1.0 + having @ (row_weights * (labels == label)) for label in (1, 0))
    odds = np.log((abusive / abusive.sum()) / (honest / honest.sum()))
    scaled: NDArray[np.float64] = strengths * np.abs(odds) ** exponent
    scaled *= np.sqrt((strengths**2).mean() / np.maximum((scaled**2).mean(), 1e-12))
    return scaled
