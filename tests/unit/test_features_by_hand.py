"""Each feature of an account whose facts are written down, computed by hand."""

from __future__ import annotations

from math import e, inf, isnan, log, log2
from typing import Any

import pytest

from gate.core.duration import DAY_US, HOUR_US, MINUTE_US
from streams.core.crowd import Surroundings
from streams.core.facts import CaptionFacts, Facts, LinkFacts
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
from streams.core.features.places import recent, recent_of
from streams.core.features.times import last_evidence_us, reporters_lately
from streams.core.features.vector import PLACE, features, vector_of, vector_reader
from streams.core.migration import WEEK_US
from streams.core.window import counter_of

NOW_US = 20_780 * DAY_US + 5 * HOUR_US
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


def read(around: Surroundings | None = None, **facts: Any) -> dict[str, float]:
    """All features of an account of one upload, unless the facts say otherwise."""
    usual = {"uploads": 1, "latest_us": NOW_US, "first_us": NOW_US, "last_us": NOW_US}
    vector = features(Facts(**usual | facts), around or Surroundings())
    return {name: vector[place] for name, place in PLACE.items()}


def check(around: Surroundings | None, facts: dict[str, Any], **expected: float) -> None:
    found = read(around, **facts)

    assert {name: found[name] for name in expected} == pytest.approx(expected, nan_ok=True, rel=2e-3)


NAN = float("nan")


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (
            {
                "uploads": 6,
                "completed": 5,
                "refused": 3,
                "late": 2,
                "sessions": 4,
                "longest_gap": 720,
                "last_us": NOW_US - 3 * DAY_US,
                "deleted": 4,
                "deleted_soon": 2,
            },
            {
                "uploads": 6,
                "completed": 5,
                "refused": 3,
                "late": 2,
                "sessions": 4,
                "longest_gap_days": 0.5,
                "quiet_days": 3,
                "deleted_share": 4 / 8,
                "deleted_soon_share": 2 / 8,
                "clean_completed": 5,
            },
        ),
        (
            {"completed": 5, "blamed": 1, "deleted": 9, "deleted_soon": 9},
            {"clean_completed": 0, "deleted_share": 1, "deleted_soon_share": 1},
        ),
        ({"uploads": 0, "last_us": 0}, {"quiet_days": 0, "deleted_share": 0, "deleted_soon_share": 0}),
    ],
)
def test_history(facts: dict[str, Any], expected: dict[str, float]) -> None:
    check(None, facts, **expected)


def lately(minute: float = 0, hour: float = 0, day: float = 0) -> dict[str, Any]:
    counts = ((minute, MINUTE_US), (hour, HOUR_US), (day, DAY_US))
    return dict(zip(("minute", "hour", "day"), (counter_of(n, NOW_US, half) for n, half in counts), strict=True))


@pytest.mark.parametrize(
    ("counts", "burst"),
    [
        ((3.9, 24.0, 119.0), 0.0),
        ((8.0, 0.0, 0.0), 0.5),
        ((12.0, 0.0, 0.0), 1.0),
        ((40.0, 0.0, 0.0), 1.0),
        ((0.0, 52.5, 0.0), 0.5),
        ((0.0, 80.0, 0.0), 1.0),
        ((0.0, 0.0, 260.0), 0.5),
        ((0.0, 0.0, 400.0), 1.0),
        ((6.0, 36.0, 190.0), 0.25),
        ((6.0, 36.0, 120.0), 0.25),
        ((5.0, 36.0, 0.0), 0.2),
        ((0.0, 25.0, 134.0), 0.05),
    ],
)
def test_a_burst_is_what_people_do_not_do_by_minute_hour_or_day(
    counts: tuple[float, float, float], burst: float
) -> None:
    found = read(**lately(*counts))

    assert (found["minute"], found["hour"], found["day"]) == pytest.approx(counts, rel=2e-3)
    assert found["burst"] == pytest.approx(burst, abs=0.01)


def beats(*gaps_s: float) -> list[int]:
    return [NOW_US // 1_000, 0] + [part for gap in gaps_s for part in (round(gap * 1_000), 0)]


@pytest.mark.parametrize(
    ("gaps", "mean", "deviation", "rhythm"),
    [
        ((10.0,), log(10), 0.0, 0.0),
        ((10.0, 10.0), log(10), 0.0, 0.0),
        ((10.0, 10.0, 10.0), log(10), 0.0, 0.4),
        ((10.0,) * 5, log(10), 0.0, 0.8),
        ((10.0,) * 6, log(10), 0.0, 1.0),
        ((10.0,) * 9, log(10), 0.0, 1.0),
        ((10 / e, 10 * e), log(10), 1.0, 0.0),
        ((10 / e**0.175, 10 * e**0.175) * 4, log(10), 0.175, 0.5),
        ((10 / e**0.36, 10 * e**0.36) * 4, log(10), 0.36, 0.0),
        ((e**8.19,) * 6, 8.19, 0.0, 1.0),
        ((e**8.21,) * 6, 8.21, 0.0, 0.0),
    ],
)
def test_a_rhythm_is_in_even_gaps_of_less_than_an_hour(
    gaps: tuple[float, ...], mean: float, deviation: float, rhythm: float
) -> None:
    found = read(beats=beats(*gaps))

    assert found["gaps"] == len(gaps)
    assert found["gap_log_mean"] == pytest.approx(mean, abs=1e-3)
    assert found["gap_log_deviation"] == pytest.approx(deviation, abs=2e-3)
    assert found["rhythm"] == pytest.approx(rhythm, abs=6e-3)


def test_without_gaps_or_uploads_a_tempo_is_unknown_or_nothing() -> None:
    one, none = read(beats=beats()), read(uploads=0, beats=beats(10.0, 10.0, 10.0), **lately(40.0))

    assert isnan(one["gap_log_mean"])
    assert isnan(none["gap_log_mean"])
    assert (none["minute"], none["burst"], none["rhythm"], none["gaps"]) == (0.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (
            {"created_us": NOW_US - 2 * DAY_US, "first_us": NOW_US - DAY_US},
            {"age_days": 2, "freshness": 0.25, "first_action_minutes": 1_440},
        ),
        ({"created_us": NOW_US}, {"age_days": 0, "freshness": 1, "first_action_minutes": 0}),
        ({"created_us": NOW_US + MINUTE_US}, {"age_days": 0, "freshness": 1, "first_action_minutes": 0}),
        ({"created_us": 1, "first_us": 1 + MINUTE_US}, {"first_action_minutes": 1}),
        ({"created_us": 0}, {"age_days": NAN, "freshness": NAN, "first_action_minutes": NAN}),
        ({"created_us": 5, "uploads": 0}, {"age_days": NAN, "freshness": NAN, "first_action_minutes": NAN}),
    ],
)
def test_age(facts: dict[str, Any], expected: dict[str, float]) -> None:
    check(None, facts, **expected)


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


def place(days_ago: int, number: int) -> bytes:
    return (NOW_US // DAY_US - days_ago).to_bytes(2, "big") + number.to_bytes(8, "big")


@pytest.mark.parametrize(
    ("around", "facts", "expected"),
    [
        (
            Surroundings(ip_accounts=10, device_accounts=8, ip_established=5, device_established=2),
            {"networks": place(0, 7) + place(1, 8), "devices": place(0, 9)},
            {
                "ip_accounts": 10,
                "device_accounts": 8,
                "ip_strangers": 2.5,
                "device_strangers": 4.5,
                "networks": 2,
                "devices": 1,
            },
        ),
        (Surroundings(3, 4), {}, {"ip_strangers": 3, "device_strangers": 4, "networks": 0, "devices": 0}),
        (Surroundings(3, 4, ip_established=9), {}, {"ip_strangers": 0}),
        (
            Surroundings(3, 4),
            {"uploads": 0, "devices": place(0, 9)},
            {"ip_accounts": 0, "device_accounts": 0, "ip_strangers": 0, "device_strangers": 0, "devices": 1},
        ),
    ],
)
def test_network(around: Surroundings, facts: dict[str, Any], expected: dict[str, float]) -> None:
    check(around, facts, **expected)


OLD = {"created_us": NOW_US - 400 * DAY_US}
DAY_OLD = {"created_us": NOW_US - DAY_US}


@pytest.mark.parametrize(
    ("around", "facts", "expected"),
    [
        (
            Surroundings(content_accounts=2, link_accounts=2),
            DAY_OLD,
            {"content_accounts": 2, "link_accounts": 2, "link_strangers": 2, "content_spread": 0, "link_spread": 0},
        ),
        (Surroundings(content_accounts=8), DAY_OLD, {"content_spread": 0.5 * 2 / 3}),
        (Surroundings(content_accounts=16), DAY_OLD, {"content_spread": 0.5}),
        (Surroundings(content_accounts=64), DAY_OLD, {"content_spread": 0.5}),
        (Surroundings(content_accounts=16), OLD | {"uploads": 3}, {"content_spread": 0.5}),
        (Surroundings(content_accounts=16), {"created_us": 0, "uploads": 1}, {"content_spread": 0}),
        (Surroundings(content_accounts=3), OLD | {"uploads": 9}, {"content_spread": 0.8 * log2(1.5) / 3}),
        (Surroundings(link_accounts=16), OLD | {"uploads": 4, "host_repeats": 2}, {"link_spread": 0.5 * 0.1}),
        (
            Surroundings(link_accounts=16),
            OLD | {"uploads": 4, "host_repeats": 2, "suspicion": 0.5},
            {"link_spread": 0.5 * 0.55},
        ),
        (
            Surroundings(link_accounts=16),
            DAY_OLD | {"uploads": 4, "host_repeats": 9, "suspicion": 0.1},
            {"link_spread": 0.55},
        ),
        (
            Surroundings(link_accounts=16, link_established=4),
            OLD | {"host_repeats": 1, "suspicion": 1.0},
            {"link_spread": 0.5, "link_strangers": 9},
        ),
        (
            Surroundings(link_accounts=16, link_established=9),
            OLD | {"host_repeats": 1, "suspicion": 1.0},
            {"link_spread": 0},
        ),
        (Surroundings(link_accounts=4), OLD | {"host_repeats": 1, "suspicion": 1.0}, {"link_spread": 1 / 3}),
        (Surroundings(link_accounts=16), OLD | {"suspicion": 1.0}, {"link_spread": 0}),
        (
            Surroundings(content_accounts=9, link_accounts=9),
            {"uploads": 0},
            {"content_accounts": 0, "link_accounts": 0, "link_strangers": 0, "content_spread": 0},
        ),
        (Surroundings(content_accounts=1, link_accounts=3), DAY_OLD, {"content_accounts": 1, "link_strangers": 3}),
    ],
)
def test_crowd(around: Surroundings, facts: dict[str, Any], expected: dict[str, float]) -> None:
    check(around, facts, **expected)


def test_without_an_upload_nothing_that_is_shared_says_anything() -> None:
    nobody = read(Surroundings(9, 9, 9, 9), uploads=0)

    assert not any(nobody[one.name] for family in (network, crowd, campaign) for one in family.FEATURES)


@pytest.mark.parametrize(
    ("campaign", "facts", "wave"),
    [
        ((2, 0), {"created_us": NOW_US}, 0.0),
        ((3, 0), {"created_us": NOW_US}, log2(1.5) / 4),
        ((8, 0), {"created_us": NOW_US}, 0.5),
        ((32, 0), {"created_us": NOW_US}, 1.0),
        ((500, 0), {"created_us": NOW_US}, 1.0),
        ((32, 8), {"created_us": NOW_US}, 0.5),
        ((32, 16), {"created_us": NOW_US}, 0.0),
        ((32, 30), {"created_us": NOW_US}, 0.0),
        ((32, 0), DAY_OLD, 0.7),
        ((32, 0), {"created_us": 0}, 0.4),
    ],
)
@pytest.mark.parametrize("kind", ["content", "link", "text"])
def test_campaign(kind: str, campaign: tuple[int, int], facts: dict[str, Any], wave: float) -> None:
    around = Surroundings(**{f"{kind}_campaign": campaign[0], f"{kind}_campaign_established": campaign[1]})

    found = read(around, **facts)

    assert found[f"{kind}_campaign"] == campaign[0]
    assert found[f"{kind}_wave"] == pytest.approx(wave)
    others = {"content", "link", "text"} - {kind}
    assert not any(found[f"{other}_{what}"] for other in others for what in ("campaign", "wave"))
    assert read(around, uploads=0)[f"{kind}_campaign"] == 0


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


def reported(*weeks_ago: float) -> bytes:
    minutes = NOW_US // MINUTE_US
    return b"".join(
        (minutes - round(ago * 10_080)).to_bytes(4, "big") + number.to_bytes(4, "big")
        for number, ago in enumerate(weeks_ago)
    )


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"reporters": reported(0, 1, 2), "uploads": 4}, {"reporters": 1.75, "removals": 0, "report_rate": 0.25}),
        (
            {"removals": counter_of(1.5, NOW_US, WEEK_US), "uploads": 9},
            {"reporters": 0, "removals": 1.5, "report_rate": 0.25},
        ),
        ({"reporters": reported(0), "removals": counter_of(0.5, NOW_US, WEEK_US)}, {"report_rate": 0.5}),
        ({"reporters": reported(0, 0, 0, 0, 0)}, {"report_rate": 1}),
        ({"reporters": reported(-1)}, {"reporters": 1}),
    ],
)
def test_reports(facts: dict[str, Any], expected: dict[str, float]) -> None:
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
    check(None, {}, caption_odds=NAN, caption_length=NAN, reply_share=NAN)


def test_a_place_counts_for_three_days_after_the_account_last_came_from_it() -> None:
    some = place(0, 5) + place(3, 6) + place(4, 7)

    values, owners = recent_of([some, b"", place(4, 8), place(3, 9)], [NOW_US] * 4)

    assert recent(some, NOW_US) == [5, 6]
    assert [recent(place(days, 5), NOW_US) for days in (0, 3, 4)] == [[5], [5], []]
    assert recent(b"", NOW_US) == []
    assert (values.tolist(), owners.tolist()) == ([5, 6, 9], [0, 0, 3])


@pytest.mark.parametrize(
    ("facts", "at_us"),
    [
        ({"last_us": NOW_US - 5}, NOW_US - 5),
        ({"last_us": 0}, NOW_US),
        ({"last_us": NOW_US + 5}, NOW_US),
        ({"last_us": NOW_US - DAY_US, "reporters": reported(0.01)}, (NOW_US // MINUTE_US - 101) * MINUTE_US),
        ({"last_us": NOW_US - 5, "reporters": reported(2)}, NOW_US - 5),
        ({"last_us": 0, "removals": [NOW_US // WEEK_US - 1, 1]}, NOW_US // WEEK_US * WEEK_US),
        ({"last_us": 0, "failed": [NOW_US // WEEK_US, 1]}, NOW_US),
        ({"last_us": NOW_US - 5, "failed": [NOW_US // WEEK_US - 3, 1]}, NOW_US - 5),
    ],
)
def test_evidence_is_an_upload_a_report_or_the_week_of_a_removal_or_a_failed_challenge(
    facts: dict[str, Any], at_us: int
) -> None:
    assert last_evidence_us(Facts(latest_us=NOW_US, **facts)) == at_us


def test_reporters_count_half_for_each_week() -> None:
    assert reporters_lately(Facts(latest_us=NOW_US)) == 0.0
    assert reporters_lately(Facts(latest_us=NOW_US, reporters=reported(0, 1))) == pytest.approx(1.5)


def test_the_vector_is_that_of_the_families_one_behind_the_other() -> None:
    facts = Facts(uploads=3, latest_us=NOW_US, first_us=NOW_US, last_us=NOW_US, texts=2, malformed=1, linked=1)
    around = Surroundings(5, 6, 7, 8)

    parts = [value for family in OF_FAMILIES for value in family.read(facts, around, NOW_US)]

    assert vector_of(facts, around) == pytest.approx(parts, nan_ok=True)
    assert tuple(one for family in OF_FAMILIES for one in family.FEATURES) == FEATURES
    assert vector_reader(["uploads"])(facts, around)[:10] == list(history.read(facts, around, NOW_US))


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
    }
    others = {"night_share": 0.25, "networks": 4.0, "devices": 4.0}

    assert {one.name: one.high for one in FEATURES if one.high < inf} == dict.fromkeys(shares, 1.0) | others
    assert {one.name for one in FEATURES if one.low == -inf} == {"gap_log_mean", "link_odds", "caption_odds"}
    assert {one.low for one in FEATURES} == {0.0, -inf}
