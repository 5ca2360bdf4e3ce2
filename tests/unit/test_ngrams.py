"""What an n-gram reads of a caption or of the name of a host, which of them count, and what a sum over them is."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from streams.core.models.alphabet import PAD, build_alphabet
from streams.core.models.captions import caption_views
from streams.core.models.ngrams import (
    CaptionBatch,
    NgramView,
    letter_grams,
    name_views,
    read_batch,
    view_sums,
    views,
)
from streams.core.models.word_pairs import word_view

ALPHABET = build_alphabet()
TEXT = "quixotvb"
FIRST = 5
"""Where the first caption of a batch begins: behind its pads."""


def reach(text: str, of: tuple[str, int]) -> int:
    """How many characters the n-gram at the beginning of `text` depends on; `of` is a view and a place in it."""
    plain = cell(text, of)
    return max(at + 1 for at in range(len(text)) if cell(changed(text, at), of) != plain)


def changed(text: str, at: int) -> str:
    """The text with a character of another class at one place."""
    return text[:at] + "~" + text[at + 1 :]


def cell(text: str, of: tuple[str, int]) -> int:
    letters, shape = views([text], ALPHABET)
    name, name_shape = name_views([text], ALPHABET)
    view = {"letters": letters, "shape": shape, "name": name, "name shape": name_shape}[of[0]]
    return int(view.cells[of[1]][FIRST])


@pytest.mark.parametrize(
    ("of", "characters"),
    [
        (("letters", 0), 3), (("letters", 1), 4), (("letters", 2), 5), (("shape", 0), 6),
        (("name", 0), 2), (("name", 1), 3), (("name", 2), 4), (("name", 3), 5), (("name", 4), 6),
        (("name shape", 0), 4), (("name shape", 1), 6),
    ],
)  # fmt: skip
def test_an_ngram_reads_as_many_characters_as_it_has(of: tuple[str, int], characters: int) -> None:
    assert reach(TEXT, of) == characters


def test_an_ngram_is_the_same_wherever_it_begins_and_another_in_another_order() -> None:
    letters, _ = views(["abcabc", "bcaabc"], ALPHABET)
    cells = letters.cells[0].tolist()
    second = int(letters.starts[1]) + FIRST

    assert cells[FIRST] == cells[FIRST + 3] == cells[second + 3]
    assert cells[FIRST + 1] == cells[second] != cells[FIRST]


def test_equal_beginnings_of_unequal_length_have_different_cells() -> None:
    letters, _ = views(["abcde"], ALPHABET)

    assert len({int(cells[FIRST]) for cells in letters.cells}) == 3


def test_ngrams_of_captions_spread_over_2_18_cells_and_those_of_names_over_2_20() -> None:
    texts = ["".join(map(chr, row)) for row in np.random.default_rng(3).integers(97, 123, (300, 200))]

    of_captions = [cells.max() for view in views(texts, ALPHABET) for cells in view.cells[:1]]
    of_names = name_views(texts, ALPHABET)[0].cells[2].max()

    assert 0.99 * 2**18 < of_captions[0] < 2**18
    assert of_captions[1] < 2**18
    assert 0.99 * 2**20 < of_names < 2**20


def test_the_hashes_of_5_grams_are_the_same_with_and_without_the_rest_of_a_batch() -> None:
    texts = ["p r i z e of 20", "", "мир 漢字"]

    grams, letters, starts = letter_grams(texts, ALPHABET)
    batch = read_batch(texts, ALPHABET)

    assert grams.tolist() == batch.longest.tolist()
    assert letters.tolist() == batch.letters.tolist()
    assert starts.tolist() == batch.letter_view.starts.tolist()
    assert (grams >> np.uint32(14)).tolist() == batch.letter_view.cells[2].tolist()


def letters_of(*texts: str) -> list[str]:
    """The folded letters of each caption, without pads."""
    batch = read_batch(texts, ALPHABET)
    starts = batch.letter_view.starts
    parts = [batch.letters[low:high] for low, high in pairwise(starts)]
    return ["".join(map(chr, part[part != PAD])) for part in parts]


@pytest.mark.parametrize(
    ("text", "letters"),
    [
        ("Fr33ze m0n3y", "freeze money"),
        ("call 0800 1234", "call 0000 0000"),
        ("30 s 4u g8t", "00 s 0u g0t"),
        ("a1b2c", "aib0c"),
        ("a3", "a0"),
        ("3a", "0a"),
        ("03a0", "0ea0"),
        ("a33", "ae0"),
        ("$ale ca$h", "$ale cash"),
        ("p r i z e", "prize"),
        ("p.r.i.z.e now", "prize now"),
        ("p r i z e  n o w", "prize now"),
        ("a b", "ab"),
        ("I am a man", "i am a man"),
        ("a b cd", "ab cd"),
        ("cd a b", "cd ab"),
        ("7 8 9", "000"),
        ("! ? !", "! ? !"),
        ("one -- two", "one two"),
        ("one . . two", "one two"),
        ("snake_case*bold", "snake_case*bold"),
    ],
)
def test_spelling_tricks_are_undone_and_plain_text_stays(text: str, letters: str) -> None:
    assert letters_of(text) == [letters]
    assert letters_of("x y", text, "0") == ["xy", letters, "0"]


def test_the_first_ngram_of_a_kind_counts_and_its_repetitions_do_not() -> None:
    letters, shape = views(["abcabcabd", "abc"], ALPHABET)
    second = int(letters.starts[1])

    assert letters.first[FIRST:][:9].tolist() == [True, True, True, False, False, False, True, True, True]
    assert letters.first[second + FIRST :][:3].all()
    assert shape.first[FIRST : FIRST + 5].tolist() == [True, False, False, False, True]


def test_every_ngram_of_a_name_counts_with_its_repetitions() -> None:
    letters, shape = name_views(["aaaa", "b"], ALPHABET)

    assert letters.first.all()
    assert shape.first.all()
    assert len(letters.first) == int(letters.starts[-1]) == len(letters.cells[0])


def view(weights_at: list[int], first: list[bool], starts: list[int], **given: int) -> NgramView:
    return NgramView((np.array(weights_at, np.uint32),), np.array(first), np.array(starts), **given)


def test_a_sum_goes_over_the_ngrams_that_count_and_as_often_as_their_view_says() -> None:
    table = np.array([1, 10, 100, 1_000], np.int16)
    once = view([0, 1, 2, 3, 3], [True, False, True, True, True], [0, 3, 5])
    twice = view([1, 1], [True, True], [0, 1, 2], times=2)

    sums, counts = view_sums(table, [once])
    both_sums, both_counts = view_sums(table, [once, twice])

    assert (sums.tolist(), counts.tolist()) == ([101, 2_000], [2, 2])
    assert (both_sums.tolist(), both_counts.tolist()) == ([121, 2_020], [4, 4])


def test_a_caption_model_sums_over_3_and_4_letters_6_classes_and_words() -> None:
    batch = read_batch(["abcd"], ALPHABET)
    letters, shape, words = caption_views(batch, ALPHABET)

    assert [len(one.cells) for one in (letters, shape, words)] == [2, 1, 1]
    assert [cells.tolist() for cells in letters.cells] == [cells.tolist() for cells in batch.letter_view.cells[:2]]
    assert (letters.times, shape.times, words.times) == (1, 1, 2)
    assert (
        counted(batch) == 2 * len(kinds(batch.letter_view)) + len(kinds(batch.shape_view)) + 2 * 2
    )  # a word, and its pair with nothing before it


def counted(batch: CaptionBatch) -> int:
    _, counts = view_sums(np.zeros(1 << 18, np.int16), caption_views(batch, ALPHABET))
    return int(counts[0])


def kinds(of: NgramView) -> set[int]:
    """The cells of the first n-grams of a view; few n-grams share none."""
    return set(of.cells[0][: len(of.first)].tolist())


def test_no_ngram_reads_across_two_captions() -> None:
    alone, _ = views(["abc"], ALPHABET)
    followed, _ = views(["abc", "xyz"], ALPHABET)

    size = int(alone.starts[1])
    assert [cells[:size].tolist() for cells in followed.cells] == [cells[:size].tolist() for cells in alone.cells]


def test_code_points_beyond_two_planes_are_one_class_and_text_is_read_to_500_characters() -> None:
    assert letters_of("\U00020000a", "\U0010fffeb") == [f"{chr(2)}a", f"{chr(2)}b"]
    assert [len(letters) for letters in letters_of("a" * 499, "a" * 500, "a" * 501)] == [499, 500, 500]


def test_cells_stay_those_that_shipped_and_fitted_models_were_fitted_with() -> None:
    letters, shape = views(["Win 5"], ALPHABET)
    name, name_shape = name_views(["win-5.example"], ALPHABET)
    batch = read_batch(["win it"], ALPHABET)
    words = word_view(batch.letters, batch.letter_view.starts, ALPHABET)

    assert [int(cells[FIRST]) for cells in (*letters.cells, *shape.cells)] == [203010, 242554, 155746, 194513]
    assert [int(cells[FIRST]) for cells in name.cells] == [809710, 812042, 146857, 993742, 575861]
    assert [int(cells[FIRST]) for cells in name_shape.cells] == [576072, 87294]
    assert words.cells[0][words.first].tolist() == [176659, 124215, 157381, 143755]


def test_a_word_and_a_pair_do_not_depend_on_where_they_are() -> None:
    one, two = (word_view_of([text]) for text in ("win it now", "come and win it"))

    assert one[0::2][1] == two[0::2][3]
    assert one[1::2][1] == two[1::2][3]
    assert one[1::2][0] != two[1::2][2]


def word_view_of(texts: list[str]) -> list[int]:
    batch = read_batch(texts, ALPHABET)
    return word_view(batch.letters, batch.letter_view.starts, ALPHABET).cells[0].tolist()


def test_the_words_of_a_batch_beyond_the_kept_powers_are_those_of_the_same_captions_alone() -> None:
    texts = [f"{number} common words and {number * 7} more " * 16 for number in range(280)]

    together = word_view_of(texts)
    last = word_view_of(texts[-1:])

    assert sum(map(len, texts)) > 1 << 17
    assert together[-len(last) :] == last
