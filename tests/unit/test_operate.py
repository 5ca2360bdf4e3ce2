"""The acts of the kill switch over a store in memory: what is written, who is waited for, what is refused."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable

import pytest

from gate.app.operate import LIVE_WITHIN_US, Operate
from gate.core.duration import HOUR_US, MINUTE_US
from gate.core.pause.board import KEEP_ENDED_US, Board, Pause
from gate.core.pause.scope import Action, Scope
from gate.errors import ControlRefused, OperatorError, StoreUnavailable, UploadGateError
from gate.ports.boards import Acknowledgement
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
    return Operate(store, clock, ids())


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

    pause = await raid(Operate(store, clock, ids()))

    assert (await store.read()).pauses == {pause.id: pause}


async def test_a_write_that_never_landed_is_an_error(clock: StoppedClock) -> None:
    store = LosesAnswers(clock)
    store.writes = False

    with pytest.raises(StoreUnavailable):
        await raid(Operate(store, clock, ids()))


async def test_a_board_that_changes_for_ever_ends_in_an_error(clock: StoppedClock) -> None:
    class Contended(MemoryBoardStore):
        async def replace(self, expected_rev: int, board: Board) -> bool:
            return False

    with pytest.raises(UploadGateError, match="changed 200 times"):
        await raid(Operate(Contended(clock), clock, ids()))


@pytest.mark.parametrize("skew_us", [-HOUR_US, -1_500_000, 0, 1_500_000, HOUR_US])
async def test_a_pause_is_in_force_at_the_gates_at_once_though_the_operators_clock_is_off(skew_us: int) -> None:
    servers = StoppedClock()
    store = MemoryBoardStore(servers)
    await store.acknowledge(Acknowledgement("g-1", "http://g-1", 0, 0))

    pause = await raid(Operate(store, StoppedClock(NOON_US + skew_us), ids()))

    assert pause.active(servers.now_us())
    assert abs(pause.expires_at_us - NOON_US - 10 * MINUTE_US) <= 2 * LIVE_WITHIN_US


async def test_it_waits_until_every_gate_obeys(operate: Operate, store: MemoryBoardStore) -> None:
    for name in ("g-1", "g-2"):
        await store.acknowledge(Acknowledgement(name, f"http://{name}", 0, 0))
    pause = await raid(operate)
    waiting = asyncio.create_task(operate.converged(pause.rev, 5.0))
    await store.acknowledge(Acknowledgement("g-1", "http://g-1", pause.rev, 0))
    await asyncio.sleep(0.02)
    before = waiting.done()

    await store.acknowledge(Acknowledgement("g-2", "http://g-2", pause.rev + 1, 0))

    result = await waiting
    assert not before
    assert result.complete
    assert [(gate.gate, gate.obeys) for gate in result.gates] == [("g-1", True), ("g-2", True)]
    assert result.seconds >= max(gate.seconds or 0 for gate in result.gates)


async def test_a_gate_that_does_not_obey_is_named(operate: Operate, store: MemoryBoardStore) -> None:
    await store.acknowledge(Acknowledgement("g-1", "http://g-1", 9, 0))
    await store.acknowledge(Acknowledgement("g-2", "http://g-2", 3, 0))

    result = await operate.converged(4, 0.05)

    assert not result.complete
    assert [(gate.gate, gate.rev, gate.seconds) for gate in result.missing] == [("g-2", 3, None)]


async def test_a_gate_that_falls_silent_while_it_is_waited_for_still_counts(
    operate: Operate, store: MemoryBoardStore, clock: StoppedClock
) -> None:
    await store.acknowledge(Acknowledgement("g-1", "http://g-1", 0, 0))
    waiting = asyncio.create_task(operate.converged(1, 0.1))
    await asyncio.sleep(0.02)

    clock.at_us += 2 * LIVE_WITHIN_US

    assert [gate.gate for gate in (await waiting).missing] == ["g-1"]


async def test_with_no_live_gate_there_is_nobody_to_wait_for(
    operate: Operate, store: MemoryBoardStore, clock: StoppedClock
) -> None:
    await store.acknowledge(Acknowledgement("g-dead", "http://g-dead", 9, 0))
    clock.at_us += LIVE_WITHIN_US + 1

    result = await operate.converged(1, 5.0)

    assert result.gates == ()
    assert not result.complete
