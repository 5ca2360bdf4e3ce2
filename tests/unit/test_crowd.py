"""Distinct counting: exact up to the ceiling, summed over partitions, forgotten with the window, bounded in memory."""

from __future__ import annotations

import pytest

from streams.core import crowd as module
from streams.core.crowd import CEILING, CONTENT, DEVICE, FLOOR, HOST, IP, WINDOW_US, Crowd

NOW_US = 1_795_428_000_000_000


def showed(
    crowd: Crowd, accounts: int, partition: int = 0, value: int = 7, at_us: int = NOW_US, first: int = 0
) -> Crowd:
    for account in range(first, first + accounts):
        crowd.note(partition, IP, value, account, at_us)
    return crowd


@pytest.mark.parametrize("accounts", [0, 1, 2, FLOOR, FLOOR + 1, 40, CEILING])
def test_distinct_accounts_are_counted_exactly_up_to_the_ceiling(accounts: int) -> None:
    assert showed(showed(Crowd(), accounts), accounts).count(IP, 7) == accounts


def test_beyond_the_ceiling_the_count_stands_still() -> None:
    assert showed(Crowd(), 10 * CEILING).count(IP, 7) == CEILING


def test_kinds_and_values_are_counted_apart() -> None:
    crowd = showed(Crowd(), 5)
    crowd.note(0, DEVICE, 7, 1, NOW_US)

    assert (crowd.count(IP, 7), crowd.count(DEVICE, 7), crowd.count(CONTENT, 7), crowd.count(IP, 8)) == (5, 1, 0, 0)


def test_one_account_number_in_two_partitions_is_two_accounts() -> None:
    crowd = showed(showed(Crowd(), 1, partition=0), 1, partition=1)

    assert crowd.count(IP, 7) == 2


def test_what_other_partitions_told_is_added_to_what_was_seen_here() -> None:
    mine, theirs = showed(Crowd(), 10, partition=0), showed(Crowd(), 20, partition=1)

    for told in theirs.take_changed(1):
        mine.hear(1, told.feature, told.count)

    assert mine.count(IP, 7) == 30


def test_a_partition_that_was_heard_of_and_seen_counts_once_with_whichever_is_more() -> None:
    crowd = showed(Crowd(), 10, partition=0)
    (told,) = crowd.take_changed(0)

    crowd.hear(0, told.feature, told.count)
    assert crowd.count(IP, 7) == 10
    crowd.hear(0, told.feature, 25)
    assert crowd.count(IP, 7) == 25


def test_a_worker_that_begins_anew_hears_its_own_counts_back() -> None:
    (told,) = showed(Crowd(), 20).take_changed(0)
    fresh = Crowd()

    fresh.hear(0, told.feature, told.count)

    assert fresh.count(IP, 7) == told.count


def test_a_repeated_telling_counts_once_and_a_later_one_replaces_it() -> None:
    crowd = Crowd()
    (told,) = showed(Crowd(), 20).take_changed(0)

    for count in (5, 5, 8):
        crowd.hear(3, told.feature, count)

    assert crowd.count(IP, 7) == 8


@pytest.mark.parametrize("feature", ["", "not hex", "0x", "é"])
def test_what_is_no_feature_is_passed_over(feature: str) -> None:
    crowd = Crowd()

    crowd.hear(0, feature, 9)

    assert crowd.count(IP, 7) == 0


def test_counts_up_to_the_floor_are_kept_and_not_told() -> None:
    crowd = showed(Crowd(), FLOOR)

    assert crowd.take_changed(0) == []
    assert [told.count for told in showed(crowd, FLOOR + 1).take_changed(0)] == [FLOOR + 1]


def test_a_floor_of_ones_own_holds() -> None:
    assert showed(Crowd(floor=9), 8).take_changed(0) == []
    assert showed(Crowd(floor=9), 13).take_changed(0)[0].count > 9


def test_each_partition_is_told_its_own_counts_once() -> None:
    crowd = showed(showed(Crowd(), 10, partition=0), 5, partition=1)

    assert [told.count for told in crowd.take_changed(0)] == [10]
    assert [told.count for told in crowd.take_changed(1)] == [5]
    assert crowd.take_changed(0) == crowd.take_changed(1) == []


def test_a_count_is_short_by_a_quarter_at_most_when_told_only_when_it_grew() -> None:
    crowd, heard = Crowd(), 0
    for account in range(CEILING):
        crowd.note(0, IP, 7, account, NOW_US)
        heard = max([heard, *(told.count for told in crowd.take_changed(0))])
        true = account + 1
        assert true <= FLOOR or heard >= true * 0.75


def test_a_repeated_batch_counts_nobody_twice() -> None:
    crowd = showed(Crowd(), 30)
    crowd.take_changed(0)

    showed(crowd, 30)

    assert crowd.count(IP, 7) == 30
    assert crowd.take_changed(0) == []


def test_what_was_not_touched_for_two_windows_is_forgotten() -> None:
    crowd = showed(Crowd(), 5)

    crowd.note(0, IP, 8, 0, NOW_US + WINDOW_US + 1)
    assert crowd.count(IP, 7) == 5
    crowd.note(0, IP, 9, 0, NOW_US + 2 * WINDOW_US + 2)

    assert (crowd.count(IP, 7), crowd.count(IP, 8), crowd.count(IP, 9)) == (0, 1, 1)


def test_what_is_touched_again_outlives_its_window_whole() -> None:
    crowd = showed(Crowd(), 5)

    for window in range(1, 6):
        showed(crowd, 1, at_us=NOW_US + window * (WINDOW_US + 1), first=4)

    assert crowd.count(IP, 7) == 5


def test_a_late_event_does_not_turn_the_window_over() -> None:
    crowd = showed(Crowd(), 5)

    for days in range(1, 40):
        crowd.note(0, IP, 100 + days, 0, NOW_US - days * WINDOW_US)

    assert crowd.count(IP, 7) == 5


def test_more_features_than_fit_crowd_out_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_FEATURES", 100)
    crowd = Crowd()

    for value in range(1_000):
        crowd.note(0, IP, value, 1, NOW_US)

    known = [value for value in range(1_000) if crowd.count(IP, value)]
    assert 100 <= len(known) <= 200
    assert known == list(range(1_000 - len(known), 1_000))


def feature(kind: int, value: int) -> str:
    """What a worker publishes for it."""
    crowd = Crowd()
    for account in range(FLOOR + 1):
        crowd.note(0, kind, value, account, NOW_US)
    (told,) = crowd.take_changed(0)
    return told.feature


def test_a_feature_is_seventeen_hex_digits_whatever_its_kind() -> None:
    names = {feature(kind, value) for kind in (IP, DEVICE, CONTENT, HOST) for value in (1, 2**64 - 1)}

    assert len(names) == 8
    assert {len(name) for name in names} == {17}


def test_only_so_many_features_are_heard_and_the_newest_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_HEARD", 20)
    crowd = Crowd()

    for value in range(1, 61):
        crowd.hear(1, feature(HOST, value), 9)

    heard = [value for value in range(1, 61) if crowd.count(HOST, value)]
    assert heard == list(range(61 - len(heard), 61))
    assert 20 <= len(heard) <= 40


def test_features_of_every_kind_share_the_room_for_what_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_HEARD", 20)
    crowd = Crowd()
    kinds = (IP, DEVICE, CONTENT, HOST)

    for kind in kinds:
        for value in range(1, 61):
            crowd.hear(1, feature(kind, value), 9)

    assert sum(crowd.count(kind, value) > 0 for kind in kinds for value in range(1, 61)) <= 40
