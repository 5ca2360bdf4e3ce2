"""Spans of time as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.core.duration import DAY_US, HOUR_US, MINUTE_US, duration_text, left_text, parse_duration_us


@pytest.mark.parametrize(
    ("text", "us"),
    [
        ("90s", 90_000_000),
        ("10m", 600_000_000),
        ("4h", 14_400_000_000),
        ("1h30m", 5_400_000_000),
        ("2d", 172_800_000_000),
        ("250ms", 250_000),
        (" 1.5H ", 5_400_000_000),
    ],
)
def test_a_span_is_understood(text: str, us: int) -> None:
    assert parse_duration_us(text) == us


@pytest.mark.parametrize("text", ["", "10", "m", "ten", "1m1h", "5m5m", "-5m", "1h 30m", "0s", "9999d", "1" * 50 + "s"])
def test_what_is_no_span_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"90s, 10m|at most 366d"):
        parse_duration_us(text)


@given(st.text(max_size=60))
def test_any_text_is_understood_or_refused(text: str) -> None:
    try:
        assert parse_duration_us(text) > 0
    except ValueError:
        pass


def test_spans_are_shown_in_two_units() -> None:
    assert [duration_text(us) for us in (0, 42_000_000, 5_400_000_000, 90_061_000_000, -1)] == [
        "0s",
        "42s",
        "1h 30m",
        "1d 1h",
        "0s",
    ]


@pytest.mark.parametrize(
    ("us", "text"),
    [
        (59 * MINUTE_US + 59_400_000, "1h"),
        (60 * MINUTE_US - 1, "1h"),
        (24 * 60 * MINUTE_US - 500_000, "1d"),
        (10 * MINUTE_US - 300_000, "10m"),
        (9 * MINUTE_US + 58_600_000, "9m 59s"),
        (89 * MINUTE_US + 20_000_000, "1h 29m"),
        (41_600_000, "42s"),
        (400_000, "0s"),
        (-5, "0s"),
    ],
)
def test_how_long_it_is_until_a_time_is_told_as_people_say_it(us: int, text: str) -> None:
    assert left_text(us) == text


@pytest.mark.parametrize(
    ("text", "us"),
    [
        ("366d", 366 * DAY_US),
        ("365d24h", 366 * DAY_US),
        ("1d2h3m4s5ms", DAY_US + 2 * HOUR_US + 3 * MINUTE_US + 4_005_000),
        ("0.001ms", 1),
        ("0" * 38 + "1s", 1_000_000),
        ("0" * 39 + "1s", None),
        ("366d1ms", None),
        ("366d0.1ms", None),
        ("0ms", None),
        ("1s1s", None),
        ("1s1m", None),
        ("1m x", None),
        ("x1m", None),
        ("1m x2s", None),
    ],
)
def test_a_span_is_at_most_366_days_and_40_characters_larger_units_first(text: str, us: int | None) -> None:
    if us is not None:
        assert parse_duration_us(text) == us
        return
    with pytest.raises(ValueError, match=r"90s, 10m|at most 366d"):
        parse_duration_us(text)


def test_a_day_has_24_hours_of_60_minutes() -> None:
    assert (MINUTE_US, HOUR_US, DAY_US) == (60_000_000, 3_600_000_000, 86_400_000_000)


@pytest.mark.parametrize(
    ("us", "text"),
    [
        (-5, "0s"),
        (999_999, "0s"),
        (1_000_000, "1s"),
        (61_000_000, "1m 1s"),
        (HOUR_US, "1h"),
        (HOUR_US + 1_000_000, "1h 1s"),
        (DAY_US + HOUR_US + MINUTE_US, "1d 1h"),
        (DAY_US + 2 * HOUR_US - 1, "1d 1h"),
    ],
)
def test_a_span_reads_in_its_two_largest_units(us: int, text: str) -> None:
    assert duration_text(us) == text


@pytest.mark.parametrize(
    ("us", "text"),
    [
        (499_999, "0s"),
        (500_000, "1s"),
        (1_499_999, "1s"),
        (9 * MINUTE_US + 58_499_999, "9m 58s"),
        (9 * MINUTE_US + 58_999_999, "9m 59s"),
        (9 * MINUTE_US + 59_000_000, "10m"),
        (10 * MINUTE_US + 29_999_999, "10m"),
        (10 * MINUTE_US + 30_000_000, "11m"),
        (HOUR_US - 1, "1h"),
    ],
)
def test_a_time_far_away_is_told_in_whole_minutes(us: int, text: str) -> None:
    assert left_text(us) == text
