"""A whole board as JSON: the document of the store, the push and the snapshot, and the only parser of it.

    {"version": 1, "pauses": [PAUSE, …]}

`gate.records.pause` reads and writes each pause. Other bytes are refused, and the caller keeps the last good state. A pause
that cannot be read (a field out of bounds, an unknown action, a scope with an unknown set, a required field that is
unknown) is kept byte for byte and not obeyed; gates obey the other pauses of the document. An unknown field of the
document is kept and written again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

import msgspec

from gate.core.pause.board import Board, UnreadablePause, merge
from gate.core.pause.entry import Extra, Pause
from gate.errors import StateUnreadable
from gate.records.pause import (
    MAX_BYTES,
    MAX_ID,
    MAX_REV,
    MAX_TIME_US,
    NOT_UNDERSTOOD,
    VERSION,
    decode_pause,
    encode_pause,
    fingerprint,
    instant_us,
    out_of_bounds,
)

MAX_PAUSES: Final = 1_000
MAX_UNREADABLE: Final = 50
"""A document with more unreadable entries than this is refused whole."""
MAX_VERSION: Final = 1_000


class _Head(msgspec.Struct, frozen=True):
    version: int = VERSION
    pauses: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET


class _Marks(msgspec.Struct, frozen=True):
    """The fields that identify an entry that cannot be read."""

    id: str
    rev: int


class _Expiry(msgspec.Struct, frozen=True):
    expires_at: datetime | None = None
    expires_at_us: int | None = None


_HEAD_FIELDS: Final = frozenset(_Head.__struct_fields__)
_encode = msgspec.json.Encoder().encode
_decode_head = msgspec.json.Decoder(_Head).decode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_marks = msgspec.json.Decoder(_Marks).decode
_decode_expiry = msgspec.json.Decoder(_Expiry).decode


def encode_board(board: Board) -> bytes:
    """The document of `board` without its break-glass entries: pauses in the order of their ids, then unreadable ones.

    Raises StateUnreadable if it could not be read back, so that no document is stored that every gate would refuse.
    """
    entries = [encode_pause(board.pauses[key]) for key in sorted(board.pauses)]
    for number, raw in enumerate(entries):
        decode_pause(raw, f"not a board: pauses[{number}]")
    entries += [entry.raw for entry in sorted(board.unreadable, key=lambda entry: -entry.rev)[:MAX_UNREADABLE]]
    _check_count(entries)
    head = {"version": board.version, "pauses": [msgspec.Raw(raw) for raw in entries]}
    data = _encode({**head, **{name: msgspec.Raw(value) for name, value in board.extra.items()}})
    _check_size(data)
    return data


def decode_board(data: bytes) -> Board:
    """The board that `data` holds. Raises StateUnreadable, naming the field."""
    _check_size(data)
    try:
        head, fields = _decode_head(data), _decode_fields(data)
    except NOT_UNDERSTOOD as error:
        raise StateUnreadable(f"not a board: {error}") from error
    if head.pauses is msgspec.UNSET:
        raise StateUnreadable("not a board: Object missing required field `pauses`")
    if not 1 <= head.version <= MAX_VERSION:
        raise out_of_bounds("version", "is not a version")
    _check_count(head.pauses)
    extra = {name: bytes(value) for name, value in fields.items() if name not in _HEAD_FIELDS}
    return _board_of([bytes(raw) for raw in head.pauses], extra, head.version)


def document_version(data: bytes) -> int | None:
    """The version that a document states, even if the rest cannot be read; None if it cannot be read either."""
    try:
        return _decode_head(data).version
    except NOT_UNDERSTOOD:
        pass
    try:
        return int(bytes(_decode_fields(data)["version"]))
    except (*NOT_UNDERSTOOD, KeyError):
        return None


def board_digest(board: Board) -> str:
    """16 hex digits over the pauses that are obeyed: equal digests mean equal pauses."""
    lines = "\n".join(fingerprint(board.pauses[key]) for key in sorted(board.pauses))
    return hashlib.sha256(lines.encode()).hexdigest()[:16]


def _board_of(entries: list[bytes], extra: Extra, version: int) -> Board:
    pauses: list[Pause] = []
    unreadable: list[UnreadablePause] = []
    for number, raw in enumerate(entries):
        try:
            pauses.append(decode_pause(raw, f"pauses[{number}]"))
        except StateUnreadable as error:
            unreadable.append(set_aside(raw, str(error)))
    if len(unreadable) > MAX_UNREADABLE:
        raise StateUnreadable(f"not a board: {len(unreadable)} pauses cannot be read, such as {unreadable[0].why}")
    board = merge(Board(_by_id(pauses)), Board(unreadable=tuple(unreadable)))
    return replace(board, extra=extra, version=version)


def _by_id(pauses: Iterable[Pause]) -> dict[str, Pause]:
    """The pauses by id, of two revisions the higher. A release that cannot read the higher one keeps both."""
    found: dict[str, Pause] = {}
    for pause in pauses:
        known = found.get(pause.id)
        if known is not None and known.rev == pause.rev:
            raise StateUnreadable(f"not a board: pause {pause.id} occurs twice")
        if known is None or known.rev < pause.rev:
            found[pause.id] = pause
    return found


def set_aside(raw: bytes, why: str) -> UnreadablePause:
    """An entry that cannot be read, with as many of its fields as can be."""
    try:
        marks = _decode_marks(raw)
    except NOT_UNDERSTOOD:
        return UnreadablePause(raw, why)
    if not 1 <= len(marks.id) <= MAX_ID or not marks.id.isprintable() or not 1 <= marks.rev <= MAX_REV:
        return UnreadablePause(raw, why)
    try:
        expiry = _decode_expiry(raw)
        expires_at_us = expiry.expires_at_us if expiry.expires_at is None else instant_us(expiry.expires_at)
    except NOT_UNDERSTOOD:
        expires_at_us = None
    if expires_at_us is not None and not 0 <= expires_at_us < MAX_TIME_US:
        expires_at_us = None
    return UnreadablePause(raw, why, marks.id, marks.rev, expires_at_us)


def _check_size(data: bytes) -> None:
    if len(data) > MAX_BYTES:
        raise StateUnreadable(f"a board of {len(data)} bytes, more than {MAX_BYTES}")


def _check_count(entries: Sequence[object]) -> None:
    if len(entries) > MAX_PAUSES:
        raise StateUnreadable(f"a board of {len(entries)} pauses, more than {MAX_PAUSES}")
