"""By which clock a gate begins and ends pauses while the store has not told its time, and when its own clock is set."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from gate.app.board_in_force import BoardInForce
from gate.app.check import Check
from gate.app.store_clock import ClockSteps, StoreClock
from gate.core.pause.board import Board, by_local_clock
from gate.core.pause.entry import Pause
from gate.core.pause.scope import Action, Scope
from gate.ports.clock import ClockMark
from gate.stores.disk.snapshot import BoardSnapshot

SECOND_US = 1_000_000
HOUR_US = 3_600 * SECOND_US
NOON_US = 1_800_000_000 * SECOND_US


class Host:
    """A host with a clock that can be set, and its uptime."""

    def __init__(self, ahead_us: int = 0, boot: str = "boot-1") -> None:
        self.true_us, self.ahead_us, self.boot = NOON_US, ahead_us, boot

    def now_us(self) -> int:
        return self.true_us + self.ahead_us

    def elapsed_us(self) -> int:
        return self.true_us - NOON_US + HOUR_US


def store_us(known: StoreClock, host: Host) -> int:
    return host.now_us() - known.best.ahead_us


MARK = ClockMark(NOON_US, 0, "boot-1", HOUR_US)


@pytest.mark.parametrize("set_us", [0, HOUR_US, -HOUR_US])
def test_after_a_restart_of_the_process_the_stores_time_is_exact_whatever_was_done_to_the_hosts_clock(
    set_us: int,
) -> None:
    host, known = Host(ahead_us=set_us), StoreClock()
    host.true_us += 90 * SECOND_US

    known.start_from(MARK, host.now_us(), host)

    assert store_us(known, host) == NOON_US + 90 * SECOND_US
    assert not known.is_lower_bound


@pytest.mark.parametrize("set_us", [0, HOUR_US, -HOUR_US])
def test_after_a_restart_of_the_machine_a_pause_lasts_at_least_what_was_left_of_it(set_us: int) -> None:
    host, known = Host(ahead_us=set_us, boot="boot-2"), StoreClock()
    pause = Pause("p-1", 1, Scope(), Action.STOP, "raid", "", "ann", None, NOON_US + 600 * SECOND_US, set_at_us=NOON_US)

    known.start_from(MARK, host.now_us(), host)
    board = by_local_clock(Board({"p-1": pause}), known.best.ahead_us, known.begins_ahead_us)
    held = []
    for passed_s in (0, 599, 601):
        host.true_us = NOON_US + passed_s * SECOND_US
        held.append(board.pauses["p-1"].active(host.now_us()))

    assert held == [True, True, False]
    assert known.is_lower_bound


def test_after_a_restart_of_the_machine_a_scheduled_pause_begins_by_the_hosts_clock_and_not_late() -> None:
    host, known = Host(boot="boot-2"), StoreClock()
    starts_us = NOON_US + 60 * SECOND_US
    pause = Pause("p-1", 1, Scope(), Action.STOP, "raid", "", "ann", starts_us, starts_us + HOUR_US)
    host.true_us += 120 * SECOND_US  # the machine was down for two minutes

    known.start_from(MARK, host.now_us(), host)
    board = by_local_clock(Board({"p-1": pause}), known.best.ahead_us, known.begins_ahead_us)

    assert board.pauses["p-1"].active(host.now_us())


def test_the_second_channels_clock_counts_until_the_store_has_told_its_own() -> None:
    host, known = Host(ahead_us=HOUR_US), StoreClock()
    known.start_from(replace(MARK, boot="boot-0"), host.now_us(), host)

    known.learn_elsewhere(NOON_US + 7, host.now_us(), host.now_us())
    by_kafka = store_us(known, host)
    known.learn(NOON_US + 9, host.now_us(), host.now_us())

    assert (by_kafka, store_us(known, host)) == (NOON_US + 7, NOON_US + 9)
    assert not known.is_lower_bound


@pytest.mark.parametrize("apart_us", [HOUR_US, -HOUR_US])
def test_the_mark_of_this_boot_is_believed_before_the_second_channels_clock(apart_us: int) -> None:
    """A broker that is an hour ahead once ended every pause of a gate that was restarted while the store was away."""
    host, known = Host(), StoreClock()
    known.start_from(MARK, host.now_us(), host)

    known.learn_elsewhere(NOON_US + apart_us, host.now_us(), host.now_us())

    assert store_us(known, host) == NOON_US


@pytest.mark.parametrize("apart_us", [HOUR_US, -HOUR_US])
def test_the_second_channels_clock_is_corrected_by_what_was_measured_in_the_last_run(apart_us: int) -> None:
    host, rebooted = Host(), Host(boot="boot-2")
    before, after = BoardInForce(cast(Check, SimpleNamespace()), host, host), StoreClock()
    before.store_clock.learn(NOON_US, NOON_US, NOON_US)
    before.store_clock.learn_elsewhere(NOON_US + apart_us, NOON_US, NOON_US)
    mark = before.mark()
    assert mark is not None
    rebooted.true_us += 600 * SECOND_US

    after.start_from(mark, rebooted.now_us(), rebooted)
    after.learn_elsewhere(rebooted.true_us + apart_us, rebooted.now_us(), rebooted.now_us(), others_say_us=5)

    assert store_us(after, rebooted) == rebooted.true_us
    assert not after.is_lower_bound


def test_a_gate_without_a_mark_takes_the_word_of_other_gates_and_none_is_believed_below_the_mark() -> None:
    host, new, marked = Host(), StoreClock(), StoreClock()
    marked.start_from(replace(MARK, boot="boot-0"), host.now_us(), host)

    new.learn_elsewhere(NOON_US + HOUR_US, host.now_us(), host.now_us(), others_say_us=HOUR_US)
    marked.learn_elsewhere(NOON_US - HOUR_US, host.now_us(), host.now_us())

    assert (store_us(new, host), store_us(marked, host)) == (NOON_US, NOON_US)
    assert marked.is_lower_bound


def test_a_step_of_the_hosts_clock_moves_no_pause() -> None:
    host, known = Host(), StoreClock()
    steps = ClockSteps(host, host)
    known.learn(NOON_US, NOON_US, NOON_US)

    first = steps.stepped_us()
    host.true_us += 5 * SECOND_US
    quiet = steps.stepped_us()
    host.ahead_us = -HOUR_US
    known.step(steps.stepped_us())

    assert (first, quiet, steps.stepped_us()) == (0, 0, 0)
    assert store_us(known, host) == host.true_us


def test_what_is_only_a_lower_bound_stays_one_over_another_restart_of_the_process() -> None:
    host = Host(boot="boot-2")
    host.true_us += 600 * SECOND_US  # the machine was down for ten minutes
    starts_us = NOON_US + 300 * SECOND_US
    pause = Pause("p-1", 1, Scope(), Action.STOP, "raid", "", "ann", starts_us, starts_us + HOUR_US)
    first = BoardInForce(cast(Check, SimpleNamespace()), host, host)
    first.start_from(MARK)
    mark = first.mark()
    host.true_us += 5 * SECOND_US
    check = SimpleNamespace()
    second = BoardInForce(cast(Check, check), host, host)

    assert mark is not None
    second.adopt(Board({"p-1": pause}))
    second.start_from(mark)

    assert second.store_clock.is_lower_bound
    assert check.board.pauses["p-1"].active(host.now_us())


@pytest.mark.parametrize("set_us", [HOUR_US, -HOUR_US])
def test_a_step_of_the_hosts_clock_is_not_counted_again_after_a_sample_that_has_it(set_us: int) -> None:
    host = Host()
    known, elsewhere = (StoreClock(ClockSteps(host, host)) for _ in range(2))
    for each in (known, elsewhere):
        each.follow_steps()
        each.learn_elsewhere(NOON_US, NOON_US, NOON_US)
    known.learn(NOON_US, NOON_US, NOON_US)
    host.ahead_us = set_us

    known.learn(NOON_US, host.now_us(), host.now_us())
    elsewhere.learn_elsewhere(NOON_US, host.now_us(), host.now_us())
    stepped = known.follow_steps(), elsewhere.follow_steps()

    assert stepped == (False, False)
    assert (store_us(known, host), store_us(elsewhere, host)) == (NOON_US, NOON_US)


@pytest.mark.parametrize("set_us", [HOUR_US, -HOUR_US])
def test_a_call_during_which_the_hosts_clock_is_set_is_no_accurate_sample(set_us: int) -> None:
    known = StoreClock()

    known.learn(NOON_US, NOON_US, NOON_US + set_us)

    assert known.best.accuracy_us == HOUR_US // 2


def test_a_snapshot_keeps_the_mark_of_the_clock(tmp_path: Path) -> None:
    written, read = (BoardSnapshot(tmp_path / "board.json") for _ in range(2))

    written.write(Board(), MARK)

    assert read.read() == Board()
    assert read.clock == MARK


@pytest.mark.parametrize(
    "clock", [None, "late", {"store_us": "x"}, {"store_us": -1, "ahead_us": 0, "boot": "", "elapsed_us": 0}, []]
)
def test_a_mark_that_cannot_be_read_costs_no_pause(tmp_path: Path, clock: object) -> None:
    path = tmp_path / "board.json"
    pause = Pause("p-1", 1, Scope(), Action.STOP, "raid", "", "ann", None, NOON_US + HOUR_US, set_at_us=NOON_US)
    BoardSnapshot(path).write(Board({"p-1": pause}), MARK)
    document = json.loads(path.read_bytes())
    path.write_bytes(json.dumps({**document, "clock": clock}, separators=(",", ":")).encode())

    snapshot = BoardSnapshot(path)

    assert snapshot.read() == Board({"p-1": pause})
    assert snapshot.clock is None
