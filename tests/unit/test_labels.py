"""Labels as they are compared: what a person reads as one word is one word."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.core.fields.labels import fold_country, fold_label


@pytest.mark.parametrize(
    "typed",
    [
        "image",
        "IMAGE",
        " image\t",
        "Im\u200bage",
        "ｉｍａｇｅ",
        "i\u00admage",
        "\ufeffimage",
        "image\ufe0f",
        "imag\U000e0065e",
    ],
)
def test_spellings_of_one_word_are_one_label(typed: str) -> None:
    assert fold_label(typed) == "image"


@pytest.mark.parametrize(
    ("typed", "label"), [("Straße", "strasse"), ("ПОСТ", "пост"), ("İmage", "i̇mage"), ("ﬁle", "file")]
)
def test_case_goes_in_every_script(typed: str, label: str) -> None:
    assert fold_label(typed) == label


def test_words_that_differ_stay_apart() -> None:
    assert len({fold_label(word) for word in ("image", "imgae", "images", "im age", "im\x1bage")}) == 5


def test_countries_are_in_capitals() -> None:
    assert fold_country(" de\u200b") == "DE"


@given(st.text())
def test_folding_twice_changes_nothing(text: str) -> None:
    once = fold_label(text)

    assert fold_label(once) == once
    assert fold_country(fold_country(text)) == fold_country(text)
