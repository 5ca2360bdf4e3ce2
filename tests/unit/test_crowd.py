"""Distinct counting: exact up to the ceiling, summed over partitions, aged by the day, bounded in memory."""

from __future__ import annotations

import pytest

from gate.core.duration import DAY_US
from streams.core.crowd import CEILING, CONTENT, DEVICE, FLOOR, HOST, IP, KINDS, Crowd, Kind
from streams.core.crowd.days import Days
from streams.core.crowd.members import SIZE, day_bits, member
from streams.core.crowd.own import Own
from streams.core.crowd.rows import ROW_BYTES

NOW_US = 1_795_428_000_000_000
DAYS = KINDS[IP].days
SMALL = {kind: Kind(heard_bytes=20 * (ROW_BYTES + 18), shared_bytes=20 * (ROW_BYTES + 16)) for kind in KINDS}
"""Room for twenty features of two accounts, and for twenty that one partition is heard of."""


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
        assert mine.hear(1, told.feature, told.record)

    assert mine.count(IP, 7) == 30


def test_a_partition_that_was_heard_of_and_seen_counts_once_with_whichever_is_more() -> None:
    crowd = showed(Crowd(), 10, partition=0)
    (told,) = crowd.take_changed(0)

    crowd.hear(0, told.feature, told.record)
    assert crowd.count(IP, 7) == 10
    crowd.hear(0, told.feature, 25)
    assert crowd.count(IP, 7) == 25


def test_a_worker_that_begins_anew_hears_its_own_counts_back() -> None:
    (told,) = showed(Crowd(), 20).take_changed(0)
    fresh = Crowd()

    fresh.hear(0, told.feature, told.record)

    assert fresh.count(IP, 7) == told.count == 20


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


def test_a_pair_on_a_device_weeks_apart_is_known_and_survives_a_restart() -> None:
    crowd = Crowd()
    for kind in (DEVICE, IP):
        crowd.note(0, kind, 7, 1, NOW_US)
    for day in range(1, 30):
        crowd.note(0, DEVICE, 8, 1, NOW_US + day * DAY_US)
    for kind in (DEVICE, IP):
        crowd.note(0, kind, 7, 2, NOW_US + 29 * DAY_US)

    assert (crowd.count(DEVICE, 7), crowd.count(IP, 7)) == (2, 1)

    (told,) = crowd.take_changed(0)
    fresh = Crowd()
    assert fresh.hear(0, told.feature, told.record)
    assert fresh.count(DEVICE, 7) == 2


def test_a_floor_of_ones_own_holds() -> None:
    assert showed(Crowd(floor=9), 8).take_changed(0) == []
    assert showed(Crowd(floor=9), 13).take_changed(0)[0].count > 9


def test_each_partition_is_told_its_own_counts_once() -> None:
    crowd = showed(showed(Crowd(), 10, partition=0), 5, partition=1)

    assert [told.count for told in crowd.take_changed(0)] == [10]
    assert [told.count for told in crowd.take_changed(1)] == [5]
    assert crowd.take_changed(0) == crowd.take_changed(1) == []


def test_whoever_hears_knows_each_count_above_the_floor_exactly() -> None:
    crowd, hears = Crowd(), Crowd()
    for account in range(CEILING):
        crowd.note(0, IP, 7, account, NOW_US)
        for told in crowd.take_changed(0):
            hears.hear(0, told.feature, told.record)
        true = account + 1
        assert hears.count(IP, 7) == (true if true > FLOOR else 0)


def test_a_repeated_batch_counts_nobody_twice() -> None:
    crowd = showed(Crowd(), 30)
    crowd.take_changed(0)

    showed(crowd, 30)

    assert crowd.count(IP, 7) == 30
    assert crowd.take_changed(0) == []


def test_an_address_with_one_new_account_a_day_counts_those_of_the_window() -> None:
    crowd = Crowd()

    for day in range(60):
        crowd.note(0, IP, 7, day, NOW_US + day * DAY_US)
        assert crowd.count(IP, 7) == min(day + 1, DAYS)


def test_accounts_that_come_every_day_stay_and_the_others_drop_out_one_by_one() -> None:
    crowd = showed(Crowd(), 5)

    for day in range(1, 30):
        showed(crowd, 2, at_us=NOW_US + day * DAY_US)
        assert crowd.count(IP, 7) == (5 if day < DAYS else 2)


def test_a_quiet_week_ends_with_the_second_event_and_what_it_aged_is_forgotten() -> None:
    crowd = showed(Crowd(), 5)

    crowd.note(0, IP, 8, 0, NOW_US + DAYS * DAY_US)
    assert crowd.count(IP, 7) == 5
    crowd.note(0, IP, 9, 1, NOW_US + DAYS * DAY_US)

    assert (crowd.count(IP, 7), crowd.count(IP, 9)) == (0, 1)


def test_one_event_from_the_future_however_often_it_is_told_ages_nobody() -> None:
    crowd = showed(Crowd(), 5)

    for _ in range(10):
        crowd.note(0, IP, 8, 0, NOW_US + 9_999 * DAY_US)

    assert crowd.count(IP, 7) == 5
    assert showed(crowd, 6).count(IP, 7) == 6


def test_a_late_event_counts_within_the_window_and_opens_no_day() -> None:
    crowd = showed(Crowd(), 5)

    showed(crowd, 1, first=5, at_us=NOW_US - (DAYS - 1) * DAY_US)
    showed(crowd, 1, first=6, at_us=NOW_US - DAYS * DAY_US)

    assert crowd.count(IP, 7) == 6
    crowd.note(0, IP, 8, 0, NOW_US + DAY_US)
    assert crowd.count(IP, 7) == 5


def test_late_events_never_turn_the_window_over() -> None:
    crowd = showed(Crowd(), 5)

    for days in range(1, 40):
        crowd.note(0, IP, 100 + days, 0, NOW_US - days * DAY_US)

    assert crowd.count(IP, 7) == 5


def test_beyond_the_ceiling_those_who_came_last_stay() -> None:
    crowd = showed(Crowd(), 3 * CEILING)

    showed(crowd, 10, first=1_000, at_us=NOW_US + DAY_US)

    assert crowd.count(IP, 7) == CEILING
    crowd.note(0, IP, 8, 0, NOW_US + DAYS * DAY_US)
    crowd.note(0, IP, 8, 1, NOW_US + DAYS * DAY_US)
    assert crowd.count(IP, 7) == 10


def test_a_late_event_of_a_full_feature_keeps_nobody_out() -> None:
    crowd = showed(Crowd(), CEILING)
    crowd.note(0, IP, 8, 0, NOW_US + DAY_US)

    showed(crowd, 1, first=500)
    showed(crowd, 10, first=1_000, at_us=NOW_US + DAY_US)

    for account in (0, 1):
        crowd.note(0, IP, 8, account, NOW_US + DAYS * DAY_US)
    assert crowd.count(IP, 7) == 10


def test_an_event_older_than_the_window_changes_nothing_that_is_published() -> None:
    crowd = showed(Crowd(), 5)
    crowd.take_changed(0)

    showed(crowd, 1, first=9, at_us=NOW_US - DAYS * DAY_US)

    assert crowd.take_changed(0) == []


def test_packed_members_are_told_apart_wherever_their_bytes_recur() -> None:
    """The bytes of each new account stand in the row already, across the border of two others."""
    code = day_bits(NOW_US // DAY_US) >> 48
    crowd, others = Crowd(), Crowd()
    for account in (5, 6, 5 << 16 | code):
        crowd.note(0, IP, 7, account, NOW_US)
    for partition, account in ((0, code << 16 | 1), (2, 9), (1, code << 16 | 2)):
        others.note(partition, IP, 7, account, NOW_US)

    assert crowd.count(IP, 7) == 3
    assert others.count(IP, 7) == 3


def test_members_that_dropped_out_take_no_memory() -> None:
    own = Own(KINDS[IP])

    for day in range(60):
        own.open(day)
        one = member(0, day, day, False)
        row = own.shared.get(7)
        _ = own.knock(7, one) if row is None else own.note(7, row, one)

    assert len(own.shared[7]) == DAYS * SIZE
    assert own.rows.used_bytes == DAYS * SIZE + ROW_BYTES


def test_two_accounts_that_never_showed_it_within_one_window_make_no_row() -> None:
    own = Own(KINDS[IP])

    for account in range(9):
        own.open(account * DAYS)
        assert not own.knock(7, member(0, account, account * DAYS, False))

    assert not own.shared
    assert len(own.row(7)) == SIZE


def test_zero_stands_for_no_feature() -> None:
    assert showed(Crowd(), 5, value=0).count(IP, 0) == 0


def test_a_lone_account_is_added_to_a_count_that_was_heard_and_read() -> None:
    crowd = showed(Crowd(), 1, value=8)
    (told,) = showed(Crowd(), 9).take_changed(0)
    crowd.hear(1, told.feature, told.record)
    assert crowd.count(IP, 7) == 9

    showed(crowd, 1)

    assert crowd.count(IP, 7) == 10


@pytest.mark.parametrize(
    ("events", "today"),
    [
        ([0, 1, 2], 2),
        ([0, 5], 0),
        ([0, 5, 9], 5),
        ([0, 9, 5], 5),
        ([0, 5, 6], 6),
        ([0, 5, 9, 12], 9),
        ([0, 5, 5], 5),
        ([5, 0, 3], 5),
        ([0, 9_999, 1, 2], 2),
    ],
)
def test_one_event_opens_one_day_at_most(events: list[int], today: int) -> None:
    days = Days()

    counted = [days.counted(day * DAY_US, account) for account, day in enumerate(events)]

    assert days.today == today
    assert all(at <= day for at, day in zip(counted, events, strict=True))


def test_more_shared_features_than_fit_crowd_out_those_that_fewest_share() -> None:
    crowd = showed(Crowd(kinds=SMALL), 9)

    for value in range(100, 1_100):
        showed(crowd, 2, value=value)

    kept = [value for value in range(100, 1_100) if crowd.count(IP, value) == 2]
    assert crowd.count(IP, 7) == 9
    assert 10 <= len(kept) <= 20
    assert kept[-1] == 1_099


def test_of_features_that_equally_many_share_the_older_ones_go() -> None:
    crowd = Crowd(kinds=SMALL)
    for value in range(1, 11):
        showed(crowd, 2, value=value)
    for value in range(11, 21):
        showed(crowd, 2, value=value, at_us=NOW_US + DAY_US)

    for value in range(21, 25):
        showed(crowd, 2, value=value, at_us=NOW_US + DAY_US)

    assert all(crowd.count(IP, value) == 2 for value in range(11, 25))
    assert sum(crowd.count(IP, value) == 2 for value in range(1, 11)) == 6


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


def test_only_so_many_features_are_heard_and_the_larger_counts_stay() -> None:
    crowd = Crowd(kinds=SMALL)

    for value in range(1, 61):
        told = feature_record(30 if value % 10 == 0 else 9)
        crowd.hear(1, feature(HOST, value), told)

    heard = [value for value in range(1, 61) if crowd.count(HOST, value)]
    assert 15 <= len(heard) <= 20
    assert {10, 20, 30, 40, 50, 60} <= set(heard)


def feature_record(accounts: int) -> bytes:
    """What a worker publishes of so many accounts."""
    (told,) = showed(Crowd(), accounts).take_changed(0)
    return told.record


def test_each_kind_has_its_own_room_for_what_is_heard() -> None:
    crowd = Crowd(kinds=SMALL)
    crowd.hear(1, feature(DEVICE, 7), feature_record(5))

    for value in range(1, 1_001):
        crowd.hear(1, feature(CONTENT, value), feature_record(60))

    assert crowd.count(DEVICE, 7) == 5
    assert sum(crowd.count(CONTENT, value) > 0 for value in range(1, 1_001)) <= 20
