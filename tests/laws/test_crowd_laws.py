"""Laws of the crowd's counts, against sets that keep everything: any order, any repetition, any number of restarts."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.core.duration import DAY_US
from streams.core.crowd import CEILING, DEVICE, KINDS, MANY, Crowd, CrowdCount
from streams.core.crowd.tails import Tails, believed, tails
from tests.columns import columns_of, rows_of

DAYS = KINDS[DEVICE].days
FLOOR = KINDS[DEVICE].floor
BEGAN_US = 20_779 * DAY_US
PARTITIONS = 4
FEATURE = 7

Showing = tuple[int, int, int]
"""Partition, account and day."""
showings = st.tuples(st.integers(0, PARTITIONS - 1), st.integers(0, 30), st.integers(0, DAYS - 1))
many = st.lists(showings, max_size=150)


def show(crowd: Crowd, given_: list[Showing]) -> Crowd:
    crowd.note(0, DEVICE, 1, 0, BEGAN_US)  # opens the first day
    for day in range(1, DAYS):
        crowd.note(0, DEVICE, 1, 0, BEGAN_US + day * DAY_US)
    for partition, account, day in given_:
        crowd.note(partition, DEVICE, FEATURE, account, BEGAN_US + day * DAY_US, established=account % 3 == 0)
    return crowd


def pass_days(crowd: Crowd, days: int) -> None:
    for day in range(DAYS, DAYS + days):
        crowd.note(0, DEVICE, 1, 0, BEGAN_US + day * DAY_US)


def exact(given_: list[Showing], passed: int = 0) -> dict[int, set[int]]:
    """Accounts by partition that live so many days after the last."""
    accounts: dict[int, set[int]] = defaultdict(set)
    for partition, account, day in given_:
        if day >= passed:
            accounts[partition].add(account)
    return accounts


def ages(crowd: Crowd) -> list[tuple[int, int]]:
    """The counts of the feature on this day and on each day that follows."""
    found = [crowd.counts(DEVICE, FEATURE)]
    for day in range(DAYS, 2 * DAYS):
        crowd.note(0, DEVICE, 1, 0, BEGAN_US + day * DAY_US)
        found.append(crowd.counts(DEVICE, FEATURE))
    return found


shown = st.dictionaries(
    st.tuples(st.sampled_from(sorted(KINDS)), st.integers(1, 6)), st.integers(0, 3).map(lambda day: day * DAY_US)
)
batches = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.lists(st.tuples(st.integers(0, 5), shown, st.booleans()), max_size=2 * MANY),
        st.integers(1, MANY),
    ),
    max_size=4,
)


@given(batches)
@settings(deadline=None)
def test_the_features_of_a_batch_counted_at_once_count_as_one_by_one(
    batches: list[tuple[int, list[tuple[int, dict[tuple[int, int], int], bool]], int]],
) -> None:
    at_once, one_by_one = Crowd(), Crowd()

    for partition, batch, times in batches:
        told = [
            (account, {feature: BEGAN_US + at_us for feature, at_us in features.items()}, established)
            for account, features, established in batch
        ] * times  # so that it is large enough
        at_once.note_batch(partition, columns_of(told))
        for row in rows_of(told):
            one_by_one.note(partition, *row)

    assert at_once.today == one_by_one.today
    for kind in KINDS:
        for value in range(1, 7):
            assert at_once.counts(kind, value) == one_by_one.counts(kind, value)
    for partition in range(2):
        assert at_once.take_changed(partition) == one_by_one.take_changed(partition)


values = st.integers(0, 12)


@given(batches, st.lists(st.tuples(values, values), max_size=20), st.lists(st.tuples(values, values), max_size=20))
@settings(deadline=None)
def test_what_surrounds_the_accounts_of_a_batch_is_what_surrounds_each_of_them(
    batches: list[tuple[int, list[tuple[int, dict[tuple[int, int], int], bool]], int]],
    networks: list[tuple[int, int]],
    last: list[tuple[int, int]],
) -> None:
    crowd = Crowd()
    for partition, batch, _ in batches:
        crowd.note_batch(partition, columns_of(batch))
    (told,) = showing(20).take_changed(0)
    crowd.hear(1, told.feature, told.record)
    size = min(len(networks), len(last))

    pairs = np.array([value for pair in networks[:size] for value in pair], np.uint64)
    owners = np.repeat(np.arange(size), 2)
    around = crowd.around_batch((pairs, owners), (pairs, owners), *zip(*last[:size], strict=True)) if size else None
    together = around.some(range(size)) if around is not None else []

    assert together == [
        crowd.around(pair, pair, content, host)
        for pair, (content, host) in zip(networks[:size], last[:size], strict=True)
    ]


def showing(accounts: int) -> Crowd:
    crowd = Crowd()
    for account in range(accounts):
        crowd.note(0, DEVICE, 12, account, BEGAN_US)
    return crowd


@given(many, st.randoms())
def test_any_order_gives_the_same_counts_today_and_on_each_day_that_follows(given_: list[Showing], order: Any) -> None:
    shuffled = list(given_)
    order.shuffle(shuffled)

    assert ages(show(Crowd(), given_)) == ages(show(Crowd(), shuffled))


@given(many, st.integers(0, DAYS))
def test_counts_are_exact_in_one_worker(given_: list[Showing], passed: int) -> None:
    crowd = show(Crowd(), given_)
    pass_days(crowd, passed)

    living = [(partition, account) for partition, names in exact(given_, passed).items() for account in names]

    assert crowd.counts(DEVICE, FEATURE) == (len(living), sum(account % 3 == 0 for _, account in living))


@given(many)
def test_a_count_never_falls_within_a_day_and_a_repeated_batch_changes_nothing(given_: list[Showing]) -> None:
    crowd, last = show(Crowd(), []), 0
    for showing in given_:
        show(crowd, [showing])
        assert crowd.count(DEVICE, FEATURE) >= last
        last = crowd.count(DEVICE, FEATURE)
    for partition in range(PARTITIONS):
        crowd.take_changed(partition)
    before = crowd.counts(DEVICE, FEATURE)

    show(crowd, given_)

    assert crowd.counts(DEVICE, FEATURE) == before
    assert [crowd.take_changed(partition) for partition in range(PARTITIONS)] == [[]] * PARTITIONS


@given(many, st.integers(0, DAYS), st.randoms())
def test_the_sum_of_what_is_heard_is_short_by_at_most_the_floor_of_each_partition(
    given_: list[Showing], passed: int, order: Any
) -> None:
    owners = [show(Crowd(), [showing for showing in given_ if showing[0] == at]) for at in range(PARTITIONS)]
    told = [(at, count) for at, owner in enumerate(owners) for count in owner.take_changed(at)]
    told *= 2
    order.shuffle(told)
    hears = show(Crowd(), [])

    for at, count in told:
        assert hears.hear(at, count.feature, count.record)
    pass_days(hears, passed)

    true = sum(map(len, exact(given_, passed).values()))
    assert true - FLOOR * PARTITIONS <= hears.count(DEVICE, FEATURE) <= true


@settings(max_examples=60)
@given(st.lists(st.tuples(st.booleans(), st.lists(showings, max_size=40)), min_size=1, max_size=5))
def test_over_restarts_no_account_is_counted_twice_and_no_published_count_falls(
    lives: list[tuple[bool, list[Showing]]],
) -> None:
    topic: dict[tuple[int, str], bytes] = {}
    published: dict[tuple[int, str], int] = {}
    everything: list[Showing] = []
    for hears_first, given_ in lives:
        owner = show(Crowd(), [])
        batches = [given_[: len(given_) // 2], given_[len(given_) // 2 :]]
        for number, batch in enumerate(batches):
            if hears_first or number:
                for (partition, feature), record in [*topic.items()]:
                    owner.hear(partition, feature, record)
            show(owner, batch)
            everything += batch
            if number or hears_first:
                publish(owner, topic, published)
        whole = sum(map(len, exact(everything).values()))
        best = sum(max(len(exact(part).get(at, ())) for _, part in lives) for at in range(PARTITIONS))
        assert owner.count(DEVICE, FEATURE) <= whole
    assert owner.count(DEVICE, FEATURE) >= best - FLOOR * PARTITIONS


def publish(owner: Crowd, topic: dict[tuple[int, str], bytes], published: dict[tuple[int, str], int]) -> None:
    for partition in range(PARTITIONS):
        for told in owner.take_changed(partition):
            assert told.count >= published.get((partition, told.feature), 0)
            published[partition, told.feature] = told.count
            topic[partition, told.feature] = told.record


members = st.lists(st.tuples(st.integers(0, DAYS - 1), st.booleans()), max_size=20)
some_tails = st.builds(lambda day, shown: tails(20_000 + day, shown, DAYS), st.integers(0, 2 * DAYS), members)


@given(some_tails, some_tails, some_tails)
def test_merging_does_not_depend_on_order_or_repetition(one: Tails, two: Tails, three: Tails) -> None:
    assert one.merged(two) == two.merged(one)
    assert one.merged(two).merged(three) == one.merged(two.merged(three))
    assert one.merged(one) == one
    assert one.merged(two).merged(two) == one.merged(two)


numbers = st.lists(st.integers(-2, 300) | st.integers(), max_size=12)


@given(st.integers(0, 0xFFFF), numbers, numbers)
def test_numbers_that_anybody_wrote_become_tails_or_are_refused(day: int, accounts: list[int], firm: list[int]) -> None:
    made = believed(day, accounts, firm, DAYS)

    if made is None:
        assert not accounts or len(accounts) != len(firm) or min(accounts + firm) < 0
        return
    known, established = [*made.numbers[:DAYS]], [*made.numbers[DAYS:]]
    assert known == sorted(known, reverse=True)
    assert established == sorted(established, reverse=True)
    assert max(known) <= CEILING
    assert all(one <= two for one, two in zip(established, known, strict=True))


anything = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
values = (
    st.binary(max_size=60)
    | st.integers()
    | st.builds(lambda given_: json.dumps(given_).encode(), st.lists(anything | st.lists(anything, max_size=9)))
    | st.builds(lambda *parts: json.dumps([2, *parts]).encode(), st.integers(), numbers, numbers)
)
features = st.text(max_size=20) | st.from_regex(r"[0-5][0-9a-f]{16}", fullmatch=True)


@given(st.lists(st.tuples(st.integers(), features, values, st.integers()), max_size=30))
def test_any_record_of_the_topic_is_read_within_bounds_or_refused(
    records: list[tuple[int, str, bytes | int, int]],
) -> None:
    crowd = show(Crowd(), [(0, account, 0) for account in range(9)])

    for partition, feature, value, at_us in records:
        crowd.hear(partition, feature, value, at_us)

    assert 9 <= crowd.count(DEVICE, FEATURE) <= 9 + CEILING * len(records)
    assert all(isinstance(told, CrowdCount) and told.count <= CEILING for told in crowd.take_changed(0))
