"""Bytes to events and back: plain JSON, and CloudEvents in binary (`ce_` headers) and structured mode.

Decides what can be read; says of the rest why not, by a reason code from a closed list and a detail that names the
field. Neither ever holds what an uploader wrote. Whose partition a key belongs to and what the broker's clock says is
checked here too, so that every reason for a dead letter stands in one file.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated

import msgspec

from gate.core.account import MAX_ID_BYTES, Account
from gate.core.event import Attempted, Challenged, Completed, Event, Removed, Reported
from gate.core.media import Media

MAX_EVENT_BYTES = 64 * 1024
MAX_AHEAD_US = 5 * 60 * 1_000_000
"""How far `at` may be ahead of the broker's append time, µs."""
SHORT = MAX_ID_BYTES // 4
"""A string of so few characters cannot be longer than MAX_ID_BYTES in UTF-8."""
_CLOUD_EVENT_MARK = b'"specversion"'


class Fault(StrEnum):
    """Why an event cannot be read: the closed list of dead-letter reasons."""

    EMPTY = "value.empty"
    TOO_LARGE = "size.exceeded"
    MALFORMED = "json.malformed"
    TYPE_UNKNOWN = "type.unknown"
    FIELD_MISSING = "field.missing"
    FIELD_INVALID = "field.invalid"
    ID_TOO_LONG = "id.too_long"
    CLOCK_FUTURE = "clock.future"
    CLOCK_ABSURD = "clock.absurd"
    KEY_MISMATCH = "key.mismatch"
    UNPROCESSABLE = "event.unprocessable"


class Unreadable(Exception):
    """An event that cannot be used; `reason` is a `Fault`, `detail` names the field and the remedy."""

    def __init__(self, reason: Fault, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class _CloudEvent(msgspec.Struct):
    data: Event


# What nearly every event is: no unknown field, ids of at most 64 characters (so at most 256 bytes of UTF-8), times with
# their zone. What reads as one of these is known to be in order without a line of Python.
_Id = Annotated[str, msgspec.Meta(min_length=1, max_length=SHORT)]
_Short = Annotated[str, msgspec.Meta(max_length=SHORT)]
_Time = Annotated[datetime, msgspec.Meta(tz=True)]


class _Account(Account, frozen=True, gc=False):
    id: _Id
    created_at: _Time | None = None


class _Media(Media, frozen=True, gc=False):
    pass


class _Attempted(Attempted, frozen=True, tag="attempted", forbid_unknown_fields=True, gc=False):
    id: _Id
    at: _Time
    account: _Account
    upload_id: _Short | None = None
    media: _Media | None = None
    ip: _Short | None = None
    device: _Short | None = None


class _Completed(Completed, frozen=True, tag="completed", forbid_unknown_fields=True, gc=False):
    id: _Id
    at: _Time
    account: _Account
    upload_id: _Short | None = None


class _Removed(Removed, frozen=True, tag="removed", forbid_unknown_fields=True, gc=False):
    id: _Id
    at: _Time
    account: _Account
    upload_id: _Short | None = None


class _Reported(Reported, frozen=True, tag="reported", forbid_unknown_fields=True, gc=False):
    id: _Id
    at: _Time
    account: _Account
    upload_id: _Short | None = None


_exact = msgspec.json.Decoder(_Attempted | _Completed | _Removed | _Reported)
_event = msgspec.json.Decoder(Event)
_cloud = msgspec.json.Decoder(_CloudEvent)
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encode = msgspec.json.Encoder().encode
_TYPES: dict[type[Event], str] = {
    Attempted: "attempted",
    Completed: "completed",
    Removed: "removed",
    Reported: "reported",
    Challenged: "challenged",
    _Attempted: "attempted",
    _Completed: "completed",
    _Removed: "removed",
    _Reported: "reported",
}
_KNOWN_FIELDS = frozenset(("type", *(name for kind in _TYPES for name in kind.__struct_encode_fields__)))


def decode(value: bytes | None, headers: Sequence[tuple[str, bytes]] = ()) -> Event:
    """The event in `value`. Raises Unreadable.

    A binary CloudEvent is its data with `ce_` headers beside it, so the headers are not needed to read it.
    """
    if not value:
        raise Unreadable(Fault.EMPTY, "the record has no value; send the event as JSON")
    if len(value) > MAX_EVENT_BYTES:
        raise Unreadable(Fault.TOO_LARGE, f"{len(value)} bytes; an event has at most {MAX_EVENT_BYTES}")
    try:
        if _CLOUD_EVENT_MARK in value and "specversion" in _fields.decode(value):
            event = _cloud.decode(value).data
        else:
            event = _event.decode(value)
    except msgspec.ValidationError as error:
        raise _invalid(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Unreadable(Fault.MALFORMED, f"not JSON: {error}") from None
    _check_fields(event)
    return event


def decode_counting(value: bytes | None, headers: Sequence[tuple[str, bytes]] = ()) -> tuple[Event, int]:
    """What `decode` returns, or an equal of a subclass of it, and how many top-level fields no event of its type has.

    A CloudEvent counts as 0: its other fields are its envelope's. Raises Unreadable.
    """
    if value and len(value) <= MAX_EVENT_BYTES:
        try:
            event = _exact.decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass  # for `decode` to read all the same, or to explain
        else:
            return event, 0
    event = decode(value, headers)
    return event, unknown_fields(value or b"")


def unknown_fields(value: bytes) -> int:
    """How many top-level fields of a readable event the schema does not know; a CloudEvent's own are its envelope's."""
    fields = _fields.decode(value)
    return 0 if "specversion" in fields else len(fields.keys() - _KNOWN_FIELDS)


def encode(event: Event) -> bytes:
    """The event as plain JSON, what `decode` reads."""
    return _encode(event)


def check_record(event: Event, at_us: int, key: bytes | None, timestamp_ms: int) -> None:
    """Whether the event belongs where it was found. Raises Unreadable.

    `key` is the record's, `timestamp_ms` the broker's append time (0 or less: unknown, not checked).
    """
    if key != event.account.id.encode():
        raise Unreadable(Fault.KEY_MISMATCH, "the record's key is not account.id; key every event by account.id")
    if at_us < 0:
        raise Unreadable(Fault.CLOCK_ABSURD, "at is before 1970; mend the sender's clock")
    if timestamp_ms > 0 and at_us > timestamp_ms * 1000 + MAX_AHEAD_US:
        raise Unreadable(Fault.CLOCK_FUTURE, "at is more than 5 minutes ahead of the broker; mend the sender's clock")


def kind_of(event: Event) -> str:
    """The event's `type`."""
    return _TYPES[type(event)]


def time_us(event: Event) -> int:
    """The event's time in µs since 1970."""
    return round(event.at.timestamp() * 1_000_000)


def _check_fields(event: Event) -> None:
    # this runs for every event, so lengths are compared here and a call is made only for what might be too long
    account = event.account
    if not account.id or not event.id:
        raise Unreadable(Fault.FIELD_INVALID, f"{'id' if account.id else 'account.id'} is empty")
    if len(account.id) > SHORT:
        _check_length("account.id", account.id)
    if len(event.id) > SHORT:
        _check_length("id", event.id)
    if event.upload_id is not None and len(event.upload_id) > SHORT:
        _check_length("upload_id", event.upload_id)
    if event.at.tzinfo is None:
        raise Unreadable(Fault.FIELD_INVALID, "at has no time zone; write RFC 3339, such as 2026-11-23T10:00:00Z")
    if account.created_at is not None and account.created_at.tzinfo is None:
        raise Unreadable(Fault.FIELD_INVALID, "account.created_at has no time zone")
    if isinstance(event, Attempted):
        if event.ip is not None and len(event.ip) > SHORT:
            _check_length("ip", event.ip)
        if event.device is not None and len(event.device) > SHORT:
            _check_length("device", event.device)


def _check_length(name: str, value: str) -> None:
    if len(value.encode()) > MAX_ID_BYTES:
        raise Unreadable(Fault.ID_TOO_LONG, f"{name} is longer than {MAX_ID_BYTES} bytes")


def _invalid(message: str) -> Unreadable:
    """Our reason for a validation message; msgspec's own names the field and the types, never the value."""
    if "Invalid value" in message:
        return Unreadable(Fault.TYPE_UNKNOWN, "type is none of attempted, completed, removed, reported, challenged")
    if "missing required field" in message:
        return Unreadable(Fault.FIELD_MISSING, message)
    return Unreadable(Fault.FIELD_INVALID, message)
