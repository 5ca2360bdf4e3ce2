"""The acts of the kill switch over a store in memory: what is written, who is waited for, what is refused."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable

import pytest

from gate.app.operate import Operate
from gate.core.duration import HOUR_US, MINUTE_US
from gate.core.pause.board import KEEP_ENDED_US, Board, Pause
from gate.core.pause.scope import Action, Scope
from gate.errors import ControlRefused, OperatorError, StoreUnavailable, UploadGateError
from gate.ports.boards import Acknowledgement
from gate.records.pause import MAX_REV
from gate.stores.memory.boards import MemoryBoardStore

NOON_US = 1_800_000_000_000_000
NEW = Scope(classes=frozenset(("new",)))


class StoppedClock:
    """A clock that moves when it is told to."""

    def __init__(self, now_us: int = NOON_US) -> None:
        self.at_us = now_us

    def now_us(self) -> int:
        return self.at_us


class LosesAnswers(MemoryBoardStore):
    """Writes, then loses the answer; or, told so, does not write either."""

    writes = True

    async def replace(self, expected_rev: int, board: Board) -> bool:
        if self.writes:
            await super().replace(expected_rev, board)
        raise StoreUnavailable("the answer was lost")


def ids() -> Callable[[], str]:
    numbers = itertools.count(1)
    return lambda: f"p-{next(numbers)}"


@pytest.fixture
def clock() -> StoppedClock:
    return StoppedClock()


@pytest.fixture
def store(clock: StoppedClock) -> MemoryBoardStore:
    return MemoryBoardStore(clock)


@pytest.fixture
def operate(store: MemoryBoardStore, clock: StoppedClock) -> Operate:
    return Operate(store, ids())


async def raid(operate: Operate, for_us: int = 10 * MINUTE_US) -> Pause:
    return await operate.pause(NEW, Action.STOP, "raid", "bots", "ann", for_us)


async def test_a_pause_is_written_with_the_next_revision_and_its_end(operate: Operate, store: MemoryBoardStore) -> None:
    first = await raid(operate)

    second = await raid(operate)

    board = await store.read()
    assert (first.rev, second.rev) == (1, 2)
    assert board.pauses == {first.id: first, second.id: second}
    assert second.expires_at_us == NOON_US + 10 * MINUTE_US
    assert board.active(NOON_US) == [first, second]


async def test_twenty_pauses_at_once_all_land_with_revisions_of_their_own(
    operate: Operate, store: MemoryBoardStore
) -> None:
    await asyncio.gather(*(raid(operate) for _ in range(20)))

    pauses = (await store.read()).pauses.values()
    assert sorted(pause.rev for pause in pauses) == list(range(1, 21))


async def test_a_released_pause_stays_on_the_board_as_released(
    operate: Operate, store: MemoryBoardStore, clock: StoppedClock
) -> None:
    pause = await raid(operate)
    clock.at_us += MINUTE_US

    released = await operate.release(pause.id, "bob")

    assert (released.rev, released.released_by, released.released_at_us) == (2, "bob", NOON_US + MINUTE_US)
    assert (await store.read()).active(clock.at_us) == []


async def test_releasing_what_is_unknown_names_what_is_active(operate: Operate) -> None:
    pause = await raid(operate)

    with pytest.raises(OperatorError, match=f"no pause p-none.*{pause.id}"):
        await operate.release("p-none", "ann")


async def test_releasing_what_a_newer_release_wrote_says_what_to_do(operate: Operate, store: MemoryBoardStore) -> None:
    store.put_document(b'{"version":2,"pauses":[{"id":"p-newer","rev":1,"scope":{"ages":["1d"]}}]}')

    with pytest.raises(OperatorError, match="with the release that wrote it"):
        await operate.release("p-newer", "ann")


async def test_releasing_twice_tells_who_did_it(operate: Operate) -> None:
    pause = await raid(operate)
    await operate.release(pause.id, "bob")

    with pytest.raises(OperatorError, match="released already, by bob"):
        await operate.release(pause.id, "ann")


async def test_releasing_what_has_expired_says_so(operate: Operate, clock: StoppedClock) -> None:
    pause = await raid(operate)
    clock.at_us = pause.expires_at_us + MINUTE_US

    with pytest.raises(OperatorError, match="expired already, 1m ago"):
        await operate.release(pause.id, "ann")


@pytest.mark.parametrize(
    ("for_us", "error"), [(24 * HOUR_US + 1, ControlRefused), (0, OperatorError), (-1, OperatorError)]
)
async def test_a_length_one_person_may_not_set_is_refused_and_nothing_written(
    operate: Operate, store: MemoryBoardStore, for_us: int, error: type[UploadGateError]
) -> None:
    with pytest.raises(error):
        await raid(operate, for_us)

    assert (await store.read()).pauses == {}


async def test_what_ended_long_ago_leaves_the_board_and_the_revision_goes_on(
    operate: Operate, store: MemoryBoardStore, clock: StoppedClock
) -> None:
    old = await raid(operate)
    await raid(operate)
    clock.at_us = old.expires_at_us + KEEP_ENDED_US + HOUR_US

    third = await raid(operate)

    assert third.rev == 3
    assert old.id not in (await store.read()).pauses


async def test_a_write_whose_answer_was_lost_is_found_to_stand(clock: StoppedClock) -> None:
    store = LosesAnswers(clock)

    pause = await raid(Operate(store, ids()))

    assert (await store.read()).pauses == {pause.id: pause}


async def test_a_write_that_never_landed_is_an_error(clock: StoppedClock) -> None:
    store = LosesAnswers(clock)
    store.writes = False

    with pytest.raises(StoreUnavailable):
        await raid(Operate(store, ids()))


async def test_a_board_that_changes_for_ever_ends_in_an_error(clock: StoppedClock) -> None:
    class Contended(MemoryBoardStore):
        async def replace(self, expected_rev: int, board: Board) -> bool:
            return False

    with pytest.raises(UploadGateError, match="changed 200 times"):
        await raid(Operate(Contended(clock), ids()))


async def test_a_pause_has_no_start_and_ends_by_the_stores_clock(operate: Operate, clock: StoppedClock) -> None:
    """An operator's clock is never read: a gate whose clock is off must not find the pause in its future."""
    clock.at_us += HOUR_US

    pause = await raid(operate)

    assert (pause.starts_at_us, pause.set_at_us) == (None, clock.at_us)
    assert pause.active(NOON_US - HOUR_US)
    assert pause.expires_at_us == clock.at_us + 10 * MINUTE_US


async def test_an_acknowledgement_dated_in_the_future_moves_no_pause(
    operate: Operate, store: MemoryBoardStore, clock: StoppedClock
) -> None:
    clock.at_us += 600_000_000
    await store.acknowledge(Acknowledgement("g-1", "http://g-1", 0, 0))
    clock.at_us -= 600_000_000

    pause = await raid(operate)

    assert pause.active(NOON_US)
    assert pause.expires_at_us == NOON_US + 10 * MINUTE_US


async def test_a_revision_lies_above_what_gates_hold_though_the_store_was_restored_to_less(
    operate: Operate, store: MemoryBoardStore
) -> None:
    await store.acknowledge(Acknowledgement("g-1", "http://g-1", 50, 0))
    await store.acknowledge(Acknowledgement("g-2", "http://g-2", MAX_REV, 0))

    assert (await raid(operate)).rev == 51


async def test_an_unreadable_board_is_waited_for_until_a_gate_has_repaired_it(
    operate: Operate, store: MemoryBoardStore
) -> None:
    store.put_document(b"garbage")
    pausing = asyncio.create_task(raid(operate))
    await asyncio.sleep(0.02)
    before = pausing.done()

    await store.repair(Board())

    assert not before
    assert (await pausing).rev == 1
