"""Fits a caption model to labelled texts, and counts the n-grams of texts for other fits.

It fits a logistic regression over n-grams and words in the form that held-out groups bear out, then calibrates it on held-out
values. Folds never split a group, so that copies of one text are never in training and test at once. The same rows and the
same seed give the same weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gate.errors import OperatorError
from streams.core.models.alphabet import Alphabet
from streams.core.models.captions import CaptionModel, caption_views
from streams.core.models.ngrams import NAME_BITS, TABLE_BITS, NgramView, name_views, read_batch, views
from streams.files.models import caption_model
from streams.lab.caption_regression import FORMS, MANY, Form, learn, values_of, worth_taking
from streams.lab.detection_figures import DetectionFigures, detection_figures
from streams.lab.one_thread import one_thread

LEAST_LABELS: Final = 25
"""The least number of labels of each class; a fit to fewer would be meaningless."""
FOLDS: Final = 10
FEW_FOLDS: Final = 3
"""Folds where there are many rows."""
OF_ONE_AUTHOR: Final = 0.75
"""The exponent by which a text of an author with n texts weighs less: n to this power."""
_CHUNK: Final = 500

Progress = Callable[[float, str], None]
"""A callback that gets the share that is done, in [0, 1], and the name of the step."""


class TooFewLabels(OperatorError):
    """The labelled rows do not suffice for a fit."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """Texts with their labels (1 abusive, 0 honest) and groups. No fold splits a group.

    `authors` numbers the account, or the family of near-identical accounts, that wrote a text.
    """

    texts: Sequence[str]
    labels: NDArray[np.int64]
    groups: NDArray[np.int64]
    authors: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TextFit:
    """A fitted model, and the figures of its cross-validation by groups and by single rows."""

    model: CaptionModel
    grouped: DetectionFigures
    random: DetectionFigures


@one_thread()
def fit_texts(
    labelled: Labelled, alphabet: Alphabet, seed: int, progress: Progress = lambda share, what: None
) -> TextFit:
    """Fit a model. Raises OperatorError if a class has fewer than 25 labels, or if all rows are one group."""
    require_labels(labelled.labels)
    if len(np.unique(labelled.groups)) < 2:
        raise OperatorError("all rows belong to one group", "give rows of more than one account, text or family")
    matrix = caption_matrix(labelled.texts, alphabet)
    labels = labelled.labels
    progress(0.1, "read")
    rows = _author_weights(labelled.authors)
    groups, alone = labelled.groups, np.arange(len(labels))
    by_form = {
        form: _held_out(matrix, labels, rows, groups, seed, form, _part(progress, 0.1 + 0.3 * number, 0.3, "by groups"))
        for number, form in enumerate(FORMS)
    }
    form = worth_taking([_loss(values, labels) for values in by_form.values()])
    grouped = by_form[form]
    shuffled = _held_out(matrix, labels, rows, alone, seed, form, _part(progress, 0.7, 0.25, "by rows"))
    weights, intercept = learn(matrix, labels, rows, form)
    slope, shift = calibrate(grouped, labels)
    progress(1.0, "done")
    table, scale = quantised(weights * slope)
    share = float(labels.mean())
    model = caption_model(table, scale, slope * intercept + shift, float(np.log(share / (1.0 - share))))
    return TextFit(
        model,
        detection_figures(labels, slope * grouped + shift),
        detection_figures(labels, slope * shuffled + shift),
    )


def fold_models(
    labelled: Labelled, alphabet: Alphabet, seed: int, folds: int, progress: Callable[[float], None]
) -> tuple[NDArray[np.int64], list[CaptionModel]]:
    """The fold of each text, and for each fold a model that was fitted without its texts and their groups.

    All are calibrated together, on the values that each gives to the texts of its fold.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    matrix, labels = caption_matrix(labelled.texts, alphabet), labelled.labels
    rows = _author_weights(labelled.authors)
    fold_of = np.zeros(len(labels), np.int64)
    by_form = {form: np.zeros(len(labels)) for form in FORMS}
    fitted: dict[Form, list[tuple[NDArray[np.float64], float]]] = {form: [] for form in FORMS}
    split = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    for number, (train, test) in enumerate(split.split(matrix, labels, labelled.groups)):
        fold_of[test] = number
        for form in FORMS:
            fitted[form].append(learn(matrix[train], labels[train], rows[train], form))
            by_form[form][test] = values_of(matrix[test], *fitted[form][-1])
        progress((number + 1) / folds)
    form = worth_taking([_loss(values, labels) for values in by_form.values()])
    slope, shift = calibrate(by_form[form], labels)
    models = []
    for weights, intercept in fitted[form]:
        table, scale = quantised(weights * slope)
        models.append(caption_model(table, scale, slope * intercept + shift, 0.0))
    return fold_of, models


def _part(progress: Progress, start: float, length: float, what: str) -> Callable[[float], None]:
    """Progress of a step that begins at `start` and is `length` of the whole."""
    return lambda share: progress(start + length * share, what)


def require_labels(
    labels: NDArray[np.int64], what: str = "rows with a text", remedy: str = "give more labelled rows"
) -> None:
    """Raises TooFewLabels unless each class has enough labels, 1 abusive and 0 honest, for a fit to `what`."""
    abusive = int(labels.sum())
    for name, count in (("abusive", abusive), ("honest", len(labels) - abusive)):
        if count < LEAST_LABELS:
            raise TooFewLabels(
                f"too few {name} {what}: {count}, and a fit needs at least {LEAST_LABELS} of each class", remedy
            )


def caption_matrix(texts: Sequence[str], alphabet: Alphabet) -> Any:
    """The matrix captions × cells of the table: how often each cell counts in the views of a caption model."""
    return _matrix(texts, lambda part: caption_views(read_batch(part, alphabet), alphabet))


def ngram_matrix(texts: Sequence[str], alphabet: Alphabet) -> Any:
    """The matrix texts × cells of the table: the number of n-grams of letters and classes of each text in each cell."""
    return _matrix(texts, lambda part: views(part, alphabet))


def name_matrix(names: Sequence[str], alphabet: Alphabet) -> Any:
    """The matrix names of hosts × cells of the table: the number of n-grams of each name in each cell."""
    return _matrix(names, lambda part: name_views(part, alphabet), NAME_BITS)


def _matrix(
    texts: Sequence[str], views_of: Callable[[Sequence[str]], Sequence[NgramView]], bits: int = TABLE_BITS
) -> Any:
    from scipy.sparse import csr_matrix

    rows: list[NDArray[np.int32]] = []
    columns: list[NDArray[np.int32]] = []
    for start in range(0, len(texts), _CHUNK):
        part = texts[start : start + _CHUNK]
        for view in views_of(part):
            end = int(view.starts[-1])
            row = np.repeat(np.arange(len(part), dtype=np.int32) + start, np.diff(view.starts))[view.first]
            for cells in view.cells * view.times:
                rows.append(row)
                columns.append(cells[:end][view.first].astype(np.int32))
    row, column = np.concatenate(rows), np.concatenate(columns)
    matrix = csr_matrix((np.ones(len(row), np.float32), (row, column)), shape=(len(texts), 1 << bits))
    matrix.sum_duplicates()
    return matrix


def _author_weights(authors: NDArray[np.int64]) -> NDArray[np.float64]:
    """A weight for each text, by which the texts of one author together weigh as the fourth root of their number.

    Else the model would learn the wording of the few largest families of bots, and would know others less well.
    """
    _, number, texts = np.unique(authors, return_inverse=True, return_counts=True)
    weights: NDArray[np.float64] = texts[number].astype(np.float64) ** -OF_ONE_AUTHOR
    return weights


def _held_out(
    matrix: Any,
    labels: NDArray[np.int64],
    rows: NDArray[np.float64],
    groups: NDArray[np.int64],
    seed: int,
    form: Form,
    progress: Callable[[float], None],
) -> NDArray[np.float64]:
    """The value of each row by a model that was fitted without the row and its group."""
    from sklearn.model_selection import StratifiedGroupKFold

    values = np.zeros(len(labels))
    most = FOLDS if len(labels) <= MANY else FEW_FOLDS
    folds = min(most, len(np.unique(groups)), int(labels.sum()), int((1 - labels).sum()))
    split = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    for number, (train, test) in enumerate(split.split(matrix, labels, groups), start=1):
        if 0 < labels[train].sum() < len(train):
            values[test] = values_of(matrix[test], *learn(matrix[train], labels[train], rows[train], form))
        progress(number / folds)
    return values


def _loss(values: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """The mean log loss of calibrated values."""
    slope, shift = calibrate(values, labels)
    return float(np.logaddexp(0.0, (1 - 2 * labels) * (slope * values + shift)).mean())


def calibrate(values: NDArray[np.float64], labels: NDArray[np.int64]) -> tuple[float, float]:
    """Slope and shift that turn values into log odds (Platt)."""
    from sklearn.linear_model import LogisticRegression

    line = LogisticRegression(C=1e3).fit(values[:, None], labels)
    return float(line.coef_[0, 0]), float(line.intercept_[0])


def quantised(weights: NDArray[np.float64]) -> tuple[NDArray[np.int16], float]:
    scale = float(np.abs(weights).max()) / 32767.0 or 1.0
    return np.rint(weights / scale).astype(np.int16), scale
