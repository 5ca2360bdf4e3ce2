"""Features of when an account acts, how old it is and what was said of it, computed by hand from its facts."""

from __future__ import annotations

from math import e, isnan, log
from typing import Any

import pytest

from gate.core.duration import DAY_US, MINUTE_US
from streams.core.facts import Facts
from streams.core.features.times import last_evidence_us, reporters_lately
from streams.core.migration import WEEK_US
from streams.core.window import counter_of
from tests.facts_by_hand import NAN, NOW_US, beats, check, lately, read, reported


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
