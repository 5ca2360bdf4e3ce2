"""How many rounds a fit boosts: as many as families bear out that it did not see."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from streams.lab.boosting import MORE_ROUNDS, ROUNDS, Vectors, boost
from streams.lab.calibration import log_loss
from streams.lab.held_out import WORTH, LossAndRecall, are_worth, held_out, sums_by_family, with_enough_rounds
from tests.small_fits import shrink_account_fits

pytestmark = pytest.mark.long

pytest.importorskip("interpret")


@pytest.fixture(autouse=True)
def small_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    shrink_account_fits(monkeypatch)


def vectors(names: tuple[str, ...], matrix: NDArray[np.float64], labels: NDArray[np.int64], of: int) -> Vectors:
    """Rows of families of `of` accounts each, one row an account."""
    count = len(labels)
    groups = np.arange(count, dtype=np.int64) // of
    accounts = np.array([f"a-{n}" for n in range(count)])
    return Vectors(names, matrix, labels, np.ones(count), groups, np.ones(count, np.int64), accounts)


def sign_ups() -> Vectors:
    """Every second abusive account uploads at once, which no honest one does; the others often share a device."""
    rng = np.random.default_rng(1)
    labels = (np.arange(1_200) % 8 == 0).astype(np.int64)
    waited = rng.uniform(1.0, 100.0, len(labels))
    waited[(labels == 1) & (rng.uniform(size=len(labels)) < 0.5)] = 0.0
    shared = 1.0 + (rng.uniform(size=len(labels)) < np.where(labels == 1, 0.3, 0.02))
    return vectors(("first_action_minutes", "device_accounts"), np.column_stack([waited, shared]), labels, 1)


def styles() -> Vectors:
    """Every family has a style of its own, which says nothing of its label, and captions that say a little."""
    rng = np.random.default_rng(2)
    of, families = 12, 60
    label = np.arange(families) % 2
    style = rng.normal(size=(families, 3))
    labels = np.repeat(label, of).astype(np.int64)
    odds = rng.normal(size=families * of) + 0.8 * (2 * labels - 1)
    matrix = np.column_stack([odds, np.repeat(style, of, axis=0)])
    return vectors(("caption_odds", "emoji_share", "reply_share", "beyond_share"), matrix, labels, of)


def test_more_rounds_are_boosted_where_one_feature_tells_many_accounts_for_certain() -> None:
    assert with_enough_rounds(sign_ups(), 1, lambda done: None).rounds == MORE_ROUNDS


def test_few_rounds_are_boosted_where_more_of_them_learn_families_by_heart() -> None:
    assert with_enough_rounds(styles(), 1, lambda done: None).rounds == ROUNDS


@pytest.mark.parametrize(
    ("more", "kept"),
    [
        (LossAndRecall(0.2 * WORTH, 0.5), True),
        (LossAndRecall(0.1, 0.6), True),
        (LossAndRecall(0.2 * WORTH + 0.001, 0.6), False),
        (LossAndRecall(0.1, 0.499), False),
    ],
)
def test_more_rounds_are_kept_only_if_they_lower_the_loss_by_enough_and_rank_no_worse(
    more: LossAndRecall, kept: bool
) -> None:
    assert are_worth(more, LossAndRecall(0.2, 0.5)) is kept


def test_the_sums_of_a_row_are_those_of_terms_that_did_not_see_its_family() -> None:
    rows = styles()

    unseen = held_out(rows, rows.groups, 1, ROUNDS, lambda done: None)

    own = sums_by_family(boost(rows, 1), rows, unseen.families)
    weights = np.ones(len(rows.labels))
    assert log_loss(own.sum(1), rows.labels, weights) < log_loss(unseen.sums.sum(1), rows.labels, weights)


def test_a_loss_is_the_weighted_mean_over_the_rows() -> None:
    odds, labels = np.array([0.0, np.log(3.0)]), np.array([1, 0])

    assert log_loss(odds, labels, np.array([1.0, 0.0])) == pytest.approx(np.log(2.0))
    assert log_loss(odds, labels, np.array([1.0, 3.0])) == pytest.approx((np.log(2.0) + 3.0 * np.log(4.0)) / 4.0)
