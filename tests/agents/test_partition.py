"""A partition's life without servers: every cell of the table, and what is done in the cells that do something."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import pytest

from gate.errors import StateUnreadable
from streams.pipeline.effects import Effects
from streams.worker import partition as life
from streams.worker.changelog import Accounts
from streams.worker.commit import Fenced, Hooks, Owner
from streams.worker.partition import TABLE, Event, ImpossibleStep, Partition, State
from tests.waiting import eventually

S, E = State, Event

EXPECTED = {
    S.UNASSIGNED: {
        E.ASSIGNED: S.OPENING, E.REVOKED: S.UNASSIGNED, E.STOP: S.UNASSIGNED, E.TOPIC_CHANGED: S.UNASSIGNED,
    },
    S.OPENING: {
        E.OPENED: S.LIVE, E.OPEN_FAILED: S.OPENING, E.BROKEN: S.OPENING, E.TOPIC_CHANGED: S.OPENING,
        E.REVOKED: S.UNASSIGNED, E.STOP: S.UNASSIGNED,
    },
    S.LIVE: {
        E.FETCH: S.FOLDING, E.COMMIT_OK: S.LIVE, E.COMMIT_FAILED: S.FENCED, E.MISPLACED: S.FENCED,
        E.TOPIC_CHANGED: S.FENCED, E.REVOKED: S.SETTLING, E.STOP: S.SETTLING,
    },
    S.FOLDING: {
        E.FOLDED: S.LIVE, E.FOLD_FAILED: S.FENCED, E.COMMIT_OK: S.FOLDING, E.COMMIT_FAILED: S.FENCED,
        E.TOPIC_CHANGED: S.FENCED, E.UNREADABLE_HALT: S.HALTED, E.BROKEN: S.HALTED, E.REVOKED: S.SETTLING,
        E.STOP: S.SETTLING,
    },
    S.SETTLING: {
        E.SETTLED: S.UNASSIGNED, E.FOLDED: S.SETTLING, E.FOLD_FAILED: S.SETTLING, E.COMMIT_OK: S.SETTLING,
        E.COMMIT_FAILED: S.SETTLING, E.UNREADABLE_HALT: S.SETTLING, E.BROKEN: S.SETTLING,
        E.TOPIC_CHANGED: S.SETTLING, E.REVOKED: S.SETTLING, E.STOP: S.SETTLING,
    },
    S.FENCED: {
        E.RETRY: S.OPENING, E.TOPIC_CHANGED: S.FENCED, E.REVOKED: S.UNASSIGNED, E.STOP: S.UNASSIGNED,
    },
    S.HALTED: {
        E.RESUME: S.LIVE, E.COMMIT_OK: S.HALTED, E.COMMIT_FAILED: S.FENCED, E.TOPIC_CHANGED: S.FENCED,
        E.REVOKED: S.SETTLING, E.STOP: S.SETTLING,
    },
}  # fmt: skip


class FakeOwner:
    """An owner whose opening and settling end when the test says so, if it says so at all."""

    def __init__(self, accounts: Accounts) -> None:
        self.accounts = accounts
        self.partition = accounts.partition
        self.epoch = "c/t"
        self.next = 7
        self.behind = 0
        self.is_over = False
        self.opening: Exception | None = None
        self.swallows_cancellation = False
        self.may_open = asyncio.Event()
        self.may_settle = asyncio.Event()

    async def open(self) -> int:
        try:
            await self.may_open.wait()
        except asyncio.CancelledError:
            if not self.swallows_cancellation:
                raise
        if self.opening is not None:
            raise self.opening
        return 3

    async def settle(self) -> None:
        await self.may_settle.wait()

    def give_up(self) -> None:
        self.is_over = True

    async def let_go(self) -> None:
        self.give_up()


class Worker:
    """What a partition needs of its worker; keeps what it is told."""

    def __init__(self) -> None:
        self.owners: list[FakeOwner] = []
        self.prepared: list[Owner] = []
        self.closed: list[Owner] = []
        self.reads: list[int] = []
        self.requests = 0
        self.failures: list[Exception] = []
        self.ends: list[Exception] = []
        self.effects: list[Effects] = []
        self.taken_back: list[Effects] = []

    def new_owner(self, accounts: Accounts, hooks: Hooks) -> Owner:
        self.owners.append(FakeOwner(accounts))
        return cast(Owner, self.owners[-1])

    async def prepare(self, owner: Owner) -> None:
        self.prepared.append(owner)

    def close(self, owner: Owner) -> None:
        self.closed.append(owner)

    def read_from(self, partition: int, offset: int) -> None:
        self.reads.append(offset)

    def request_more(self) -> None:
        self.requests += 1

    def opened(self, partition: int, owner: Owner, records: int) -> None:
        pass

    def open_failed(self, error: Exception) -> None:
        self.failures.append(error)

    def fenced(self, partition: int, error: Exception) -> None:
        self.failures.append(error)

    def committed(self, effects: Effects, seconds: float) -> None:
        self.effects.append(effects)

    def not_committed(self, partition: int, effects: Sequence[Effects]) -> None:
        self.taken_back += effects

    def end(self, error: Exception) -> None:
        self.ends.append(error)


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(life, "TRY_AGAIN_S", 0.0)
    monkeypatch.setattr(life, "FENCED_PAUSE_S", 0.0)


async def partition_in(state: State) -> tuple[Partition, Worker]:
    """A partition that came into `state` by events."""
    worker = Worker()
    partition = Partition(3, worker)
    if state is not S.UNASSIGNED:
        partition.on(E.ASSIGNED)
        await eventually(lambda: worker.owners)
    if state not in (S.UNASSIGNED, S.OPENING):
        worker.owners[0].may_open.set()
        await partition.rest()
    ways = {
        S.FOLDING: [E.FETCH], S.SETTLING: [E.REVOKED], S.FENCED: [E.COMMIT_FAILED],
        S.HALTED: [E.FETCH, E.UNREADABLE_HALT],
    }  # fmt: skip
    for event in ways.get(state, []):
        partition.on(event, ValueError("so"))
    assert partition.state is state
    return partition, worker


def test_the_table_holds_every_cell_that_can_happen_and_no_other() -> None:
    expected = {(state, event): after for state, row in EXPECTED.items() for event, after in row.items()}

    assert {cell: step.state for cell, step in TABLE.items()} == expected


@pytest.mark.parametrize("state", State, ids=lambda state: state.value)
@pytest.mark.parametrize("event", Event, ids=lambda event: event.name.lower())
async def test_each_cell_leads_where_the_table_says_or_raises(state: State, event: Event) -> None:
    partition, _ = await partition_in(state)
    after = EXPECTED[state].get(event)

    if after is None:
        with pytest.raises(ImpossibleStep, match=f"partition 3 is {state.value}, yet"):
            partition.on(event, ValueError("so"))
        assert partition.state is state
    else:
        partition.on(event, ValueError("so"))
        assert partition.state is after
    await _end(partition)


async def _end(partition: Partition) -> None:
    partition.on(E.STOP)
    if isinstance(partition.owner, FakeOwner):
        partition.owner.may_settle.set()
        partition._hand_is_free.set()
    await partition.rest()


async def test_an_opened_partition_is_read_from_its_owners_position() -> None:
    partition, worker = await partition_in(S.LIVE)

    assert worker.reads == [7]
    assert worker.requests == 1
    assert partition.owner is cast(Any, worker.owners[0])


@pytest.mark.parametrize(("before", "opened"), [(0, 60_000), (60_000, 0)])
async def test_an_opened_partition_is_as_far_behind_as_its_owner_and_not_as_it_was_when_it_left(
    before: int, opened: int
) -> None:
    partition, worker = await partition_in(S.OPENING)
    partition.behind = before
    worker.owners[0].behind = opened

    worker.owners[0].may_open.set()
    await partition.rest()

    assert partition.behind == opened


async def test_it_is_known_how_far_behind_a_partition_is_from_its_first_opening_until_the_group_takes_it_away() -> None:
    known: list[bool] = []
    partition, worker = await partition_in(S.OPENING)
    known.append(partition.has_opened)
    worker.owners[0].may_open.set()
    await partition.rest()
    known.append(partition.has_opened)
    partition.on(E.COMMIT_FAILED, OSError("away"))
    known.append(partition.has_opened)

    partition.on(E.REVOKED)

    assert [*known, partition.has_opened] == [False, True, True, False]


async def test_a_live_partition_that_the_group_takes_away_is_of_unknown_length() -> None:
    partition, worker = await partition_in(S.LIVE)
    worker.owners[0].may_settle.set()

    partition.on(E.REVOKED)
    await partition.rest()

    assert not partition.has_opened


async def test_an_opening_that_fails_is_tried_again_with_a_new_owner() -> None:
    partition, worker = await partition_in(S.OPENING)
    worker.owners[0].opening = OSError("away")

    worker.owners[0].may_open.set()
    await eventually(lambda: len(worker.owners) == 2)
    worker.owners[1].may_open.set()
    await eventually(lambda: partition.state is S.LIVE)

    assert [str(error) for error in worker.failures] == ["away"]
    assert worker.closed == cast(Any, worker.owners[:1])


async def test_a_changelog_that_cannot_be_read_ends_the_worker() -> None:
    partition, worker = await partition_in(S.OPENING)
    worker.owners[0].opening = StateUnreadable("junk")

    worker.owners[0].may_open.set()
    await partition.rest()

    assert [str(error) for error in worker.ends] == ["junk"]
    assert len(worker.owners) == 1


async def test_a_failed_transaction_gives_up_the_owner_and_opens_the_next() -> None:
    partition, worker = await partition_in(S.FOLDING)
    first = worker.owners[0]

    partition.commit_failed(cast(Owner, first), Fenced("another owner"))
    await eventually(lambda: len(worker.owners) == 2)
    worker.owners[1].may_open.set()
    await eventually(lambda: partition.state is S.LIVE)

    assert first.is_over
    assert worker.closed == cast(Any, [first])


async def test_what_an_owner_of_before_meets_has_no_consequence() -> None:
    partition, worker = await partition_in(S.FENCED)
    await eventually(lambda: len(worker.owners) == 2)
    worker.owners[1].may_open.set()
    await eventually(lambda: partition.state is S.LIVE)

    for event in (E.FOLDED, E.FOLD_FAILED, E.COMMIT_FAILED, E.UNREADABLE_HALT):
        partition.of_owner(cast(Owner, worker.owners[0]), event, ValueError("late"))

    assert partition.state is S.LIVE
    assert len(worker.failures) == 1


async def test_a_partition_that_is_taken_away_first_folds_and_commits_what_is_in_hand() -> None:
    partition, worker = await partition_in(S.FOLDING)
    owner = worker.owners[0]

    partition.on(E.REVOKED)
    await asyncio.sleep(0)
    assert partition.state is S.SETTLING
    partition.of_owner(cast(Owner, owner), E.FOLDED)
    owner.may_settle.set()
    await partition.rest()

    assert partition.state is S.UNASSIGNED
    assert owner.is_over
    assert worker.closed == cast(Any, [owner])


async def test_a_settling_that_takes_too_long_is_cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(life, "FINISH_WITHIN_S", 0.01)
    partition, worker = await partition_in(S.FOLDING)

    partition.on(E.REVOKED)
    await partition.rest()

    assert partition.state is S.UNASSIGNED
    assert worker.owners[0].is_over


async def test_a_partition_that_comes_back_keeps_its_states_in_memory() -> None:
    partition, worker = await partition_in(S.SETTLING)
    worker.owners[0].may_settle.set()
    await partition.rest()

    partition.on(E.ASSIGNED)
    await eventually(lambda: len(worker.owners) == 2)

    assert worker.owners[1].accounts is worker.owners[0].accounts
    await _end(partition)


async def test_a_revoked_opening_closes_the_owner_it_was_opening() -> None:
    partition, worker = await partition_in(S.OPENING)

    partition.on(E.REVOKED)
    await partition.rest()

    assert partition.state is S.UNASSIGNED
    assert worker.closed == cast(Any, worker.owners)


async def test_a_halted_partition_reads_on_from_where_it_stopped_when_it_is_resumed() -> None:
    partition, worker = await partition_in(S.HALTED)

    partition.resume()

    assert partition.state is S.LIVE
    assert worker.reads == [7, 7]


async def test_a_fault_of_the_life_itself_ends_the_worker() -> None:
    partition, worker = await partition_in(S.OPENING)
    partition.state = S.HALTED  # as no event does

    worker.owners[0].may_open.set()
    await partition.rest()
    await asyncio.sleep(0)

    assert [type(error) for error in worker.ends] == [ImpossibleStep]


async def test_an_event_that_cannot_come_ends_the_worker_where_nobody_else_would() -> None:
    partition, worker = await partition_in(S.LIVE)

    partition.of_owner(cast(Owner, worker.owners[0]), E.FOLDED)

    assert [type(error) for error in worker.ends] == [ImpossibleStep]
    assert partition.state is S.LIVE


@pytest.mark.parametrize("opening", [None, OSError("away"), StateUnreadable("junk")])
async def test_an_opening_that_swallows_its_cancellation_has_no_consequence(opening: Exception | None) -> None:
    partition, worker = await partition_in(S.OPENING)
    worker.owners[0].swallows_cancellation = True
    worker.owners[0].opening = opening

    partition.on(E.REVOKED)
    await partition.rest()
    await asyncio.sleep(0)

    assert partition.state is S.UNASSIGNED
    assert partition.owner is None
    assert worker.closed == cast(Any, worker.owners)
    assert worker.ends == []
