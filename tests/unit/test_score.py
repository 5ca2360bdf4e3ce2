"""How a risk decays, in exact numbers, and which of two scores of an account is kept."""

from __future__ import annotations

from math import log

import pytest

from gate.core.score import SUREST, Reason, Score, ShadowScore, Stamp, risk_at

HOUR_US = 3_600_000_000
AT_US = 1_800_000_000_000_000


@pytest.mark.parametrize(
    ("risk", "half_life_us", "base", "age_us", "now"),
    [
        (0.8, HOUR_US, 0.5, 0, 0.8),
        (0.8, HOUR_US, 0.5, -HOUR_US, 0.8),
        (0.8, HOUR_US, 0.5, HOUR_US, 2 / 3),
        (16 / 17, HOUR_US, 0.5, HOUR_US, 0.8),
        (16 / 17, HOUR_US, 0.5, 2 * HOUR_US, 2 / 3),
        (16 / 17, 2 * HOUR_US, 0.5, 2 * HOUR_US, 0.8),
        (0.8, HOUR_US, 0.2, HOUR_US, 0.5),
        (0.8, 0, 0.5, HOUR_US, 0.8),
        (0.8, -HOUR_US, 0.5, HOUR_US, 0.8),
        (0.4, HOUR_US, 0.5, HOUR_US, 0.4),
        (0.5, HOUR_US, 0.5, HOUR_US, 0.5),
        (0.8, 1, 0.5, 1, 2 / 3),
        (1.0, HOUR_US, 0.5, HOUR_US, 0.999000999),
        (0.5, HOUR_US, 0.0, HOUR_US, 0.000999000999),
        (1.0, HOUR_US, 0.5, 1_000 * HOUR_US, 0.5),
    ],
)
def test_the_log_odds_above_the_base_halve_with_each_half_life(
    risk: float, half_life_us: int, base: float, age_us: int, now: float
) -> None:
    assert risk_at(risk, AT_US, half_life_us, base, AT_US + age_us) == pytest.approx(now, rel=1e-6)


def test_a_risk_that_hardly_decays_never_rises() -> None:
    for thousandth in range(501, 1_000):
        risk = thousandth / 1_000
        assert risk_at(risk, AT_US, 10**15, 0.5, AT_US + 1) <= risk


def test_certainty_counts_as_a_million_to_one() -> None:
    assert log((1 - SUREST) / SUREST) == pytest.approx(log(10**6), rel=1e-6)


A = Stamp("epoch-a", 10, partition=3, partitions=12, generation=1_000)


def test_a_stamp_of_an_earlier_release_has_neither_home_nor_generation() -> None:
    assert Stamp("epoch-a", 1) == Stamp("epoch-a", 1, 0, 0, 0)


def test_a_score_acts_and_does_not_decay_unless_it_says_so() -> None:
    score = Score("a", 0.1, 0.2, 0.3, (), AT_US, AT_US, A, "9f2c")

    assert (score.extra, score.half_life_us, score.base, score.acts) == ({}, 0, 0.0, True)
    assert (score.models, score.shadow) == ("", None)
    assert Reason("tempo.burst", None, 0.5).second is None
    assert ShadowScore(0.1, 0.2, 0.3, "9f2c").models == ""
