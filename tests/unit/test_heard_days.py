"""The day of a worker whose own partitions are quiet: the one that the workers of other partitions publish."""

from __future__ import annotations

import pytest

from gate.core.duration import DAY_US, MINUTE_US
from streams.core.crowd import DEVICE, IP, KINDS, Crowd, CrowdCount

TODAY = 20_780
NOW_US = TODAY * DAY_US + 3_600_000_000
WINDOW = KINDS[IP].days


def shared(crowd: Crowd, at_us: int, accounts: int = 9, partition: int = 0, kind: int = IP) -> Crowd:
    for account in range(accounts):
        crowd.note(partition, kind, 7, account, at_us)
    return crowd


def published(at_us: int, kind: int = IP) -> CrowdCount:
    """The count that the owner of partition 1 publishes at that time."""
    (count,) = shared(Crowd(), at_us, partition=1, kind=kind).take_changed(1)
    return count


def hear(crowd: Crowd, at_us: int, partition: int = 1, told_at_us: int | None = None) -> None:
    count = published(at_us, DEVICE)
    assert crowd.hear(partition, count.feature, count.record, at_us if told_at_us is None else told_at_us)


def test_counts_of_quiet_partitions_age_by_the_days_that_are_heard_of() -> None:
    crowd = shared(Crowd(), NOW_US)

    counts = []
    for day in range(1, WINDOW + 1):
        hear(crowd, NOW_US + day * DAY_US)
        counts.append(crowd.count(IP, 7))

    assert crowd.today == TODAY + WINDOW
    assert counts == [9] * (WINDOW - 1) + [0]


def test_the_first_event_after_a_quiet_month_counts_beside_what_was_heard_of_its_day() -> None:
    crowd = shared(Crowd(), NOW_US)
    later_us = NOW_US + 60 * DAY_US
    hear(crowd, later_us)
    before = crowd.today

    crowd.note(0, DEVICE, 7, 100, later_us)

    assert before == TODAY
    assert crowd.today == TODAY + 60
    assert crowd.count(DEVICE, 7) == 10


def test_two_partitions_open_a_day_that_is_far_ahead_and_one_alone_does_not() -> None:
    crowd = shared(Crowd(), NOW_US)
    days = []

    for partition in (1, 1, 2):
        hear(crowd, NOW_US + 5 * DAY_US, partition)
        days.append(crowd.today)

    assert days == [TODAY, TODAY, TODAY + 5]


def test_a_day_is_opened_that_began_within_five_minutes_of_the_brokers_time_and_no_later_one() -> None:
    begins_us = (TODAY + 1) * DAY_US
    days = []

    for told_at_us in (0, begins_us - 5 * MINUTE_US - 1, begins_us - 5 * MINUTE_US):
        crowd = shared(Crowd(), NOW_US)
        hear(crowd, begins_us, told_at_us=told_at_us)
        days.append(crowd.today)

    assert days == [TODAY, TODAY, TODAY + 1]


@pytest.mark.parametrize("days", [(0, 9), (9, 0), (0, 3, 9, 8)])
def test_a_worker_without_an_event_takes_the_latest_day_once_all_stored_counts_were_heard(
    days: tuple[int, ...],
) -> None:
    crowd = Crowd()
    crowd.stored_are_heard()
    for day in days:
        hear(crowd, NOW_US + day * DAY_US)
    before = crowd.today

    crowd.stored_are_heard()

    assert before is None
    assert crowd.today == TODAY + 9


def test_an_event_opens_its_day_although_others_were_heard_of_before() -> None:
    crowd = Crowd()
    hear(crowd, NOW_US - 9 * DAY_US)

    shared(crowd, NOW_US)
    crowd.stored_are_heard()

    assert crowd.today == TODAY
    assert crowd.count(IP, 7) == 9


def test_no_day_opens_that_lies_ahead_of_the_workers_own_clock_whatever_the_brokers_clock_says() -> None:
    crowd = shared(Crowd(clock_us=lambda: NOW_US), NOW_US)
    ahead_us = NOW_US + 10 * DAY_US

    for partition in (1, 2):
        hear(crowd, ahead_us, partition)
        shared(crowd, ahead_us, 2, partition, DEVICE)
        crowd.pass_time(ahead_us, partition)
    shared(crowd, NOW_US, 2, partition=3)

    assert crowd.today == TODAY
    assert crowd.count(IP, 7) == 11


def test_the_first_event_opens_no_day_ahead_of_the_workers_own_clock_and_the_next_day_opens_as_it_begins() -> None:
    now = [NOW_US]
    crowd = shared(Crowd(clock_us=lambda: now[0]), NOW_US + 10 * DAY_US)
    first = crowd.today

    now[0] += DAY_US
    shared(crowd, now[0], 2)

    assert (first, crowd.today) == (TODAY, TODAY + 1)
    assert crowd.count(IP, 7) == 9
