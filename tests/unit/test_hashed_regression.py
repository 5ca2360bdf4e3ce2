"""The regression over hashed names and paths: it reaches the least loss, from any start, and counts each form as it weighs."""

from __future__ import annotations

import random

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, hstack

from streams.core.models.alphabet import build_alphabet
from streams.core.models.ngrams import NAME_BITS, TABLE_BITS
from streams.lab.fit_texts import name_matrix, ngram_matrix
from streams.lab.hashed_regression import HashedTexts, Weights, hashed_texts, no_weights, regressed, split, values

linear_model = pytest.importorskip("sklearn.linear_model", reason="the extra `fit` is not installed")
ALPHABET = build_alphabet()
STRENGTH = 2.0
LURES = ("bonus", "verify", "claim", "wallet")
PLAIN = ("pottery", "meadow", "piano", "harbour")


def forms(count: int = 240, seed: int = 3) -> tuple[list[str], list[str], NDArray[np.int64], NDArray[np.float64]]:
    """Names and paths of which many are the same, with labels that they tell only in part, and unlike weights."""
    rng = random.Random(seed)
    labels = np.array([rng.randrange(2) for _ in range(count)], np.int64)
    words = [(LURES, PLAIN)[rng.random() < 0.25 if label else rng.random() < 0.75] for label in labels]
    names = [f"{rng.choice(of)}-{rng.choice(of)}.{rng.choice(('top', 'org'))}" for of in words]
    paths = [rng.choice(("", f"/{rng.choice(of)}")) for of in words]
    return names, paths, labels, np.array([rng.choice((0.0, 0.5, 1.0, 3.0)) for _ in range(count)])


def parts_of(names: list[str], paths: list[str]) -> tuple[HashedTexts, HashedTexts]:
    return (
        hashed_texts(names, lambda texts: name_matrix(texts, ALPHABET)),
        hashed_texts(paths, lambda texts: ngram_matrix(texts, ALPHABET)),
    )


def loss(
    parts: tuple[HashedTexts, HashedTexts], labels: NDArray[np.int64], weights: NDArray[np.float64], at: Weights
) -> float:
    margins = np.where(labels == 1, 1.0, -1.0) * values(parts, at)
    return STRENGTH * float(weights @ np.logaddexp(0.0, -margins)) + 0.5 * float(at @ at)


def test_no_other_solver_finds_weights_of_less_loss() -> None:
    names, paths, labels, weights = forms()
    parts = parts_of(names, paths)
    dense = hstack([*(csr_matrix(part.matrix)[part.of_form] for part in parts), np.ones((len(labels), 1))])
    solver = linear_model.LogisticRegression(C=STRENGTH, fit_intercept=False, tol=1e-8, max_iter=5_000)
    theirs = solver.fit(dense.tocsr(), labels, sample_weight=weights).coef_[0].astype(np.float32)

    ours = regressed(parts, labels, weights, STRENGTH, no_weights(parts))

    least = loss(parts, labels, weights, theirs)
    assert loss(parts, labels, weights, no_weights(parts)) > 1.2 * least
    assert loss(parts, labels, weights, ours) == pytest.approx(least, rel=2e-3)


def test_where_the_search_begins_makes_no_difference_to_the_loss() -> None:
    names, paths, labels, weights = forms()
    parts = parts_of(names, paths)
    elsewhere = np.random.default_rng(1).normal(0.0, 0.3, len(no_weights(parts))).astype(np.float32)

    reached = [regressed(parts, labels, weights, STRENGTH, start) for start in (no_weights(parts), elsewhere)]

    lost = [loss(parts, labels, weights, at) for at in reached]
    assert lost[0] == pytest.approx(lost[1], rel=2e-3)


def test_a_form_without_weight_adds_nothing() -> None:
    names, paths, labels, weights = forms()
    parts = parts_of(names, paths)
    turned = np.where(weights == 0.0, 1 - labels, labels)

    once, again = (regressed(parts, of, weights, STRENGTH, no_weights(parts)) for of in (labels, turned))

    assert (weights == 0.0).sum() > 20
    assert once.tolist() == again.tolist()


def test_the_table_gives_each_form_the_value_that_the_regression_gave_it() -> None:
    names, paths, labels, weights = forms()
    parts = parts_of(names, paths)
    at = regressed(parts, labels, weights, STRENGTH, no_weights(parts))
    tables = [part.table(of) for part, of in zip(parts, split(parts, at), strict=True)]

    by_table = np.full(len(names), float(at[-1]))
    for texts, table, matrix_of in ((names, tables[0], name_matrix), (paths, tables[1], ngram_matrix)):
        counted = matrix_of(texts, ALPHABET)
        lengths = np.sqrt(np.maximum(np.asarray(counted.sum(1)).ravel(), 1))
        by_table += np.where([bool(text) for text in texts], counted @ table / lengths, 0.0)

    assert [len(table) for table in tables] == [1 << NAME_BITS, 1 << TABLE_BITS]
    assert by_table == pytest.approx(values(parts, at), abs=1e-4)


def test_links_without_any_path_are_fitted_by_their_names() -> None:
    names, _, labels, weights = forms()
    parts = parts_of(names, [""] * len(names))

    at = regressed(parts, labels, weights, STRENGTH, no_weights(parts))

    assert len(parts[1].used) == 0
    assert loss(parts, labels, weights, at) < loss(parts, labels, weights, no_weights(parts))


def test_texts_of_a_smaller_scale_have_a_smaller_share_of_the_value() -> None:
    names, _, labels, weights = forms()
    shares = []
    for scale in (1.0, 0.3):
        parts = (
            hashed_texts(names, lambda texts: name_matrix(texts, ALPHABET)),
            hashed_texts(names, lambda texts: ngram_matrix(texts, ALPHABET), scale),
        )
        at = regressed(parts, labels, weights, STRENGTH, no_weights(parts))
        of_first, of_second = (part.values(of) for part, of in zip(parts, split(parts, at), strict=True))
        shares.append(float(np.abs(of_second).mean() / np.abs(of_first + of_second).mean()))

    assert shares[1] < 0.5 * shares[0]
