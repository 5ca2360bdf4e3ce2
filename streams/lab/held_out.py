"""Sums of points for rows that the fit did not see, and how many rounds of boosting such rows bear out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.lab.boosting import MORE_ROUNDS, ROUNDS, Boosted, Matrix, Vectors, boost
from streams.lab.calibration import early_recall, fit_capped, log_loss
from streams.lab.caption_odds_line import steepness, with_line
from streams.lab.fit_texts import TooFewLabels
from streams.lab.rows import ABUSIVE, BENIGN

FOLDS: Final = 10
"""Fits that judge rows they did not see; each leaves out a tenth of the families, so that it knows nearly what the
scorecard will know."""
WORTH: Final = 0.95
"""More rounds are kept where they lower the log loss of families that the fit did not see at least to this share, and rank
them no worse."""
_UNCAPPED: Final = 1e9


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Rows by `families`: the points that terms of `rounds` rounds give them, fitted without the row and its group."""

    rounds: int
    families: tuple[str, ...]
    sums: Matrix


class LossAndRecall(NamedTuple):
    """The log loss of sums with slope and offset fitted to it, and the recall above the highest honest rows."""

    loss: float
    recall: float


def with_enough_rounds(vectors: Vectors, seed: int, progress: Callable[[float], None]) -> HeldOut:
    """The sums after as many rounds as families that the fit did not see bear out.

    Few rounds hardly use a feature that alone tells many accounts for certain, as the time from creation to first upload
    does of sign-ups. More of them learn families by heart where features are many and weak, as those of style are.
    """
    few = held_out(vectors, vectors.groups, seed, ROUNDS, lambda done: progress(done / 2.0))
    more = held_out(vectors, vectors.groups, seed, MORE_ROUNDS, lambda done: progress(0.5 + done / 2.0))
    return more if are_worth(_judged(more, vectors), _judged(few, vectors)) else few


def are_worth(more: LossAndRecall, few: LossAndRecall) -> bool:
    """Whether more rounds are kept."""
    return more.loss <= WORTH * few.loss and more.recall >= few.recall


def _judged(held: HeldOut, vectors: Vectors) -> LossAndRecall:
    """Both with the line of the captions' log odds, as a scorecard has it."""
    sums = with_line(held.sums, held.families, vectors, steepness(held.sums, vectors))
    odds = fit_capped(sums, vectors.labels, vectors.weights, _UNCAPPED).log_odds(sums)
    return LossAndRecall(log_loss(odds, vectors.labels, vectors.weights), early_recall(vectors.labels, odds))


def held_out(
    vectors: Vectors,
    groups: NDArray[np.int64],
    seed: int,
    rounds: int,
    progress: Callable[[float], None],
    families: tuple[str, ...] | None = None,
) -> HeldOut:
    """Sums for each row, for these families or for all of which there are terms.

    Raises TooFewLabels where all accounts of a class are of one group.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    parts: list[tuple[NDArray[Any], Boosted]] = []
    count = min(FOLDS, *(len(np.unique(groups[vectors.labels == label])) for label in (BENIGN, ABUSIVE)))
    if count < 2:
        raise TooFewLabels("all accounts of a class belong to one family", "give accounts of more than one family")
    split = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    for number, (train, test) in enumerate(split.split(vectors.matrix, vectors.labels, groups)):
        parts.append((test, boost(vectors.rows(train), seed, rounds=rounds)))
        progress((number + 1) / count)
    named = families or tuple(sorted({family for _, boosted in parts for family in boosted.families()}))
    sums = np.zeros((len(vectors.labels), len(named)))
    for test, boosted in parts:
        sums[test] = sums_by_family(boosted, vectors.rows(test), named)
    return HeldOut(rounds, named, sums)


def sums_by_family(boosted: Boosted, vectors: Vectors, families: tuple[str, ...]) -> Matrix:
    """Rows by `families`: the sum of each one's points; 0 for a family of which `boosted` has no term."""
    found = boosted.by_family(vectors)
    sums = np.zeros((len(found), len(families)))
    for column, family in enumerate(boosted.families()):
        if family in families:
            sums[:, families.index(family)] = found[:, column]
    return sums
