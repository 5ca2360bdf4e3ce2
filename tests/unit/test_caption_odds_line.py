"""The line that carries the captions' log odds on beyond what boosting learned of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from streams.lab.boosting import Boosted, BoostedTerm, Vectors, as_term
from streams.lab.caption_odds_line import STEPS, USUAL, carried_on, points_of, steadied, steepness

pytest.importorskip("sklearn")


def rows(odds: NDArray[Any], labels: NDArray[Any], name: str = "caption_odds") -> Vectors:
    count = len(labels)
    numbers = np.arange(count)
    return Vectors(
        (name,), odds[:, None], labels, np.ones(count), numbers, np.ones(count, np.int64), numbers.astype(str)
    )


def drawn(seed: int, of_sums: float, of_odds: float) -> tuple[NDArray[Any], Vectors]:
    """Sums of two families and log odds of captions; labels follow from both by these weights."""
    rng = np.random.default_rng(seed)
    sums, odds = rng.normal(0.0, 1.0, (20_000, 2)), rng.normal(0.0, 1.5, 20_000)
    chance = 1.0 / (1.0 + np.exp(-(of_sums * sums.sum(1) + of_odds * odds)))
    return sums, rows(odds, (rng.random(20_000) < chance).astype(np.int64))


@pytest.mark.parametrize(("of_sums", "of_odds"), [(1.0, 0.5), (2.0, 1.0), (0.8, 1.2)])
def test_the_line_is_as_steep_as_the_labels_say_beside_the_sums(of_sums: float, of_odds: float) -> None:
    sums, vectors = drawn(1, of_sums, of_odds)

    assert steepness(sums, vectors) == pytest.approx(of_odds / of_sums, rel=0.1)


@pytest.mark.parametrize("steep", [USUAL / 8.0, USUAL / 2.0, USUAL * 2.0, USUAL * 5.0])
def test_a_steepness_is_drawn_to_the_usual_one_and_never_beyond_it(steep: float) -> None:
    made = steadied(steep)

    assert min(steep, USUAL) < made < max(steep, USUAL)
    assert made / steep == pytest.approx(USUAL / made)


def test_where_log_odds_get_no_line_the_usual_one_gives_none() -> None:
    assert steadied(0.0) == 0.0
    assert steadied(USUAL) == pytest.approx(USUAL)


@pytest.mark.parametrize(("of_odds", "nearer"), [(0.2, "rises"), (1.8, "falls")])
def test_beside_a_model_of_the_same_captions_the_line_is_nearer_to_the_usual_one(of_odds: float, nearer: str) -> None:
    sums, vectors = drawn(5, 1.0, of_odds)

    fitted, drawn_nearer = steepness(sums, vectors), steepness(sums, vectors, own_captions=True)

    assert drawn_nearer == pytest.approx(steadied(fitted))
    assert (drawn_nearer > fitted) == (nearer == "rises")


def test_log_odds_that_mislead_get_no_line() -> None:
    sums, vectors = drawn(2, 1.0, -0.5)

    assert steepness(sums, vectors) == 0.0
    assert steepness(sums, vectors, own_captions=True) == 0.0


def test_sums_that_mislead_get_no_line() -> None:
    sums, vectors = drawn(3, -0.5, 1.0)

    assert steepness(sums, vectors) == 0.0


def test_without_log_odds_of_captions_there_is_no_line() -> None:
    sums, vectors = drawn(4, 1.0, 1.0)

    assert steepness(sums, rows(vectors.matrix[:, 0], vectors.labels, "burst")) == 0.0
    assert steepness(sums, rows(np.full(20_000, np.nan), vectors.labels)) == 0.0


def test_the_line_is_added_to_the_points_that_boosting_gave_and_never_falls() -> None:
    odds = np.linspace(-3.0, 3.0, 601)
    vectors = rows(odds, (odds > 0).astype(np.int64))
    boosted = Boosted(
        (
            BoostedTerm(("caption_odds",), (np.array([0.0]),), np.array([-0.4, 0.4, 0.1]), "captions"),
            BoostedTerm(("burst",), (np.array([0.5]),), np.array([0.0, 1.0, 0.0]), "tempo"),
        ),
        0.0,
    )

    made = carried_on(boosted, vectors, 0.5)

    assert [term.names for term in made.terms] == [("burst",), ("caption_odds",)]
    line = made.terms[1]
    assert len(line.cuts[0]) == STEPS - 1
    assert line.points[-1] == 0.1  # captions that are not known say what they said
    assert (np.diff(line.points[:-1]) > 0.0).all()
    expected = np.where(odds < 0, -0.4, 0.4) + points_of(vectors, 0.5)
    assert np.abs(line.at(vectors) - expected).max() <= 0.5 * 6.0 / STEPS / 2 + 1e-9
    term = as_term(line)
    assert term is not None
    assert term.monotone == ("up",)


def test_without_steepness_the_terms_stay_as_they_are() -> None:
    vectors = rows(np.array([0.0, 1.0]), np.array([0, 1]))
    boosted = Boosted(
        (BoostedTerm(("caption_odds",), (np.array([0.5]),), np.array([-0.4, 0.4, 0.1]), "captions"),), 0.0
    )

    assert carried_on(boosted, vectors, 0.0) is boosted


def test_unknown_log_odds_have_no_points_of_the_line() -> None:
    vectors = rows(np.array([-1.0, np.nan, 2.0]), np.array([0, 0, 1]))

    assert points_of(vectors, 0.5).tolist() == [-0.5, 0.0, 1.0]
