"""Crowd counts that were taken for a batch which is never committed are published with a later one."""

from __future__ import annotations

from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry
from test_folding import FakeOwner, FakePartition

from gate.records.topics import Topics
from streams.core.crowd import DEVICE, Crowd
from streams.files.scorecards import load_scorecard
from streams.pipeline.effects import CrowdCounts, Effects
from streams.pipeline.step import Record
from streams.worker.agents import Fetch, Folding
from streams.worker.assignment import Partitions
from streams.worker.commit import Owner, Where
from streams.worker.metrics import WorkerMetrics
from streams.worker.outage import Outage
from streams.worker.partition import Partition

NOW_MS = 1_795_428_000_000


def shared_device(accounts: int, unreadable: int = 0) -> list[Any]:
    """One upload of each account from one device, and events that nobody can read."""
    values = [
        b'{"type":"attempted","id":"e","at":"2026-11-23T10:00:00Z","account":{"id":"a-%d"},"device":"d"}' % number
        for number in range(accounts)
    ]
    values += [b"junk"] * unreadable
    return [Record(at, b"a-%d" % at, value, (), NOW_MS) for at, value in enumerate(values)]


@pytest.mark.parametrize(("unreadable", "fails"), [(0, OSError("away")), (2_000, None)])
async def test_counts_of_a_fetch_that_comes_to_nothing_are_taken_again(
    unreadable: int, fails: Exception | None
) -> None:
    crowd, owner, records = Crowd(), FakeOwner(), shared_device(7, unreadable)
    owner.fails = fails
    folding = Folding(load_scorecard(None), crowd, b"salt", now_us=lambda: 0)

    await folding.work(Fetch(cast(Partition, FakePartition()), cast(Owner, owner), records, len(records)))

    assert owner.acted == []
    assert [count.count for count in crowd.take_changed(0)] == [7]


def test_counts_of_an_owner_that_ends_with_uncommitted_batches_are_taken_again() -> None:
    crowd = Crowd()
    for account in range(7):
        crowd.note(3, DEVICE, 5, account, NOW_MS * 1_000)
    taken = crowd.take_changed(3)
    where, metrics = Where("k:1", Topics(), "g"), WorkerMetrics(CollectorRegistry())
    kafka, redis = Outage("Kafka", lambda up: None), Outage("Redis", lambda up: None)
    before = crowd.take_changed(3)

    partitions = Partitions(where, None, metrics, kafka, redis, crowd.give_back)
    partitions.not_committed(3, [Effects.of(9, CrowdCounts(taken))])
    again = crowd.take_changed(3)

    assert before == []
    assert again == taken
