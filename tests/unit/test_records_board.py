"""The strict parser of pauses: reads back what was written, refuses everything else and names the field."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.core.pause.board import Board, Pause
from gate.core.pause.scope import Action, Scope
from gate.errors import StateUnreadable
from gate.records.break_glass_document import decode_break_glass
from gate.records.pause import (
    MAX_BYTES,
    MAX_PAUSES,
    decode_board,
    encode_board,
)

HOUR_US = 3_600_000_000
START_US = 1_700_000_000_000_000
word = st.text(st.characters(codec="utf-8", categories=("L", "N", "P")), min_size=1, max_size=12)
words = st.frozensets(word, max_size=3)
pauses = st.builds(
    lambda id_, rev, scope, action, text, start, length, release: Pause(
        id_, rev, scope, action, "raid", text, "ada", start, start + length, release, None if release is None else "bob"
    ),
    word,
    st.integers(1, 1 << 53),
    st.builds(Scope, words, words, words, words),
    st.sampled_from(Action),
    st.text(max_size=50),
    st.integers(0, START_US),
    st.integers(1, 24 * HOUR_US),
    st.none() | st.integers(0, START_US),
)


def _document(**change: Any) -> dict[str, Any]:
    pause: dict[str, Any] = {
        "id": "p-1",
        "rev": 3,
        "scope": {"classes": ["new"]},
        "action": "stop",
        "reason": "raid",
        "text": "a raid",
        "owner": "ada",
        "starts_at_us": START_US,
        "expires_at_us": START_US + HOUR_US,
    }
    return {"pauses": [pause | change]}


def _bytes(document: object) -> bytes:
    return json.dumps(document).encode()


@given(st.lists(pauses, max_size=5, unique_by=lambda pause: pause.id))
def test_a_board_reads_back_as_written(found: list[Pause]) -> None:
    board = Board({pause.id: pause for pause in found})

    assert decode_board(encode_board(board)) == board


@given(st.lists(pauses, max_size=5, unique_by=lambda pause: pause.id))
def test_equal_boards_have_equal_bytes_whatever_their_order(found: list[Pause]) -> None:
    forward = Board({pause.id: pause for pause in found})
    backward = Board({pause.id: pause for pause in reversed(found)})

    assert encode_board(forward) == encode_board(backward)


def test_a_break_glass_file_is_a_board_without_revisions_to_merge() -> None:
    (pause,) = decode_break_glass(_bytes(_document()), START_US).pauses

    assert (pause.id, pause.action, pause.scope) == ("p-1", Action.STOP, Scope(classes=frozenset({"new"})))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"id": ""}, "pauses[0].id"),
        ({"id": "x" * 65}, "pauses[0].id"),
        ({"id": "a\nb"}, "pauses[0].id"),
        ({"rev": 0}, "pauses[0].rev"),
        ({"rev": 1 << 54}, "pauses[0].rev"),
        ({"rev": "3"}, "rev"),
        ({"action": "explode"}, "action"),
        ({"reason": ""}, "pauses[0].reason"),
        ({"text": "x" * 2_001}, "pauses[0].text"),
        ({"owner": ""}, "pauses[0].owner"),
        ({"starts_at_us": -1}, "pauses[0].starts_at_us"),
        ({"starts_at_us": 1.5}, "starts_at_us"),
        ({"expires_at_us": START_US}, "pauses[0].expires_at_us"),
        ({"expires_at_us": START_US + 400 * 24 * HOUR_US}, "pauses[0].expires_at_us"),
        ({"starts_at_us": 1 << 60, "expires_at_us": (1 << 60) + 1}, "pauses[0].starts_at_us"),
        ({"released_at_us": -5}, "pauses[0].released_at_us"),
        ({"released_by": "bob"}, "pauses[0].released_by"),
        ({"scope": {"classes": [""]}}, "pauses[0].scope.classes"),
        ({"scope": {"kinds": ["x"] * 501}}, "pauses[0].scope.kinds"),
        ({"scope": {"planets": ["mars"]}}, "planets"),
        ({"scope": None}, "scope"),
    ],
)
def test_a_pause_with_a_field_out_of_bounds_is_set_aside_whole_and_the_field_is_named(
    change: dict[str, Any], field: str
) -> None:
    board = decode_board(_bytes(_document(**change)))

    assert board.pauses == {}
    (entry,) = board.unreadable
    assert field in entry.why
    assert json.loads(entry.raw) == _document(**change)["pauses"][0]


def test_the_same_id_twice_is_refused() -> None:
    pause = _document()["pauses"][0]

    with pytest.raises(StateUnreadable, match="twice"):
        decode_board(_bytes({"pauses": [pause, pause]}))


def test_too_many_pauses_are_refused() -> None:
    pause = _document(text="", scope={})["pauses"][0]
    many = [pause | {"id": f"p{i}"} for i in range(MAX_PAUSES + 1)]

    with pytest.raises(StateUnreadable, match=str(MAX_PAUSES)):
        decode_board(_bytes({"pauses": many}))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"pauses":{}}',
        b"\xff",
        b"[" * 100_000,
        b" " * (MAX_BYTES + 1),
    ],
)
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(StateUnreadable):
        decode_board(data)


def test_a_board_that_nobody_could_read_is_not_written() -> None:
    pause = Pause("p", 1, Scope(), Action.STOP, "raid", "x" * 5_000, "ada", START_US, START_US + HOUR_US)

    with pytest.raises(StateUnreadable, match="text"):
        encode_board(Board({"p": pause}))
