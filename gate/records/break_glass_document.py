"""The break-glass file as people write it: a board's document in which fields with a default may be left out.

    {"pauses": [{"scope": {}, "action": "stop", "reason": "raid", "for": "4h"}]}

`for` replaces `expires_at` and counts from the time at which the file was written. `id`, `rev`, `owner`, `text` and
`set_at` have defaults. `scope` has none, so that a forgotten scope does not pause every upload. An unknown field is
taken for a typing error: its entry is not obeyed, unless a newer release wrote the file.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec

from gate.core.duration import parse_duration_us
from gate.core.pause.board import Board, Pause
from gate.errors import StateUnreadable
from gate.records.board_document import MAX_PAUSES, encode_board
from gate.records.complaints import plain_complaint
from gate.records.pause import MAX_BYTES, VERSION, decode_pause, instant

OWNER: Final = "break-glass file"
FOR: Final = "for"


@dataclass(frozen=True, slots=True)
class BreakGlass:
    """The pauses of a break-glass file, and the reason for each entry that is not obeyed."""

    pauses: tuple[Pause, ...] = ()
    refused: tuple[str, ...] = ()


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pauses: list[dict[str, msgspec.Raw]]
    version: int = VERSION


class _Entry(msgspec.Struct, frozen=True):
    """The fields of an entry that have a default, and `for`."""

    expires_at: datetime | None = None
    expires_at_us: int | None = None
    for_: str | None = msgspec.field(default=None, name=FOR)


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Document).decode
_decode_entry = msgspec.json.Decoder(_Entry).decode


def decode_break_glass(data: bytes, written_at_us: int) -> BreakGlass:
    """The entries of the file. `for` counts from `written_at_us`. Raises StateUnreadable for any other document."""
    if len(data) > MAX_BYTES:
        raise StateUnreadable(f"a file of more than {MAX_BYTES} bytes")
    try:
        document = _decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise StateUnreadable(f"its content is not what a break-glass file holds: {plain_complaint(error)}") from error
    if len(document.pauses) > MAX_PAUSES:
        raise StateUnreadable(f"a file of {len(document.pauses)} pauses, more than {MAX_PAUSES}")
    pauses: dict[str, Pause] = {}
    refused: list[str] = []
    for number, fields in enumerate(document.pauses):
        place = f"pauses[{number}]"
        try:
            pause = decode_pause(_completed(fields, number, written_at_us, place), place)
            if pause.extra and document.version <= VERSION:
                raise StateUnreadable(f"`{place}` has an unknown field `{min(pause.extra)}`")
            if pause.id in pauses:
                raise StateUnreadable(f"`{place}.id` occurs twice")
        except StateUnreadable as error:
            refused.append(str(error))
        else:
            pauses[pause.id] = pause
    return BreakGlass(tuple(pauses.values()), tuple(refused))


def encode_break_glass(pauses: Iterable[Pause]) -> bytes:
    """The content of a break-glass file with `pauses`. Raises StateUnreadable if it could not be read back."""
    return encode_board(Board({pause.id: pause for pause in pauses}))


def _completed(fields: dict[str, msgspec.Raw], number: int, written_at_us: int, place: str) -> bytes:
    """The entry as a pause's document."""
    written_at = instant(written_at_us)
    defaults: dict[str, object] = {"id": f"break-glass-{number + 1}", "rev": 1, "text": "", "owner": OWNER}
    if not fields.keys() & {"set_at", "starts_at", "starts_at_us"}:
        defaults["set_at"] = written_at
    given = {name: value for name, value in fields.items() if name != FOR}
    try:
        entry = _decode_entry(_encode(fields))
        if entry.for_ is not None:
            if entry.expires_at is not None or entry.expires_at_us is not None:
                raise ValueError("has both an end and `for`")
            defaults["expires_at"] = instant(written_at_us + parse_duration_us(entry.for_))
    except (msgspec.DecodeError, ValueError) as error:
        raise StateUnreadable(f"`{place}` {plain_complaint(error)}") from error
    return _encode({**defaults, **given})
