"""A gate's board as its admin port shows it (`/v1/board`): the pauses as documents, each with its state.

`pauses` are in force; those of the host's break-glass file come first and are marked `break_glass`. `scheduled` pauses
have not begun or wait for a second person, `ended` ones are over. `unreadable` are entries that this gate passes on but
does not obey. `now` is the store's clock as the gate knows it, by which the shared pauses begin and end.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from gate.core.fields.parse import UNDECODABLE
from gate.core.pause.board import Board
from gate.core.pause.entry import Pause
from gate.core.pause.wording import waiting
from gate.errors import StateUnreadable
from gate.records.board_document import board_digest
from gate.records.pause import SHOWN, VERSION, decode_pause, instant, pause_document

BREAK_GLASS: Final = "break_glass"
RAMPING: Final = "ramping"


class _Page(msgspec.Struct, frozen=True):
    rev: int
    pauses: list[dict[str, msgspec.Raw]]
    scheduled: list[dict[str, msgspec.Raw]] = []
    ended: list[dict[str, msgspec.Raw]] = []
    lifted: list[str] = []


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Page).decode


def board_page(board: Board, now_us: int, said: Mapping[str, object], host_now_us: int) -> bytes:
    """The page as JSON. `said` holds the gate's other fields, such as the age of its board and whether it is on disk.

    `now_us` is the store's clock, `host_now_us` the host's clock, by which break-glass entries begin and end.
    """
    shown = [pause_document(pause, now_us) for _, pause in sorted(board.pauses.items())]
    glass = [{**pause_document(pause, host_now_us), BREAK_GLASS: True} for pause in board.break_glass]
    begins_later = {pause.id for pause in waiting(board, now_us)}
    begins_later |= {pause.id for pause in board.break_glass if pause.begins_later(host_now_us)}
    return _encode(
        {
            "version": VERSION,
            "rev": board.rev,
            "now": instant(now_us),
            "digest": board_digest(board),
            **said,
            "pauses": [pause for pause in glass + shown if pause["active"]],
            "scheduled": [pause for pause in glass + shown if pause["id"] in begins_later],
            "ended": [pause for pause in glass + shown if not pause["active"] and pause["id"] not in begins_later],
            "unreadable": [
                {"id": entry.id, "rev": entry.rev, "why": entry.why, "entry": entry.raw.decode("utf-8", "replace")}
                for entry in board.unreadable
            ],
        }
    )


def decode_board_page(data: bytes, whole: bool = False) -> tuple[Board, int]:
    """The board of a page, and its revision: its pauses in force and from the break-glass file, those that wait, and those
    after which accounts still come back; with `whole` all that have ended, too.

    Raises StateUnreadable.
    """
    try:
        page = _decode(data)
        ended = (fields for fields in page.ended if whole or bytes(fields.get(RAMPING, b"false")) == b"true")
        found = [_shown(fields) for fields in (*page.pauses, *page.scheduled, *ended)]
    except (*UNDECODABLE, ValueError) as error:
        raise StateUnreadable(f"the gate's board cannot be read: {error}") from error
    shared = {pause.id: pause for pause, break_glass in found if not break_glass}
    glass = tuple(pause for pause, break_glass in found if break_glass)
    return Board(shared, glass, lifted=frozenset(page.lifted)), page.rev


def _shown(fields: Mapping[str, msgspec.Raw]) -> tuple[Pause, bool]:
    own = {name: value for name, value in fields.items() if name not in SHOWN and name != BREAK_GLASS}
    return decode_pause(_encode(own), "the gate's pause"), bytes(fields.get(BREAK_GLASS, b"false")) == b"true"
