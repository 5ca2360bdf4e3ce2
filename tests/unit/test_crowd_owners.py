"""A partition changes hands: what a new owner publishes, what a failed batch leaves, and what the topic says last."""

from __future__ import annotations

from gate.core.duration import DAY_US
from streams.core.crowd import DEVICE, KINDS, Crowd, CrowdCount

NOW_US = 1_795_428_000_000_000
DAYS = KINDS[DEVICE].days
FLOOR = 3


def showed(crowd: Crowd, accounts: range, at_us: int = NOW_US, value: int = 7, partition: int = 0) -> Crowd:
    for account in accounts:
        crowd.note(partition, DEVICE, value, account, at_us)
    return crowd


def told(crowd: Crowd, partition: int = 0) -> CrowdCount:
    (count,) = crowd.take_changed(partition)
    return count


def heard(*counts: CrowdCount, crowd: Crowd | None = None) -> Crowd:
    crowd = crowd or Crowd()
    for count in counts:
        assert crowd.hear(0, count.feature, count.record)
    return crowd


def test_a_new_owner_that_heard_forty_publishes_no_four_over_it() -> None:
    before = told(showed(Crowd(), range(40)))
    owner = showed(heard(before), range(40, 44))

    count = told(owner)

    assert count.count == 40
    assert owner.count(DEVICE, 7) == 40
    assert heard(count).count(DEVICE, 7) == 40


def test_an_owner_that_counted_before_it_heard_corrects_what_the_topic_says_last() -> None:
    before = told(showed(Crowd(), range(40)))
    owner = showed(Crowd(), range(40, 44))
    mine = told(owner)
    assert mine.count == 4

    heard(before, mine, crowd=owner)

    corrected = told(owner)
    assert corrected.count == 40
    heard(corrected, crowd=owner)
    assert owner.take_changed(0) == []


def test_a_new_owner_counts_at_least_half_and_all_again_once_the_accounts_have_come_back() -> None:
    before = told(showed(Crowd(), range(40)))
    owner = showed(heard(before), range(40, 60))
    assert owner.count(DEVICE, 7) == 40

    showed(owner, range(40))

    assert owner.count(DEVICE, 7) == told(owner).count == 60


def test_what_is_shared_with_few_new_accounts_is_published_with_what_was_heard() -> None:
    before = told(showed(Crowd(), range(40)))
    owner = showed(heard(before, crowd=Crowd(FLOOR)), range(FLOOR - 1), NOW_US + DAY_US)

    count = told(owner)

    assert count.count == 40
    hears = heard(count)
    for day in range(1, DAYS + 1):
        showed(hears, range(1), NOW_US + day * DAY_US, value=8)
    assert hears.count(DEVICE, 7) == FLOOR - 1


def test_a_count_that_is_heard_ages_like_the_accounts_it_stands_for() -> None:
    owner = showed(showed(Crowd(), range(30)), range(1), NOW_US + DAY_US, value=8)
    hears = heard(told(showed(owner, range(5), NOW_US + 2 * DAY_US)))

    counts = []
    for day in range(2, 2 + DAYS + 1):
        showed(hears, range(1), NOW_US + day * DAY_US, value=8)
        counts.append(hears.count(DEVICE, 7))

    assert counts == [30] * (DAYS - 2) + [5] * 2 + [0]


def test_counts_of_a_partition_that_is_a_day_ahead_count_as_they_are() -> None:
    hears = showed(Crowd(), range(1), NOW_US - DAY_US, value=8)

    heard(told(showed(Crowd(), range(9))), crowd=hears)

    assert hears.count(DEVICE, 7) == 9


def test_what_a_failed_batch_took_is_published_with_the_next_one_as_it_is_then() -> None:
    crowd = showed(Crowd(), range(10))
    taken = crowd.take_changed(0)

    crowd.give_back(0, taken)
    showed(crowd, range(10, 12))

    assert told(crowd).count == 12
    assert crowd.take_changed(0) == []


def test_what_is_given_back_to_one_partition_is_not_published_by_another() -> None:
    crowd = showed(showed(Crowd(), range(10)), range(10), partition=1)
    taken = crowd.take_changed(0)
    crowd.take_changed(1)

    crowd.give_back(0, taken)

    assert crowd.take_changed(1) == []
    assert told(crowd).count == 10


def test_each_account_that_comes_back_on_a_later_day_is_published() -> None:
    crowd = showed(Crowd(), range(10))
    crowd.take_changed(0)

    showed(crowd, range(4), NOW_US + DAY_US)

    hears = heard(told(crowd))
    for day in range(1, DAYS + 1):
        showed(hears, range(1), NOW_US + day * DAY_US, value=8)
    assert hears.count(DEVICE, 7) == 4
