"""How the agents fold a fetch: the owner's offset afterwards, and the event that its partition gets."""

from __future__ import annotations

import gc
import json
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gate.core.duration import DAY_US
from gate.core.score import replaces
from gate.records.topics import Topics
from streams.core.crowd import KINDS, Backfill, Crowd
from streams.core.crowd.record import name
from streams.files.scorecards import load_scorecard
from streams.pipeline.effects import DeadLetters, Effects
from streams.pipeline.effects.dead_letters import REPLAYED_FROM
from streams.pipeline.stamps import Stamps
from streams.pipeline.step import Record
from streams.worker.agents import Fetch, Folding
from streams.worker.breaker import Breaker
from streams.worker.chores import Chores
from streams.worker.commit import Owner, Where
from streams.worker.partition import Event, Partition

FORGET_AFTER_US = 180 * DAY_US


class FakeOwner:
    """Keeps the effects it is given, or fails."""

    def __init__(self) -> None:
        self.where = Where("k:1", Topics(), "g")
        self.accounts = SimpleNamespace(states={})
        self.partition = 0
        self.epoch = "c/t"
        self.next = 0
        self.stamps = Stamps("c/t", 0, (4,), 100)
        self.chores = Chores(FORGET_AFTER_US)
        self.is_open = True
        self.acted: list[Effects] = []
        self.fails: Exception | None = None

    async def act(self, effects: Effects, handed_over: float) -> None:
        if self.fails is not None:
            raise self.fails
        self.acted.append(effects)


class FakePartition:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.number = 0
        self.breaker = Breaker()
        self.behind = 0
        self.told: list[tuple[Event, Exception | None]] = []

    def of_owner(self, owner: Owner, event: Event, error: Exception | None = None) -> None:
        self.told.append((event, error))


def junk(count: int) -> list[Record]:
    return [Record(offset, b"a", b"junk", (), 1_795_428_000_500) for offset in range(count)]


def good(offset: int) -> Record:
    at = "2026-11-23T10:00:00Z"
    body = b'{"type":"completed","id":"e-%d","at":"%s","account":{"id":"a-1"},"bytes":7}' % (offset, at.encode())
    return Record(offset, b"a-1", body, (), 1_795_428_000_500)


async def worked(
    records: list[Record], end: int, owner: FakeOwner, drain: bool = False, behind: int = 0
) -> FakePartition:
    partition = FakePartition()
    folding = Folding(load_scorecard(None), Crowd(), b"salt", drain, lambda: 0, act_within_records=100)
    await folding.work(Fetch(cast(Partition, partition), cast(Owner, owner), records, end, behind))
    return partition


COMPLETED = Record(
    0,
    b"a-1",
    b'{"type":"completed","id":"e","at":"2026-11-23T10:00:00Z","account":{"id":"a-1"},"bytes":7}',
    (),
    1_795_428_000_500,
)


@pytest.mark.parametrize(("behind", "acts"), [(0, True), (100, True), (101, False)])
async def test_scores_act_only_while_the_partition_is_within_its_bound(behind: int, acts: bool) -> None:
    owner = FakeOwner()

    await worked([COMPLETED], 1, owner, behind=behind)

    (effects,) = owner.acted
    assert [score.acts for score, _ in effects.scores] == [acts]
    lagging = [i.amount for part in effects.parts for i in part.increments() if i.metric.endswith("_lagging")]
    assert lagging == ([] if acts else [1])


async def test_the_next_fetch_starts_where_the_consumer_was_after_this_one() -> None:
    owner = FakeOwner()

    partition = await worked(junk(3), 5, owner)

    assert [effects.next_offset for effects in owner.acted] == [5]
    assert [event for event, _ in partition.told] == [Event.FOLDED]


async def test_another_step_than_scoring_can_be_given() -> None:
    owner = FakeOwner()
    told: list[int] = []

    def step(batch: list[object], *_: object) -> Effects:
        told.append(len(batch))
        return Effects.of(1)

    folding = Folding(load_scorecard(None), Crowd(), b"salt", step=step)

    await folding.work(Fetch(cast(Partition, FakePartition()), cast(Owner, owner), junk(3), 5))

    assert told == [3]
    assert [(effects.dead, effects.next_offset) for effects in owner.acted] == [([], 5)]


@pytest.mark.parametrize("fails", [False, True])
async def test_no_cycles_of_garbage_are_looked_for_while_a_batch_is_folded_and_they_are_afterwards(fails: bool) -> None:
    looked_for: list[bool] = []

    def step(*_: object) -> Effects:
        looked_for.append(gc.isenabled())
        if fails:
            raise ValueError("folding failed")
        return Effects.of(1)

    folding = Folding(load_scorecard(None), Crowd(), b"salt", step=step)

    await folding.work(Fetch(cast(Partition, FakePartition()), cast(Owner, FakeOwner()), junk(1), 1))

    assert (looked_for, gc.isenabled()) == ([False], True)


async def test_a_fetch_of_an_owner_that_was_given_up_is_left_alone() -> None:
    owner = FakeOwner()
    owner.is_open = False

    partition = await worked(junk(3), 3, owner)

    assert owner.acted == []
    assert partition.told == []


async def test_a_fetch_that_fails_is_reported_with_its_error() -> None:
    owner = FakeOwner()
    owner.fails = OSError("away")

    partition = await worked(junk(3), 3, owner)

    assert partition.told == [(Event.FOLD_FAILED, owner.fails)]


async def test_a_fetch_of_mostly_unreadable_events_is_not_committed_unless_they_are_drained() -> None:
    stopped, drained = FakeOwner(), FakeOwner()

    told = (await worked(junk(1_000), 1_000, stopped)).told
    drained_told = (await worked(junk(1_000), 1_000, drained, drain=True)).told

    assert [event for event, _ in told] == [Event.UNREADABLE_HALT]
    assert "is not read on from offset 0" in str(told[0][1])
    assert stopped.acted == []
    assert [event for event, _ in drained_told] == [Event.FOLDED]
    assert len(drained.acted) == 1


async def test_a_flood_of_unreadable_events_is_thinned_said_once_and_stops_no_readable_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    owner, partition = FakeOwner(), FakePartition()
    folding = Folding(load_scorecard(None), Crowd(), b"salt", now_us=lambda: 0)
    log = [good(record.offset) if record.offset % 20 == 7 else record for record in junk(40_000)]

    for at in range(0, 40_000, 2_000):
        await folding.work(Fetch(cast(Partition, partition), cast(Owner, owner), log[at : at + 2_000], at + 2_000))

    dead = [effects.part(DeadLetters) for effects in owner.acted]
    letters, skipped = sum(len(part.letters) for part in dead), sum(sum(part.skipped.values()) for part in dead)
    said = [record.getMessage() for record in caplog.records]
    assert [event for event, _ in partition.told] == [Event.FOLDED] * 20
    assert sum(effects.events["completed"] for effects in owner.acted) == 2_000
    ten_thousandth = [n for n in range(40_000) if n % 20 != 7][10_000]
    assert letters == 10_000 + sum(n % 100 == 0 for n in range(ten_thousandth, 40_000))
    assert letters + skipped == 38_000
    assert len(said) == 1
    assert "the worker scores the readable ones" in said[0]


async def test_a_dead_letter_keeps_the_headers_of_its_record_and_how_long_it_was() -> None:
    owner = FakeOwner()
    headers: Any = ((REPLAYED_FROM, b"2:1417"), ("ce_type", b"uploads.attempted"), ("ce_gone", None))
    record = junk(1)[0]._replace(headers=headers, value=b"x" * (600 * 1024))

    await worked([record], 1, owner)

    ((_, value),) = owner.acted[0].part(DeadLetters).records(0)
    body = json.loads(value)
    assert body["replayed"] == "2:1417"
    assert body["truncated"] == 600 * 1024
    assert body["headers"] == [[REPLAYED_FROM, "MjoxNDE3"], ["ce_type", "dXBsb2Fkcy5hdHRlbXB0ZWQ="]]


async def test_a_state_that_nobody_packed_breaks_the_partition() -> None:
    owner = FakeOwner()
    owner.accounts = SimpleNamespace(states={"a-1": b"\x03broken"})
    body = b'{"type":"completed","id":"e","at":"2026-11-23T10:00:00Z","account":{"id":"a-1"},"bytes":7}'
    record = Record(0, b"a-1", body, (), 1_795_428_000_500)

    partition = await worked([record], 1, owner)

    assert [event for event, _ in partition.told] == [Event.BROKEN]


def shows(offset: int, account: str) -> Record:
    at = "2026-11-23T10:00:00Z"
    body = {"type": "attempted", "id": f"e-{offset}", "at": at, "account": {"id": account}, "device": "farm"}
    value = json.dumps({**body, "upload_id": f"u-{offset}", "media": {"kind": "image"}}).encode()
    return Record(offset, account.encode(), value, (), 1_795_428_000_500)


async def test_an_account_that_was_scored_far_behind_has_a_score_that_acts_once_the_partition_has_caught_up() -> None:
    owner, partition = FakeOwner(), FakePartition()
    owner.chores = Chores(None, may_rescore=lambda: partition.behind <= 100)
    folding = Folding(load_scorecard(None), Crowd(), b"salt", now_us=lambda: 0, act_within_records=100)
    partition.behind = 101
    await folding.work(Fetch(cast(Partition, partition), cast(Owner, owner), [good(0)], 1, 101))
    owner.accounts.states, owner.next = owner.acted[0].states, 1
    is_due = owner.chores.is_due(1)

    partition.behind = 100
    assert owner.chores.has_turn(1)
    await folding.work(Fetch(cast(Partition, partition), cast(Owner, owner), (), 1))

    (far, _), (near, _) = (effects.scores[0] for effects in owner.acted)
    assert not is_due
    assert (far.account, far.acts, near.account, near.acts) == ("a-1", False, "a-1", True)
    assert replaces(near.stamp, far.stamp)
    assert not owner.chores.is_due(1)


async def test_the_turn_without_records_scores_accounts_whose_surroundings_have_changed_in_a_new_generation() -> None:
    owner, crowd = FakeOwner(), Crowd()
    backfill = Backfill(crowd)
    owner.chores = Chores(None, lambda: backfill.waiting(0))
    folding = Folding(load_scorecard(None), crowd, b"salt", now_us=lambda: 0, backfill=backfill)
    partition = cast(Partition, FakePartition())
    await folding.work(Fetch(partition, cast(Owner, owner), [shows(0, "a"), shows(1, "b")], 2))
    owner.accounts.states = owner.acted[0].states
    owner.next = 2
    ((kind, value),) = [(kind, value) for kind in KINDS for value in crowd.values_of(kind)]
    crowd.hear(3, name(kind, value), 20)

    assert [owner.chores.has_turn(2) for _ in range(2)] == [False, True]  # they would go with a batch, but none comes
    await folding.work(Fetch(partition, cast(Owner, owner), (), 2))

    (first, turn) = owner.acted
    assert {score.account: score.stamp.generation for score, _ in turn.scores} == {"a": 101, "b": 101}
    assert {score.stamp.offset for score, _ in turn.scores} == {1}
    assert all(now.score.risk > before.score.risk for now, before in zip(turn.scores, first.scores, strict=True))
    assert (turn.states, turn.next_offset) == ({}, 2)
    assert not owner.chores.is_due(2)
