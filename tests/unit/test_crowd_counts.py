"""The crowd of one worker as a whole: what it counts, hears, publishes and keeps ready."""

from __future__ import annotations

import pytest

from gate.core.duration import DAY_US
from streams.core.crowd import CONTENT, DEVICE, HOST, IP
from streams.core.crowd import counts as counts_module
from streams.core.crowd import members as packed
from streams.core.crowd import table as table_module
from streams.core.crowd.around import Surroundings
from streams.core.crowd.counts import Crowd
from streams.core.crowd.kinds import Kind
from streams.core.crowd.record import name
from streams.core.crowd.table import CrowdTable
from tests.columns import columns_of, rows_of

TODAY = 20_780
NOW_US = TODAY * DAY_US
WEEK = Kind(days=7, lone_slots=1 << 10)


def noted(accounts: int, kind: int = IP, value: int = 7, ago: int = 0) -> Crowd:
    crowd = Crowd()
    crowd.note(0, kind, 1, 1, NOW_US)
    for account in range(accounts):
        crowd.note(account % 2, kind, value, account, NOW_US - ago * DAY_US, established=account % 3 == 0)
    return crowd


def test_the_members_of_a_feature_and_the_strangers_among_them_are_told() -> None:
    crowd = noted(5)

    assert sorted(crowd.members(IP, 7)) == [(0, 0), (0, 2), (0, 4), (1, 1), (1, 3)]
    assert sorted(crowd.strangers(IP, 7)) == [1, 2, 4]
    assert list(crowd.members(IP, 8)) == list(crowd.strangers(DEVICE, 7)) == []


def test_members_that_move_to_another_feature_keep_their_day_and_what_they_were() -> None:
    crowd = noted(9, ago=3)
    for partition in (0, 1):
        crowd.take_changed(partition)

    crowd.move(IP, 7, 8)

    assert crowd.counts(IP, 8) == crowd.counts(IP, 7) == (9, 3)
    assert sorted(crowd.members(IP, 8)) == sorted(crowd.members(IP, 7))
    told = [count.feature for partition in (0, 1) for count in crowd.take_changed(partition)]
    assert sorted(told) == [name(IP, 7), name(IP, 7), name(IP, 8), name(IP, 8)]
    for account, day in ((90, 4), (91, 4)):
        crowd.note(0, IP, 1, account, NOW_US + day * DAY_US)
    assert crowd.counts(IP, 8) == crowd.counts(IP, 7) == (0, 0)


def test_a_count_that_was_not_committed_is_taken_again_with_its_value_of_then() -> None:
    crowd = noted(9)
    taken = crowd.take_changed(0)

    crowd.give_back(0, taken)
    crowd.note(0, IP, 7, 100, NOW_US)

    assert [count.count for count in taken] == [5]
    assert [count.count for count in crowd.take_changed(0)] == [6]
    assert crowd.take_changed(0) == crowd.take_changed(9) == []


def test_a_count_is_published_again_where_the_topic_has_less_than_was_heard_before() -> None:
    crowd = noted(9)
    crowd.take_changed(0)

    less, equal = [
        b"[2,20780,%s,%s]" % (numbers, b"[0,0,0,0,0,0,0]") for numbers in (b"[4,4,4,4,4,4,4]", b"[9,9,9,9,9,9,9]")
    ]

    for told in (less, equal, equal):
        assert crowd.hear(0, name(IP, 7), told)
        assert crowd.take_changed(0) == []
    assert crowd.hear(0, name(IP, 7), less)
    assert [count.count for count in crowd.take_changed(0)] == [9]
    assert crowd.hear(2, name(IP, 7), less)
    assert crowd.take_changed(2) == []


@pytest.mark.parametrize(("day", "at_us", "is_read"), [
    (TODAY + 8, 0, False), (TODAY + 7, 0, True), (TODAY - 6, 0, True), (TODAY - 7, 0, False),
    (TODAY + 1, NOW_US, True), (TODAY + 2, NOW_US, False), (TODAY + 1, NOW_US + DAY_US - 1, True), (TODAY, -5, True),
])  # fmt: skip
def test_a_count_is_read_if_its_day_is_within_a_window_of_today_and_not_after_the_broker_had_it(
    day: int, at_us: int, is_read: bool
) -> None:
    crowd = noted(1)

    assert crowd.hear(1, name(IP, 7), b"[2,%d,[9,9,9,9,9,9,9],[0,0,0,0,0,0,0]]" % day, at_us) is is_read


def test_the_values_of_a_kind_are_those_of_several_accounts_and_those_heard_of() -> None:
    crowd = noted(3)
    crowd.hear(4, name(DEVICE, 9), 5)

    assert [crowd.values_of(kind) for kind in (IP, DEVICE, CONTENT)] == [[7], [9], []]
    assert (crowd.today, Crowd().today) == (TODAY, None)


def test_what_surrounds_an_account_are_the_counts_of_its_last_features() -> None:
    crowd = Crowd()
    shown = ((IP, 7, 5, 2), (IP, 8, 3, 0), (DEVICE, 7, 4, 1), (CONTENT, 7, 6, 3), (HOST, 7, 9, 4))
    for kind, value, accounts, established in shown:
        for account in range(accounts):
            crowd.note(0, kind, value, account, NOW_US, established=account < established)

    assert crowd.around((8, 7), 7, 7, 7) == Surroundings(5, 4, 6, 9, 2, 1, 3, 4)
    assert crowd.around(8, 0, 0, 0) == Surroundings(ip_accounts=3)
    assert crowd.around((), (), 0, 0) == Surroundings() == Surroundings(*[0] * 14)
    crowd.note(0, IP, 9, 1, NOW_US)
    assert crowd.counts(IP, 9) == (1, 0)


def test_on_a_popular_host_all_who_link_count_as_established_and_campaigns_are_added() -> None:
    around = Surroundings(1, 2, 3, 9, link_established=4)

    assert around.on_popular_host() == Surroundings(1, 2, 3, 9, link_established=9)
    assert around.in_campaigns(11, 12, 13, 14, 4, 5, 6, 7, 0.5) == Surroundings(
        1, 2, 3, 9, 0, 0, 0, 4, 11, 12, 13, 14, 4, 5, 6, 7, 0.5
    )


def test_lone_features_and_sums_are_kept_ready_up_to_a_bound_and_counted_beyond_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(counts_module, "MAX_READY", 3)
    monkeypatch.setattr(table_module, "MAX_READY", 3)
    crowd = Crowd()
    table = crowd._tables[IP]
    crowd.note(0, DEVICE, 1, 1, NOW_US)

    for value in range(1, 11):
        for _ in range(3):
            crowd.note(0, IP, value, 1, NOW_US)
    ready, alone = len(table.noted), [crowd.count(IP, value) for value in range(1, 11)]
    for value in range(1, 11):
        crowd.note(0, IP, value, 2, NOW_US)

    assert 1 <= ready <= 3
    assert alone == [1] * 10
    assert [crowd.count(IP, value) for value in range(1, 11)] == [2] * 10
    assert 1 <= len(table.totals) <= 6


def test_ready_features_make_room_once_as_many_others_came(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_module, "MAX_READY", 2)
    table = CrowdTable(WEEK)
    table.open(TODAY)
    table.noted.update({1: 5, 2: 5})

    kept = []
    for value in (11, 12, 13, 14):
        table.knock(value, packed.member(0, 1, TODAY, False))
        kept.append(len(table.noted))

    assert kept == [2, 2, 0, 0]


def test_a_ready_feature_whose_slot_another_took_is_not_forgotten() -> None:
    crowd = Crowd()
    crowd.note(0, DEVICE, 1, 1, NOW_US)
    for _ in range(2):
        crowd.note(0, IP, 7, 1, NOW_US)
    crowd.note(0, IP, 7 + (1 << 14), 5, NOW_US)

    crowd.note(0, IP, 7, 2, NOW_US)

    assert crowd.count(IP, 7) == 2


@pytest.mark.parametrize(
    ("partition", "is_read"), [(-1, False), (0, True), (0xFFFF, True), (0x1_0000, False), (1 << 40, False)]
)
def test_partitions_have_sixteen_bits(partition: int, is_read: bool) -> None:
    crowd = noted(1)

    assert crowd.hear(partition, name(IP, 9), b"[2,20780,[5,5,5,5,5,5,5],[2,2,2,2,2,2,2]]") is is_read
    assert crowd.counts(IP, 9) == ((5, 2) if is_read else (0, 0))


def test_of_the_counts_of_a_partition_those_above_the_floor_are_published_in_order() -> None:
    crowd = Crowd()
    for kind, value, accounts in ((IP, 9, 4), (IP, 8, 3), (DEVICE, 7, 2), (DEVICE, 6, 1), (IP, 5, 6)):
        for account in range(accounts):
            crowd.note(3, kind, value, account, NOW_US, established=account == 0)

    told = crowd.take_changed(3)

    assert [(one.feature, one.count, one.established) for one in told] == [
        (name(IP, 5), 6, 1),
        (name(IP, 9), 4, 1),
        (name(DEVICE, 7), 2, 1),
    ]
    assert crowd.take_changed(4) == []


def test_a_bare_number_that_was_heard_counts_on_the_open_day_alone() -> None:
    crowd = noted(1)

    assert crowd.hear(4, name(IP, 9), 5)
    assert not crowd.hear(4, name(IP, 9), -1)
    counted = crowd.counts(IP, 9)
    crowd.note(0, IP, 1, 1, NOW_US + DAY_US)

    assert (counted, crowd.counts(IP, 9)) == ((5, 0), (0, 0))


def test_a_batch_of_many_accounts_counts_as_one_by_one_also_across_a_midnight() -> None:
    one_by_one, at_once = Crowd(), Crowd()
    batch = [
        (account, {(IP, 7): NOW_US + account % 2 * DAY_US, (DEVICE, account): NOW_US}, account == 5)
        for account in range(40)
    ]
    for crowd in (one_by_one, at_once):
        crowd.note(0, IP, 1, 1, NOW_US)

    at_once.note_batch(2, columns_of(batch))
    for row in rows_of(batch):
        one_by_one.note(2, *row)

    assert at_once.today == one_by_one.today == TODAY + 1
    assert at_once.counts(IP, 7) == one_by_one.counts(IP, 7) == (40, 1)
    assert [at_once.counts(DEVICE, value) for value in (4, 5)] == [(1, 0), (1, 1)]
    assert at_once.take_changed(2) == one_by_one.take_changed(2)


def test_readers_are_told_which_features_changed() -> None:
    crowd = noted(0)
    reader, of_devices = crowd.watch_stirred((IP, DEVICE)), crowd.watch_stirred([DEVICE], from_now=True)
    before = list(reader.turn())

    for account in (1, 2, 2):
        crowd.note(0, IP, 7, account, NOW_US)
    noted_ = list(reader.turn())
    crowd.hear(4, name(DEVICE, 9), 5)

    assert before == []
    assert noted_ == [(IP, 7)]
    assert list(reader.turn()) == list(of_devices.turn()) == [(DEVICE, 9)]
    crowd.hear(4, name(DEVICE, 9), 5)
    assert not reader.has_more


def test_a_few_accounts_of_today_are_published_where_more_were_heard_of_before_a_restart() -> None:
    crowd = noted(1)
    assert crowd.hear(0, name(IP, 9), b"[2,20780,[5,5,5,5,5,5,0],[0,0,0,0,0,0,0]]")

    for account in (1, 2):
        crowd.note(0, IP, 9, account, NOW_US)

    (told,) = crowd.take_changed(0)
    assert told.record == b"[2,20780,[5,5,5,5,5,5,2],[0,0,0,0,0,0,0]]"


def test_of_many_changed_counts_some_are_published_at_once_and_the_others_after_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(counts_module, "TAKEN_A_TIME", 35)
    crowd = noted(0)
    for value in range(1, 11):
        for account in range(5):
            crowd.note(2, IP, value, account, NOW_US)

    taken = [crowd.take_changed(2) for _ in range(4)]

    assert [[int(count.feature, 16) & 0xFF for count in some] for some in taken] == [
        [1, 2, 3, 4],
        [5, 6, 7, 8],
        [9, 10],
        [],
    ]
