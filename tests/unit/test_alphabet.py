"""What each character counts as, and its class: the same letter in every disguise, and nothing where nothing is shown."""

from __future__ import annotations

import pytest

from streams.core.models.alphabet import build_alphabet

ALPHABET = build_alphabet()
UPPER, LETTER, DIGIT, SPACE, SYMBOL, REST = 65, 97, 48, 32, 5, 6


def folded(text: str) -> str:
    """The characters as they count; those that count as nothing are left out."""
    return "".join(chr(code) for code in ALPHABET.fold[[ord(char) for char in text]] if code)


@pytest.mark.parametrize(
    ("text", "counts_as"),
    [
        ("aZ", "az"),
        ("09", "00"),
        ("a b\tc\nd", "a b c d"),
        ("!~?-", "!~?-"),
        ("ÀéÑ", "aen"),
        ("ａＢ１", "ab0"),
        ("аеорсух", "aeopcyx"),
        ("АΒ", "ab"),
        ("αο", "ao"),
        ("мир", "миp"),
        ("漢", "漢"),
        ("a\u00a0b\u2003c\u3000d", "a b c d"),
        ("a\u200bb\u00adc\u0301d\u20dde", "abcde"),
        ("a\u0000b\u0085c\ud800d", "ab cd"),
        ("a\ufe00b\ufe0fc", "abc"),
        ("a\u115f\u1160\u3164\u2800b", "ab"),
        ("٣๓", "00"),
        ("½", "0"),
        ("ﬁ", "f"),
        ("🎁", "🎁"),
        ("ℓ", "l"),
        ("𝓌", "w"),
        ("\u00a8", " "),
        ("㌔", "キ"),
    ],
)
def test_a_character_counts_as_the_plain_one_under_it(text: str, counts_as: str) -> None:
    assert folded(text) == counts_as


@pytest.mark.parametrize(
    ("chars", "shape"),
    [
        ("AZÉМΑ", UPPER),
        ("azéмα漢ªא", LETTER),
        ("09٣½Ⅷ", DIGIT),
        (" \t\n\u00a0\u3000\x1c", SPACE),
        ("🎁★©℀", SYMBOL),
        ("–“”«»¿\u0301\u200b€←", REST),
    ],
)
def test_a_character_has_the_class_of_its_kind(chars: str, shape: int) -> None:
    assert ALPHABET.shape[[ord(char) for char in chars]].tolist() == [shape] * len(chars)


def test_other_ascii_characters_are_classes_of_their_own() -> None:
    chars = [code for code in range(2, 128) if not chr(code).isalnum() and not chr(code).isspace()]

    assert ALPHABET.shape[chars].tolist() == chars


def test_the_tables_cover_two_planes_and_keep_the_pad_apart() -> None:
    assert len(ALPHABET.fold) == len(ALPHABET.shape) == len(ALPHABET.leet) == 2 * 65_536
    assert (ALPHABET.fold[1], ALPHABET.shape[1], ALPHABET.fold[0], ALPHABET.leet[1]) == (1, 1, 0, 0)
    assert [code for code in range(2, 2 * 65_536) if ALPHABET.fold[code] == 1] == []


def test_nine_characters_may_be_letters_in_disguise() -> None:
    stand_for = {chr(code): chr(int(letter)) for code, letter in enumerate(ALPHABET.leet) if letter}

    assert stand_for == dict(zip("013457@$!", "oieastasi", strict=True))
