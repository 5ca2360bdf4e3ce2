"""Laws of campaigns: members add up over partitions whatever the order of uploads, records and restarts."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.crowd import FLOOR
from tests.unit.test_campaigns import Worker, listed, picture, upload

PARTITIONS = 3
shown = st.lists(st.tuples(st.integers(0, PARTITIONS - 1), st.integers(0, 12), st.integers(0, 5)), max_size=60)
"""Partition, account and which of the near pictures it shows."""
NEAR = [picture(0, 4, seed=n) for n in range(6)]


def records_of(uploads: list[tuple[int, int, int]], size: int) -> list[tuple[bytes, bytes]]:
    """All that the workers told, one worker a partition, which hear of each other after every round."""
    workers = [Worker() for _ in range(PARTITIONS)]
    told: list[tuple[bytes, bytes]] = []
    for start in range(0, len(uploads), size):
        round_ = uploads[start : start + size]
        news: list[tuple[bytes, bytes]] = []
        for partition, worker in enumerate(workers):
            mine = [(f"{partition}-{account}", upload(NEAR[near])) for p, account, near in round_ if p == partition]
            if mine:
                worker.batch(partition, *mine)
            news += worker.told(partition)
        for worker in workers:
            worker.hear(news)
        told += news
    for _ in range(2):  # until all agree on the id
        news = [record for partition, worker in enumerate(workers) for record in worker.told(partition)]
        for worker in workers:
            worker.hear(news)
        told += news
    return told


@given(shown, st.integers(1, 20))
@settings(max_examples=60, deadline=None)
def test_a_campaign_has_no_more_members_than_there_are_and_lacks_at_most_the_floor_of_each_partition(
    uploads: list[tuple[int, int, int]], size: int
) -> None:
    campaigns = listed(records_of(uploads, size))

    by_partition = [len({account for p, account, _ in uploads if p == partition}) for partition in range(PARTITIONS)]
    members = sum(campaign.members for campaign in campaigns)
    assert members <= sum(by_partition)
    assert members >= sum(count for count in by_partition if count > FLOOR)
    assert len(campaigns) <= 1


@given(shown, st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_records_say_the_same_in_any_order_and_when_they_come_twice(
    uploads: list[tuple[int, int, int]], random: object
) -> None:
    told = list(dict(records_of(uploads, 7)).items())
    mixed = [*told, *told]
    random.shuffle(mixed)  # type: ignore[attr-defined]

    assert listed(told) == listed(mixed)
