"""A caption's number follows from the caption alone, and spelling tricks change it little."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.models.alphabet import build_alphabet
from streams.core.models.captions import CaptionModel, caption_log_odds, caption_views
from streams.core.models.marks import CaptionReader
from streams.core.models.ngrams import TABLE_BITS, read_batch, view_sums, views
from streams.core.models.word_pairs import word_view

ALPHABET = build_alphabet()
TABLE = np.random.default_rng(5).integers(-30_000, 30_000, 1 << TABLE_BITS, dtype=np.int16)
MODEL = CaptionModel(TABLE, 1e-4, -0.5, -1.0, "test")
captions = st.text(max_size=700) | st.sampled_from(
    ["", " ", "free followers", "a" * 600, "\ud800", "p r i z e", "🎁" * 300, "\x01\x01", "\U0010ffff"]
)


@settings(max_examples=80, deadline=None)
@given(st.lists(captions, min_size=1, max_size=8), st.data())
def test_a_captions_number_does_not_depend_on_the_batch_around_it(batch: list[str], data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(batch))))

    together = caption_log_odds(MODEL, ALPHABET, batch)
    shuffled = caption_log_odds(MODEL, ALPHABET, [batch[i] for i in order])
    alone = [caption_log_odds(MODEL, ALPHABET, [caption])[0] for caption in batch]

    assert together.tolist() == alone
    assert shuffled.tolist() == [alone[i] for i in order]


READER = CaptionReader(ALPHABET, MODEL)


@settings(max_examples=80, deadline=None)
@given(st.lists(captions, min_size=1, max_size=8), st.data())
def test_the_numbers_that_facts_are_folded_from_do_not_depend_on_the_batch(
    batch: list[str], data: st.DataObject
) -> None:
    order = data.draw(st.permutations(range(len(batch))))

    together = READER.read(batch)
    shuffled = READER.read([batch[i] for i in order])
    alone = [READER.read([caption])[0] for caption in batch]

    assert together == alone
    assert shuffled == [alone[i] for i in order]
    assert all(type(number) in (int, bytes) for numbers in together for number in numbers)


def test_no_captions_have_no_numbers() -> None:
    assert caption_log_odds(MODEL, ALPHABET, []).tolist() == []


TRICKS = {
    "zero-width spaces": lambda text: "\u200b".join(text),
    "soft hyphens": lambda text: "\u00ad".join(text),
    "full width": lambda text: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text),
    "accents": lambda text: "".join(c + "\u0301" if c.isalpha() else c for c in text),
    "spacing": lambda text: " ".join(text),
    "dotting": lambda text: ".".join(text),
    "look-alikes": lambda text: text.translate(str.maketrans("aeopcx", "аеорсх")),
    "digits for letters": lambda text: text.translate(str.maketrans("oieast", "013457")),
    "capitals": str.upper,
}


def letter_cells(text: str) -> set[int]:
    """The cells of a caption's 3-grams of letters."""
    letters, _ = views([text], ALPHABET)
    return set(letters.cells[0][: len(letters.first)][letters.first].tolist())


@pytest.mark.parametrize("trick", TRICKS)
def test_the_letters_under_a_spelling_trick_are_those_of_the_plain_caption(trick: str) -> None:
    plain = "claim your giveaway prize today"
    written = TRICKS[trick](plain)

    expected, found = letter_cells(plain), letter_cells(written)

    assert written != plain
    assert len(expected & found) >= 0.8 * len(expected)


def test_repeating_a_phrase_adds_nothing_but_where_it_meets_itself() -> None:
    once, counted = summed("win a phone ")
    often, counted_often = summed("win a phone " * 40)

    assert counted_often - counted <= 2 * 11 + 6 + 2 * 1
    assert abs(often - once) < 40 * 30_000


def summed(text: str) -> tuple[int, int]:
    """The sum of a caption's weights, and the number of its n-grams and words."""
    sums, counts = view_sums(TABLE, caption_views(read_batch([text], ALPHABET), ALPHABET))
    return int(sums[0]), int(counts[0])


def word_cells(text: str) -> list[int]:
    """The cells of a caption's words and pairs that count, in order."""
    batch = read_batch([text], ALPHABET)
    view = word_view(batch.letters, batch.letter_view.starts, ALPHABET)
    return [int(cell) for cell in view.cells[0][view.first]]


@pytest.mark.parametrize("trick", TRICKS)
def test_the_words_under_a_spelling_trick_are_those_of_the_plain_caption(trick: str) -> None:
    plain = "claim your giveaway coupon monday"

    expected, found = word_cells(plain), word_cells(TRICKS[trick](plain))

    assert len(expected) == 5 + 5
    assert set(found) == set(expected)


@pytest.mark.parametrize(
    ("text", "words", "pairs"),
    [
        ("", 0, 0),
        ("  \n ", 0, 0),
        ("prize", 1, 1),
        ("my prize: 20 phones!", 6, 6),
        ("free free free", 1, 2),
        ("мир 漢字 naïve x2y", 4, 4),
        ("!!", 1, 2),
    ],
)
def test_each_word_and_each_pair_of_neighbours_counts_once(text: str, words: int, pairs: int) -> None:
    assert len(word_cells(text)) == words + pairs


def test_the_order_of_words_makes_other_pairs_of_the_same_words() -> None:
    one, other = set(word_cells("money for free")), set(word_cells("free for money"))

    assert len(one & other) == 3
    assert len(one) == len(other) == 6


def test_a_word_is_the_same_wherever_it_stands_in_however_long_a_batch() -> None:
    batch = ["a " * 250] * 299 + ["claim your prize"]

    late = caption_log_odds(MODEL, ALPHABET, batch)[-1]

    assert late == caption_log_odds(MODEL, ALPHABET, ["claim your prize"])[0]


def test_only_the_first_characters_of_a_long_caption_are_read() -> None:
    head = "a quiet morning by the river " * 20

    assert caption_log_odds(MODEL, ALPHABET, [head[:500]]) == caption_log_odds(
        MODEL, ALPHABET, [head[:500] + "free money"]
    )


def test_a_base_rate_moves_every_caption_by_the_same_log_odds() -> None:
    texts = ["free money now", "my cat", ""]

    moved = caption_log_odds(MODEL, ALPHABET, texts, base_rate=0.02) - caption_log_odds(MODEL, ALPHABET, texts)

    assert np.allclose(moved, np.log(0.02 / 0.98) + 1.0)


def test_a_table_of_another_size_is_no_model() -> None:
    with pytest.raises(ValueError, match="weights of 16 bits"):
        CaptionModel(TABLE[:-1], 1.0, 0.0, 0.0, "short")
