"""Measures how well scores separate abuse from honest uploads: ranking, recall at few false positives, calibration."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 10
FEW_FALSE_POSITIVES = 0.01


@dataclass(frozen=True, slots=True)
class DetectionFigures:
    """Figures of `rows` judged rows, `positives` of them abusive.

    `auc` is the probability that an abusive row ranks above an honest one. `recall_at_1pct_fpr` and
    `recall_at_01pct_fpr` are the shares of abuse above a threshold that 1 % and 0.1 % of honest rows reach.
    `f1_at_half` uses the threshold 0.5 of probability. `ece` is the expected calibration error over ten bins of equal
    width. A figure is None if all labels are of one class.
    """

    rows: int
    positives: int
    auc: float | None
    f1_at_half: float | None
    recall_at_1pct_fpr: float | None
    recall_at_01pct_fpr: float | None
    ece: float | None


@dataclass(frozen=True, slots=True)
class Separation:
    """How well scores separate `accounts` labelled accounts, `abusive` of them abusive.

    `recall` is the share of abuse above a threshold that 1 % of honest accounts reach. `auc` and `recall` are None if all labels
    are of one class.
    """

    accounts: int
    abusive: int
    auc: float | None
    recall: float | None


def separation(labelled: Iterable[tuple[int, float]]) -> Separation:
    """The figures for (label, score) pairs, one an account: 1 is abusive, 0 honest. Any other label is left out."""
    pairs = [(label, score) for label, score in labelled if label in (0, 1)]
    labels = np.array([label for label, _ in pairs], np.int64)
    scores = np.array([score for _, score in pairs], np.float64)
    abusive = int(labels.sum())
    if not 0 < abusive < len(pairs):
        return Separation(len(pairs), abusive, None, None)
    recall = recall_at_share(labels, scores, FEW_FALSE_POSITIVES)
    return Separation(len(pairs), abusive, auc_of(labels, scores), recall)


def rounded(figure: float | None) -> float | None:
    """A figure to four digits, as JSON shows it."""
    return None if figure is None else round(figure, 4)


def detection_figures(labels: NDArray[np.int64], log_odds: NDArray[np.float64]) -> DetectionFigures:
    """The figures for one label (1 abusive, 0 honest) and the log odds of each row."""
    positives = int(labels.sum())
    if not 0 < positives < len(labels):
        return DetectionFigures(len(labels), positives, None, None, None, None, None)
    chance = 1.0 / (1.0 + np.exp(-np.clip(log_odds, -500, 500)))
    return DetectionFigures(
        len(labels),
        positives,
        auc_of(labels, log_odds),
        f1_at(labels, log_odds, 0.0),
        recall_at_share(labels, log_odds, 0.01),
        recall_at_share(labels, log_odds, 0.001),
        calibration_error(labels, chance),
    )


def auc_of(labels: NDArray[np.int64], values: NDArray[np.float64]) -> float:
    """The area under the ROC curve; a tie counts half."""
    order = np.argsort(values, kind="stable")
    _, first, counts = np.unique(values[order], return_index=True, return_counts=True)
    ranks = np.repeat(first + (counts + 1) / 2.0, counts)
    positives = int(labels.sum())
    above = float(ranks[labels[order] == 1].sum()) - positives * (positives + 1) / 2.0
    return above / (positives * (len(labels) - positives))


def f1_at(labels: NDArray[np.int64], values: NDArray[np.float64], threshold: float) -> float:
    """The harmonic mean of precision and recall for rows above `threshold`."""
    caught = values > threshold
    right = int((caught & (labels == 1)).sum())
    return 2.0 * right / (int(caught.sum()) + int(labels.sum()))


def recall_at_share(labels: NDArray[np.int64], values: NDArray[np.float64], share: float) -> float:
    """The largest share of abuse above a threshold that at most `share` of the honest rows exceed."""
    honest = np.sort(values[labels == 0])[::-1]
    allowed = int(share * len(honest))
    threshold = honest[allowed] if allowed < len(honest) else -np.inf
    return float((values[labels == 1] > threshold).mean())


def calibration_error(labels: NDArray[np.int64], chance: NDArray[np.float64]) -> float:
    """The mean distance of predicted and observed frequency over ten bins of equal width, weighted by their rows."""
    bins = np.minimum((chance * BINS).astype(np.int64), BINS - 1)
    error = 0.0
    for number in range(BINS):
        inside = bins == number
        if inside.any():
            error += abs(float(chance[inside].mean()) - float(labels[inside].mean())) * float(inside.mean())
    return error
