"""Hostile state in every channel of the kill switch: it is read or refused, and a pause beside it stays in force.

Channels are the board in Redis and its push, the records of the controls topic, acknowledgements, the snapshot, the
break-glass file, a gate's page and the audit log. Each is fed garbage, truncated, oversized and altered state, and state of
a future version.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.core.pause.board import Board, merge
from gate.core.pause.entry import Pause
from gate.core.pause.scope import Action, Scope
from gate.errors import StateUnreadable
from gate.ports.audit import AuditEntry, AuditOutcome
from gate.ports.boards import Acknowledgement
from gate.ports.clock import ClockMark
from gate.records.audit import decode_audit, encode_audit
from gate.records.board_document import decode_board, encode_board
from gate.records.board_page import board_page, decode_board_page
from gate.records.break_glass_document import decode_break_glass
from gate.records.control import board_of_record, pause_record
from gate.records.gate import decode_gate, encode_gate
from gate.stores.disk.snapshot import BoardSnapshot

NOON_US = 1_800_000_000_000_000
HOUR_US = 3_600_000_000
PAUSE = Pause(
    "p-1", 3, Scope(frozenset(("new",))), Action.STOP, "raid", "", "ann", None, NOON_US + HOUR_US, set_at_us=NOON_US
)
BOARD = Board({"p-1": PAUSE})
KEY, RECORD = pause_record(PAUSE)


@dataclass(frozen=True)
class Channel:
    """A channel: bytes as they are when all is well, and its reader, which returns the board of what it could read."""

    sound: bytes
    read: Callable[[bytes], Board | None]


def _glass(data: bytes) -> Board:
    return Board(break_glass=decode_break_glass(data, NOON_US).pauses)


def _snapshot(data: bytes) -> Board | None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "board.json"
        file.write_bytes(data)
        return BoardSnapshot(file).read()


def _kept() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        snapshot = BoardSnapshot(Path(folder) / "board.json")
        snapshot.write(BOARD, ClockMark(NOON_US, 0, "boot", 1))
        return snapshot.path.read_bytes()


def _acknowledged(data: bytes) -> None:
    assert decode_gate(data, NOON_US).gate


def _audited(data: bytes) -> None:
    assert decode_audit(data).act is not None


CHANNELS = {
    "board": Channel(encode_board(BOARD), decode_board),
    "record": Channel(RECORD, lambda data: board_of_record(KEY, data)),
    "acknowledgement": Channel(
        encode_gate(Acknowledgement("g-1", "http://g", 3, 0, boot="b", digest="d")), _acknowledged
    ),
    "snapshot": Channel(_kept(), _snapshot),
    "break-glass": Channel(encode_board(BOARD), _glass),
    "page": Channel(board_page(BOARD, NOON_US, {}, NOON_US), lambda data: decode_board_page(data)[0]),
    "audit": Channel(
        encode_audit(AuditEntry("pause", "ann", AuditOutcome.DONE, "p-1"), "h", 1, NOON_US, "0" * 64), _audited
    ),
}


@st.composite
def hostile(draw: st.DrawFn, sound: bytes) -> bytes:
    """What a sound document becomes by a torn write, a mistake, a newer release or an attacker."""
    kind = draw(st.sampled_from(("garbage", "truncated", "oversized", "altered", "future", "deep")))
    if kind == "garbage":
        return draw(st.binary(max_size=200))
    if kind == "truncated":
        return sound[: draw(st.integers(0, len(sound) - 1))]
    if kind == "oversized":
        return sound[:-2] + b" " * draw(st.sampled_from((1, 300_000, 5_000_000))) + sound[-2:]
    if kind == "deep":
        return sound.replace(b'"raid"', b"[" * 50_000 + b"]" * 50_000)
    if kind == "future":
        fields = msgspec.json.decode(sound)
        newer = {"version": draw(st.integers(2, 1 << 70)), "requires": ["weather"], "shards": [{"x": 1e300}]}
        return msgspec.json.encode({**fields, **draw(st.sampled_from([{k: newer[k]} for k in newer]))})
    at = draw(st.integers(0, len(sound) - 1))
    return sound[:at] + draw(st.binary(min_size=1, max_size=4)) + sound[at + draw(st.integers(0, 4)) :]


@pytest.mark.parametrize("name", CHANNELS)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_hostile_state_in_any_channel_is_read_or_refused_and_ends_no_pause(name: str, data: st.DataObject) -> None:
    channel = CHANNELS[name]
    document = data.draw(hostile(channel.sound))

    try:
        found = channel.read(document)
    except StateUnreadable:
        found = None

    if found is not None and found.pauses:
        held = merge(BOARD, found).pauses["p-1"]
        # the one way to end a pause is a release, which no damaged copy of a running pause makes up
        assert held.released_at_us is not None or held.expires_at_us >= PAUSE.expires_at_us
        assert decode_board(encode_board(merge(BOARD, found))).pauses["p-1"] == held


@pytest.mark.parametrize("name", CHANNELS)
def test_sound_state_is_read_in_every_channel(name: str) -> None:
    found = CHANNELS[name].read(CHANNELS[name].sound)

    assert found is None or {*found.pauses.values(), *found.break_glass} == {PAUSE}
