"""What the agents make of a fetch: where the owner stands afterwards, and which event its partition is told."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from gate.records.topics import Topics
from streams.core.crowd import Crowd
from streams.files.scorecards import load_scorecard
from streams.pipeline.effects import Effects
from streams.worker.agents import Fetch, Folding
from streams.worker.breaker import Breaker
from streams.worker.commit import Owner, Where
from streams.worker.partition import Event, Partition


class FakeOwner:
    """Keeps the effects it is given, or fails."""

    def __init__(self) -> None:
        self.where = Where("k:1", Topics(), "g")
        self.accounts = SimpleNamespace(states={})
        self.partition = 0
        self.epoch = "c/t"
        self.next = 0
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
        self.told: list[tuple[Event, Exception | None]] = []

    def of_owner(self, owner: Owner, event: Event, error: Exception | None = None) -> None:
        self.told.append((event, error))


def junk(count: int) -> list[SimpleNamespace]:
    return [
        SimpleNamespace(offset=offset, key=b"a", value=b"junk", headers=(), timestamp=1_795_428_000_500)
        for offset in range(count)
    ]


async def worked(records: list[SimpleNamespace], end: int, owner: FakeOwner, drain: bool = False) -> FakePartition:
    partition = FakePartition()
    folding = Folding(load_scorecard(None), Crowd(), b"salt", drain, lambda: 0)
    await folding.work(Fetch(cast(Partition, partition), cast(Owner, owner), records, end))
    return partition


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


async def test_a_fetch_of_an_owner_that_was_given_up_is_left_alone() -> None:
    owner = FakeOwner()
    owner.is_open = False

    partition = await worked(junk(3), 3, owner)

    assert owner.acted == []
    assert partition.told == []


async def test_a_fetch_that_fails_is_told_with_its_error() -> None:
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


async def test_a_state_that_nobody_packed_breaks_the_partition() -> None:
    owner = FakeOwner()
    owner.accounts = SimpleNamespace(states={"a-1": b"\x03broken"})
    body = b'{"type":"completed","id":"e","at":"2026-11-23T10:00:00Z","account":{"id":"a-1"},"bytes":7}'
    record: Any = SimpleNamespace(offset=0, key=b"a-1", value=body, headers=(), timestamp=1_795_428_000_500)

    partition = await worked([record], 1, owner)

    assert [event for event, _ in partition.told] == [Event.BROKEN]
