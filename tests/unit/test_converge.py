"""Who obeys a change: by what a gate acknowledges, by the store's clock, and by nothing else."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from gate.app.converge import HEARD_WITHIN_US, GateState, converged, shared_names
from gate.app.operate import Operate
from gate.cli.addresses import Addresses
from gate.cli.board_access import report
from gate.cli.obedience import not_obeyed
from gate.cli.output import Output
from gate.core.pause.board import Board
from gate.core.pause.entry import Pause
from gate.core.pause.scope import Action, PauseMode, Scope
from gate.errors import NotConverged
from gate.ports.boards import LIVE_WITHIN_US, SUCCEEDED_AFTER_US, Acknowledgement, Gates, UnreadableAcknowledgement
from gate.records.board_document import board_digest
from gate.records.pause import fingerprint
from gate.serve.clock import SystemClock
from gate.stores.memory.boards import MemoryBoardStore

NOON_US = 1_800_000_000_000_000
CHANGE = Pause("p-1", 1, Scope(), Action.STOP, "raid", "", "ann", None, NOON_US + 600_000_000, set_at_us=NOON_US)


ADDRESSES = Addresses(Path("state"), {"redis": "redis://r"}, (), "ug:", {"redis": "--redis"})


class StoppedClock:
    at_us = NOON_US

    def now_us(self) -> int:
        return self.at_us


@pytest.fixture
def clock() -> StoppedClock:
    return StoppedClock()


@pytest.fixture
async def store(clock: StoppedClock) -> MemoryBoardStore:
    store = MemoryBoardStore(clock)
    await store.replace(0, Board({"p-1": CHANGE}))
    return store


def said(gate: str = "g-1", *held: Pause, boot: str = "b-1", **more: object) -> Acknowledgement:
    board = Board({pause.id: pause for pause in held})
    latest = tuple(fingerprint(pause) for pause in held)
    plain = Acknowledgement(gate, f"http://{gate}", board.rev, 0, boot, board_digest(board), latest)
    return replace(plain, **more)  # type: ignore[arg-type]


async def test_a_gate_with_a_higher_revision_that_never_heard_of_the_change_does_not_obey(
    store: MemoryBoardStore,
) -> None:
    """The store was restored from a backup: it gives out revision 1 again, and the gates are at 50."""
    await store.acknowledge(said("g-1", replace(CHANGE, id="p-other", rev=50)))

    result = await converged(store, CHANGE, 0.05)

    assert not result.complete
    assert [(gate.said.rev, gate.state) for gate in result.missing] == [(50, GateState.LATE)]


async def test_the_same_revision_with_another_content_is_not_the_change(store: MemoryBoardStore) -> None:
    await store.acknowledge(said("g-1", replace(CHANGE, action=Action.REVIEW)))

    assert not (await converged(store, CHANGE, 0.05)).complete


async def test_a_gate_that_holds_more_than_it_can_name_obeys_by_its_digest(store: MemoryBoardStore) -> None:
    await store.acknowledge(said("g-1", CHANGE, latest=()))

    assert (await converged(store, CHANGE, 5.0)).complete


async def test_a_later_revision_of_the_change_counts_as_obeying_it(store: MemoryBoardStore) -> None:
    later = replace(CHANGE, rev=2, released_at_us=NOON_US)
    await store.replace(1, Board({"p-1": later}))
    await store.acknowledge(said("g-1", later))

    assert (await converged(store, CHANGE, 5.0)).complete


async def test_it_waits_for_each_live_gate_and_names_those_that_left_and_those_unheard_of(
    store: MemoryBoardStore, clock: StoppedClock
) -> None:
    await store.acknowledge(said("g-crashed"))
    clock.at_us += LIVE_WITHIN_US + 1
    await store.acknowledge(said("g-left", left=True))
    await store.acknowledge(said("g-1", CHANGE))
    await store.acknowledge(said("g-full", CHANGE, on_disk=False))
    await store.acknowledge(said("g-late"))
    waiting = asyncio.create_task(converged(store, CHANGE, 5.0))
    await asyncio.sleep(0.03)
    before = waiting.done()

    await store.acknowledge(said("g-late", CHANGE))

    result = await waiting
    assert not before
    assert result.complete
    assert [(gate.said.gate, gate.state) for gate in result.gates] == [
        ("g-1", GateState.OBEYS),
        ("g-full", GateState.NOT_ON_DISK),
        ("g-late", GateState.OBEYS),
    ]
    assert [gate.said.gate for gate in result.not_on_disk] == ["g-full"]
    assert [gate.said.gate for gate in result.left] == ["g-left"]
    assert [gate.said.gate for gate in result.unheard] == ["g-crashed"]
    assert [gate.seconds == 0 for gate in result.gates][2] is False


async def test_a_gate_that_falls_silent_while_it_is_waited_for_still_counts(
    store: MemoryBoardStore, clock: StoppedClock
) -> None:
    await store.acknowledge(said("g-1"))
    waiting = asyncio.create_task(converged(store, CHANGE, 0.1))
    await asyncio.sleep(0.02)

    clock.at_us += 2 * LIVE_WITHIN_US

    assert [gate.said.gate for gate in (await waiting).missing] == ["g-1"]


async def test_with_no_live_gate_there_is_nobody_to_wait_for(store: MemoryBoardStore, clock: StoppedClock) -> None:
    await store.acknowledge(said("g-dead", CHANGE))
    clock.at_us += LIVE_WITHIN_US + 1

    result = await Operate(store, lambda: "p-2").converged(CHANGE, 5.0)

    assert result.gates == ()
    assert not result.complete


async def test_a_gate_that_leaves_while_it_is_waited_for_is_waited_for_no_longer(store: MemoryBoardStore) -> None:
    await store.acknowledge(said("g-1", CHANGE))
    await store.acknowledge(said("g-2"))
    waiting = asyncio.create_task(converged(store, CHANGE, 5.0))
    await asyncio.sleep(0.03)
    before = waiting.done()

    await store.acknowledge(said("g-2", left=True))

    result = await waiting
    assert not before
    assert [gate.said.gate for gate in result.gates] == ["g-1"]
    assert [gate.said.gate for gate in result.left] == ["g-2"]


async def test_a_gate_that_was_killed_is_not_waited_for_once_its_next_process_obeys(
    store: MemoryBoardStore, clock: StoppedClock
) -> None:
    await store.acknowledge(said("g-1", boot="b-before"))
    clock.at_us += SUCCEEDED_AFTER_US
    await store.acknowledge(said("g-1", CHANGE, boot="b-after"))

    result = await converged(store, CHANGE, 5.0)

    assert result.complete
    assert [gate.said.boot for gate in result.gates] == ["b-after"]
    assert (result.left, result.unheard, result.shared_names) == ((), (), ())


async def test_a_gate_whose_hosts_file_lifts_the_pause_does_not_obey_it(store: MemoryBoardStore) -> None:
    await store.acknowledge(said("g-1", CHANGE))
    await store.acknowledge(said("g-2", CHANGE, lifted=("p-1",)))

    result = await converged(store, CHANGE, 0.05)
    released = await converged(store, replace(CHANGE, released_at_us=NOON_US), 0.0)

    problem = str(not_obeyed("pause p-1", result, [], ADDRESSES))
    assert [(gate.said.gate, gate.obeys) for gate in result.gates] == [("g-1", True), ("g-2", False)]
    assert "g-2 at http://g-2 (rev 1; the break-glass file of its host lifts the pause)" in problem
    assert "lifts" not in str(not_obeyed("release of p-1", released, [], ADDRESSES))


async def test_a_goodbye_ends_the_name_also_for_an_earlier_process_that_crashed(
    store: MemoryBoardStore, clock: StoppedClock
) -> None:
    await store.acknowledge(said("g-1", boot="b-crashed"))
    await store.acknowledge(said("g-2", CHANGE, boot="b-runs"))
    clock.at_us += SUCCEEDED_AFTER_US
    await store.acknowledge(said("g-1", boot="b-after", left=True))
    clock.at_us += LIVE_WITHIN_US
    await store.acknowledge(said("g-2", CHANGE, boot="b-runs"))

    result = await converged(store, CHANGE, 0.05)

    assert result.complete
    assert ([gate.said.boot for gate in result.left], result.unheard) == (["b-after"], ())


async def test_a_twin_that_fell_silent_together_with_a_goodbye_is_still_unheard(
    store: MemoryBoardStore, clock: StoppedClock
) -> None:
    await store.acknowledge(said("g-1", boot="b-1", left=True))
    await store.acknowledge(said("g-1", boot="b-2"))
    clock.at_us += LIVE_WITHIN_US + 1
    await store.acknowledge(said("g-2", CHANGE))

    result = await converged(store, CHANGE, 0.05)

    assert [gate.said.boot for gate in result.unheard] == ["b-2"]


async def test_two_processes_of_one_name_are_both_waited_for_and_the_name_is_told(store: MemoryBoardStore) -> None:
    await store.acknowledge(said("g-1", CHANGE, boot="b-1"))
    await store.acknowledge(said("g-1", boot="b-2"))

    result = await converged(store, CHANGE, 0.05)

    assert [(gate.said.boot, gate.obeys) for gate in result.gates] == [("b-1", True), ("b-2", False)]
    assert result.shared_names == ("g-1",)


@pytest.mark.parametrize(
    ("changed", "obeys"),
    [
        ({}, False),
        ({"mode": PauseMode.DRY_RUN}, True),
        ({"starts_at_us": NOON_US + 1}, True),
    ],
    ids=["it holds all accounts until then", "it only counted", "it never began"],
)
async def test_a_gate_whose_clock_is_behind_a_release_obeys_it_where_nothing_is_held_until_then(
    store: MemoryBoardStore, changed: dict[str, object], obeys: bool
) -> None:
    released = replace(
        CHANGE,
        rev=CHANGE.rev + 1,
        released_at_us=NOON_US,
        released_by="ann",
        ramp_us=600_000_000,
        **changed,  # type: ignore[arg-type]
    )
    await store.acknowledge(said("g-1", released, store_us=NOON_US - 3_600_000_000))

    result = await converged(store, released, 0.05)

    assert result.complete is obeys


async def test_an_acknowledgement_from_a_clock_that_was_set_back_is_not_live(
    store: MemoryBoardStore, clock: StoppedClock
) -> None:
    await store.acknowledge(said("g-dead"))
    clock.at_us -= 2 * LIVE_WITHIN_US
    await store.acknowledge(said("g-1", CHANGE))

    result = await converged(store, CHANGE, 5.0)

    assert result.complete
    assert [gate.said.gate for gate in result.unheard] == ["g-dead"]


async def test_a_store_that_lost_its_acknowledgements_gives_each_gate_time_for_the_next_one(
    clock: StoppedClock,
) -> None:
    class Forgetful(MemoryBoardStore):
        async def gates(self, within_us: int, process: str | None = None) -> Gates:
            return replace(await super().gates(within_us, process), known_since_us=NOON_US)

    store = Forgetful(clock)
    await store.replace(0, Board({"p-1": CHANGE}))
    await store.acknowledge(said("g-1", CHANGE))
    waiting = asyncio.create_task(converged(store, CHANGE, 5.0))
    await asyncio.sleep(0.03)
    before = waiting.done()

    clock.at_us += LIVE_WITHIN_US

    assert not before
    assert [gate.said.gate for gate in (await waiting).gates] == ["g-1"]


@pytest.mark.parametrize(
    ("released", "ramp_us", "ahead_us", "obeys"),
    [
        (False, 0, 0, True),
        (False, 0, 599_000_000, True),
        (False, 0, 3_600_000_000, False),  # to this gate the pause has ended
        (False, 0, -3_600_000_000, True),
        (True, 60_000_000, -3_600_000_000, False),  # to this gate the release begins in an hour
        (True, 0, -3_600_000_000, True),
        (True, 60_000_000, 3_600_000_000, True),
    ],
)
async def test_a_gate_that_judges_by_another_clock_obeys_only_what_is_in_force_by_it(
    store: MemoryBoardStore, released: bool, ramp_us: int, ahead_us: int, obeys: bool
) -> None:
    """The second channel's clock may be far from the first one's, by which gates end pauses."""
    change = replace(CHANGE, rev=2, released_at_us=NOON_US, released_by="bob", ramp_us=ramp_us) if released else CHANGE
    await store.acknowledge(said("g-1", change, store_us=NOON_US + ahead_us))

    result = await converged(store, change, 0.0)
    problem = not_obeyed("pause p-1", result, (), ADDRESSES)

    assert result.complete is obeys
    assert (problem is None) is obeys
    if problem is not None:
        assert f"it judges by a clock that is 1h {'ahead of' if ahead_us > 0 else 'behind'} this channel's" in str(
            problem
        )


def test_the_clock_of_pauses_is_the_one_that_most_gates_judge_by() -> None:
    hour_us, noon = 3_600_000_000, Acknowledgement("g", "u", 0, NOON_US)
    votes = [replace(noon, store_us=NOON_US + ahead_us) for ahead_us in (hour_us, hour_us + 5, -hour_us)]

    assert Gates(NOON_US, tuple(votes)).pause_clock_ahead_us == hour_us
    for ahead_us, counts in ((900_000, False), (2_000_000, True), (-5_000_000, False), (-7_000_000, True)):
        found = Gates(NOON_US, (replace(noon, store_us=NOON_US + ahead_us), noon)).pause_clock_ahead_us
        assert found == (ahead_us if counts else 0)
    assert Gates(NOON_US + 11_000_000, tuple(votes)).pause_clock_ahead_us == 0
    assert Gates(NOON_US, tuple(replace(vote, left=True) for vote in votes)).pause_clock_ahead_us == 0


def test_gates_that_left_are_not_live_and_names_of_one_process_are_not_shared() -> None:
    gates = Gates(
        NOON_US,
        (
            said("g-1", acknowledged_at_us=NOON_US),
            said("g-2", acknowledged_at_us=NOON_US, left=True),
            said("g-3", acknowledged_at_us=NOON_US - HEARD_WITHIN_US),
        ),
    )

    live = gates.live()

    assert [each.gate for each in live] == ["g-1"]
    assert shared_names(live) == []


class Damaged(MemoryBoardStore):
    """A store that holds acknowledgements nobody can read; each is read in its turn of `damage`, the last one for ever."""

    damage: ClassVar[list[tuple[UnreadableAcknowledgement, ...]]] = []

    async def gates(self, within_us: int, process: str | None = None) -> Gates:
        damage = self.damage.pop(0) if len(self.damage) > 1 else self.damage[0]
        return replace(await super().gates(within_us, process), unreadable=damage)


def ruined(process: str = "g-2 b-1", ago_us: int = 60_000_000) -> UnreadableAcknowledgement:
    return UnreadableAcknowledgement(process, "no JSON", NOON_US - ago_us)


async def with_damage(clock: StoppedClock, *damage: tuple[UnreadableAcknowledgement, ...]) -> Damaged:
    store = Damaged(clock)
    store.damage = list(damage)
    await store.acknowledge(said("g-1", CHANGE))
    return store


async def test_a_gate_whose_acknowledgement_cannot_be_read_is_not_accounted_for(clock: StoppedClock) -> None:
    store = await with_damage(clock, (ruined(),))

    result = await converged(store, CHANGE, 5.0)

    assert [gate.obeys for gate in result.gates] == [True]
    assert [entry.gate for entry in result.unreadable] == ["g-2"]
    assert not result.complete
    assert result.seconds < 5.0  # a gate that is long silent does not hold up the command


async def test_a_process_that_another_one_of_its_name_replaced_is_gone_though_nobody_can_read_it(
    clock: StoppedClock,
) -> None:
    store = await with_damage(clock, (ruined("g-1 b-0"),))

    result = await converged(store, CHANGE, 5.0)

    assert (result.complete, result.unreadable) == (True, ())


async def test_two_processes_of_one_name_that_both_run_are_both_accounted_for(clock: StoppedClock) -> None:
    store = await with_damage(clock, (ruined("g-1 b-0", ago_us=0),))

    result = await converged(store, CHANGE, 0.05)

    assert not result.complete


async def test_a_running_gate_gets_the_time_to_write_a_readable_acknowledgement(clock: StoppedClock) -> None:
    store = await with_damage(clock, (ruined(ago_us=0),), (ruined(ago_us=0),), ())

    result = await converged(store, CHANGE, 5.0)

    assert (result.complete, store.damage) == (True, [()])


async def test_a_command_names_the_gate_that_cannot_be_read_and_ends_as_not_converged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = SystemClock()
    store = Damaged(clock)
    store.damage = [(UnreadableAcknowledgement("g-2 b", "no JSON", clock.now_us() - 60_000_000),)]
    operate = Operate(store, lambda: "p-1")
    pause = await operate.pause(Scope(), Action.STOP, "raid", "", "ann", 60_000_000)
    await store.acknowledge(Acknowledgement("g-1", "http://g-1", 1, 0, latest=(fingerprint(pause),), on_disk=True))
    addresses = Addresses(tmp_path, {"redis": "redis://r"}, (), "ug:", {"redis": "--redis"})

    with pytest.raises(NotConverged) as failed:
        await report("pause", pause, operate, addresses, Output.JSON)

    problem = " ".join(str(failed.value).split())
    assert failed.value.exit_code == 3
    assert "only 1 of 2 gates obey it" in problem
    assert "nobody knows whether gate 'g-2' obeys, its acknowledgement cannot be read (no JSON)" in problem
    assert "status --forget g-2" in problem
    printed = json.loads(capsys.readouterr().out)
    assert printed["unreadable"] == [{"gate": "g-2", "why": "no JSON"}]
    assert printed["accepted_to_obeyed_seconds"] is None
