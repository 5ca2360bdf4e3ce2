"""The records of topics `gate.controls.v1` and `gate.acknowledgements.v1`, under keys that say what they are.

pause:ID        PAUSE, as in a board's document; no value: forgotten
clock           written to learn the broker's time; its value means nothing
gate:PROCESS    the acknowledgement of a gate process; no value: forgotten

Acknowledgements are in a topic of their own. Where it does not exist, and from gates of an earlier release, they are in the
topic of the pauses.
"""

from __future__ import annotations

from typing import Final

from gate.core.pause.board import Board, UnreadablePause
from gate.core.pause.entry import Pause
from gate.errors import StateUnreadable
from gate.ports.boards import Acknowledgement
from gate.records.board_document import set_aside
from gate.records.gate import encode_gate
from gate.records.pause import MAX_BYTES, decode_pause, encode_pause

CLOCK_KEY: Final = b"clock"
PAUSE: Final = b"pause:"
GATE: Final = b"gate:"
MAX_KEY: Final = 1_024


def pause_record(pause: Pause) -> tuple[bytes, bytes]:
    """Key and value of a pause. Raises StateUnreadable if it could not be read back."""
    value = encode_pause(pause)
    decode_pause(value)
    return PAUSE + pause.id.encode(), value


def entry_record(entry: UnreadablePause) -> tuple[bytes, bytes] | None:
    """Key and value of an entry that this release passes on; None for one without an id."""
    return None if entry.id is None else (PAUSE + entry.id.encode(), entry.raw)


def gate_record(said: Acknowledgement) -> tuple[bytes, bytes]:
    """Key and value of an acknowledgement."""
    return GATE + said.process.encode(), encode_gate(said)


def board_of_record(key: bytes, value: bytes) -> Board:
    """A board with the one pause of a record, unreadable or not. Raises StateUnreadable if the key is another's."""
    if len(key) > MAX_KEY or len(value) > MAX_BYTES:
        raise StateUnreadable(f"a record of {len(key)} and {len(value)} bytes is larger than any pause")
    try:
        pause = decode_pause(value)
    except StateUnreadable as error:
        entry = set_aside(value, str(error))
        if entry.id is None or PAUSE + entry.id.encode() != key:
            raise
        return Board(unreadable=(entry,))
    if PAUSE + pause.id.encode() != key:
        raise StateUnreadable(f"a record of pause {pause.id} stands under another key")
    return Board({pause.id: pause})
