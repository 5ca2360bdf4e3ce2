"""The strict parser of pauses: reads back what was written, refuses everything else and names the field."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.core.pause.board import Board, UnreadablePause, merge
from gate.core.pause.entry import Pause
from gate.core.pause.scope import Action, Scope
from gate.errors import StateUnreadable
from gate.ports.boards import Acknowledgement
from gate.records.board_document import MAX_PAUSES, MAX_UNREADABLE, board_digest, decode_board, encode_board
from gate.records.board_page import board_page, decode_board_page
from gate.records.break_glass_document import decode_break_glass
from gate.records.gate import decode_gate, encode_gate
from gate.records.pause import MAX_BYTES, fingerprint

HOUR_US = 3_600_000_000
START_US = 1_700_000_000_000_000
word = st.text(st.characters(codec="utf-8", categories=("L", "N", "P")), min_size=1, max_size=12)
words = st.frozensets(word, max_size=3)
pauses = st.builds(
    lambda id_, rev, scope, action, text, start, length, release, at_once, extra: Pause(
        id_,
        rev,
        scope,
        action,
        "raid",
        text,
        "ada",
        None if at_once else start,
        start + length,
        release,
        None if release is None else "bob",
        start if at_once else None,
        extra,
    ),
    word,
    st.integers(1, 1 << 53),
    st.builds(Scope, words, words, words, words),
    st.sampled_from(Action),
    st.text(max_size=50),
    st.integers(0, START_US),
    st.integers(1, 24 * HOUR_US),
    st.none() | st.integers(0, START_US),
    st.booleans(),
    st.dictionaries(st.sampled_from(("quota", "über")), st.sampled_from((b"10", b'{"a": [1.50]}')), max_size=2),
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


def _pause(id_: str, rev: int = 1) -> Pause:
    return Pause(id_, rev, Scope(), Action.STOP, "raid", "", "ada", None, START_US + HOUR_US, set_at_us=START_US)


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
        ({"identity": "x" * 257}, "pauses[0].identity"),
        ({"salt": "x" * 65}, "pauses[0].salt"),
        ({"salt": "a\nb"}, "pauses[0].salt"),
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


NEWER: dict[str, Any] = {
    "version": 2,
    "epoch": {"id": 7, "weights": [0.1, 3]},
    "pauses": [
        {**_document()["pauses"][0], "quota": 10, "weather": {"link": "https://example.org/1"}},
        {**_document(id="p-2", rev=4, scope={"ages": ["1d"]})["pauses"][0]},
        {**_document(id="p-3", rev=5, action="shrink")["pauses"][0], "factor": 0.5},
        {**_document(id="p-4", rev=6)["pauses"][0], "season": "dry", "requires": ["season"]},
    ],
}


def _with_human_times(pause: dict[str, Any]) -> dict[str, Any]:
    """As this release writes it: times it can read are RFC 3339."""
    at = {"starts_at_us": "2023-11-14T22:13:20Z", "expires_at_us": "2023-11-14T23:13:20Z"}
    return {(name.removesuffix("_us") if name in at else name): at.get(name, value) for name, value in pause.items()}


def test_a_document_without_a_version_is_version_1() -> None:
    board = decode_board(_bytes(_document()))

    assert board.version == 1
    assert json.loads(encode_board(board))["version"] == 1


def test_fields_of_a_newer_release_survive_reading_merging_and_writing_by_this_one() -> None:
    ours = Board({"p-0": _pause("p-0", rev=9)})

    written = json.loads(encode_board(merge(ours, replace(decode_board(_bytes(NEWER)), pauses={}))))
    rewritten = json.loads(encode_board(merge(decode_board(_bytes(NEWER)), Board())))

    assert rewritten["version"] == written["version"] == 2
    assert rewritten["epoch"] == NEWER["epoch"]
    assert _with_human_times(NEWER["pauses"][0]) in rewritten["pauses"]
    for entry in NEWER["pauses"][1:]:
        assert entry in rewritten["pauses"]
        assert entry in written["pauses"]


def test_of_a_newer_document_this_release_obeys_what_it_understands_and_sets_the_rest_aside() -> None:
    board = decode_board(_bytes(NEWER))

    assert list(board.pauses) == ["p-1"]
    assert board.pauses["p-1"].extra["quota"] == b"10"
    assert [(entry.id, entry.rev) for entry in board.unreadable] == [("p-2", 4), ("p-3", 5), ("p-4", 6)]
    assert [
        "ages" in board.unreadable[0].why,
        "shrink" in board.unreadable[1].why,
        "season" in board.unreadable[2].why,
    ] == [True] * 3
    assert board.rev == 6


def test_one_pause_that_cannot_be_read_is_kept_byte_for_byte_and_the_others_are_obeyed() -> None:
    bad = b'{"id": "p-9",   "rev": 3, "scope": {}, "text": "\\u00fc", "odd": 1.50}'
    data = b'{"pauses":[' + bad + b"," + json.dumps(_document()["pauses"][0]).encode() + b"]}"

    board = decode_board(data)

    assert list(board.pauses) == ["p-1"]
    assert board.unreadable[0].raw == bad
    assert bad in encode_board(board)
    assert decode_board(encode_board(board)) == board


def test_a_readable_revision_stays_in_force_beside_a_later_one_that_cannot_be_read() -> None:
    later = {**_document(rev=8)["pauses"][0], "action": "shrink"}

    board = merge(decode_board(_bytes(_document())), decode_board(_bytes({"pauses": [later]})))

    assert board.pauses["p-1"].rev == 3
    assert decode_board(encode_board(board)) == board
    assert board.rev == 8


def test_of_one_pause_twice_the_higher_revision_counts() -> None:
    first, second = _document()["pauses"][0], _document(rev=4, text="later")["pauses"][0]

    for both in ([first, second], [second, first]):
        assert decode_board(_bytes({"pauses": both})).pauses["p-1"].text == "later"


def test_a_document_of_mostly_garbage_is_refused_whole() -> None:
    with pytest.raises(StateUnreadable, match="cannot be read"):
        decode_board(_bytes({"pauses": [{"id": f"p-{n}"} for n in range(MAX_UNREADABLE + 1)]}))


def test_more_garbage_than_may_be_read_is_never_written() -> None:
    many = tuple(UnreadablePause(b'{"n":%d}' % n, "why") for n in range(MAX_UNREADABLE + 10))

    data = encode_board(Board({"p": _pause("p")}, unreadable=many))

    assert len(decode_board(data).unreadable) == MAX_UNREADABLE


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_a_board_or_are_refused(data: bytes) -> None:
    try:
        board = decode_board(data)
    except StateUnreadable:
        return
    assert decode_board(encode_board(board)) == board


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from([*_document()["pauses"][0], "version", "x"]), json_values)
def test_a_document_with_any_value_anywhere_loses_no_other_pause(name: str, value: Any) -> None:
    good = _document(id="p-good")["pauses"][0]
    document = {"pauses": [good, {**_document()["pauses"][0], name: value}]}

    board = decode_board(_bytes(document))

    assert "p-good" in board.pauses
    assert len(board.pauses) + len(board.unreadable) == 2
    assert decode_board(encode_board(board)) == board


def test_a_fingerprint_tells_revisions_and_contents_apart_and_not_the_way_of_writing() -> None:
    plain = decode_board(_bytes(NEWER)).pauses["p-1"]
    shuffled = dict(reversed(NEWER["pauses"][0].items()))
    spaced = decode_board(json.dumps({"pauses": [shuffled]}, indent=3).encode()).pauses["p-1"]

    assert fingerprint(plain) == fingerprint(spaced)
    assert fingerprint(plain).startswith("p-1@3#")
    others = [replace(plain, rev=4), replace(plain, text="x"), replace(plain, extra={**plain.extra, "quota": b"11"})]
    assert len({fingerprint(each) for each in [plain, *others]}) == 4


def test_a_digest_stands_for_the_pauses_that_are_obeyed() -> None:
    board = Board({"p-1": _pause("p-1"), "p-2": _pause("p-2", rev=2)})

    assert board_digest(board) == board_digest(Board(dict(reversed(board.pauses.items()))))
    assert board_digest(board) != board_digest(Board({"p-1": _pause("p-1")}))
    assert board_digest(board) != board_digest(merge(board, Board({"p-1": _pause("p-1", rev=3)})))


def test_a_time_without_an_offset_is_no_time() -> None:
    entry = {name: value for name, value in _document()["pauses"][0].items() if not name.endswith("_us")}

    board = decode_board(
        _bytes({"pauses": [{**entry, "starts_at": "2026-11-26T11:00:00", "expires_at": "2026-11-26T15:00:00Z"}]})
    )

    assert "offset" in board.unreadable[0].why


def test_a_gates_page_reads_back_as_the_pauses_it_shows() -> None:
    now_us = START_US + 1
    waiting = replace(_pause("p-later"), starts_at_us=now_us + 10, expires_at_us=now_us + 20)
    over = replace(_pause("p-over"), released_at_us=now_us, released_by="ann")
    glass = _pause("p-glass")
    newer = replace(_pause("p-now", rev=7), extra={"quota": b"10"})
    board = Board({pause.id: pause for pause in (newer, waiting, over)}, (glass,))

    page = board_page(board, now_us, {"age_s": 0.1}, now_us)

    shown = json.loads(page)
    assert [(pause["id"], pause["active"]) for pause in shown["pauses"]] == [("p-glass", True), ("p-now", True)]
    assert [pause["id"] for pause in shown["scheduled"]] == ["p-later"]
    assert [pause["id"] for pause in shown["ended"]] == ["p-over"]
    assert shown["pauses"][1]["covers"] == "platform-wide"
    read, rev = decode_board_page(page)
    assert (read, rev) == (Board({"p-now": newer, "p-later": waiting}, (glass,)), 7)


def test_an_acknowledgement_reads_back_as_written_with_the_stores_time() -> None:
    said = Acknowledgement(
        "g-1", "http://g", 7, 0, "boot", "digest", ("p-1@3#0",), 5, "policy", on_disk=False, left=True, unreadable=2,
        salt="0a1b2c3d", workers_salt="4e5f6071", pauses_known=False,
    )  # fmt: skip

    assert decode_gate(encode_gate(said), 9) == replace(said, acknowledged_at_us=9)
    assert json.loads(encode_gate(Acknowledgement("g", "u", 0, 0)))["version"] == 1


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"null", b'{"gate":"","url":"u","rev":1}', b'{"gate":"g","url":"u","rev":-1}']
)
def test_an_acknowledgement_that_says_nothing_is_refused(data: bytes) -> None:
    with pytest.raises(StateUnreadable):
        decode_gate(data, 0)
