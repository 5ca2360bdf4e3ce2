"""The vector of all features: in the order of their families, each with the bounds of its unit."""

from __future__ import annotations

from math import inf

import pytest

from streams.core.crowd import Surroundings
from streams.core.facts import Facts
from streams.core.features import (
    FEATURES,
    age,
    campaign,
    captions,
    challenge,
    crowd,
    fields,
    history,
    links,
    network,
    reports,
    sameness,
    style,
    tempo,
    text,
)
from streams.core.features.feature import Feature
from streams.core.features.vector import VectorReader, vector_of
from tests.facts_by_hand import NOW_US

OF_FAMILIES = (
    history,
    tempo,
    age,
    sameness,
    network,
    crowd,
    links,
    text,
    reports,
    challenge,
    fields,
    campaign,
    captions,
    style,
)


def test_the_vector_is_that_of_the_families_one_behind_the_other() -> None:
    facts = Facts(uploads=3, latest_us=NOW_US, first_us=NOW_US, last_us=NOW_US, texts=2, malformed=1, linked=1)
    around = Surroundings(5, 6, 7, 8)

    parts = [value for family in OF_FAMILIES for value in family.read(facts, around, NOW_US)]

    assert vector_of(facts, around) == pytest.approx(parts, nan_ok=True)
    assert tuple(one for family in OF_FAMILIES for one in family.FEATURES) == FEATURES
    assert VectorReader([one.name for one in history.FEATURES])(facts, around)[:10] == list(
        history.read(facts, around, NOW_US)
    )


def test_a_feature_is_known_and_has_no_bound_above_unless_it_says_otherwise() -> None:
    one = Feature("name", "family", "meaning")

    assert (one.low, one.high, one.may_be_unknown) == (0.0, inf, False)


def test_features_are_bounded_as_their_units_say() -> None:
    assert {one.name for one in FEATURES if one.may_be_unknown} == {
        one.name for family in (captions, style, age) for one in family.FEATURES
    } | {
        "gap_log_mean", "gap_log_deviation", "night_share", "near_mean", "near_share", "skeleton_share", "template_again",
        "content_again", "link_odds", "link_odds_high_share",
    }  # fmt: skip
    shares = {
        "deleted_share",
        "deleted_soon_share",
        "burst",
        "rhythm",
        "freshness",
        "content_share",
        "template_share",
        "layout_concentration",
        "uniformity",
        "near_mean",
        "near_share",
        "skeleton_share",
        "template_again",
        "content_spread",
        "link_spread",
        "suspicion",
        "link_share",
        "host_share",
        "link_odds_high_share",
        "spam",
        "report_rate",
        "malformed_share",
        "content_wave",
        "link_wave",
        "text_wave",
        "caption_low_share",
        "caption_high_share",
        "upper_share",
        "digit_share",
        "beyond_share",
        "punctuation_share",
        "space_share",
        "emoji_share",
        "reply_share",
        "layout_sameness",
    }
    others = {"night_share": 0.25, "networks": 4.0, "devices": 4.0, "name_odds": 10.0}

    assert {one.name: one.high for one in FEATURES if one.high < inf} == dict.fromkeys(shares, 1.0) | others
    assert {one.name for one in FEATURES if one.low == -inf} == {"gap_log_mean", "link_odds", "caption_odds"}
    assert {one.low for one in FEATURES} == {0.0, -inf}
