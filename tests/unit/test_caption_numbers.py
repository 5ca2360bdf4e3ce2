"""The numbers that are read of one caption: characters by class, words by kind, marks of near-duplicates, log odds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from streams.core.models.alphabet import build_alphabet
from streams.core.models.captions import CaptionModel, caption_log_odds
from streams.core.models.marks import CaptionNumbers, CaptionReader
from streams.core.models.ngrams import TABLE_BITS

ALPHABET = build_alphabet()
READER = CaptionReader(ALPHABET)
TABLE = np.random.default_rng(7).integers(-9_000, 9_000, 1 << TABLE_BITS, dtype=np.int16)
COUNTED = ("chars", "upper", "digits", "beyond", "spaces", "punctuation", "emoji")


def numbers(text: str) -> CaptionNumbers:
    return READER.read([text])[0]


def counted(text: str) -> dict[str, int]:
    """The counts of characters that are not 0."""
    read = numbers(text)
    return {name: getattr(read, name) for name in COUNTED if getattr(read, name)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("abc", {"chars": 3}),
        ("aBC", {"chars": 3, "upper": 2}),
        ("É é", {"chars": 3, "upper": 1, "spaces": 1}),
        ("a 1 ٣", {"chars": 5, "digits": 2, "spaces": 2}),
        ("a\tb\nc", {"chars": 5, "spaces": 2}),
        ("мир", {"chars": 3, "beyond": 3}),
        ("МИР", {"chars": 3, "beyond": 3}),
        ("漢字", {"chars": 2, "beyond": 2}),
        ("ɏ", {"chars": 1}),
        ("ɐ", {"chars": 1, "beyond": 1}),
        ("!~/@", {"chars": 4, "punctuation": 4}),
        ("\x02\x7f", {"chars": 2, "punctuation": 1}),
        ("“…”", {"chars": 3, "punctuation": 3}),
        ("« »", {"chars": 3, "spaces": 1}),
        ("🎁★", {"chars": 2, "emoji": 2}),
        ("©", {"chars": 1}),
        ("←", {"chars": 1}),
        ("↕", {"chars": 1, "emoji": 1}),
        ("℀", {"chars": 1}),
        ("\x01", {"chars": 1}),
        ("a" * 700, {"chars": 500}),
    ],
)
def test_characters_are_counted_by_class(text: str, expected: dict[str, int]) -> None:
    assert counted(text) == expected


@pytest.mark.parametrize(
    ("text", "mentions", "tags", "links", "reply"),
    [
        ("", 0, 0, 0, 0),
        ("@ann @bob", 2, 0, 0, 1),
        ("hi @ann #a #b", 1, 2, 0, 0),
        ("@", 0, 0, 0, 0),
        ("@ # a", 0, 0, 0, 0),
        ("a@ b# @", 0, 0, 0, 0),
        ("#@", 0, 1, 0, 0),
        ("see http://a.example and https://b.example", 0, 0, 2, 0),
        ("a:/b :// c:", 0, 0, 1, 0),
        ("://", 0, 0, 1, 0),
        (" @ann", 1, 0, 0, 0),
    ],
)
def test_words_that_name_somebody_tags_and_links_are_counted(
    text: str, mentions: int, tags: int, links: int, reply: int
) -> None:
    alone, among = numbers(text), READER.read(["@x #y z://", text, "@x"])[1]

    assert (alone.mentions, alone.tags, alone.links, alone.reply) == (mentions, tags, links, reply)
    assert among == alone


def skeletons(*texts: str) -> int:
    """How many different skeletons these captions have."""
    return len({numbers.skeleton for numbers in READER.read(texts)})


@pytest.mark.parametrize(
    "alike",
    [
        ("Seats left: 3!", "Seats left: 250!", "places   open: 9!"),
        ("WIN now", "win NOW", "Win  it"),
        ("@ann hello", "@bob goodbye"),
        ("", "  ", "\n"),
    ],
)
def test_captions_that_differ_in_letters_digits_and_lengths_only_have_one_skeleton(alike: tuple[str, ...]) -> None:
    assert skeletons(*alike) == 1


@pytest.mark.parametrize(
    "unlike",
    [
        ("a 1", "1 a", "a", "1", "a a"),
        ("a, b", "a; b", "a b"),
        ("a!1", "1!a", "a1!"),
        ("🎁 a", "a 🎁", "a"),
        ("", "a", "!"),
        ("a." * 200, "a." * 199, "a." * 199 + "!"),
    ],
)
def test_captions_with_other_classes_in_another_order_have_other_skeletons(unlike: tuple[str, ...]) -> None:
    assert skeletons(*unlike) == len(unlike)


def test_a_skeleton_is_the_same_behind_another_caption() -> None:
    assert READER.read(["Win 3!", "Win 3!", "", "Win 3!"])[1] == READER.read(["Win 3!"])[0]
    assert len({each.skeleton for each in READER.read(["Win 3!", "a!", "Win 3!"])}) == 2


def shared_marks(change: Callable[[list[str], np.random.Generator], list[str]], seed: int) -> float:
    """The share of marks, at their place, that a caption has in common with a changed one, over many captions."""
    rng = np.random.default_rng(seed)
    pairs = []
    for _ in range(600):
        letters = [chr(97 + code) for code in rng.integers(0, 26, 60)]
        pairs += ["".join(letters), "".join(change(letters, rng))]
    marks = np.frombuffer(b"".join(each.marks for each in READER.read(pairs)), "<u2").reshape(-1, 2, 2)
    return float((marks[:, 0] == marks[:, 1]).mean())


def with_other_end(letters: list[str], rng: np.random.Generator) -> list[str]:
    return [*letters[:30], *[chr(97 + code) for code in rng.integers(0, 26, 30)]]


def test_captions_share_each_mark_with_the_share_of_5_grams_that_they_share() -> None:
    of_two = 26 / (26 + 2 * 34)  # 26 of 60 5-grams begin and end in the same half

    assert shared_marks(with_other_end, 1) == pytest.approx(of_two, abs=0.05)


def test_captions_that_share_no_5_gram_share_no_mark_and_equal_ones_share_both() -> None:
    assert shared_marks(lambda letters, rng: [chr(97 + code) for code in rng.integers(0, 26, 60)], 2) < 0.01
    assert shared_marks(lambda letters, rng: letters, 3) == 1.0


def test_the_two_marks_of_a_caption_are_two_draws() -> None:
    rng = np.random.default_rng(4)
    texts = ["".join(chr(97 + code) for code in rng.integers(0, 26, 60)) for _ in range(400)]
    marks = np.array([np.frombuffer(each.marks, "<u2") for each in READER.read(texts)])

    assert (marks[:, 0] == marks[:, 1]).mean() < 0.02
    assert len(np.unique(marks[:, 0])) > 370
    assert len(np.unique(marks[:, 1])) > 370
    assert {len(each.marks) for each in READER.read(["", "a", "abcdefgh"])} == {4}


def test_log_odds_are_those_of_the_model_in_64ths_and_at_most_4() -> None:
    texts = ["win a phone now", "a walk by the lake", "", "claim your bonus"]
    fair, strong = (CaptionModel(TABLE, scale, 0.25, -1.0, "test") for scale in (1e-4, 10.0))

    plain = caption_log_odds(fair, ALPHABET, texts)
    read = [each.odds for each in CaptionReader(ALPHABET, fair).read(texts)]
    cut = [each.odds for each in CaptionReader(ALPHABET, strong).read(texts)]

    assert read == [round(odds * 64) for odds in plain]
    assert len(set(read)) == 4
    assert {abs(odds) for odds in cut} == {256}


@pytest.mark.parametrize("size", [1, 40, 700])
def test_many_captions_are_read_in_parts_and_in_order(size: int) -> None:
    texts = [("word " * size)[: size + n % 7] + str(n) for n in range(300)]

    assert READER.read(texts) == [numbers(text) for text in texts]


def test_no_captions_have_no_numbers() -> None:
    assert READER.read([]) == []


def test_marks_stay_those_that_states_hold() -> None:
    read = numbers("win it now!")

    assert (read.marks.hex(), read.skeleton.hex()) == ("1e007c83", "1a0d")
