"""How two copies of one pause are joined, part by part, and how a board keeps room: cases with exact answers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gate.core.pause.board import Board, size_of
from gate.core.pause.entry import Pause, PauseChange, Proposal
from gate.core.pause.join import joined
from gate.core.pause.room import MACHINES, PERSONS, WHOLE, fitting, share_of, to_release
from gate.core.pause.scope import Action, Exemption, PauseMode, Scope

NOON_US = 1_800_000_000_000_000
NEW = Scope(frozenset(("new",)))
PAUSE = Pause("p-1", 3, NEW, Action.STOP, "raid", "", "ann", None, NOON_US, ramp_us=10)
WAITS = replace(PAUSE, proposal=Proposal(PauseChange.SET, "ann", 0))
EXTENDS = Proposal(PauseChange.EXTEND, "ann", 0, NOON_US + 9)


def released(at_us: int, by: str | None = "bob", ramp_us: int = 0, **changes: object) -> Pause:
    return replace(PAUSE, released_at_us=at_us, released_by=by, ramp_us=ramp_us, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("left", "right", "both"),
    [
        (PAUSE, replace(PAUSE, rev=4, text="later"), replace(PAUSE, rev=4, text="later")),
        (PAUSE, replace(PAUSE, rev=2, expires_at_us=NOON_US + 1), replace(PAUSE, expires_at_us=NOON_US + 1)),
        (PAUSE, replace(PAUSE, rev=4, mode=PauseMode.DRY_RUN), replace(PAUSE, rev=4)),
        (PAUSE, replace(PAUSE, rev=4, machine=True), replace(PAUSE, rev=4)),
        (PAUSE, replace(PAUSE, rev=4, ramp_us=5), replace(PAUSE, rev=4)),
        (PAUSE, replace(PAUSE, rev=2, ramp_us=15), replace(PAUSE, ramp_us=15)),
        (PAUSE, released(7), released(7)),
        (PAUSE, released(7, rev=2), released(7)),
        (released(7, "bob"), released(8, "ann"), released(7, "bob")),
        (released(7, "bob", 1), released(7, "ann", 2), released(7, "bob", 1)),
        (released(7, "ann"), released(7, "bob"), released(7, "ann")),
        (released(7, None), released(7, "bob"), released(7, None)),
        (PAUSE, released(7, machine=True), PAUSE),
        (replace(PAUSE, machine=True), released(7, machine=True), released(7, machine=True)),
        (replace(PAUSE, machine=True), released(7), released(7)),
        (WAITS, replace(PAUSE, rev=2), PAUSE),
        (WAITS, replace(WAITS, rev=2), WAITS),
        (replace(PAUSE, rev=4, proposal=EXTENDS), PAUSE, replace(PAUSE, rev=4, proposal=EXTENDS)),
        (replace(PAUSE, rev=4, proposal=EXTENDS), released(7), released(7, rev=4)),
    ],
)
def test_the_join_takes_the_higher_of_each_part_from_either_side(left: Pause, right: Pause, both: Pause) -> None:
    assert joined(left, right) == joined(right, left) == both


def test_a_join_that_changes_nothing_gives_the_copy_itself() -> None:
    copy, higher = replace(PAUSE), replace(PAUSE, rev=4)

    assert joined(PAUSE, copy) is PAUSE
    assert joined(PAUSE, higher) is higher
    assert joined(higher, PAUSE) is higher


def test_two_releases_of_machines_in_a_ramp_keep_the_ramp_of_the_one_that_stands() -> None:
    both = joined(released(7, machine=True, ramp_us=3), released(8, ramp_us=4))

    assert (both.machine, both.released_at_us, both.ramp_us) == (False, 8, 4)


def test_where_only_a_machine_released_the_ramp_after_the_expiry_is_that_of_the_person() -> None:
    both = joined(released(7, machine=True, ramp_us=30), replace(PAUSE, ramp_us=4))

    assert (both.released_at_us, both.ramp_us) == (None, 4)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (replace(PAUSE, text="a"), replace(PAUSE, text="b")),
        (replace(PAUSE, extra={"a": b"1"}), replace(PAUSE, extra={"b": b"1"})),
        (replace(PAUSE, scope=Scope(frozenset(("a", "b")))), replace(PAUSE, scope=Scope(frozenset(("c", "a"))))),
        (replace(PAUSE, exempt=Exemption(frozenset(("a",)))), PAUSE),
        (replace(PAUSE, proposal=EXTENDS), replace(PAUSE, proposal=replace(EXTENDS, by="bob"))),
        (WAITS, replace(PAUSE, proposal=Proposal(PauseChange.SET, "bob", 0))),
    ],
)
def test_of_two_contents_under_one_revision_every_process_chooses_the_same(one: Pause, two: Pause) -> None:
    both = joined(one, two)

    assert both == joined(two, one)
    assert both in (one, two)


def test_what_a_newer_release_wrote_counts_by_its_content_and_not_by_its_order() -> None:
    one = replace(PAUSE, extra={"a": b"1", "b": b"2"}, text="x")
    two = replace(PAUSE, extra={"b": b"2", "a": b"1"}, text="y")

    assert joined(one, two).text == joined(two, one).text == "y"


@pytest.mark.parametrize(
    ("pause", "share"),
    [
        (replace(PAUSE, machine=True), MACHINES),
        (replace(PAUSE, machine=True, scope=Scope()), MACHINES),
        (PAUSE, PERSONS),
        (replace(PAUSE, scope=Scope(), mode=PauseMode.DRY_RUN), PERSONS),
        (replace(PAUSE, scope=Scope()), WHOLE),
    ],
)
def test_only_a_person_who_stops_the_platform_may_use_the_whole_board(pause: Pause, share: float) -> None:
    assert share_of(pause) == share
    assert (MACHINES, PERSONS, WHOLE) == (1 / 2, 15 / 16, 1)


def by_id(*pauses: Pause) -> dict[str, Pause]:
    return {pause.id: pause for pause in pauses}


def test_to_make_room_the_owner_of_most_pauses_releases_first_what_only_counts_and_what_names_many() -> None:
    bobs = replace(PAUSE, owner="bob")
    pauses = by_id(
        PAUSE,
        *(replace(bobs, id=f"b-{n}", expires_at_us=NOON_US + n) for n in range(4)),
        replace(bobs, id="b-last", expires_at_us=NOON_US),
        replace(bobs, id="b-many", scope=Scope(accounts=frozenset(("x", "y"))), expires_at_us=NOON_US + 9),
        replace(bobs, id="b-dry", mode=PauseMode.DRY_RUN, expires_at_us=NOON_US + 99),
        replace(bobs, id="b-over", released_at_us=7),
        replace(bobs, id="b-old", expires_at_us=NOON_US - 1),
    )

    assert to_release(pauses, NOON_US - 1) == (
        "7 of 8 pauses are bob's; release some that are no longer needed, such as b-dry b-many b-0 b-last b-1"
    )
    assert to_release(by_id(PAUSE, bobs), NOON_US) == "no pause is in force: room comes back as ended pauses expire"
    assert to_release(by_id(PAUSE), NOON_US - 1).startswith("1 of 1 pauses are ann's")


def test_of_a_board_too_large_to_write_the_platform_wide_pauses_and_then_the_newest_are_kept() -> None:
    wide = replace(PAUSE, id="wide", rev=1, scope=Scope())
    freed = replace(wide, id="freed", rev=2, released_at_us=7)
    newer = replace(PAUSE, id="newer", rev=9)
    board = Board(by_id(PAUSE, wide, freed, newer), version=4)
    size = size_of(wide)

    def kept(most_pauses: int, most_bytes: int) -> list[str]:
        return list(fitting(board, most_pauses, most_bytes).pauses)

    assert kept(9, 9_999) == ["wide", "newer", "p-1", "freed"]
    assert kept(2, 9_999) == ["wide", "newer"]
    assert kept(9, size + size_of(newer)) == ["wide", "newer"]
    assert kept(9, size + size_of(newer) - 1) == ["wide", "freed"]
    assert kept(9, size - 1) == []
    assert fitting(board, 9, 9_999).version == 4
