"""The members in a campaign's record: how they are packed, what a hostile list can do, and what a record of before gives."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.core.duration import DAY_US
from streams.core.campaigns import Campaigns
from streams.core.campaigns.campaign import MAX_RECORD_BYTES, parsed_record
from streams.core.crowd import CEILING, Crowd
from streams.core.crowd.kinds import TEXT_CAMPAIGN
from streams.core.crowd.members import SIZE, TOLD, member, of_partition, read_back, unknown_of
from streams.pipeline.hashes import account_numbers
from streams.worker.campaign_feed import hear
from tests.unit.test_campaigns import ALPHABET, AT_US, TODAY, Worker, near_pictures

DAYS = 3
NUMBERS = account_numbers(b"salt")
people = st.lists(st.tuples(st.integers(0, 3), st.integers(0, (1 << 32) - 1), st.integers(0, DAYS - 1), st.booleans()))


def keyed(salt: bytes = b"salt") -> Worker:
    worker = Worker()
    worker.crowd = Crowd(numbers=account_numbers(salt))
    worker.campaigns = Campaigns(worker.crowd, ALPHABET, capacity=1 << 12)
    return worker


def of_three_days(crowd: Crowd) -> Crowd:
    crowd.note(9, TEXT_CAMPAIGN, 1, 1, AT_US)
    return crowd


@given(people, st.integers(0, 3))
def test_the_members_of_a_partition_are_read_back_as_they_were(
    people: list[tuple[int, int, int, bool]], partition: int
) -> None:
    some = people[:CEILING]
    row = [member(owner, account, TODAY - age, firm) for owner, account, age, firm in some]

    told = of_partition(b"".join(one.to_bytes(SIZE, "big") for one in row), partition)

    theirs = [one for one, (owner, *_) in zip(row, some, strict=True) if owner == partition]
    assert read_back(told, partition, TODAY, DAYS) == theirs
    assert len(told) == TOLD * len(theirs)


@given(st.lists(st.integers(0, 9), unique=True), st.integers(0, 9), st.lists(st.integers(10, 19), unique=True))
def test_only_what_is_new_in_a_record_is_read_where_it_repeats_what_is_known(
    known: list[int], gone: int, new: list[int]
) -> None:
    def packed(accounts: list[int]) -> bytes:
        row = [member(0, account, TODAY, False).to_bytes(SIZE, "big") for account in accounts]
        return of_partition(b"".join(row), 0)

    rest = unknown_of(packed([*known[gone:], *new]), packed(known))

    assert rest == packed(new) or not known[gone:]
    assert rest.endswith(packed(new))


def test_members_that_have_aged_out_are_nobody_and_those_of_a_later_day_count_from_today() -> None:
    days = [TODAY - DAYS, TODAY - DAYS + 1, TODAY, TODAY + 1, TODAY + 2 * DAYS]
    row = b"".join(member(0, account, day, True).to_bytes(SIZE, "big") for account, day in enumerate(days))

    read = read_back(of_partition(row, 0), 0, TODAY, DAYS)

    assert read == [member(0, 1, days[1], True), member(0, 2, TODAY, True), member(0, 3, TODAY, True)]


@pytest.mark.parametrize("length", [1, TOLD - 1, TOLD + 1, (CEILING + 1) * TOLD])
def test_a_list_that_no_worker_writes_names_nobody(length: int) -> None:
    crowd = of_three_days(Crowd(numbers=NUMBERS))

    assert crowd.recall(0, TEXT_CAMPAIGN, 7, bytes(length)) == []
    assert crowd.count(TEXT_CAMPAIGN, 7) == 0


def test_whatever_lists_come_a_partition_has_no_more_members_than_it_may() -> None:
    crowd = of_three_days(Crowd(numbers=NUMBERS))

    for start in range(0, 10 * CEILING, CEILING):
        row = b"".join(member(0, start + n, TODAY, False).to_bytes(SIZE, "big") for n in range(CEILING))
        crowd.recall(0, TEXT_CAMPAIGN, 7, of_partition(row, 0))

    assert len(crowd.packed_members(0, TEXT_CAMPAIGN, 7)) == CEILING * TOLD


def test_the_largest_record_is_read_and_a_longer_one_is_not() -> None:
    worker = keyed()
    worker.batch(0, *near_pictures(2 * CEILING))

    ((_, value),) = worker.told(0)

    record = parsed_record(value)
    assert record is not None
    assert len(record.members) == CEILING * TOLD
    assert len(value) < MAX_RECORD_BYTES // 2
    longer = {**json.loads(value), "members": base64.b64encode(bytes(MAX_RECORD_BYTES)).decode()}
    assert parsed_record(json.dumps(longer).encode()) is None


def test_a_record_without_members_gives_the_counts_and_no_member() -> None:
    worker, reader = keyed(), keyed()
    worker.batch(0, *near_pictures(8))
    ((key, value),) = worker.told(0)
    before = {name: held for name, held in json.loads(value).items() if name not in ("members", "key")}
    of_three_days(reader.crowd)

    reader.hear([(key, json.dumps(before).encode())])

    assert [count for count, _ in reader.campaigns.sizes().values() if count] == [1]
    assert not reader.campaigns.has_members


def test_members_are_known_only_once_a_day_is_open_by_which_they_age() -> None:
    worker, reader = keyed(), keyed()
    worker.batch(0, *near_pictures(8))

    for key, value in worker.told(0):
        assert hear(reader.campaigns, key, value, AT_US // 1_000)
    reader.campaigns.look()
    before = reader.campaigns.has_members
    reader.crowd.stored_are_heard()
    reader.campaigns.look()

    assert not before
    assert reader.campaigns.of(NUMBERS.of("a-3")).content == 8


def test_a_member_leaves_a_campaign_with_the_day_on_which_its_time_ends_also_after_a_restart() -> None:
    worker, reader = keyed(), keyed()
    worker.batch(0, *near_pictures(8))
    worker.batch(0, *near_pictures(4), day=1)
    records = worker.told(0)
    of_three_days(reader.crowd)

    reader.hear(records)

    sizes = []
    for day in range(5):
        for one in (worker, reader):
            one.crowd.note(9, TEXT_CAMPAIGN, 2, 2, AT_US + day * DAY_US)
            one.campaigns.look()
        sizes.append(tuple(one.campaigns.of(NUMBERS.of("a-3")).content for one in (worker, reader)))
    assert sizes == [(8, 8), (8, 8), (8, 8), (4, 4), (0, 0)]


def test_an_owner_that_counted_before_it_heard_of_the_members_publishes_all_of_them() -> None:
    before, owner, reader = keyed(), keyed(), keyed()
    before.batch(0, *near_pictures(5))
    old = before.told(0)
    owner.batch(0, *near_pictures(5, "b"))
    owner.told(0)

    owner.hear(old)

    records = owner.told(0)
    of_three_days(reader.crowd)
    reader.hear(records)
    assert [reader.campaigns.of(NUMBERS.of(account)).content for account in ("a-1", "b-1")] == [10, 10]
    owner.hear(records)
    assert owner.told(0) == []


def test_accounts_have_one_number_under_one_salt_and_another_under_another() -> None:
    again, other = account_numbers(b"salt"), account_numbers(b"pepper")
    names = [f"a-{n}" for n in range(500)] + ["загрузка", "x" * 300]

    numbers = list(map(NUMBERS.of, names))

    assert numbers == list(map(again.of, names))
    assert NUMBERS.key == again.key
    assert NUMBERS.key != other.key
    assert not set(numbers) & set(map(other.of, names))
    assert len(set(numbers)) == len(names)
    assert all(0 < number < 1 << 32 for number in numbers)
