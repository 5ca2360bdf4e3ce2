"""What the shape of a caption says: its template, its layout, and how much it looks like an advertisement."""

from __future__ import annotations

from itertools import combinations

import pytest

from streams.core.text import LINK, LONG, MENTION, TAG, as_shown, read


def points(caption: str) -> float:
    """What makes a caption look like an advertisement, of 6 points at most."""
    return round(6.0 * read(caption)[2], 6)


@pytest.mark.parametrize(
    ("caption", "layout"),
    [
        ("", 0),
        ("a quiet evening by the lake", 0),
        ("hi @ann", MENTION),
        ("#cats", TAG),
        ("see https://a.example/x", LINK),
        ("see www.a.example", LINK),
        ("a.example", 0),
        ("a" * 70, 0),
        ("a" * 71, LONG),
        ("@ann #cats https://a.example " + "a" * 60, LINK | MENTION | TAG | LONG),
        ("мир @ann", MENTION),
        ("мир " * 20, LONG),
    ],
)
def test_a_layout_tells_links_names_tags_and_length(caption: str, layout: int) -> None:
    assert read(caption)[1] == layout


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("", 0.0),
        ("a quiet evening by the lake", 0.0),
        ("I am 5", 0.1),
        ("I am 555", 0.3),
        ("1 2 3 4 5 6 7 8 9", 0.9),
        ("1 2 3 4 5 6 7 8 9 1", 1.0),
        ("1 2 3 4 5 6 7 8 9 1 2 3", 1.0),
        ("at 0800", 0.4 + 1.2),
        ("at 080 0", 0.4),
        ("it is on a.b now", 1.2),
        ("it is. on a b.", 0.0),
        ("x http://a b", 1.2),
        ("it is $ to me", 1.5),
        ("it is % to me", 1.5),
        ("it is £ to me", 1.5),
        ("it is ₿ to me", 1.5),
        ("hey you!", 1 / 3),
        ("hey! you!", 2 / 3),
        ("hi! u!!!", 1.0),
        ("ABCD EFGH ij kl", 0.0),
        ("ABCD EFGH I ij kl mn op qr st uv wx yz", (9 / 27 - 0.1) * 3),
        ("ABCD EFGH IJ", 1.0),
        ("aaaaaa", 0.25),
        ("aaaaaaaaa", 1.0),
        ("aaaaaaaaaaaaaaaa", 1.0),
        ("aaaaaa bbbbbbb", 0.5),
        ("мирмирмирмирмир", 0.0),
        ("aa " * 33 + "a", 0.0),
        ("aa " * 33 + "aa", 0.5),
    ],
)
def test_each_sign_of_an_advertisement_has_its_points(caption: str, expected: float) -> None:
    assert points(caption) == pytest.approx(expected, abs=1e-6)


def test_an_advertisement_has_all_six_points_and_no_more() -> None:
    assert read("WIN $$$ NOW!!! 10000000000 AT WWW.PRIZE.EXAMPLE " + "CLAIMITTODAY" * 9)[2] == 1.0


@pytest.mark.parametrize(
    "alike",
    [
        ("Hi @user1, order 1 is here", "hi @user22, order 22 is here", "HI @x, order  is here"),
        ("see https://a.example/x now", "see http://b.example/yy now", "see www.c.example now"),
        ("a" * 40 + "x", "A" * 40 + "yz"),
        ("win\u200b5", "win7", "ｗｉｎ9"),
        ("#cats are here", "#dogs are here"),
    ],
)
def test_captions_that_differ_in_links_names_tags_numbers_and_capitals_have_one_template(
    alike: tuple[str, ...],
) -> None:
    assert len({read(caption)[0] for caption in alike}) == 1


def test_other_beginnings_are_other_templates() -> None:
    unlike = ["my cat", "my dog", "my cat!", "the cat", "a" * 39 + "x", "a" * 39 + "y", "é", "мир"]

    assert len({read(caption)[0] for caption in unlike}) == len(unlike)


def test_a_caption_is_judged_by_its_first_500_characters() -> None:
    begin = "to be or not " * 40

    assert read(begin[:499] + "$")[2] > read(begin[:500] + "$")[2]
    assert read("é" + begin[:498] + "$")[2] > read("é" + begin[:499] + "$")[2]


def test_a_caption_is_shown_without_invisible_characters_and_with_plain_letters() -> None:
    assert as_shown("p\u200br\u00adi\ufeffze") == "prize"
    assert as_shown("ｐｒｉｚｅ 𝓌𝒾𝓃 ﷺ")[:9] == "prize win"
    assert as_shown("é" * 700) == "é" * 501
    assert as_shown("ﷺ" * 700) == ("صلى الله عليه وسلم" * 40)[:501]
    assert as_shown("\u200b" * 1_999 + "ab") == "a"
    assert as_shown("é" * 63 + "ｆｒｅｅ" * 3) == "é" * 63 + "free" * 3


def test_the_four_marks_of_a_layout_make_sixteen_layouts() -> None:
    assert {sum(marks) for n in range(5) for marks in combinations((LINK, MENTION, TAG, LONG), n)} == set(range(16))
