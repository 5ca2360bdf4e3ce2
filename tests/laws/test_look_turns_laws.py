"""Laws of looks that are cut into turns: what campaigns, hot features and waiting accounts come to is what one look gives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.core.duration import DAY_US
from streams.core.campaigns import CampaignKind, known, recorded_members
from streams.core.crowd import DEVICE, IP, Backfill, Crowd, HotFacts, stirred
from streams.core.crowd.members import SIZE, member, of_partition
from streams.worker.campaign_feed import hear
from tests.unit.test_campaign_members import NUMBERS, keyed, of_three_days
from tests.unit.test_campaigns import AT_US, Worker, near_pictures

PARTITIONS = 3
DAYS = 3
KeyValue = tuple[bytes, bytes]
shows = st.lists(
    st.tuples(st.integers(0, PARTITIONS - 1), st.integers(0, 4), st.integers(4, 9)), min_size=1, max_size=6
)
"""Of which partition how many accounts show a picture."""


@contextmanager
def short_turns(cost: int) -> Iterator[None]:
    """Turns that end after a few features or lists."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stirred, "TURN", cost)
        patch.setattr(stirred, "LEAST_WALKED", 1)
        patch.setattr(known, "LEAST_LOOKED", 1)
        patch.setattr(recorded_members, "TAKEN_A_TURN", 1)
        patch.setattr(recorded_members, "TAKEN_WITH_ONE", 0)
        yield


def records_of(shown: Sequence[tuple[int, int, int]]) -> list[KeyValue]:
    """What the owners of the partitions publish. Every account shows one picture."""
    told: list[KeyValue] = []
    for partition in range(PARTITIONS):
        owner = keyed()
        for place, (of, picture, accounts) in enumerate(shown):
            if of == partition:
                owner.batch(partition, *near_pictures(accounts, f"{place}", picture))
        told += owner.told(partition)
    return told


def whole(worker: Worker) -> int:
    turns = 1
    while worker.campaigns.look():
        turns += 1
    return turns


def content(worker: Worker, shown: Sequence[tuple[int, int, int]]) -> object:
    """All that others see of the worker's campaigns."""
    names = [f"{place}-{number}" for place, (*_, accounts) in enumerate(shown) for number in range(accounts)]
    return (
        {name: worker.of(name) for name in names},
        worker.campaigns.among(map(NUMBERS.of, names)),
        worker.campaigns.sizes(),
        [worker.told(partition) for partition in range(PARTITIONS)],
    )


@given(shows, shows, st.integers(1, 12), st.booleans())
@settings(max_examples=25, deadline=None)
def test_campaigns_looked_at_in_turns_are_those_looked_at_once_also_with_records_heard_and_days_begun_in_between(
    first: list[tuple[int, int, int]], second: list[tuple[int, int, int]], cost: int, is_next_day: bool
) -> None:
    shown = [*first, *second]
    records = records_of(shown)
    at_once, in_turns = keyed(), keyed()
    for worker in (at_once, in_turns):
        for partition in range(PARTITIONS):
            worker.batch(partition, *near_pictures(1, f"own-{partition}", 30 + partition))
        of_three_days(worker.crowd)

    at_once.hear(records)
    turns = 0
    with short_turns(cost):
        for key, value in records:
            assert hear(in_turns.campaigns, key, value)
            in_turns.campaigns.look()
            turns += 1
    if is_next_day:
        for worker in (at_once, in_turns):
            worker.crowd.pass_time(AT_US + DAY_US, 1)
    whole(at_once)
    with short_turns(cost):
        turns += whole(in_turns)

    assert content(in_turns, shown) == content(at_once, shown)
    assert turns > len(records)


@given(shows, st.integers(1, 12))
@settings(max_examples=25, deadline=None)
def test_what_was_heard_before_a_day_is_open_is_taken_in_by_turns_to_the_same_end(
    shown: list[tuple[int, int, int]], cost: int
) -> None:
    records = records_of(shown)
    at_once, in_turns = keyed(), keyed()
    for worker in (at_once, in_turns):
        for key, value in records:
            hear(worker.campaigns, key, value, AT_US // 1_000)
        worker.campaigns.look()
        worker.crowd.stored_are_heard()

    whole(at_once)
    with short_turns(cost):
        turns = whole(in_turns)

    assert content(in_turns, shown) == content(at_once, shown)
    assert turns >= len(records)


@given(st.lists(st.tuples(st.sampled_from([IP, DEVICE]), st.integers(1, 9), st.integers(0, 30)), max_size=60))
@settings(max_examples=25, deadline=None)
def test_hot_features_and_waiting_accounts_found_in_turns_are_those_found_at_once(
    shown: list[tuple[int, int, int]],
) -> None:
    found = []
    for cost in (1_000_000, 3):
        crowd = Crowd()
        hot, backfill = HotFacts(crowd, {IP: 2, DEVICE: 2}, most=6), Backfill(crowd)
        told: dict[str, tuple[int, int]] = {}
        with short_turns(cost):
            for kind, value, account in shown:
                crowd.note(0, kind, value, account, AT_US)
                told.update((fact.feature, (fact.accounts, fact.established)) for fact in hot.changes())
            for account in range(2):
                crowd.note(0, DEVICE, 99, account, AT_US)
            while hot.has_more:
                told.update((fact.feature, (fact.accounts, fact.established)) for fact in hot.changes())
            while backfill.look():
                pass
            found.append((backfill.waiting(0), {fact.accounts for fact in hot.all()}))
        assert {feature for feature, (accounts, _) in told.items() if accounts} == {fact.feature for fact in hot.all()}

    assert found[0] == found[1]


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 40), st.integers(0, DAYS - 1), st.booleans()), max_size=90),
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, DAYS), st.booleans()), max_size=64),
)
def test_members_that_are_added_together_are_those_added_one_by_one(
    before: list[tuple[int, int, int, bool]], told: list[tuple[int, int, bool]]
) -> None:
    today = AT_US // DAY_US
    row = b"".join(member(1, account, today - age, firm).to_bytes(SIZE, "big") for account, age, firm in told)
    together, singly = Crowd(), Crowd()
    for crowd in (together, singly):
        of_three_days(crowd)
        for partition, account, age, firm in before:
            crowd.note(partition, 5, 7, account, AT_US - age * DAY_US, firm)

    packed = of_partition(row, 1)
    together.recall(1, 5, 7, packed)
    for at in range(0, len(packed), 6):
        singly.recall(1, 5, 7, packed[at : at + 6])

    assert list(together.members(5, 7)) == list(singly.members(5, 7))
    assert together.counts(5, 7) == singly.counts(5, 7)
    assert together.packed_members(1, 5, 7) == singly.packed_members(1, 5, 7)


def test_a_look_after_ten_thousand_campaigns_joins_no_more_accounts_than_it_keeps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(known, "MAX_ACCOUNTS", 20)
    shown = [(0, picture, 9) for picture in range(10)]
    reader = keyed()
    of_three_days(reader.crowd)

    reader.hear(records_of(shown))

    kept = [place for place in range(10) if reader.campaigns.among([NUMBERS.of(f"{place}-0")])]
    assert len(kept) in (2, 3)
    assert reader.campaigns.sizes()[CampaignKind.CONTENT] == (10, 9)
