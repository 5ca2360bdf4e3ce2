"""Pauses as JSON: the only format of the kill switch outside a process, and its only parser, which is strict.

    {"version": 1, "pauses": [{"id": "p-7k2mq4xd", "rev": 3, "scope": {"classes": ["new"]}, "action": "stop",
      "reason": "raid", "text": "bots", "owner": "ann", "set_at": "2026-11-26T11:00:00Z",
      "expires_at": "2026-11-26T15:00:00Z"}]}

The store, the push, the snapshot, a gate's `/v1/board`, `status -o json` and the break-glass file all carry this
document. Times are RFC 3339 with up to six digits of a second. Documents without `version` are older: they have times
in µs since 1970 under names that end in `_us`, and are read as well. A pause without `starts_at` is in force on
receipt.

Control data is hostile input: a forged document could stop every upload or let all uploads in. Sizes and counts are
bounded here. Bytes that are no such document are refused whole, and the caller keeps the last good state. Newer
releases are expected: an unknown field of the document or of a pause is kept and written again. In a pause's
`requires` a newer release names the fields without which the pause may not be obeyed. A pause that cannot be read
(a field out of bounds, an unknown action, a scope with an unknown set, a required field that is unknown) is kept
byte for byte and not obeyed; the other pauses of the document are obeyed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from gate.core.duration import DAY_US
from gate.core.pause.board import Board, Extra, Pause, UnreadablePause, merge
from gate.core.pause.scope import Action, Scope
from gate.errors import StateUnreadable
from gate.records.complaints import plain_complaint

VERSION: Final = 1
MAX_BYTES: Final = 256 * 1024
MAX_PAUSES: Final = 1_000
MAX_UNREADABLE: Final = 50
"""A document with more unreadable entries than this is refused whole."""
MAX_ID: Final = 64
MAX_NAME: Final = 256
MAX_TEXT: Final = 2_000
MAX_SCOPE: Final = 500
MAX_REV: Final = 1 << 53
MAX_VERSION: Final = 1_000
MAX_TIME_US: Final = 4_102_444_800_000_000
"""2100-01-01: a time beyond it is a mistake in units."""
MAX_LENGTH_US: Final = 366 * DAY_US
"""Longest pause that is read. `gate.app.operate` limits what people may set, which is shorter."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class ScopeDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A scope: each set that is given must contain the upload's value."""

    classes: list[str] = []
    surfaces: list[str] = []
    kinds: list[str] = []
    countries: list[str] = []


class PauseDocument(msgspec.Struct, frozen=True, omit_defaults=True):
    """One pause. A field that is not listed here belongs to a newer release; `…_us` are times of older documents."""

    id: str
    rev: int
    scope: ScopeDocument
    action: Action
    reason: str
    text: str
    owner: str
    set_at: datetime | None = None
    starts_at: datetime | None = None
    expires_at: datetime | None = None
    released_at: datetime | None = None
    released_by: str | None = None
    requires: list[str] = []
    starts_at_us: int | None = None
    expires_at_us: int | None = None
    released_at_us: int | None = None


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


_FIELDS: Final = frozenset(PauseDocument.__struct_fields__)
_HEAD_FIELDS: Final = frozenset(_Head.__struct_fields__)
_NOT_UNDERSTOOD = (msgspec.DecodeError, ValueError, RecursionError, OverflowError)
_encode = msgspec.json.Encoder().encode
_encode_sorted = msgspec.json.Encoder(order="sorted").encode
_decode_head = msgspec.json.Decoder(_Head).decode
_decode_pause = msgspec.json.Decoder(PauseDocument).decode
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
    except _NOT_UNDERSTOOD as error:
        raise StateUnreadable(f"not a board: {error}") from error
    if head.pauses is msgspec.UNSET:
        raise StateUnreadable("not a board: Object missing required field `pauses`")
    if not 1 <= head.version <= MAX_VERSION:
        raise _out_of_bounds("version", "is not a version")
    _check_count(head.pauses)
    extra = {name: bytes(value) for name, value in fields.items() if name not in _HEAD_FIELDS}
    return _board_of([bytes(raw) for raw in head.pauses], extra, head.version)


def document_version(data: bytes) -> int | None:
    """The version that a document states, even if the rest cannot be read; None if it cannot be read either."""
    try:
        return _decode_head(data).version
    except _NOT_UNDERSTOOD:
        pass
    try:
        return int(bytes(_decode_fields(data)["version"]))
    except (*_NOT_UNDERSTOOD, KeyError):
        return None


def encode_pause(pause: Pause) -> bytes:
    """One pause as the JSON object that a document holds."""
    data = _encode(pause_struct(pause))
    if not pause.extra:
        return data
    fields = {name: msgspec.Raw(value) for name, value in pause.extra.items()}
    return _encode({**_decode_fields(data), **fields})


def decode_pause(raw: bytes, place: str = "pause") -> Pause:
    """The pause that `raw` holds. Raises StateUnreadable, naming the field after `place`."""
    try:
        read, fields = _decode_pause(raw), _decode_fields(raw)
    except _NOT_UNDERSTOOD as error:
        raise StateUnreadable(f"{place}: {plain_complaint(error)}") from error
    unknown = {name: bytes(value) for name, value in fields.items() if name not in _FIELDS}
    missing = sorted(set(read.requires) - _FIELDS)
    if missing:
        raise _out_of_bounds(f"{place}.requires", f"names {', '.join(missing)[:200]}, which this release does not know")
    if read.requires:
        unknown["requires"] = bytes(fields["requires"])
    _check_scope(read.scope, f"{place}.scope")
    pause = _pause(read, unknown, place)
    _check(pause, place, "expires_at" if read.expires_at_us is None else "expires_at_us")
    return pause


def fingerprint(pause: Pause) -> str:
    """`ID@REV#HASH`. Two processes with the same content of the same revision get the same one, on any release."""
    fields = msgspec.json.decode(encode_pause(pause))
    return f"{pause.id}@{pause.rev}#{hashlib.sha256(_encode_sorted(fields)).hexdigest()[:8]}"


def board_digest(board: Board) -> str:
    """16 hex digits over the pauses that are obeyed: equal digests mean equal pauses."""
    lines = "\n".join(fingerprint(board.pauses[key]) for key in sorted(board.pauses))
    return hashlib.sha256(lines.encode()).hexdigest()[:16]


def pause_struct(pause: Pause) -> PauseDocument:
    """The pause as its document writes it, without the fields of a newer release."""
    scope = pause.scope
    return PauseDocument(
        id=pause.id,
        rev=pause.rev,
        scope=ScopeDocument(*(sorted(values) for values in scope.sets.values())),
        action=pause.action,
        reason=pause.reason,
        text=pause.text,
        owner=pause.owner,
        set_at=instant(pause.set_at_us),
        starts_at=instant(pause.starts_at_us),
        expires_at=instant(pause.expires_at_us),
        released_at=instant(pause.released_at_us),
        released_by=pause.released_by,
    )


def pause_document(pause: Pause, now_us: int) -> dict[str, Any]:
    """The pause for people and programs to read: its fields as written, and its state at `now_us`.

    `covers` is the scope in words, `active` says whether it is in force, `seconds_left` is the time until it expires.
    """
    return {
        **msgspec.json.decode(encode_pause(pause)),
        "covers": str(pause.scope),
        "active": pause.active(now_us),
        "seconds_left": round(max(pause.expires_at_us - now_us, 0) / 1_000_000, 1),
    }


SHOWN: Final = frozenset(("covers", "active", "seconds_left"))
"""The fields that `pause_document` adds for reading; they are never stored."""


def instant_us(value: datetime | None) -> int | None:
    """µs since 1970. Raises ValueError for a time without an offset."""
    if value is None:
        return None
    if value.tzinfo is None:
        raise ValueError("has no offset from UTC; write it like 2026-11-26T15:00:00Z")
    return (value - _EPOCH) // _MICROSECOND


def instant(us: int | None) -> datetime | None:
    """The time as a datetime in UTC."""
    return None if us is None else _EPOCH + us * _MICROSECOND


def _board_of(entries: list[bytes], extra: Extra, version: int) -> Board:
    pauses: list[Pause] = []
    unreadable: list[UnreadablePause] = []
    for number, raw in enumerate(entries):
        try:
            pauses.append(decode_pause(raw, f"pauses[{number}]"))
        except StateUnreadable as error:
            unreadable.append(_set_aside(raw, str(error)))
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


def _set_aside(raw: bytes, why: str) -> UnreadablePause:
    try:
        marks = _decode_marks(raw)
    except _NOT_UNDERSTOOD:
        return UnreadablePause(raw, why)
    if not 1 <= len(marks.id) <= MAX_ID or not marks.id.isprintable() or not 1 <= marks.rev <= MAX_REV:
        return UnreadablePause(raw, why)
    try:
        expiry = _decode_expiry(raw)
        expires_at_us = expiry.expires_at_us if expiry.expires_at is None else instant_us(expiry.expires_at)
    except _NOT_UNDERSTOOD:
        expires_at_us = None
    if expires_at_us is not None and not 0 <= expires_at_us < MAX_TIME_US:
        expires_at_us = None
    return UnreadablePause(raw, why, marks.id, marks.rev, expires_at_us)


def _pause(read: PauseDocument, extra: Extra, place: str) -> Pause:
    scope = read.scope
    starts_at_us = _either(read.starts_at, read.starts_at_us, f"{place}.starts_at")
    expires_at_us = _either(read.expires_at, read.expires_at_us, f"{place}.expires_at")
    if expires_at_us is None:
        raise _out_of_bounds(f"{place}.expires_at", "is missing")
    return Pause(
        read.id,
        read.rev,
        Scope(frozenset(scope.classes), frozenset(scope.surfaces), frozenset(scope.kinds), frozenset(scope.countries)),
        read.action,
        read.reason,
        read.text,
        read.owner,
        starts_at_us,
        expires_at_us,
        _either(read.released_at, read.released_at_us, f"{place}.released_at"),
        read.released_by,
        _either(read.set_at, None, f"{place}.set_at"),
        extra,
    )


def _either(at: datetime | None, at_us: int | None, place: str) -> int | None:
    if at is not None and at_us is not None:
        raise _out_of_bounds(place, "occurs twice, once in µs")
    try:
        us = instant_us(at) if at_us is None else at_us
    except ValueError as error:
        raise _out_of_bounds(place, str(error)) from error
    if us is not None and not 0 <= us < MAX_TIME_US:
        raise _out_of_bounds(place if at_us is None else f"{place}_us", "is not between 1970 and 2100")
    return us


def _check_size(data: bytes) -> None:
    if len(data) > MAX_BYTES:
        raise StateUnreadable(f"a board of {len(data)} bytes, more than {MAX_BYTES}")


def _check_count(entries: Sequence[object]) -> None:
    if len(entries) > MAX_PAUSES:
        raise StateUnreadable(f"a board of {len(entries)} pauses, more than {MAX_PAUSES}")


def _check(pause: Pause, place: str, expiry: str) -> None:
    _check_name(pause.id, f"{place}.id", MAX_ID)
    _check_name(pause.reason, f"{place}.reason", MAX_ID)
    _check_name(pause.owner, f"{place}.owner", MAX_NAME)
    if len(pause.text) > MAX_TEXT:
        raise _out_of_bounds(f"{place}.text", f"is longer than {MAX_TEXT}")
    if not 1 <= pause.rev <= MAX_REV:
        raise _out_of_bounds(f"{place}.rev", "is not a positive revision")
    begins_us = pause.set_at_us if pause.starts_at_us is None else pause.starts_at_us
    if begins_us is None:
        raise _out_of_bounds(f"{place}.set_at", "is missing, and there is no `starts_at` either")
    if pause.starts_at_us is not None and pause.expires_at_us <= pause.starts_at_us:
        raise _out_of_bounds(f"{place}.{expiry}", "is not after the start")
    if pause.expires_at_us - begins_us > MAX_LENGTH_US:
        raise _out_of_bounds(f"{place}.{expiry}", "is more than a year after the start")
    if pause.released_by is not None:
        if pause.released_at_us is None:
            raise _out_of_bounds(f"{place}.released_by", "is given without a time of release")
        _check_name(pause.released_by, f"{place}.released_by", MAX_NAME)


def _check_scope(scope: ScopeDocument, place: str) -> None:
    for name in ScopeDocument.__struct_fields__:
        values: list[str] = getattr(scope, name)
        if len(values) > MAX_SCOPE:
            raise _out_of_bounds(f"{place}.{name}", f"has more than {MAX_SCOPE} values")
        for value in values:
            _check_name(value, f"{place}.{name}", MAX_NAME)


def _check_name(value: str, place: str, longest: int) -> None:
    if not value or len(value) > longest:
        raise _out_of_bounds(place, f"is empty or longer than {longest}")
    if not value.isprintable():
        raise _out_of_bounds(place, "has a character that cannot be shown")


def _out_of_bounds(place: str, what: str) -> StateUnreadable:
    return StateUnreadable(f"`{place}` {what}")
