"""What a board holds, what it forgets and when, and how its times read by another clock: at the bounds, to the µs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gate.core.duration import DAY_US, MINUTE_US
from gate.core.pause.board import (
    KEPT_SIZE,
    Board,
    UnreadablePause,
    by_local_clock,
    forget_ended,
    merge,
    size_of,
    without_superseded,
)
from gate.core.pause.entry import Pause
from gate.core.pause.scope import Action, Exemption, Scope

NOON_US = 1_800_000_000_000_000
PAUSE = Pause("p-1", 3, Scope(), Action.STOP, "raid", "", "ann", None, NOON_US)


def board_of(*pauses: Pause, unreadable: tuple[UnreadablePause, ...] = ()) -> Board:
    return Board({pause.id: pause for pause in pauses}, unreadable=unreadable)


def unread(
    raw: bytes = b"{}", id_: str | None = "p-2", rev: int = 0, expires_at_us: int | None = None
) -> UnreadablePause:
    return UnreadablePause(raw, "too new", id_, rev, expires_at_us)


def test_an_empty_board_has_no_revision_and_the_first_version() -> None:
    assert (Board().rev, Board().version) == (0, 1)
    assert UnreadablePause(b"{", "no JSON") == UnreadablePause(b"{", "another reason", None, 0, None)


def test_the_revision_of_a_board_is_the_highest_of_all_entries() -> None:
    assert board_of(PAUSE, replace(PAUSE, id="p-9", rev=2)).rev == 3
    assert board_of(PAUSE, unreadable=(unread(rev=5), unread(rev=4))).rev == 5
    assert board_of(PAUSE, unreadable=(unread(rev=2),)).rev == 3
    assert board_of(unreadable=(unread(),)).rev == 0


def test_the_pauses_in_force_are_told_in_the_order_of_their_ids() -> None:
    later = replace(PAUSE, id="p-0", starts_at_us=NOON_US)

    assert board_of(PAUSE, replace(PAUSE, id="p-0")).active(NOON_US - 1) == [replace(PAUSE, id="p-0"), PAUSE]
    assert board_of(PAUSE, later).active(NOON_US - 1) == [PAUSE]
    assert board_of(PAUSE).active(NOON_US) == []


def test_a_board_holds_a_pause_if_nothing_of_it_is_missing() -> None:
    board = board_of(replace(PAUSE, expires_at_us=NOON_US + 5))

    assert board.holds(PAUSE)
    assert not board.holds(replace(PAUSE, expires_at_us=NOON_US + 6))
    assert not board.holds(replace(PAUSE, id="p-2"))


def test_a_merge_joins_copies_and_keeps_all_that_one_side_alone_has() -> None:
    left = Board({"p-1": PAUSE, "p-3": replace(PAUSE, id="p-3")}, (PAUSE,), lifted=frozenset(("p-3",)), version=2)
    right = Board({"p-1": replace(PAUSE, rev=4, text="later"), "p-2": replace(PAUSE, id="p-2")}, extra={"a": b"1"})

    both = merge(left, right)

    assert {key: pause.rev for key, pause in both.pauses.items()} == {"p-1": 4, "p-2": 3, "p-3": 3}
    assert both.pauses["p-1"].text == merge(right, left).pauses["p-1"].text == "later"
    assert (both.break_glass, both.lifted, both.version) == ((PAUSE,), {"p-3"}, 2)
    assert (both.extra, merge(right, left).extra) == ({"a": b"1"}, {"a": b"1"})
    assert merge(right, left).version == 2


def test_of_two_boards_of_one_revision_the_same_unknown_fields_are_kept_in_either_order() -> None:
    one, two = Board(extra={"a": b"1"}), Board(extra={"a": b"2"})

    assert merge(one, two).extra == merge(two, one).extra == {"a": b"2"}


def test_the_very_pause_that_both_boards_hold_stays_that_object() -> None:
    assert merge(board_of(PAUSE), board_of(PAUSE)).pauses["p-1"] is PAUSE


@pytest.mark.parametrize(
    ("rev", "kept"),
    [(4, True), (3, False), (2, False)],
)
def test_an_entry_that_cannot_be_read_is_kept_while_it_is_later_than_what_can(rev: int, kept: bool) -> None:
    entry = unread(id_="p-1", rev=rev)

    assert merge(board_of(PAUSE), board_of(unreadable=(entry,))).unreadable == ((entry,) if kept else ())


def test_an_entry_that_was_read_meanwhile_hides_no_other_entry() -> None:
    read, other = unread(id_="p-1", rev=1), unread(rev=1)

    assert merge(board_of(PAUSE), board_of(unreadable=(read, other))).unreadable == (other,)


def test_of_two_entries_that_cannot_be_read_the_later_one_is_kept_in_either_order() -> None:
    low, high, same = unread(rev=1), unread(rev=2), unread(b"{ }", rev=2)
    nameless = unread(b"[", None), unread(b"]", None)
    other = unread(b"{}", "p-0", rev=9)

    boards = board_of(unreadable=(low, nameless[1], other)), board_of(unreadable=(high, same, *nameless))

    assert merge(*boards).unreadable == merge(*reversed(boards)).unreadable == (*nameless, other, high)


@pytest.mark.parametrize(("late_us", "kept"), [(7 * DAY_US - 1, True), (7 * DAY_US, False)])
def test_a_pause_is_forgotten_a_week_after_its_expiry(late_us: int, kept: bool) -> None:
    latest = replace(PAUSE, id="p-9", rev=9, expires_at_us=0)
    entries = unread(rev=1, expires_at_us=NOON_US), unread(b"[", rev=9, expires_at_us=0), unread(b"]")

    board = forget_ended(board_of(PAUSE, latest, unreadable=entries), NOON_US + late_us)

    assert set(board.pauses) == ({"p-1", "p-9"} if kept else {"p-9"})
    assert board.unreadable == (entries if kept else entries[1:])


LARGE = replace(PAUSE, rev=1, text="t" * 2_000)
"""A pause of 4,800 bytes, 27 of which take less than KEPT_SIZE."""


def test_the_size_of_a_pause_is_that_of_its_texts_and_names() -> None:
    full = Scope(*(frozenset(("abc", "de")),) * 5)
    exempt = Exemption(*(frozenset(("abc",)),) * 5)

    assert size_of(PAUSE) == 800
    assert size_of(replace(PAUSE, scope=full)) == 800 + 5 * (6 + 5)
    assert size_of(replace(PAUSE, exempt=exempt)) == 800 + 5 * 6
    for name in ("text", "incident", "emergency", "public", "public_link"):
        assert size_of(replace(PAUSE, **{name: "12345"})) == 810
    assert size_of(LARGE) == 4_800
    assert KEPT_SIZE == 131_072


def large(count: int, **changes: object) -> Board:
    top = replace(PAUSE, id="top", rev=100, expires_at_us=1)
    each = (replace(LARGE, id=f"p-{n:02}", expires_at_us=NOON_US + n, **changes) for n in range(count))
    return board_of(top, *each)


@pytest.mark.parametrize(("count", "forgotten"), [(27, 0), (28, 1), (30, 3)])
def test_a_board_beyond_its_room_forgets_as_few_as_it_must_and_those_that_expired_first(
    count: int, forgotten: int
) -> None:
    board = forget_ended(large(count), NOON_US + MINUTE_US + 1_000)

    assert sorted(board.pauses) == [*(f"p-{n:02}" for n in range(forgotten, count)), "top"]


def test_a_board_that_fits_exactly_forgets_nothing_and_one_that_fits_exactly_again_no_more() -> None:
    exact = "t" * ((KEPT_SIZE - 800 - 26 * 4_800 - 800) // 2)
    board = large(26)
    fits = Board({**board.pauses, "p-99": replace(LARGE, id="p-99", text=exact)})
    over = Board({**fits.pauses, "p-00": replace(LARGE, id="p-00"), "p-98": replace(LARGE, id="p-98")})

    assert sum(map(size_of, fits.pauses.values())) == KEPT_SIZE
    assert forget_ended(fits, NOON_US + DAY_US).pauses == fits.pauses
    assert len(forget_ended(over, NOON_US + DAY_US).pauses) == len(fits.pauses)


@pytest.mark.parametrize(("extra", "kept"), [(0, 27), (1, 26)])
def test_a_board_that_is_too_large_by_one_byte_forgets_another_pause(extra: int, kept: int) -> None:
    board = large(27)
    rest = KEPT_SIZE - 800 - 26 * 4_800 - 800 - 4
    last = replace(LARGE, id="p-99", text="t" * (rest // 2), scope=Scope(frozenset(("ab" if extra else "a",))))

    board = Board({**board.pauses, "p-99": last})

    assert sum(map(size_of, board.pauses.values())) == KEPT_SIZE + 4_800 + extra
    assert len(forget_ended(board, NOON_US + DAY_US).pauses) == kept + 1


def test_a_board_beyond_its_room_by_a_byte_is_beyond_it() -> None:
    board = large(26)
    rest = KEPT_SIZE - 800 - 26 * 4_800 - 800 - 4
    last = replace(LARGE, id="p-99", text="t" * (rest // 2), scope=Scope(frozenset(("ab",))))

    board = Board({**board.pauses, "p-99": last})

    assert len(board.pauses) - len(forget_ended(board, NOON_US + DAY_US).pauses) == 1


@pytest.mark.parametrize(("late_us", "forgotten"), [(0, 1), (-1, 0)])
def test_only_pauses_that_expired_a_minute_after_their_ramp_make_room(late_us: int, forgotten: int) -> None:
    board = forget_ended(large(28, ramp_us=5_000_000), NOON_US + 5_000_000 + MINUTE_US + late_us)

    assert len(board.pauses) == 29 - forgotten
    assert "top" in board.pauses


def test_of_pauses_that_expired_at_once_the_first_id_makes_room() -> None:
    pauses = [replace(LARGE, id=f"p-{n:02}") for n in range(28, 0, -1)]

    board = forget_ended(board_of(replace(PAUSE, id="top", rev=9), *pauses), NOON_US + DAY_US)

    assert "p-01" not in board.pauses
    assert len(board.pauses) == 28


@pytest.mark.parametrize(("rev", "kept"), [(3, True), (4, False), (2, True)])
def test_a_pause_with_a_later_revision_that_cannot_be_read_can_be_left_out(rev: int, kept: bool) -> None:
    entries = unread(id_="p-1", rev=rev), unread(id_=None, rev=9)

    board = without_superseded(board_of(PAUSE, replace(PAUSE, id="p-9", rev=0), unreadable=entries))

    assert set(board.pauses) == ({"p-1", "p-9"} if kept else {"p-9"})


def test_a_board_reads_by_the_local_clock_but_for_the_file_of_its_own_host() -> None:
    pause = replace(PAUSE, starts_at_us=10, released_at_us=20, set_at_us=30, expires_at_us=40)
    board = Board({"p-1": pause, "p-2": replace(PAUSE, expires_at_us=40)}, (pause,))

    moved = by_local_clock(board, 5)
    apart = by_local_clock(board, 5, 0).pauses["p-1"]
    starts = by_local_clock(board, 0, -3).pauses["p-1"]

    assert moved.pauses["p-1"] == replace(pause, starts_at_us=15, released_at_us=25, set_at_us=35, expires_at_us=45)
    assert moved.pauses["p-2"] == replace(PAUSE, expires_at_us=45)
    assert moved.break_glass == (pause,)
    assert (apart.starts_at_us, apart.expires_at_us) == (10, 45)
    assert (starts.starts_at_us, starts.expires_at_us) == (7, 40)
    assert by_local_clock(board, 0) is board
    assert by_local_clock(board, 0, 0) is board
