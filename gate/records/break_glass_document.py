"""The break-glass file as people write it: a board's document in which fields with a default may be left out.

    {"pauses": [{"scope": {}, "action": "stop", "reason": "raid", "for": "4h"}], "releases": ["p-7k2mq4xd"]}

`for` replaces `expires_at` and counts from the time at which the file was written. `id`, `rev`, `owner`, `text` and
`set_at` have defaults. `scope` has none, so that a forgotten scope does not pause every upload. An unknown field is
taken for a typing error: its entry is not obeyed, unless a newer release wrote the file. `releases` lists pauses of the
shared board that the gates of this host do not obey, for the day on which a release cannot reach them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec

from gate.core.duration import parse_duration_us
from gate.core.fields.parse import UNDECODABLE
from gate.core.pause.entry import Pause
from gate.errors import StateUnreadable
from gate.records.board_document import MAX_PAUSES
from gate.records.complaints import plain_complaint
from gate.records.pause import MAX_BYTES, MAX_ID, VERSION, decode_pause, encode_pause, instant

OWNER: Final = "break-glass file"
FOR: Final = "for"


@dataclass(frozen=True, slots=True)
class BreakGlass:
    """The pauses of a break-glass file, the reason for each entry that is not obeyed, and the pauses that it lifts."""

    pauses: tuple[Pause, ...] = ()
    refused: tuple[str, ...] = ()
    releases: frozenset[str] = frozenset()


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pauses: list[dict[str, msgspec.Raw]] = []
    releases: list[str] = []
    version: int = VERSION


class _Entry(msgspec.Struct, frozen=True):
    """The fields of an entry that have a default, and `for`."""

    expires_at: datetime | None = None
    expires_at_us: int | None = None
    for_: str | None = msgspec.field(default=None, name=FOR)


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Document).decode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_entry = msgspec.json.Decoder(_Entry).decode


def decode_break_glass(data: bytes, written_at_us: int) -> BreakGlass:
    """The entries of the file. `for` counts from `written_at_us`. Raises StateUnreadable for any other document."""
    document = _read(data)
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
    return BreakGlass(tuple(pauses.values()), tuple(refused), frozenset(document.releases))


def with_pause(data: bytes | None, written_at_us: int, pause: Pause) -> bytes:
    """The content of the file with `pause` added; None: there is no file yet. Raises StateUnreadable.

    Lengths of earlier entries become ends, because `for` counts from when the file was written.
    """
    document = _Document() if data is None else _read(data)
    entries = [*_absolute(document, written_at_us), encode_pause(pause)]
    return _written(entries, [id_ for id_ in document.releases if id_ != pause.id])


def with_release(data: bytes | None, written_at_us: int, id_: str) -> bytes:
    """The content of the file with pause `id_` lifted: without its entry, or with its id among the releases.

    Raises StateUnreadable.
    """
    document = _Document() if data is None else _read(data)
    entries = _absolute(document, written_at_us)
    kept = [entry for entry in entries if _id_of(entry) != id_]
    releases = document.releases if len(kept) < len(entries) else [*document.releases, id_]
    return _written(kept, sorted(set(releases)))


def _written(entries: list[bytes], releases: list[str]) -> bytes:
    fields = {"version": VERSION, "pauses": [msgspec.Raw(entry) for entry in entries], "releases": releases}
    written = msgspec.json.format(_encode(fields), indent=1) + b"\n"
    _read(written)  # a file that no gate could read would lose what it held before
    return written


def _absolute(document: _Document, written_at_us: int) -> list[bytes]:
    """The entries with ends in place of lengths; one that cannot be read stays as it is."""
    entries: list[bytes] = []
    for number, fields in enumerate(document.pauses):
        try:
            entries.append(_completed(fields, number, written_at_us, ""))
        except StateUnreadable:
            entries.append(_encode(fields))
    return entries


def _id_of(entry: bytes) -> object:
    return msgspec.json.decode(entry).get("id")


def _read(data: bytes) -> _Document:
    if len(data) > MAX_BYTES:
        raise StateUnreadable(f"a file of more than {MAX_BYTES} bytes")
    try:
        document = _decode(data)
    except (*UNDECODABLE, ValueError) as error:
        raise StateUnreadable(f"its content is not what a break-glass file holds: {plain_complaint(error)}") from error
    if not document.pauses and not document.releases and "pauses" not in _decode_fields(data):
        raise StateUnreadable("its content is not what a break-glass file holds: `pauses` is missing")
    if len(document.pauses) > MAX_PAUSES:
        raise StateUnreadable(f"a file of {len(document.pauses)} pauses, more than {MAX_PAUSES}")
    if len(document.releases) > MAX_PAUSES or any(not 0 < len(id_) <= MAX_ID for id_ in document.releases):
        raise StateUnreadable(f"a file with more than {MAX_PAUSES} releases, or a release that is not an id")
    return document


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
