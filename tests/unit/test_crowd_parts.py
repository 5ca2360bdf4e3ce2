"""The parts of the crowd, one by one: packed members, tails, what was heard, the doorkeeper, ids, bounds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.core.duration import DAY_US
from streams.core.crowd import CEILING, CONTENT, DEVICE, HOST, IP, KINDS
from streams.core.crowd import backfill as backfill_module
from streams.core.crowd import members as packed
from streams.core.crowd.account_ids import AccountIds, account_number
from streams.core.crowd.backfill import STEPS, Backfill
from streams.core.crowd.counts import Crowd
from streams.core.crowd.days import Days
from streams.core.crowd.doorkeeper import Doorkeeper
from streams.core.crowd.heard import Heard
from streams.core.crowd.hot import HotFacts
from streams.core.crowd.kinds import LINK_CAMPAIGN, NAME_CAMPAIGN, PICTURE_CAMPAIGN, TEXT_CAMPAIGN, Kind
from streams.core.crowd.own import Own
from streams.core.crowd.record import VALUE, name, parsed, parsed_name, written
from streams.core.crowd.rows import MARKS, Rows
from streams.core.crowd.stirred import LEAST_WALKED, TURN, WALKED, Stirred
from streams.core.crowd.table import CrowdTable, total
from streams.core.crowd.tails import Tails, believed, tails

TODAY = 20_780
NOW_US = TODAY * DAY_US
WEEK = Kind(days=7, lone_slots=1 << 10)


class Member(NamedTuple):
    age: int
    established: bool
    partition: int
    account: int


members = st.builds(Member, st.integers(0, 12), st.booleans(), st.integers(0, 0xFFFF), st.integers(0, 0xFFFF_FFFF))
rows = st.lists(members, max_size=12)


def number(of: Member) -> int:
    return packed.member(of.partition, of.account, TODAY - of.age, of.established)


def row_of(some: Sequence[Member]) -> bytes:
    row = b""
    for each in some:
        row = packed.inserted(row, number(each), TODAY)
    return row


def unpacked(row: bytes) -> list[Member]:
    return [Member(*each) for each in packed.whole(row, TODAY)]


@given(rows)
def test_a_row_holds_its_members_those_that_showed_it_longest_ago_first(some: list[Member]) -> None:
    row = row_of(some)

    ages = [each.age for each in unpacked(row)]
    assert sorted(unpacked(row)) == sorted(some)
    assert ages == sorted(ages, reverse=True)
    assert len(row) == packed.SIZE * len(some)
    assert [(age, firm, partition) for age, firm, partition, _ in packed.whole(row, TODAY)] == [
        *packed.unpacked(row, TODAY)
    ]
    assert [*packed.whom(row)] == [(each.partition, each.account) for each in unpacked(row)]
    assert packed.established(row) == sum(each.established for each in some)
    assert [packed.age(number(each), TODAY) for each in some] == [each.age for each in some]


@given(rows, st.integers(1, 13))
def test_the_live_members_of_a_row_are_those_of_its_last_days(some: list[Member], days: int) -> None:
    row = row_of(some)

    assert unpacked(packed.live(row, TODAY, days)) == [each for each in unpacked(row) if each.age < days]
    if some:
        assert packed.newest_age(row, TODAY) == min(each.age for each in some)


@given(rows, members)
def test_a_member_is_known_by_its_partition_and_account_alone(some: list[Member], one: Member) -> None:
    row = row_of([*some, one])
    held = unpacked(row)

    for who in (each[2:] for each in held):
        at = packed.position(row, who[0].to_bytes(2, "big") + who[1].to_bytes(4, "big"))
        assert at % packed.SIZE == 0
        assert held[at // packed.SIZE][2:] == who
        of_partition = [place for place, each in enumerate(held) if each.partition == who[0]]
        assert packed.first_of(row, who[0].to_bytes(2, "big")) == (len(of_partition), of_partition[0] * packed.SIZE)
    without = row_of([each for each in some if each[2:] != one[2:]])
    assert packed.position(without, one.partition.to_bytes(2, "big") + one.account.to_bytes(4, "big")) == -1
    assert packed.first_of(b"", b"\0\0") == (0, -1)


def test_of_one_day_the_member_that_came_last_is_last() -> None:
    row = row_of([Member(3, False, 1, 1), Member(0, False, 1, 2), Member(3, True, 1, 3), Member(0, False, 1, 4)])

    assert [each.account for each in unpacked(row)] == [1, 3, 2, 4]


def test_a_member_of_the_first_day_is_not_nothing() -> None:
    assert packed.member(0, 0, 0, False) == 1 << 49
    assert packed.age(packed.member(0, 0, 0x7FFE, False), 0x7FFE + 9) == 9


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=90))
def test_a_tail_counts_for_each_day_the_accounts_of_that_day_or_later(shown: list[tuple[int, bool]]) -> None:
    made = tails(TODAY, shown, 5)

    of_all = [sum(age <= 4 - place for age, _ in shown) for place in range(5)]
    firm = [sum(is_firm and age <= 4 - place for age, is_firm in shown) for place in range(5)]
    assert made == Tails(TODAY, bytes(min(count, CEILING) for count in of_all + firm))


@pytest.mark.parametrize(
    ("passed", "numbers"),
    [(-1, [9, 8, 5, 4, 2, 1]), (0, [9, 8, 5, 4, 2, 1]), (1, [8, 5, 0, 2, 1, 0]), (2, [5, 0, 0, 1, 0, 0]), (3, [0] * 6),
     (9, [0] * 6)],
)  # fmt: skip
def test_a_tail_loses_a_number_with_each_day(passed: int, numbers: list[int]) -> None:
    made = Tails(TODAY, bytes([9, 8, 5, 4, 2, 1])).at(TODAY + passed)

    assert list(made.numbers) == numbers
    assert made.day == TODAY + max(0, passed)


def test_two_tails_are_merged_on_the_later_day_by_the_larger_number_of_each_day() -> None:
    old, new = Tails(TODAY, bytes([9, 8, 5, 4, 2, 1])), Tails(TODAY + 1, bytes([6, 6, 3, 3, 1, 1]))

    assert old.merged(new) == new.merged(old) == Tails(TODAY + 1, bytes([8, 6, 3, 3, 1, 1]))
    assert old.merged(old) is old


@pytest.mark.parametrize(
    ("accounts", "established", "numbers"),
    [
        ([9, 8, 5], [4, 2, 1], [9, 8, 5, 4, 2, 1]),
        ([64, 64, 64], [64, 64, 64], [64] * 6),
        ([65, 64, 64], [64, 64, 64], [64] * 6),
        ([5, 8, 9], [0, 0, 1], [9, 9, 9, 1, 1, 1]),
        ([9, 8, 5], [9, 9, 1], [9, 8, 5, 9, 8, 1]),
        ([9, 8, 5], [0, 2, 1], [9, 8, 5, 2, 2, 1]),
        ([9], [4], [9, 9, 9, 4, 4, 4]),
        ([9, 5], [4, 1], [9, 9, 5, 4, 4, 1]),
        ([60, 9, 8, 5], [50, 4, 2, 1], [9, 8, 5, 4, 2, 1]),
        ([0, 0, 0], [0, 0, 0], [0] * 6),
        ([], [], None),
        ([1, 1, 1], [0, 0], None),
        ([1, 1, -1], [0, 0, 0], None),
        ([1, 1, 1], [0, -1, 0], None),
    ],
)
def test_numbers_of_a_record_become_the_nearest_tails(
    accounts: list[int], established: list[int], numbers: list[int] | None
) -> None:
    made = believed(TODAY, accounts, established, 3)

    assert made == (None if numbers is None else Tails(TODAY, bytes(numbers)))


def heard_today(day: int = TODAY) -> Heard:
    heard = Heard(Kind(days=3))
    heard.open(day)
    return heard


def three(day: int, *numbers: int) -> Tails:
    return Tails(day, bytes(numbers))


def test_what_is_heard_is_kept_by_partition_and_merged() -> None:
    heard = heard_today()

    first = heard.hear(1, 7, three(TODAY, 5, 4, 4, 1, 1, 1))
    again = heard.hear(1, 7, three(TODAY, 5, 4, 4, 1, 1, 1))
    other = heard.hear(258, 7, three(TODAY - 1, 9, 2, 2, 0, 0, 0))
    more = heard.hear(1, 7, three(TODAY, 6, 4, 2, 2, 0, 0))

    assert first == three(TODAY, 5, 4, 4, 1, 1, 1)
    assert again is None
    assert other == three(TODAY - 1, 9, 2, 2, 0, 0, 0)
    assert more == heard.tails(1, 7) == three(TODAY, 6, 4, 4, 2, 1, 1)
    assert heard.tails(258, 7) == other
    assert heard.tails(2, 7) is heard.tails(1, 8) is None
    assert [*heard.counts(heard.rows.by_feature[7])] == [(1, 6, 2), (258, 2, 0)]


@pytest.mark.parametrize(("passed", "count"), [(-4, 0), (-3, 9), (-1, 9), (0, 9), (1, 8), (2, 5), (3, 0), (9, 0)])
def test_what_is_heard_counts_from_a_window_ahead_until_its_window_ends(passed: int, count: int) -> None:
    heard = heard_today()
    heard.hear(1, 7, three(TODAY, 9, 8, 5, 4, 2, 1))
    heard.open(TODAY + passed)

    assert sum(accounts for _, accounts, _ in heard.counts(heard.rows.by_feature[7])) == count
    assert (heard.tails(1, 7) is None) == (passed < -3)


def test_counts_of_a_day_that_no_worker_can_have_reached_give_way() -> None:
    heard = heard_today()
    heard.hear(1, 7, three(TODAY + 4, 60, 60, 60, 0, 0, 0))
    heard.hear(2, 7, three(TODAY + 3, 60, 60, 60, 0, 0, 0))

    assert heard.hear(1, 7, three(TODAY, 3, 3, 3, 0, 0, 0)) == three(TODAY, 3, 3, 3, 0, 0, 0)
    assert heard.hear(2, 7, three(TODAY, 3, 3, 3, 0, 0, 0)) is None


def test_before_the_first_event_all_that_is_heard_counts() -> None:
    heard = Heard(Kind(days=3))
    heard.hear(1, 7, three(0xFFFF, 9, 8, 5, 4, 2, 1))

    assert [*heard.counts(heard.rows.by_feature[7])] == [(1, 9, 4)]
    assert heard.tails(1, 7) == three(0xFFFF, 9, 8, 5, 4, 2, 1)


def test_of_a_feature_1024_partitions_are_heard() -> None:
    heard = heard_today()

    told = [heard.hear(partition, 7, three(TODAY, 1, 1, 1, 0, 0, 0)) for partition in range(1_030)]

    assert sum(each is not None for each in told) == 1_024
    assert heard.hear(5, 7, three(TODAY, 2, 1, 1, 0, 0, 0)) is not None


def test_of_what_was_heard_the_fewest_accounts_go_first_and_of_equals_the_oldest() -> None:
    heard = heard_today()

    def worth(*segments: tuple[int, Tails]) -> int:
        for partition, counts in segments:
            heard.hear(partition, 7, counts)
        return heard._worth(heard.rows.by_feature.pop(7))

    few, many = worth((1, three(TODAY, 5, 5, 5, 0, 0, 0))), worth((1, three(TODAY, 6, 1, 1, 0, 0, 0)))
    two = worth((1, three(TODAY, 3, 3, 3, 0, 0, 0)), (2, three(TODAY - 1, 3, 3, 3, 0, 0, 0)))
    old, past = worth((1, three(TODAY - 1, 6, 6, 6, 0, 0, 0))), worth((1, three(TODAY - 3, 60, 60, 60, 0, 0, 0)))

    assert past < few < old < many
    assert few < two


def test_two_accounts_of_a_feature_make_a_row_and_what_they_were_is_kept() -> None:
    own = Own(WEEK)
    own.open(TODAY)

    first = own.knock(9, packed.member(3, 1, TODAY - 2, True))
    again = own.knock(9, packed.member(3, 1, TODAY, False))
    second = own.knock(9, packed.member(4, 1, TODAY, False))

    assert (first, again, second) == (False, False, True)
    assert unpacked(own.row(9)) == [Member(0, False, 3, 1), Member(0, False, 4, 1)]
    assert own.by_partition(9) == ({3: 1, 4: 1}, {3: 0, 4: 0})


def test_an_account_counts_on_its_last_day_and_is_established_if_it_ever_was_on_it() -> None:
    own = Own(WEEK)
    own.open(TODAY)
    own.knock(9, packed.member(0, 5, TODAY, False))

    def noted(day: int, established: bool) -> tuple[bool, list[Member]]:
        changed = own.note(9, own.shared[9], packed.member(0, 1, day, established))
        return changed, [each for each in unpacked(own.row(9)) if each.account == 1]

    own.knock(9, packed.member(0, 1, TODAY - 1, True))
    earlier, later = noted(TODAY - 2, True), noted(TODAY, False)
    firm, again = noted(TODAY, True), noted(TODAY, False)

    assert earlier == (False, [Member(1, True, 0, 1)])
    assert later == (True, [Member(0, False, 0, 1)])
    assert firm == (True, [Member(0, True, 0, 1)])
    assert again == (False, [Member(0, True, 0, 1)])


@pytest.mark.parametrize(("day", "held"), [(TODAY - 6, True), (TODAY - 7, False)])
def test_a_lone_account_is_remembered_for_the_days_of_its_window(day: int, held: bool) -> None:
    own = Own(WEEK)
    own.open(TODAY)
    own.knock(9, packed.member(0, 1, day, False))

    assert (len(own.row(9)) > 0) == held
    assert own.knock(9, packed.member(0, 2, TODAY, False)) == held


def full(days_ago: int, partition: int = 2) -> Own:
    own = Own(WEEK)
    own.open(TODAY)
    row = row_of([Member(days_ago, False, partition, account) for account in range(CEILING)])
    own.rows.put(9, row, None)
    return own


def test_a_full_partition_takes_a_later_account_for_its_oldest_and_others_have_room() -> None:
    own = full(1)
    late, same, other = (
        packed.member(partition, 1_000, TODAY - ago, False) for partition, ago in ((2, 2), (2, 1), (3, 1))
    )
    new = packed.member(2, 1_000, TODAY, False)

    changed = [own.note(9, own.shared[9], one) for one in (late, same, other, new)]

    assert changed == [False, False, True, True]
    held = unpacked(own.row(9))
    assert len(held) == CEILING + 1
    assert [each.account for each in held if each.age == 0] == [1_000]
    assert 0 not in {each.account for each in held}
    assert own.settled == set()


def test_a_partition_that_is_full_of_today_is_settled_until_the_day_ends() -> None:
    own = full(0, partition=0x102)

    changed = own.note(9, own.shared[9], packed.member(0x102, 1_000, TODAY, False))

    assert changed is False
    assert own.settled == {9 << 16 | 0x102}
    own.open(TODAY + 1)
    assert own.settled == set()


def test_the_tails_of_a_partition_count_its_members_alone() -> None:
    own = Own(WEEK)
    own.open(TODAY)
    own.rows.put(9, row_of([Member(0, True, 1, 1), Member(2, False, 1, 2), Member(0, True, 0x101, 3)]), None)

    assert own.tails(1, 9) == Tails(TODAY, bytes([2] * 5 + [1] * 2 + [1] * 7))
    assert own.tails(7, 9) == Tails(TODAY, bytes(14))


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans(), st.sampled_from([1, 2, 0x101])), max_size=70))
def test_the_tails_of_a_partition_are_those_of_its_live_members_whatever_others_are_there(
    shown: list[tuple[int, bool, int]],
) -> None:
    own = Own(WEEK)
    own.open(TODAY)
    oldest_first = sorted(shown, key=lambda one: -one[0])
    members = [Member(age, firm, owner, number) for number, (age, firm, owner) in enumerate(oldest_first)]
    own.rows.put(9, row_of(members), None)

    for partition in (1, 2, 0x101, 7):
        live = [(age, firm) for age, firm, owner in shown if owner == partition and age < WEEK.days]
        assert own.tails(partition, 9) == tails(TODAY, live, WEEK.days)
        for floor in range(5):
            assert own.may_exceed(partition, 9, floor) >= (len(live) > floor)


@pytest.mark.parametrize("owner", [1, 2])
def test_a_partition_of_which_few_members_are_of_today_and_nobody_else_may_not_exceed_its_floor(owner: int) -> None:
    own = Own(WEEK)
    own.open(TODAY)
    own.rows.put(9, row_of([Member(0, False, owner, number) for number in range(5)]), None)

    assert own.tails(owner, 9) == Tails(TODAY, bytes([5] * 7 + [0] * 7))
    assert own.may_exceed(owner, 9, 4)
    assert not own.may_exceed(owner, 9, 5)
    assert not own.may_exceed(owner + 2, 9, 1)
    assert not own.may_exceed(owner, 8, 1)
    assert own.may_exceed(owner, 8, 0)


def test_a_row_is_worth_its_living_members_and_then_how_lately_it_was_shown() -> None:
    own = Own(WEEK)
    own.open(TODAY)
    worth = [
        own._worth(row_of([Member(age, False, 0, account) for account, age in enumerate(ages)]))
        for ages in ((7, 8, 9), (6, 6), (7, 5, 5), (5, 4), (0, 0), (6, 6, 6))
    ]

    assert worth[0] == 0
    assert worth == sorted(worth)
    assert len(set(worth)) == len(worth)


@pytest.mark.parametrize(("accounts", "established"), [(0, 0), (1, 0), (1, 1), (70, 3), (64 * 1_024, 64 * 1_024)])
def test_a_sum_is_three_numbers_in_one_and_of_equal_ones_fewer_established_say_more(
    accounts: int, established: int
) -> None:
    one = total(accounts, established)

    assert (one >> 40, one & 0xFFFFF, one >> 20 & 0xFFFFF) == (accounts, established, accounts - established)
    assert total(accounts, established) < total(accounts + 1, accounts + 1)
    assert established == 0 or total(accounts, established) < total(accounts, established - 1)


def test_a_table_counts_a_lone_account_and_what_it_has_heard() -> None:
    table = CrowdTable(WEEK)
    table.open(TODAY)
    table.knock(9, packed.member(0, 1, TODAY, True))
    table.knock(10, packed.member(0, 1, TODAY - 6, False))
    table.heard.hear(1, 11, Tails(TODAY, bytes([5] * 7 + [2] * 7)))

    sums = [table.sum_of(value) for value in (9, 10, 11, 12, 0)]

    assert sums == [total(1, 1), total(1, 0), total(5, 2), 0, 0]
    assert table.most((9, 11, 10)) == total(5, 2)
    assert table.most(()) == 0
    table.open(TODAY + 1)
    assert [table.sum_of(value) for value in (9, 10)] == [total(1, 1), 0]
    assert table.known(1, 11) == Tails(TODAY + 1, bytes([5] * 6 + [0] + [2] * 6 + [0]))


def test_the_doorkeeper_keeps_the_last_feature_of_a_slot_with_its_member() -> None:
    door = Doorkeeper(1 << 14)

    assert [door.swapped(5, 50), door.swapped(5, 51), door.held(5), door.held(5 + (1 << 14))] == [0, 50, 51, 0]
    door.put(5, 52)
    assert door.swapped(5 + (1 << 14), 60) == 0
    assert [door.held(5), door.held(5 + (1 << 14))] == [0, 60]
    assert door.pairs()[5].tolist() == [5 + (1 << 14), 60]


@pytest.mark.parametrize(
    ("most", "then"), [(1 << 21, 1 << 17), (1 << 15, 1 << 15), (1 << 14, 1 << 14), (1 << 3, 1 << 3)]
)
def test_a_doorkeeper_grows_eightfold_once_a_sixteenth_of_its_slots_was_taken(most: int, then: int) -> None:
    door, batch = Doorkeeper(most), Doorkeeper(most)

    for feature in range(1, 1_024):
        door.swapped(feature, feature)
    batch.make_room(1_023)
    before = len(door.slots) // 2, len(batch.slots) // 2
    door.swapped(1_024, 1_024)
    batch.took(1_023)
    batch.make_room(1)

    assert before == (min(most, 1 << 14), min(most, 1 << 14))
    assert len(door.slots) // 2 == len(batch.slots) // 2 == door.mask + 1 == then
    if most > 8:
        assert [door.held(feature) for feature in range(1, 1_025)] == [*range(1, 1_025)]


def test_a_table_of_ids_doubles_once_a_quarter_of_its_slots_was_taken() -> None:
    ids, few = AccountIds(), AccountIds(max_slots=1 << 12)

    for table in (ids, few):
        for place in range(1_023):
            table.remember([f"a-{place}"] * 2, [place] * 2)
    before = len(ids._slots)
    for table in (ids, few):
        table.remember(["last"], [1_023])

    assert (before, len(ids._slots), len(few._slots)) == (1 << 12, 1 << 13, 1 << 12)
    ids.remember(["known"], [account_number("known")])
    assert ids.held(account_number("known")) == "known"
    assert 0 <= account_number("known") <= 0xFFFF_FFFF


def test_every_slot_of_a_table_of_ids_and_of_a_doorkeeper_is_used() -> None:
    ids, door = AccountIds(max_slots=8), Doorkeeper(8)

    for number in range(8):
        ids.remember([f"a-{number}"], [number])
        door.swapped(number + 8, number + 1)

    assert ids._slots == [f"a-{number}" for number in range(8)]
    assert [door.held(number + 8) for number in range(8)] == list(range(1, 9))


def test_a_full_table_drops_the_least_of_eight_rows_in_turn() -> None:
    rows = Rows(20 * (160 + 10), worth=lambda row: row[0])
    for feature in range(20):
        rows.put(feature, bytes([200 - feature]) + bytes(9), None)

    rows.put(20, bytes(10), None)
    rows.put(21, bytes([255]) + bytes(9), None)

    assert sorted(set(range(22)) - set(rows.by_feature)) == [7, 15]
    assert rows.used_bytes == 20 * 170
    rows.put(0, b"\xc8", rows.by_feature[0])
    assert rows.used_bytes == 20 * 170 - 9


def test_rows_may_hold_every_feature_that_has_one_and_few_others() -> None:
    rows = Rows(3 * 170, worth=len)
    for feature in (5, 1 << 63 | 70_000, 9, 11):
        rows.put(feature, bytes(10), None)

    asked = np.array([5, 1 << 63 | 70_000, 9, 11, 12, 70_001, 5 + MARKS], np.uint64)

    assert rows.may_hold(asked).tolist() == [True, True, True, True, False, False, True]
    assert len(rows.by_feature) == 3


def whole(reader: Stirred) -> list[tuple[int, int]]:
    """All that waits, turn after turn."""
    found = list(reader.turn())
    while reader.has_more:
        found += reader.turn()
    return found


def test_a_reader_keeps_100000_features_and_then_all_count_as_changed() -> None:
    reader = Stirred([IP], lambda kind: [-1, -2], is_all=False)
    for value in range(100_000):
        reader.add((IP, value))
    kept = whole(reader)
    for value in range(100_001):
        reader.add((IP, value))

    assert kept == [(IP, value) for value in range(100_000)]
    assert whole(reader) == [(IP, -2), (IP, -1)]
    assert whole(reader) == []


def test_a_turn_of_a_reader_is_bounded_and_what_changes_meanwhile_holds_up_no_walk() -> None:
    reader = Stirred([IP, DEVICE], lambda kind: list(range(kind * 1_000)), is_all=True)
    met: set[tuple[int, int]] = set()

    turns = longest = 0
    while reader.is_walking:
        for value in range(TURN):
            reader.add((IP, -value))
        turn = list(reader.turn())
        met.update(turn)
        turns, longest = turns + 1, max(longest, len(turn))

    assert met >= {(kind, value) for kind in (IP, DEVICE) for value in range(kind * 1_000)}
    assert longest <= TURN + LEAST_WALKED
    assert turns == pytest.approx(3_000 * (1 + WALKED) / LEAST_WALKED, rel=0.15)


def test_what_a_reader_does_with_a_feature_shortens_its_turn() -> None:
    reader = Stirred([IP], lambda kind: [], is_all=False)
    for value in range(10):
        reader.add((IP, value))

    for _ in reader.turn():
        reader.cost(TURN // 3)

    assert whole(reader) == [(IP, value) for value in range(3, 10)]


@pytest.mark.parametrize(
    ("kind", "days", "floor", "megabytes", "lone"),
    [
        (IP, 7, 3, 32, 21), (DEVICE, 30, 1, 32, 21), (CONTENT, 4, 3, 32, 21), (HOST, 4, 3, 16, 18),
    ],
)  # fmt: skip
def test_each_kind_has_its_window_its_floor_and_its_memory(
    kind: int, days: int, floor: int, megabytes: int, lone: int
) -> None:
    budget = megabytes << 20

    assert KINDS[kind] == Kind(days, budget, budget, 1 << lone, floor)
    assert CEILING == 64


@pytest.mark.parametrize("kind", [PICTURE_CAMPAIGN, LINK_CAMPAIGN, TEXT_CAMPAIGN])
def test_a_campaign_has_room_for_the_members_of_other_partitions_too(kind: int) -> None:
    assert KINDS[kind] == Kind(3, 16 << 20, 8 << 20, 1 << 19, 3)


@pytest.mark.parametrize("kind", [IP, DEVICE, CONTENT, HOST])
def test_a_feature_is_hot_from_so_many_accounts_of_its_kind_on(kind: int) -> None:
    level = {IP: 16, DEVICE: 2, CONTENT: 8, HOST: 16}[kind]
    crowd = Crowd()
    hot = HotFacts(crowd)

    told = []
    for account in range(level):
        crowd.note(0, kind, 7, account, NOW_US)
        told.append([fact.accounts for fact in hot.changes()])

    assert told == [[]] * (level - 1) + [[level]]


@pytest.mark.parametrize(
    ("kind", "steps"),
    [
        (IP, [2, 4, 8, 16, 32]), (DEVICE, [2, 3, 4, 6, 8, 12, 16]), (CONTENT, [4, 8, 16, 32]), (HOST, [4, 8, 16, 32]),
        (PICTURE_CAMPAIGN, [4, 8, 16, 32, 64]), (LINK_CAMPAIGN, [4, 8, 16, 32, 64]), (TEXT_CAMPAIGN, [4, 8, 16, 32, 64]),
        (NAME_CAMPAIGN, [4, 8, 16, 32, 64]),
    ],
)  # fmt: skip
def test_the_members_of_a_feature_wait_at_each_of_its_steps(kind: int, steps: list[int]) -> None:
    crowd = Crowd()
    backfill = Backfill(crowd)
    waited = []
    for account in range(CEILING):
        crowd.note(0, kind, 7, account, NOW_US)
        if backfill.waiting(0):
            waited.append((account + 1, backfill.waiting(0)))
            backfill.take(0, CEILING)

    assert waited == [(step, step) for step in steps]
    assert set(STEPS) == set(KINDS)


def test_the_members_of_a_feature_that_is_passed_over_do_not_wait() -> None:
    crowd = Crowd()
    backfill = Backfill(crowd, passes_over=lambda feature: feature == (NAME_CAMPAIGN, 7))
    for account in range(4):
        crowd.note(0, NAME_CAMPAIGN, 7, account, NOW_US)
        crowd.note(1, NAME_CAMPAIGN, 8, account, NOW_US)

    assert (backfill.waiting(0), backfill.waiting(1)) == (0, 4)


def test_a_kind_without_steps_makes_nobody_wait_and_hides_no_other() -> None:
    crowd = Crowd()
    backfill = Backfill(crowd, steps={DEVICE: (2,)})
    for account in range(9):
        for kind in (IP, CONTENT, DEVICE, HOST):
            crowd.note(0, kind, 7, account, NOW_US)

    assert backfill.waiting(0) == 9


def test_16384_accounts_of_a_partition_wait_and_further_ones_are_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    backfill = Backfill(Crowd())

    backfill.give_back(0, [f"a-{number}" for number in range(16_390)])
    backfill.give_back(1, ["b"])

    skipped = backfill.take_skipped()
    assert 16_386 <= backfill.waiting(0) + skipped <= 16_390  # a few ids may have equal numbers
    assert 16_380 <= backfill.waiting(0) <= 16_384
    assert (backfill.waiting(1), backfill.take_skipped()) == (1, 0)


def test_those_who_waited_longest_are_taken_first_and_those_with_new_scores_not_at_all() -> None:
    backfill = Backfill(Crowd())
    names = [f"a-{number}" for number in range(6)]
    backfill.give_back(3, names)

    first = backfill.take(3, 2, scored=["a-1", "somebody"])
    rest = backfill.take(3, 9)

    assert first == ["a-0", "a-2"]
    assert rest == ["a-3", "a-4", "a-5"]
    assert backfill.take(3, 9) == backfill.take(4, 9) == []
    assert backfill_module.MAX_FEATURES == 1 << 21


@pytest.mark.parametrize(("feature", "known"), [
    ("1" + "0" * 15 + "a", (1, 10)), ("f" + "f" * 16, (15, VALUE)), ("0" * 17, (0, 0)), ("F" * 17, (15, VALUE)),
    ("1" * 16, None), ("1" * 18, None), ("g" * 17, None), ("+" + "1" * 16, None), ("1_" + "1" * 15, None), ("١" * 17, None),
])  # fmt: skip
def test_the_name_of_a_feature_is_a_digit_of_its_kind_and_sixteen_of_its_value(
    feature: str, known: tuple[int, int] | None
) -> None:
    assert parsed_name(feature) == known
    if known is not None:
        assert name(*known) == feature.lower()


@pytest.mark.parametrize(("value", "told"), [
    (b"[2,0,[1],[0]]", (0, [1], [0])), (b"[2,65535,[],[]]", (65_535, [], [])), (b"[2,65536,[1],[0]]", None),
    (b"[2,-1,[1],[0]]", None), (b"[1,5,[1],[0]]", None), (b"[3,5,[1],[0]]", None),
    (b"[2,5,[1],[0]]" + b" " * 1_011, (5, [1], [0])), (b"[2,5,[1],[0]]" + b" " * 1_012, None),
])  # fmt: skip
def test_a_record_is_of_this_version_has_a_day_and_is_a_kilobyte_at_most(
    value: bytes, told: tuple[int, list[int], list[int]] | None
) -> None:
    assert parsed(value) == told


def test_a_record_is_written_as_its_day_its_accounts_and_those_that_are_established() -> None:
    assert written(Tails(TODAY, bytes([9, 8, 5, 4, 2, 1]))) == b"[2,20780,[9,8,5],[4,2,1]]"


@pytest.mark.parametrize(("events", "counted", "today"), [
    ([(0, 1), (0, 2)], [0, 0], 0), ([(5, 1), (4, 2), (6, 3)], [5, 4, 6], 6), ([(0, 1), (2, 2), (2, 2)], [0, 0, 0], 0),
    ([(0, 1), (2, 2), (2, 3)], [0, 0, 2], 2), ([(0, 1), (9, 2), (2, 3), (9, 4)], [0, 0, 2, 9], 9),
    ([(0, 1), (9, 2), (2, 3), (9, 4), (9, 5)], [0, 0, 2, 9, 9], 9), ([(0, 1), (3, 2), (4, 3)], [0, 0, 4], 4),
    ([(0, 1), (2, 2), (1, 3), (3, 4)], [0, 0, 1, 1], 1),
])  # fmt: skip
def test_an_event_counts_on_its_day_once_that_day_is_open(
    events: list[tuple[int, int]], counted: list[int], today: int
) -> None:
    days = Days()

    assert [days.counted(day * DAY_US + account, account) for day, account in events] == counted
    assert days.today == today
