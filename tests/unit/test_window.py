"""Decaying counters halve in event time and never let time move back."""

import pytest

from gate.core.duration import DAY_US, HOUR_US, MINUTE_US
from streams.core.window import added, decayed

NOW_US = 1_795_428_000_000_000


def test_a_counter_halves_every_half_life() -> None:
    assert decayed(8.0, 0, MINUTE_US) == 8.0
    assert decayed(8.0, MINUTE_US, MINUTE_US) == 4.0
    assert decayed(8.0, 3 * MINUTE_US, MINUTE_US) == 1.0


def test_a_counter_of_long_ago_is_nothing() -> None:
    assert decayed(1e9, 100 * DAY_US, MINUTE_US) == 0.0


def test_what_happens_now_counts_in_full() -> None:
    assert added(2.0, NOW_US, NOW_US, HOUR_US) == 3.0
    assert added(2.0, NOW_US - HOUR_US, NOW_US, HOUR_US, 0.5) == 1.5


def test_what_happened_late_counts_for_what_it_is_still_worth() -> None:
    assert added(2.0, NOW_US, NOW_US - HOUR_US, HOUR_US) == 2.5


def test_the_order_of_two_events_does_not_matter() -> None:
    early, late = NOW_US, NOW_US + 7 * MINUTE_US

    assert added(added(0.0, early, early, HOUR_US), early, late, HOUR_US) == pytest.approx(
        added(added(0.0, late, late, HOUR_US), late, early, HOUR_US)
    )
