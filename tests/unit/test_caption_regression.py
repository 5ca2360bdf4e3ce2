"""The regression of a caption fit takes the rich form where groups that it did not see bear it out, and only there."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from streams.core.models.alphabet import build_alphabet
from streams.core.models.captions import caption_log_odds
from streams.lab.caption_regression import FORMS, learn, values_of, worth_taking
from streams.lab.detection_figures import auc_of
from streams.lab.fit_texts import Labelled, caption_matrix, fit_texts

LETTERS = "abcdefghijklmnopqrstuvwxyz"
COUNT = 200
ALONE = np.arange(COUNT)
SIMPLE, RICH = FORMS


def made_up(words: int, rng: random.Random) -> str:
    return " ".join("".join(rng.choices(LETTERS, k=rng.randrange(3, 8))) for _ in range(words))


def captions(seed: int, length_tells: bool) -> tuple[list[str], NDArray[np.int64]]:
    """Captions of words that no two share, every second one abusive. If length tells, those have at least ten words."""
    rng = random.Random(seed)
    labels = ALONE % 2
    longer = labels if length_tells else rng.choices((0, 1), k=COUNT)
    return [made_up(rng.randrange(10, 16) if long else rng.randrange(5, 11), rng) for long in longer], labels


def test_new_words_are_told_apart_by_their_number_where_it_tells_abuse() -> None:
    alphabet = build_alphabet()
    texts, labels = captions(1, length_tells=True)
    others, labels_of_others = captions(2, length_tells=True)

    model = fit_texts(Labelled(texts, labels, ALONE, ALONE), alphabet, 1).model

    assert auc_of(labels_of_others, caption_log_odds(model, alphabet, others)) > 0.8
    assert np.median(model.table) > 0


def test_an_unknown_word_weighs_nothing_where_its_number_tells_nothing() -> None:
    texts, labels = captions(1, length_tells=False)

    model = fit_texts(Labelled(texts, labels, ALONE, ALONE), build_alphabet(), 1).model

    assert np.median(model.table) == 0


def test_the_rich_form_is_taken_where_it_lowers_the_loss_by_three_hundredths() -> None:
    assert worth_taking([0.5, 0.51]) == SIMPLE
    assert worth_taking([0.5, 0.49]) == SIMPLE
    assert worth_taking([0.5, 0.48]) == RICH


def test_a_word_of_one_class_weighs_more_by_log_odds_than_a_word_of_both() -> None:
    rng = random.Random(7)
    labels = ALONE % 2
    texts = [f"{('kind', 'coin')[label]} {('lake', 'moon')[rng.random() < 0.5]} {made_up(3, rng)}" for label in labels]
    matrix = caption_matrix([*texts, "coin", "moon"], build_alphabet())
    rows = np.ones(COUNT)

    plain, by_odds = (learn(matrix[:COUNT], labels, rows, form)[0] for form in (replace(RICH, by_odds=0.0), RICH))

    coin, moon = abs(values_of(matrix[COUNT:], plain, 0.0))
    coin_by_odds, moon_by_odds = abs(values_of(matrix[COUNT:], by_odds, 0.0))
    assert moon_by_odds / coin_by_odds < moon / coin
