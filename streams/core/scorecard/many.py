"""Scores a batch of accounts with numpy. The scores equal those of `one` bit by bit, whatever else is in the batch.

Points are integers, so sums do not depend on their order. The exponential is Python's own for every account, because
numpy's may differ in the last bit between the places of an array.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from math import exp, inf, isnan
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from gate.core.score import Reason
from streams.core.features import FEATURES, PLACE, FeatureColumns, packed_rows
from streams.core.scorecard.one import KINDS, MAX_REASONS, Judged
from streams.core.scorecard.scale import SUREST, Scale
from streams.core.scorecard.term import Term

Matrix = NDArray[np.float64]
"""Accounts by features in the order of FEATURES, NaN where a value is unknown."""
_TERM_BITS, _POINTS_BITS = 12, 24
_HIGHEST = 1 << (_POINTS_BITS - 1)
"""More than the points of any bin. A reason's key holds the account, `_HIGHEST` less the points, and the term."""


def matrix_of(vectors: Sequence[Sequence[float]]) -> Matrix:
    """The matrix with these rows."""
    return packed_rows(vectors, len(FEATURES))


class Batched:
    """Reads the terms of a scorecard for many vectors at once; the terms of a family stand together, as in `caps`.

    Only the features that a term reads become columns; `_places` has the columns of each term's first and last feature.
    """

    __slots__ = ("_caps", "_firsts", "_is_pair", "_kinds", "_names", "_places", "_ready", "_scale", "_used")

    def __init__(self, terms: Sequence[Term], caps: Mapping[str, int], scale: Scale) -> None:
        self._scale = scale
        self._names = [term.name for term in terms]
        used = sorted({PLACE[feature] for term in terms for feature in term.features})
        self._used = tuple(used)
        column = {place: number for number, place in enumerate(used)}
        self._places = np.array([[column[PLACE[term.features[end]]] for end in (0, -1)] for term in terms], np.intp)
        self._is_pair = np.array([len(term.features) > 1 for term in terms], bool)
        self._ready = [
            (*self._places[number], [np.array((*cuts, inf)) for cuts in term.cuts], np.array(term.points, np.float64))
            for number, term in enumerate(terms)
        ]
        families = [term.family for term in terms]
        self._firsts = np.array([families.index(family) for family in caps], np.intp)
        self._caps = np.array(list(caps.values()), np.float64)[:, None]
        self._kinds = np.array([[float(term.kind is kind) for term in terms] for kind in KINDS])

    def points(self, matrix: Matrix) -> Matrix:
        """The points of each term for each account: terms by accounts, whole numbers."""
        return self._points(np.ascontiguousarray(matrix[:, self._used].T))

    def _points(self, columns: Matrix) -> Matrix:
        points = np.empty((len(self._ready), columns.shape[1]))
        for row, (place, second, cuts, table) in zip(points, self._ready, strict=True):
            bins = cuts[0].searchsorted(columns[place], "right")
            if len(cuts) > 1:
                bins *= len(cuts[1]) + 1
                bins += cuts[1].searchsorted(columns[second], "right")
            table.take(bins, out=row, mode="clip")
        return points

    def totals(self, points: Matrix) -> Matrix:
        """The sum of each account's points, with families capped."""
        families = np.add.reduceat(points, self._firsts, axis=0)
        totals: Matrix = np.minimum(np.maximum(families, -self._caps), self._caps).sum(axis=0)
        return totals

    def judge(self, vectors: Iterable[Sequence[float]] | FeatureColumns) -> list[Judged]:
        """The points of the terms for each vector."""
        if isinstance(vectors, FeatureColumns):
            if not self._names:
                return [(*self._scale.split(0, 0, 0, 0), ())] * vectors.values.shape[1]
            return self._judged(vectors.of(self._used))
        if not self._names:
            return [(*self._scale.split(0, 0, 0, 0), ()) for _ in vectors]
        # a getter of one item would give that item, and no row
        rows = map(itemgetter(*self._used, self._used[0]), vectors)
        return self._judged(np.ascontiguousarray(packed_rows(rows, len(self._used) + 1)[:, :-1].T))

    def _judged(self, columns: Matrix) -> list[Judged]:
        points = self._points(columns)
        log_odds = self.totals(points) * self._scale.point + self._scale.start
        powers = np.minimum(np.maximum(log_odds, -SUREST), SUREST)
        risk = 1.0 / (1.0 + np.array([exp(power) for power in (-powers).tolist()]))
        bot, scam, both = self._kinds @ np.maximum(points, 0.0)
        as_bot, as_scam = 1.0 + (bot + both) * self._scale.point, 1.0 + (scam + both) * self._scale.point
        more = np.maximum(as_bot, as_scam)
        reasons = self._reasons(points, columns)
        return list(
            zip(
                (risk * (as_bot / more)).tolist(),
                (risk * (as_scam / more)).tolist(),
                risk.tolist(),
                reasons,
                strict=True,
            )
        )

    def _reasons(self, points: Matrix, columns: Matrix) -> list[tuple[Reason, ...]]:
        """The reasons of each account, by the rule of `one`."""
        accounts = np.arange(columns.shape[1])
        account, term = np.nonzero((points > 0.0).T)
        least_term = points.argmin(axis=0)
        least = points[least_term, accounts]
        speaks_for = np.flatnonzero(least < 0.0)
        keys = np.concatenate((
            _keys(account, points[term, account], term), _keys(speaks_for, least[speaks_for], least_term[speaks_for]),
        ))  # fmt: skip
        keys.sort(kind="stable")  # the accounts are in order already, which a stable sort makes use of
        account = keys >> (_POINTS_BITS + _TERM_BITS)
        starts = account.searchsorted(np.arange(columns.shape[1] + 1))
        kept = np.arange(len(keys)) - starts[account] < MAX_REASONS
        keys, account = keys[kept], account[kept]
        term = keys & ((1 << _TERM_BITS) - 1)
        weight = (_HIGHEST - ((keys >> _TERM_BITS) & ((1 << _POINTS_BITS) - 1))) * self._scale.point
        names, (first, second) = self._names, self._places[term].T
        others: list[float | None] = [None] * len(keys)
        pairs = np.flatnonzero(self._is_pair[term])
        for place, value in zip(pairs.tolist(), columns[second[pairs], account[pairs]].tolist(), strict=True):
            others[place] = None if isnan(value) else value
        read = columns[first, account]
        values: list[float | None] = read.tolist()
        for place in np.flatnonzero(np.isnan(read)).tolist():
            values[place] = None
        told = list(map(Reason, [names[number] for number in term.tolist()], values, weight.tolist(), others))
        bounds = account.searchsorted(np.arange(columns.shape[1] + 1)).tolist()
        return [tuple(told[start:end]) for start, end in pairwise(bounds)]


def _keys(account: NDArray[np.intp], points: Matrix, term: NDArray[np.intp]) -> NDArray[np.int64]:
    below = _HIGHEST - points.astype(np.int64)
    return (account << (_POINTS_BITS + _TERM_BITS)) | (below << _TERM_BITS) | term
