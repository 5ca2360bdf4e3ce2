"""Fits terms of a scorecard to vectors of features: an explainable boosting machine, read out as points of bins.

A term is a table of points over the bins of one feature or of two. The machine is fitted to the same bins as the
scorecard, so the points that are read out are the whole model.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from streams.core.features import FEATURES, PLACE
from streams.core.scorecard import UNIT, Monotone, Term

Matrix = NDArray[np.float64]

MOST_PAIRS: Final = 6
"""Pairs of features that a fit may weigh together. More of them fit the training families, and rank others worse."""
BINS: Final = 24
PAIR_BINS: Final = 8
BAGS: Final = 8
"""Machines that are fitted to samples of the rows and averaged."""
FEW_BAGS: Final = 3
"""The same where only figures and the calibration depend on them."""
RISING: Final = frozenset(
    ("caption_odds", "near_mean", "near_share", "template_again", "content_again", "content_share", "template_share",
     "report_rate", "device_accounts", "ip_accounts", "failed", "burst", "rhythm", "night_share", "suspicion", "malformed_share",
     "link_odds", "layout_sameness", "name_odds")
)  # fmt: skip
"""Features whose points may not fall with their value: more of them never speaks for an account."""
FALLING: Final = frozenset(("first_action_minutes", "passed"))
"""Features whose points may not rise with their value."""
ROUNDS: Final = 25
"""Rounds of boosting. More of them fit the families of the training rows ever closer, and rank accounts of other families
worse: what bots of one family have in common by chance is soon learned."""
MORE_ROUNDS: Final = 100
"""Rounds where families that the fit did not see bear more of them out (`held_out`)."""
_MOST_POINTS: Final = 19.0


@dataclass(frozen=True, slots=True)
class Vectors:
    """Rows to fit to: `matrix` has a column for each of `names`; `labels` are 1 for abuse, 0 for honest accounts.

    Rows of one group are never in training and test at once. `events` is how many events of its account in
    `accounts` a row stands for.
    """

    names: tuple[str, ...]
    matrix: Matrix
    labels: NDArray[np.int64]
    weights: NDArray[np.float64]
    groups: NDArray[np.int64]
    events: NDArray[np.int64]
    accounts: NDArray[np.str_]

    def rows(self, chosen: NDArray[Any]) -> Vectors:
        """Some of the rows."""
        return Vectors(
            self.names, self.matrix[chosen], self.labels[chosen], self.weights[chosen], self.groups[chosen],
            self.events[chosen], self.accounts[chosen],
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class BoostedTerm:
    """Points of one term; the last bin of each axis is that of unknown values."""

    names: tuple[str, ...]
    cuts: tuple[NDArray[np.float64], ...]
    points: NDArray[np.float64]
    family: str

    def at(self, vectors: Vectors) -> NDArray[np.float64]:
        """The points of each row."""
        places = tuple(
            np.where(np.isnan(column), len(cuts) + 1, np.searchsorted(cuts, column, side="right"))
            for cuts, column in (
                (cuts, vectors.matrix[:, vectors.names.index(name)])
                for name, cuts in zip(self.names, self.cuts, strict=True)
            )
        )
        found: NDArray[np.float64] = self.points[places]
        return found


@dataclass(frozen=True, slots=True)
class Boosted:
    """A fitted sum of terms."""

    terms: tuple[BoostedTerm, ...]
    intercept: float

    def families(self) -> tuple[str, ...]:
        """The families of its terms, in order of the alphabet."""
        return tuple(sorted({term.family for term in self.terms}))

    def by_family(self, vectors: Vectors) -> Matrix:
        """Rows by families: the sum of each family's points, before any cap."""
        families = self.families()
        sums = np.zeros((len(vectors.labels), len(families)))
        for term in self.terms:
            sums[:, families.index(term.family)] += term.at(vectors)
        return sums


def boost(vectors: Vectors, seed: int, bags: int = FEW_BAGS, rounds: int = ROUNDS) -> Boosted:
    """Fit the terms. The same rows and seed give the same terms."""
    from interpret.glassbox import ExplainableBoostingClassifier

    count = len(vectors.labels)
    machine = ExplainableBoostingClassifier(
        feature_names=list(vectors.names),
        feature_types=["continuous"] * len(vectors.names),
        interactions=MOST_PAIRS if len(vectors.names) > 2 else 0,
        monotone_constraints=[1 if name in RISING else -1 if name in FALLING else 0 for name in vectors.names],
        max_bins=BINS,
        max_interaction_bins=PAIR_BINS,
        outer_bags=bags,
        inner_bags=0,
        learning_rate=0.03,
        max_rounds=rounds,
        min_samples_leaf=max(5, min(40, count // 50)),
        n_jobs=1,
        random_state=seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        machine.fit(vectors.matrix, vectors.labels, sample_weight=vectors.weights)
    terms = [_read_out(machine, number, vectors.names) for number in range(len(machine.term_features_))]
    return Boosted(tuple(term for term in terms if term is not None), float(np.ravel(machine.intercept_)[0]))


def _read_out(machine: Any, number: int, names: Sequence[str]) -> BoostedTerm | None:
    """A term of the machine; None if it has one bin only. Its bins are: unknown, the known ones, never met."""
    places = machine.term_features_[number]
    single = len(places) == 1
    cuts = []
    for place in places:
        levels = machine.bins_[place]
        cuts.append(np.asarray(levels[0 if single else min(1, len(levels) - 1)], np.float64))
    if not all(map(len, cuts)):
        return None
    points = np.asarray(machine.term_scores_[number], np.float64)
    for axis, of in enumerate(cuts):
        points = np.take(points, [*range(1, len(of) + 2), 0], axis)
    return BoostedTerm(tuple(names[p] for p in places), tuple(cuts), points, FEATURES[PLACE[names[places[0]]]].family)


def as_term(term: BoostedTerm) -> Term | None:
    """The term as a scorecard has it; None if all of its points are 0."""
    points = np.rint(np.clip(term.points, -_MOST_POINTS, _MOST_POINTS) * UNIT).astype(np.int64)
    for axis, name in enumerate(term.names):
        if not FEATURES[PLACE[name]].may_be_unknown:
            points[(slice(None),) * axis + (-1,)] = 0
    if not points.any():
        return None
    return Term(
        term.names,
        term.family,
        tuple(tuple(cuts.tolist()) for cuts in term.cuts),
        tuple(points.ravel().tolist()),
        monotone=_kept_directions(term.names, points),
    )


def _kept_directions(names: Sequence[str], points: NDArray[np.int64]) -> tuple[Monotone, ...]:
    """What can be stated of a term: a pair states only what its known bins keep."""
    known = points[tuple(slice(0, -1) for _ in names)]
    kept = []
    for axis, name in enumerate(names):
        steps = np.diff(known, axis=axis)
        if name in RISING and (steps >= 0).all():
            kept.append(Monotone.UP)
        elif name in FALLING and (steps <= 0).all():
            kept.append(Monotone.DOWN)
        else:
            kept.append(Monotone.EITHER)
    return tuple(kept)
