"""Two operators change one pause in two channels at once: every process joins both changes to the same pause."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.core.pause.board import Board, merge
from gate.core.pause.entry import Pause, PauseChange, Proposal
from gate.core.pause.join import joined
from gate.core.pause.scope import Action, PauseMode, Scope

PAUSE = Pause("p-1", 1, Scope(), Action.STOP, "raid", "", "ann", None, 100, set_at_us=0, ramp_us=10)
LEASE = replace(PAUSE, machine=True, owner="alarm")
WAITS = replace(PAUSE, proposal=Proposal(PauseChange.SET, "ann", 0))

RELEASED = replace(PAUSE, rev=2, released_at_us=50, released_by="bob", ramp_us=0)
CASES = {
    "a release and a later extension": (RELEASED, replace(PAUSE, rev=9, expires_at_us=900), False, 900),
    "two extensions, the shorter one by the higher revision": (
        replace(PAUSE, rev=2, expires_at_us=900), replace(PAUSE, rev=3, expires_at_us=200), True, 900,
    ),
    "a release and a proposal to extend": (
        RELEASED, replace(PAUSE, rev=3, proposal=Proposal(PauseChange.EXTEND, "ann", 9, 900)), False, 100,
    ),
    "a machine's release and a person who takes the pause over": (
        replace(LEASE, rev=3, released_at_us=50, released_by="alarm"), replace(LEASE, rev=2, machine=False, owner="ann"), True,
        100,
    ),
    "a person's release of a lease and its renewal": (
        replace(LEASE, rev=2, machine=False, released_at_us=50, released_by="ann"), replace(LEASE, rev=3, expires_at_us=160),
        False, 160,
    ),
    "an approval and the proposal that it approves": (
        replace(WAITS, rev=2, proposal=None, approver="bob"), replace(WAITS, rev=3), True, 100,
    ),
    "a proposal that is withdrawn and its approval": (
        replace(WAITS, rev=2, proposal=None, released_at_us=50, released_by="ann"),
        replace(WAITS, rev=2, proposal=None, approver="bob"), False, 100,
    ),
    "a dry run that is enforced and its extension": (
        replace(PAUSE, rev=2), replace(PAUSE, rev=3, mode=PauseMode.DRY_RUN, expires_at_us=300), True, 300,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_of_two_changes_at_once_neither_undoes_what_the_other_has_promised(case: str) -> None:
    left, right, in_force, expires_at_us = CASES[case]

    both = joined(left, right)

    assert both == joined(right, left)
    assert (both.active(60), both.expires_at_us, both.rev) == (in_force, expires_at_us, max(left.rev, right.rev))
    assert not in_force or both.mode is PauseMode.ENFORCE


def test_of_two_releases_the_earlier_one_counts() -> None:
    later = replace(RELEASED, rev=7, released_at_us=70, released_by="cid", ramp_us=30)

    both = joined(later, RELEASED)

    assert (both.released_at_us, both.released_by, both.ramp_us, both.rev) == (50, "bob", 0, 7)


def test_a_drill_that_passed_is_remembered_with_its_release() -> None:
    passed = replace(RELEASED, rev=3, extra={"drill_passed": b"true"})

    assert joined(RELEASED, passed) is passed
    assert joined(passed, RELEASED) is passed


def test_a_board_holds_a_change_only_if_nothing_of_it_is_missing() -> None:
    extended = replace(PAUSE, rev=2, expires_at_us=900)
    shorter = replace(PAUSE, rev=3, expires_at_us=200)

    assert not Board({"p-1": shorter}).holds(extended)
    assert Board({"p-1": joined(shorter, extended)}).holds(extended)
    assert Board({"p-1": joined(RELEASED, extended)}).holds(extended)
    assert not Board({"p-1": extended}).holds(RELEASED)


PROPOSALS = tuple(
    Proposal(PauseChange.SET, by, 0, identity=identity) for by in ("ann", "bob") for identity in ("", "1000@ops-1")
)


def test_of_two_proposals_under_one_revision_all_processes_wait_with_the_same_one() -> None:
    known = replace(WAITS, proposal=Proposal(PauseChange.SET, "ann", 0, identity="1000@ops-1"))

    assert joined(WAITS, known) is known
    assert joined(known, WAITS) is known


@st.composite
def copies(draw: st.DrawFn) -> Pause:
    """A copy as some sequence of acts may leave it. Nothing but a release changes the ramp."""
    released = draw(st.none() | st.integers(0, 3))
    awaits = released is None and draw(st.booleans())
    return replace(
        PAUSE,
        rev=draw(st.integers(1, 4)),
        owner=draw(st.sampled_from(("ann", "bob"))),
        expires_at_us=draw(st.integers(100, 104)),
        mode=draw(st.sampled_from(PauseMode)),
        machine=draw(st.booleans()),
        released_at_us=released,
        released_by=None if released is None else draw(st.sampled_from(("ann", "bob"))),
        ramp_us=PAUSE.ramp_us if released is None else draw(st.integers(0, 2)),
        proposal=draw(st.sampled_from(PROPOSALS)) if awaits else None,
        extra={} if released is None else draw(st.sampled_from(({}, {"drill_passed": b"true"}))),
    )


@given(copies(), copies(), copies())
def test_joining_is_commutative_associative_and_idempotent(a: Pause, b: Pause, c: Pause) -> None:
    assert joined(a, a) is a
    assert joined(a, b) == joined(b, a)
    assert joined(joined(a, b), c) == joined(a, joined(b, c))
    assert joined(joined(a, b), b) == joined(a, b)


@given(copies(), copies(), st.integers(0, 110))
def test_a_join_never_loosens_but_by_a_release(a: Pause, b: Pause, now_us: int) -> None:
    both = joined(a, b)

    if both.released_at_us is None:
        assert both.active(now_us) >= max(a.active(now_us), b.active(now_us))
    elif not (a.machine and b.machine):
        assert any(each.released_at_us is not None and not each.machine for each in (a, b))


@given(st.lists(copies(), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_gates_that_hear_copies_in_any_order_obey_the_same_pause(heard: list[Pause], chance: object) -> None:
    shuffled = [*heard, *heard[:2]]
    chance.shuffle(shuffled)  # type: ignore[attr-defined]

    one, other = Board(), Board()
    for copy in heard:
        one = merge(one, Board({"p-1": copy}))
    for copy in shuffled:
        other = merge(other, Board({"p-1": copy}))

    assert one.pauses == other.pauses
