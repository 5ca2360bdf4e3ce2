"""Features of what an account uploads: how much it repeats, its links and its captions, computed by hand."""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from typing import Any

import pytest

from streams.core.facts import CaptionFacts, LinkFacts
from streams.core.features.style import layout_sameness
from streams.core.migration import WEEK_US
from streams.core.window import counter_of
from tests.facts_by_hand import NAN, NOW_US, check


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"uploads": 10, "content_repeats": 4}, {"content_repeats": 4, "content_share": 0.5}),
        ({"uploads": 2, "content_repeats": 4}, {"content_share": 1}),
        ({"uploads": 9}, {"content_share": 0, "template_share": 0, "layout_concentration": 0, "uniformity": 0}),
        (
            {"texts": 4, "template_repeats": 2, "layout_squares": 16, "mentions": 0},
            {"template_repeats": 2, "template_share": 0.5, "layout_concentration": 1, "uniformity": 0.5, "mentions": 0},
        ),
        (
            {"texts": 10, "template_repeats": 12, "layout_squares": 60, "mentions": 2},
            {"template_share": 1, "layout_concentration": 0.6, "uniformity": 0.5 * 0.5 + 0.5 * 0.5, "mentions": 2},
        ),
        (
            {"texts": 3, "template_repeats": 2, "layout_squares": 9, "mentions": 9},
            {"template_share": 0.6, "uniformity": 3 / 16},
        ),
        ({"texts": 10, "layout_squares": 20, "mentions": 4}, {"uniformity": 0}),
        ({"texts": 10, "layout_squares": 12, "mentions": 0}, {"uniformity": 0.5}),
        (
            {"texts": 2, "template_repeats": 1, "layout_squares": 4},
            {"template_share": 0, "uniformity": 0, "layout_concentration": 1},
        ),
        (
            {
                "captions": CaptionFacts(count=5, near=6, nearly=2, skeleton_repeats=3),
                "texts": 5,
                "template_repeats": 1,
                "content_repeats": 4,
            },
            {"near_mean": 0.75, "near_share": 0.5, "skeleton_share": 0.75, "template_again": 0.25, "content_again": 1},
        ),
        (
            {"captions": CaptionFacts(count=1), "template_repeats": 3},
            {"near_mean": 0, "template_again": 1, "content_again": 0},
        ),
        ({}, {"near_mean": NAN, "near_share": NAN, "skeleton_share": NAN, "template_again": NAN, "content_again": NAN}),
    ],
)
def test_sameness(facts: dict[str, Any], expected: dict[str, float]) -> None:
    check(None, facts, **expected)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (
            {"uploads": 6, "linked": 4, "host_repeats": 2, "suspicion": 0.3},
            {"linked": 4, "host_repeats": 2, "suspicion": 0.3, "link_share": 0.5, "host_share": 0.25, "link_odds": NAN},
        ),
        (
            {"uploads": 6, "linked": 4, "links": LinkFacts(count=4, odds=128, high=1)},
            {"link_odds": 0.5, "link_odds_high_share": 0.25},
        ),
        (
            {"uploads": 6, "suspicion": 0.3},
            {"suspicion": 0, "link_share": 0, "link_odds": NAN, "link_odds_high_share": NAN},
        ),
        ({"texts": 3, "spam": 0.4}, {"texts": 3, "spam": 0.4}),
        ({"malformed": 2, "uploads": 3, "refused": 3}, {"malformed": 2, "malformed_share": 0.25}),
        ({"malformed": 9}, {"malformed_share": 1}),
        (
            {"passed": counter_of(2.0, NOW_US, WEEK_US), "failed": counter_of(3.0, NOW_US - WEEK_US, WEEK_US)},
            {"passed": 2, "failed": 1.5},
        ),
    ],
)
def test_links_text_fields_and_challenges(facts: dict[str, Any], expected: dict[str, float]) -> None:
    check(None, facts, **expected)


CAPTIONED = CaptionFacts(
    count=4,
    odds=128,
    odds_squares=8_192,
    low=1,
    high=2,
    chars=200,
    char_squares=10_400,
    upper=20,
    digits=10,
    beyond=40,
    spaces=30,
    punctuation=6,
    emoji=2,
    mentions=3,
    tags=5,
    links=1,
    replies=2,
)


def test_captions_and_style() -> None:
    check(
        None,
        {"captions": CAPTIONED},
        caption_odds=0.5,
        caption_odds_deviation=0.5,
        caption_low_share=0.25,
        caption_high_share=0.5,
        caption_length=50,
        caption_length_variation=10 / 51,
        upper_share=0.1,
        digit_share=0.05,
        beyond_share=0.2,
        punctuation_share=0.03,
        space_share=0.15,
        emoji_share=0.01,
        mention_rate=0.75,
        tag_rate=1.25,
        caption_link_rate=0.25,
        reply_share=0.5,
        layout_sameness=0,
    )
    check(
        None,
        {"captions": CaptionFacts(count=2)},
        caption_odds=NAN,
        caption_length=0,
        caption_length_variation=0,
        upper_share=0,
    )
    check(
        None,
        {"captions": CaptionFacts(count=2, odds=-64, odds_squares=2_048, chars=6, char_squares=18)},
        caption_odds=-0.5,
        caption_odds_deviation=0,
        caption_length=3,
        caption_length_variation=0,
    )
    check(None, {}, caption_odds=NAN, caption_length=NAN, reply_share=NAN, layout_sameness=NAN)


def sameness_of(counts: Sequence[int]) -> float:
    """By the definition: one less the entropy of the eight builds, each counted half a caption more."""
    builds = [sum(counts[at : at + 2]) + 0.5 for at in range(0, 16, 2)]
    total = sum(builds)
    return 1.0 + sum(one / total * log(one / total) for one in builds) / log(8)


@pytest.mark.parametrize(
    "counts",
    [
        [0] * 16,
        [5] + [0] * 15,
        [100] + [0] * 15,
        [0] * 15 + [100],
        [300, 200] + [0] * 14,
        [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3],
    ],
)
def test_captions_of_one_build_are_alike_the_more_surely_the_more_there_are(counts: list[int]) -> None:
    trimmed = counts[: 1 + max((at for at, count in enumerate(counts) if count), default=-1)]

    assert layout_sameness(trimmed) == pytest.approx(sameness_of(counts), abs=1e-9)
    assert layout_sameness(counts) == pytest.approx(layout_sameness(trimmed))


def test_the_length_of_a_caption_is_no_part_of_its_build() -> None:
    assert layout_sameness([6, 4]) == layout_sameness([10]) == layout_sameness([0, 10])


def test_one_build_is_told_from_many_and_few_captions_tell_little() -> None:
    bot, young_bot, person = (
        layout_sameness([0] * 8 + [100]),
        layout_sameness([0] * 8 + [3]),
        layout_sameness([9, 8] * 8),
    )

    assert bot > 0.85
    assert person < 0.05 < young_bot < 0.4
