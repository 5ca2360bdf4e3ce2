"""Adds the mean log odds of captions to boosted terms, in the proportion that accounts of other families bear out.

Boosting stops early, so that it does not learn families by heart. Then its points for `caption_odds` hardly differ
between captions that look like abuse and captions that a model takes for certain abuse, and style decides which accounts
rank highest. The caption model gives log odds already: what it says beyond the boosted points is a straight line, and one
number is fitted, its steepness.

That number depends much on which few families are at hand. The log odds of a model that was fitted to captions of the same
accounts mean nearly the same everywhere, so its steepness is drawn to the usual one (`steadied`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.core.features import FEATURES, PLACE
from streams.lab.boosting import Boosted, BoostedTerm, Matrix, Vectors

ODDS: Final = "caption_odds"
STEPS: Final = 60
"""Bins of the line between the lowest and the highest value of the training rows."""
USUAL: Final = 0.7
"""The steepness beside a caption model of the same accounts, on average over splits of families."""
LEAST_KNOWN: Final = 50
"""Rows with a known value from which the line is fitted."""


def steepness(sums: Matrix, vectors: Vectors, own_captions: bool = False) -> float:
    """Points for one unit of log odds, beside `sums` of points by family that no row's own family had part in.

    0 where the log odds say nothing that the sums do not say. `own_captions` tells whether the caption model was fitted to
    captions of these accounts; then the steepness is drawn to the usual one.
    """
    from sklearn.linear_model import LogisticRegression

    if ODDS not in vectors.names:
        return 0.0
    known = ~np.isnan(vectors.matrix[:, vectors.names.index(ODDS)])
    if known.sum() < LEAST_KNOWN or not 0 < vectors.labels[known].sum() < known.sum():
        return 0.0
    both = np.column_stack([sums.sum(1), points_of(vectors, 1.0)])[known]
    fitted = LogisticRegression(C=1e4, max_iter=1000).fit(both, vectors.labels[known], vectors.weights[known])
    of_sums, of_odds = fitted.coef_[0]
    if of_sums <= 0.0 or of_odds <= 0.0:
        return 0.0
    steep = float(of_odds / of_sums)
    return steadied(steep) if own_captions else steep


def steadied(steep: float) -> float:
    """The geometric mean of a steepness and the usual one; 0 stays 0."""
    return float(np.sqrt(USUAL * steep))


def points_of(vectors: Vectors, steep: float) -> NDArray[np.float64]:
    """The line's points of each row, 0 where its captions are unknown."""
    points: NDArray[np.float64] = steep * np.nan_to_num(vectors.matrix[:, vectors.names.index(ODDS)])
    return points


def with_line(sums: Matrix, families: tuple[str, ...], vectors: Vectors, steep: float) -> Matrix:
    """The sums by family with the line of the captions' log odds."""
    if steep <= 0.0:
        return sums
    made = sums.copy()
    made[:, families.index(FEATURES[PLACE[ODDS]].family)] += points_of(vectors, steep)
    return made


def carried_on(boosted: Boosted, vectors: Vectors, steep: float) -> Boosted:
    """The terms with the line added to that of `caption_odds`, which has even bins then."""
    if steep <= 0.0:
        return boosted
    column = vectors.matrix[:, vectors.names.index(ODDS)]
    low, high = float(np.nanmin(column)), float(np.nanmax(column))
    edges = np.linspace(low, high, STEPS + 1)
    middles = (edges[:-1] + edges[1:]) / 2.0
    points = np.append(middles * steep, 0.0)
    terms = list(boosted.terms)
    for place, term in enumerate(terms):
        if term.names == (ODDS,):
            bins = np.searchsorted(term.cuts[0], middles, side="right")
            points += np.append(term.points[bins], term.points[-1])
            del terms[place]
            break
    line = BoostedTerm((ODDS,), (np.round(edges[1:-1], 4),), points, FEATURES[PLACE[ODDS]].family)
    return replace(boosted, terms=(*terms, line))
