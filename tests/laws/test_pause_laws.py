"""The laws of the kill switch: whatever arrives, in whatever order and however often, all see the same pauses."""

from __future__ import annotations

import json
import random
from dataclasses import replace

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gate.core.duration import DAY_US
from gate.core.pause.board import KEEP_ENDED_US, Board, UnreadablePause, by_local_clock, forget_ended, merge
from gate.core.pause.entry import Pause
from gate.core.pause.scope import STRICTNESS, Action, Scope
from gate.records.board_document import decode_board, encode_board
from tests.pause_reference import strictest

CLASSES = ("new", "regular", "trusted")
SURFACES = ("post", "story")
KINDS = ("image", "video")
COUNTRIES = ("DE", "FR")
RELEASED = Pause("p-a", 1, Scope(), Action.STOP, "raid", "", "ann", 0, 9, released_at_us=1, released_by="ann")
whole_boards = settings(suppress_health_check=[HealthCheck.too_slow])
"""Boards take long to draw on a busy machine, which says nothing of the code."""
TIMES = st.integers(min_value=0, max_value=40)


def some(values: tuple[str, ...]) -> st.SearchStrategy[frozenset[str]]:
    return st.frozensets(st.sampled_from(values), max_size=2)


extras = st.dictionaries(st.sampled_from(("quota", "weather")), st.sampled_from((b"1", b'"x"', b"{}")), max_size=2)
scopes = st.builds(Scope, some(CLASSES), some(SURFACES), some(KINDS), some(COUNTRIES))


@st.composite
def pauses(draw: st.DrawFn) -> Pause:
    starts = draw(TIMES)
    released = draw(st.none() | TIMES)
    return Pause(
        id=draw(st.sampled_from(("p-a", "p-b", "p-c", "p-d"))),
        rev=draw(st.integers(min_value=1, max_value=5)),
        scope=draw(scopes),
        action=draw(st.sampled_from(Action)),
        reason=draw(st.sampled_from(("raid", "legal"))),
        text=draw(st.sampled_from(("", "text"))),
        owner=draw(st.sampled_from(("ann", "bob"))),
        starts_at_us=starts,
        expires_at_us=starts + draw(st.integers(min_value=1, max_value=40)),
        released_at_us=released,
        released_by=None if released is None else draw(st.sampled_from((None, "ann", "bob"))),
        set_at_us=draw(st.none() | TIMES),
        extra=draw(extras),
    )


def board_of(*pauses: Pause) -> Board:
    board = Board()
    for pause in pauses:
        board = merge(board, Board({pause.id: pause}))
    return board


def unreadable(id_: str | None, rev: int, note: str) -> UnreadablePause:
    entry = {"note": note} if id_ is None else {"id": id_, "rev": rev, "note": note}
    return UnreadablePause(json.dumps(entry).encode(), "why", id_, 0 if id_ is None else rev)


unreadables = st.builds(
    unreadable,
    st.none() | st.sampled_from(("p-a", "p-b", "p-c", "p-d")),
    st.integers(min_value=1, max_value=5),
    st.sampled_from("xy"),
)


def document(found: list[Pause], aside: list[UnreadablePause], extra: dict[str, bytes], version: int) -> Board:
    return replace(merge(board_of(*found), Board(unreadable=tuple(aside))), extra=extra, version=version)


boards = st.builds(
    document, st.lists(pauses(), max_size=8), st.lists(unreadables, max_size=3), extras, st.integers(1, 3)
)
uploads = st.tuples(
    st.sampled_from(CLASSES),
    st.none() | st.sampled_from(SURFACES),
    st.none() | st.sampled_from(KINDS),
    st.none() | st.sampled_from(COUNTRIES),
)


twins = st.tuples(pauses(), pauses()).map(lambda pair: (pair[0], replace(pair[1], id=pair[0].id, rev=pair[0].rev)))


@given(twins)
@example((RELEASED, replace(RELEASED, released_at_us=2)))
@example((RELEASED, replace(RELEASED, released_by="bob")))
@example((RELEASED, replace(RELEASED, starts_at_us=1)))
@example((RELEASED, replace(RELEASED, scope=Scope(frozenset(("a|b",))))))
@example((replace(RELEASED, scope=Scope(frozenset(("a|b",)))), replace(RELEASED, scope=Scope(frozenset(("a", "b"))))))
def test_two_contents_under_one_revision_are_settled_alike_by_all(pair: tuple[Pause, Pause]) -> None:
    """A server that lost its last write to a failover can give the same revision twice."""
    assert board_of(*pair).pauses == board_of(*reversed(pair)).pauses


@whole_boards
@given(boards, boards)
def test_merging_is_commutative(left: Board, right: Board) -> None:
    assert merge(left, right) == merge(right, left)


@whole_boards
@given(boards, boards, boards)
def test_merging_is_associative(a: Board, b: Board, c: Board) -> None:
    assert merge(merge(a, b), c) == merge(a, merge(b, c))


@whole_boards
@given(boards, boards)
def test_merging_is_idempotent_and_loses_no_revision(left: Board, right: Board) -> None:
    both = merge(left, right)

    assert merge(left, left) == left
    assert merge(both, right) == both
    assert both.rev == max(left.rev, right.rev)
    assert set(both.pauses) == set(left.pauses) | set(right.pauses)


@given(st.lists(pauses(), max_size=10), st.integers(min_value=0, max_value=2**32 - 1))
def test_deliveries_repeated_and_in_any_order_give_the_same_board(sent: list[Pause], seed: int) -> None:
    order = random.Random(seed)
    again = sent + order.choices(sent, k=len(sent)) if sent else []
    order.shuffle(again)

    assert board_of(*again).pauses == board_of(*sent).pauses


@given(boards)
def test_a_board_survives_its_bytes(board: Board) -> None:
    assert decode_board(encode_board(board)) == board


@whole_boards
@given(boards, boards)
def test_an_entry_that_cannot_be_read_is_kept_until_a_readable_revision_is_as_high(left: Board, right: Board) -> None:
    both = merge(left, right)

    for entry in (*left.unreadable, *right.unreadable):
        if entry.id is None:
            assert entry in both.unreadable
        else:
            later = [other.rev for other in both.unreadable if other.id == entry.id]
            later += [pause.rev for key, pause in both.pauses.items() if key == entry.id]
            assert max(later) >= entry.rev


@given(pauses(), TIMES)
def test_a_pause_without_a_start_is_in_force_whatever_the_clock_says(pause: Pause, now_us: int) -> None:
    at_once = replace(pause, starts_at_us=None, released_at_us=None, released_by=None)

    assert at_once.active(now_us) == (now_us < pause.expires_at_us)


@given(boards, TIMES, st.integers(-100, 100))
def test_a_clock_that_is_off_judges_the_moved_board_as_the_stores_clock_does(
    board: Board, now_us: int, ahead_us: int
) -> None:
    moved = by_local_clock(board, ahead_us)

    assert [pause.id for pause in moved.active(now_us + ahead_us)] == [pause.id for pause in board.active(now_us)]


@given(pauses(), st.integers(0, 2 * KEEP_ENDED_US), TIMES)
def test_a_snapshot_from_before_a_release_never_revives_the_pause_once_the_release_is_forgotten(
    pause: Pause, now_us: int, later_us: int
) -> None:
    released = replace(pause, rev=pause.rev + 1, released_at_us=0, released_by="ann")
    newest = replace(pause, id="p-newest", rev=pause.rev + 9, released_at_us=0)
    forgotten = forget_ended(board_of(released, newest), now_us)

    revived = merge(forgotten, board_of(pause))

    assert [found.id for found in revived.active(now_us + later_us)] == []


@given(pauses(), TIMES)
def test_a_pause_is_in_force_from_its_start_until_it_ends(pause: Pause, now_us: int) -> None:
    inside = pause.starts_at_us <= now_us < pause.expires_at_us

    assert pause.active(now_us) == (inside and pause.released_at_us is None)
    assert not pause.active(pause.expires_at_us)


@given(pauses(), st.integers(min_value=0, max_value=100), st.integers(min_value=0, max_value=100))
def test_what_has_expired_stays_expired(pause: Pause, first: int, more: int) -> None:
    at = pause.expires_at_us + first

    assert not pause.active(at)
    assert not pause.active(at + more)


@given(boards, st.integers(min_value=0, max_value=2 * KEEP_ENDED_US))
def test_forgetting_keeps_the_revision_and_all_that_is_in_force(board: Board, now_us: int) -> None:
    kept = forget_ended(board, now_us)

    assert kept.rev == board.rev
    assert kept.active(now_us) == board.active(now_us)
    assert kept.pauses.items() <= board.pauses.items()


@given(boards, st.integers(min_value=0, max_value=2 * KEEP_ENDED_US), TIMES)
def test_a_forgotten_pause_brought_back_by_an_old_copy_is_never_in_force_again(
    board: Board, now_us: int, later: int
) -> None:
    forgotten = forget_ended(board, now_us)

    revived = merge(forgotten, board)

    assert revived.active(now_us + later) == [p for p in board.active(now_us + later) if p.id in forgotten.pauses]
    for pause in board.pauses.values():
        if pause.id not in forgotten.pauses:
            assert not revived.pauses[pause.id].active(now_us + later)


@given(pauses(), st.integers(min_value=1, max_value=3), TIMES)
def test_no_copy_from_before_a_release_brings_a_pause_back(pause: Pause, newer: int, now_us: int) -> None:
    released = replace(pause, rev=pause.rev + newer, released_at_us=pause.starts_at_us, released_by="ann")

    for board in (board_of(released, pause), board_of(pause, released), board_of(pause, released, pause)):
        assert board.active(now_us) == []


@given(boards, uploads, TIMES)
def test_the_strictest_pause_that_meets_an_upload_is_found(
    board: Board, upload: tuple[str, str | None, str | None, str | None], now_us: int
) -> None:
    meeting = [pause for pause in board.active(now_us) if pause.scope.matches(*upload)]

    found = strictest(board.pauses, *upload, now_us)

    assert (found is None) == (not meeting)
    if found is not None:
        assert found in meeting
        top = max(STRICTNESS[pause.action] for pause in meeting)
        assert STRICTNESS[found.action] == top
        assert found.expires_at_us == max(p.expires_at_us for p in meeting if STRICTNESS[p.action] == top)


@given(boards, pauses(), uploads, TIMES)
def test_one_more_pause_never_loosens(
    board: Board, extra: Pause, upload: tuple[str, str | None, str | None, str | None], now_us: int
) -> None:
    before = strictest(board.pauses, *upload, now_us)
    after = strictest({**board.pauses, "p-extra": extra}, *upload, now_us)

    if before is not None:
        assert after is not None
        assert STRICTNESS[after.action] >= STRICTNESS[before.action]


@given(scopes, uploads)
def test_a_scope_is_the_and_of_its_sets(scope: Scope, upload: tuple[str, str | None, str | None, str | None]) -> None:
    sets = (scope.classes, scope.surfaces, scope.kinds, scope.countries)

    assert scope.matches(*upload) == all(not s or v in s for s, v in zip(sets, upload, strict=True))
    assert not scope.platform_wide or scope.matches(*upload)


def test_a_release_is_remembered_until_the_longest_copy_of_its_pause_has_expired() -> None:
    """A pause of 30 days, released on its first day: a snapshot from before turns up in its third week."""
    pause = Pause("p-a", 1, Scope(), Action.STOP, "raid", "", "ann", None, 30 * DAY_US, set_at_us=0)
    released = replace(pause, rev=2, released_at_us=DAY_US, released_by="ann")
    later = replace(pause, id="p-b", rev=3, expires_at_us=2 * DAY_US)

    remembered = forget_ended(board_of(released, later), 20 * DAY_US)

    assert merge(remembered, board_of(pause)).active(20 * DAY_US) == []
    assert "p-a" not in forget_ended(board_of(released, later), 30 * DAY_US + KEEP_ENDED_US).pauses
