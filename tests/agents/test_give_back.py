"""What a worker's partitions take of a batch that is never committed, and what they wait for before they are read."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple, cast

import pytest
from prometheus_client import CollectorRegistry

from gate.records.topics import Topics
from streams.core.crowd import DEVICE, Backfill, Crowd
from streams.files.scorecards import load_scorecard
from streams.pipeline.effects import CrowdCounts, Effects, Scores
from streams.pipeline.step import Record
from streams.worker import assignment
from streams.worker.agents import Fetch, Folding
from streams.worker.assignment import Partitions
from streams.worker.changelog import Accounts
from streams.worker.commit import Owner, Where
from streams.worker.metrics import WorkerMetrics
from streams.worker.outage import Outage
from streams.worker.partition import Partition, State
from streams.worker.scores_to_redis import ScoresToRedis
from tests.agents.test_folding import FakeOwner, FakePartition

NOW_MS = 1_795_428_000_000


def shared_device(accounts: int, unreadable: int = 0) -> list[Any]:
    """One upload of each account from one device, and events that nobody can read."""
    values = [
        b'{"type":"attempted","id":"e","at":"2026-11-23T10:00:00Z","account":{"id":"a-%d"},"device":"d"}' % number
        for number in range(accounts)
    ]
    values += [b"junk"] * unreadable
    return [Record(at, b"a-%d" % at, value, (), NOW_MS) for at, value in enumerate(values)]


def all_partitions(crowd: Crowd, backfill: Backfill) -> Partitions:
    where, metrics = Where("k:1", Topics(), "g"), WorkerMetrics(CollectorRegistry())
    kafka, redis = Outage("Kafka", lambda up: None), Outage("Redis", lambda up: None)
    return Partitions(where, None, metrics, kafka, redis, crowd.give_back, wait_again=backfill.give_back)


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


@pytest.mark.parametrize("handed_over", [False, True])
async def test_accounts_whose_new_scores_came_to_nothing_wait_again(handed_over: bool) -> None:
    """The device is shared by the second fetch, which fails: before it is handed over, or before it is committed."""
    crowd, owner, records = Crowd(), FakeOwner(), shared_device(2)
    backfill = Backfill(crowd)
    folding = Folding(load_scorecard(None), crowd, b"salt", now_us=lambda: 0, backfill=backfill)
    partitions = all_partitions(crowd, backfill)
    partition = cast(Partition, FakePartition())
    await folding.work(Fetch(partition, cast(Owner, owner), records[:1], 1))
    owner.accounts.states.update(owner.acted[0].states)
    owner.fails = None if handed_over else OSError("away")

    await folding.work(Fetch(partition, cast(Owner, owner), records[1:], 2))
    partitions.not_committed(0, owner.acted[1:])

    assert [one.part(Scores).waited for one in owner.acted[1:]] == ([("a-0",)] if handed_over else [])
    assert backfill.take(0, 9) == ["a-0"]


def test_counts_of_an_owner_that_ends_with_uncommitted_batches_are_taken_again() -> None:
    crowd = Crowd()
    for account in range(7):
        crowd.note(3, DEVICE, 5, account, NOW_MS * 1_000)
    taken = crowd.take_changed(3)
    partitions = all_partitions(crowd, Backfill(crowd))
    before = crowd.take_changed(3)

    partitions.not_committed(3, [Effects.of(9, CrowdCounts(taken))])
    again = crowd.take_changed(3)

    assert before == []
    assert again == taken


def test_a_partition_that_is_given_up_has_no_gauges_any_more_though_its_batches_are_still_committed() -> None:
    registry = CollectorRegistry()
    metrics, up = WorkerMetrics(registry), Outage("Kafka", lambda up: None)
    partitions = Partitions(Where("k:1", Topics(), "g"), None, metrics, up, up)
    partition = partitions._all[3] = Partition(3, partitions)
    partition.owner = Owner(partitions.where, partition.accounts, ScoresToRedis(None, up, 3), partition)
    partition.state = State.LIVE
    partitions.count()
    before = registry.get_sample_value("upload_gate_worker_state_bytes", {"partition": "3"})

    metrics.forget_partition(3)
    partition.state = State.SETTLING
    partitions.count()

    assert before == 0
    assert registry.get_sample_value("upload_gate_worker_state_bytes", {"partition": "3"}) is None
    assert registry.get_sample_value("upload_gate_worker_partition_accounts", {"partition": "3"}) is None


@pytest.mark.parametrize(
    ("knows_others", "behind", "is_due"), [(False, 0, False), (True, 6, False), (True, 5, True), (False, 6, False)]
)
def test_accounts_are_scored_again_once_all_counts_were_heard_and_their_partition_has_caught_up(
    knows_others: bool, behind: int, is_due: bool
) -> None:
    metrics, up = WorkerMetrics(CollectorRegistry()), Outage("Kafka", lambda up: None)
    partitions = Partitions(
        Where("k:1", Topics(), "g"), None, metrics, up, up, knows_others=lambda: knows_others, act_within_records=5
    )
    partition = partitions._all[3] = Partition(3, partitions)
    partition.behind = behind
    owner = partitions.new_owner(partition.accounts, partition)

    owner.chores.rescore(1)

    assert owner.chores.is_due(1) is is_due


class Named(NamedTuple):
    """What an open owner has of which `prepare` reads."""

    accounts: Accounts


async def test_a_partition_is_read_once_its_worker_knows_the_others_and_the_accounts_that_it_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(assignment, "REMEMBERED_A_TURN", 2)
    monkeypatch.setattr(assignment, "HEAR_AGAIN_S", 0.0)
    known = [False, False, True]
    remembered: list[str] = []
    metrics, up = WorkerMetrics(CollectorRegistry()), Outage("Kafka", lambda up: None)
    partitions = Partitions(
        Where("k:1", Topics(), "g"),
        None,
        metrics,
        up,
        up,
        knows_others=lambda: known.pop(0),
        remember=remembered.extend,
    )
    accounts = Accounts(3)
    accounts.states.update({f"a-{n}": b"" for n in range(5)})

    await partitions.prepare(cast(Owner, Named(accounts)))

    assert known == []
    assert sorted(remembered) == sorted(accounts.states)


async def test_a_partition_is_read_although_the_others_are_not_heard_of_and_at_once_where_it_has_no_account(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(assignment, "HEAR_WITHIN_S", 0.001)
    looks: list[None] = []
    remembered: list[str] = []
    metrics, up = WorkerMetrics(CollectorRegistry()), Outage("Kafka", lambda up: None)
    partitions = Partitions(
        Where("k:1", Topics(), "g"), None, metrics, up, up, remember=remembered.extend,
        knows_others=lambda: bool(looks.append(None)),
    )  # fmt: skip
    full, empty = Accounts(3), Accounts(4)
    full.states["a"] = b""

    await partitions.prepare(cast(Owner, Named(empty)))
    before = list(looks)
    await partitions.prepare(cast(Owner, Named(full)))

    assert before == []
    assert remembered == ["a"]


async def test_a_partition_is_read_once_its_worker_has_looked_at_all_that_it_heard_turn_by_turn() -> None:
    turns: list[int] = []
    ran: list[int] = []
    loop = asyncio.get_running_loop()

    def look() -> bool:
        turns.append(len(ran))
        loop.call_soon(ran.append, 0)
        return len(turns) < 4

    metrics, up = WorkerMetrics(CollectorRegistry()), Outage("Kafka", lambda up: None)
    partitions = Partitions(Where("k:1", Topics(), "g"), None, metrics, up, up, look=look)
    accounts = Accounts(3)
    accounts.states["a"] = b""

    await partitions.prepare(cast(Owner, Named(accounts)))

    assert turns == [0, 1, 2, 3]
