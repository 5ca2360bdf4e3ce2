"""Decaying counters halve in event time, never let time move back, and are the same in any order."""

from itertools import permutations

import pytest

from gate.core.duration import DAY_US, HOUR_US, MINUTE_US
from streams.core.window import KEPT, Counter, count_one, count_upload, counter_of, decayed, value

NOW_US = 1_795_428_000_000_000


def counted(*times: int, half_life_us: int = HOUR_US) -> Counter:
    counter: Counter = []
    for at_us in times:
        count_one(counter, at_us, half_life_us)
    return counter


def test_what_is_worth_something_halves_every_half_life() -> None:
    assert decayed(8.0, 0, MINUTE_US) == 8.0
    assert decayed(8.0, MINUTE_US, MINUTE_US) == 4.0
    assert decayed(8.0, 3 * MINUTE_US, MINUTE_US) == 1.0


def test_a_counter_of_long_ago_is_nothing() -> None:
    assert decayed(1e9, 100 * DAY_US, MINUTE_US) == 0.0
    assert value(counted(NOW_US), NOW_US + 100 * DAY_US, HOUR_US) == 0.0


@pytest.mark.parametrize("offset_us", [0, 1, 12_345_678, HOUR_US // 2, HOUR_US - 1])
@pytest.mark.parametrize("half_life_us", [MINUTE_US, HOUR_US, DAY_US, 7 * DAY_US])
def test_what_happens_now_counts_in_full(offset_us: int, half_life_us: int) -> None:
    now_us = NOW_US + offset_us

    assert value(counted(now_us, half_life_us=half_life_us), now_us, half_life_us) == pytest.approx(1.0, rel=0.002)


def test_what_happened_earlier_counts_for_what_it_is_still_worth() -> None:
    counter = counted(NOW_US - 2 * HOUR_US, NOW_US - HOUR_US, NOW_US)

    assert value(counter, NOW_US, HOUR_US) == pytest.approx(1.75, rel=0.002)
    assert value(counter, NOW_US + HOUR_US, HOUR_US) == pytest.approx(0.875, rel=0.002)


def test_any_order_gives_the_same_counter_to_the_last_bit() -> None:
    times = [NOW_US - n * n * 41 * MINUTE_US for n in range(6)]

    counters = {tuple(counted(*order)) for order in permutations(times)}

    assert len(counters) == 1


def test_what_is_older_than_a_counter_looks_back_is_forgotten() -> None:
    old_us = NOW_US - KEPT * HOUR_US

    assert counted(old_us, NOW_US) == counted(NOW_US, old_us) == counted(NOW_US)


def test_nothing_counted_is_worth_nothing() -> None:
    assert value([], NOW_US, HOUR_US) == 0.0
    assert counter_of(0.0, NOW_US, HOUR_US) == []


@pytest.mark.parametrize("count", [0.01, 1.0, 3.7, 900.0])
def test_a_counter_can_be_made_of_what_it_is_worth(count: float) -> None:
    now_us = NOW_US + 12_345_678

    assert value(counter_of(count, now_us, HOUR_US), now_us, HOUR_US) == pytest.approx(count, rel=0.05 / count / 10)


@pytest.mark.parametrize("apart_us", [1, 234_375, MINUTE_US - 1, HOUR_US, 3 * DAY_US, -7 * MINUTE_US, -2 * DAY_US])
def test_an_upload_counts_in_all_three_counters_as_it_would_in_each(apart_us: int) -> None:
    minute, hour, day = Counter(), Counter(), Counter()

    for number in range(40):
        count_upload(minute, hour, day, NOW_US + number * apart_us)

    times = [NOW_US + number * apart_us for number in range(40)]
    assert minute == counted(*times, half_life_us=MINUTE_US)
    assert hour == counted(*times, half_life_us=HOUR_US)
    assert day == counted(*times, half_life_us=DAY_US)
