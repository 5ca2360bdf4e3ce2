"""Bytes to events and back: plain JSON, and CloudEvents in binary (`ce_` headers) and structured mode.

A typed decoder reads nearly every event. Other events are read field by field by the table of `gate.core.fields`, so
that only an optional field that breaks its rule is lost. An event without a usable type, id, time or account is
unreadable, with a reason code from a closed list and a detail that names the field. Neither holds text of an uploader.
The record's key and the broker's time are checked here too, so that this file has every reason for a dead letter.
"""

from __future__ import annotations

from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Any, Literal

import msgspec

from gate.core.account import Account
from gate.core.event import Attempted, Challenged, Completed, Event, Removed, Reported
from gate.core.fields import Dropped, FieldRefused, MessageType, Unusable, read_fields
from gate.core.fields.ids import SHORT_CHARS
from gate.core.fields.labels import MAX_LABEL_CHARS, label
from gate.core.fields.parse import UNDECODABLE, NotJson, parse
from gate.core.fields.plain import is_plain_followup, is_plain_id
from gate.core.fields.required import NO_OBJECT, problem_with, reason_of
from gate.core.fields.rules import EVENTS, MAX_LINK_CHARS, MAX_LINKS, MAX_TEXT_CHARS, MAX_UPLOAD_BYTES
from gate.core.fields.times import LATEST_US, MAX_AHEAD_US, since_epoch_us
from gate.core.media import Media
from gate.records.check import is_plain_upload

MAX_EVENT_BYTES = 256 * 1024
"""Far more than a caption and its links need, so that long ones are cut instead of losing their event."""


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


# Nearly every event: no unknown field, ids of at most 64 characters (so at most 256 bytes of UTF-8), times with
# their zone. A quick look says whether the table would change anything in it.
_Id = Annotated[str, msgspec.Meta(min_length=1, max_length=SHORT_CHARS)]
_Label = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_LABEL_CHARS)]
_Time = Annotated[datetime, msgspec.Meta(tz=True)]
_Size = Annotated[int, msgspec.Meta(ge=0, le=MAX_UPLOAD_BYTES)]
_Link = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_LINK_CHARS)]


class _Account(Account, frozen=True, gc=False):
    id: _Id
    class_: _Label | None = msgspec.field(default=None, name="class")
    created_at: _Time | None = None


class _Media(Media, frozen=True, gc=False):
    kind: _Label | None = None
    bytes: _Size | None = None
    sha256: _Id | None = None
    phash: _Id | None = None


class _Attempted(Attempted, frozen=True, tag="attempted", forbid_unknown_fields=True, gc=False):
    id: _Id
    at: _Time
    account: _Account
    upload_id: _Id | None = None
    media: _Media | None = None
    surface: _Label | None = None
    ip: _Id | None = None
    device: _Id | None = None
    text: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TEXT_CHARS)] | None = None
    links: Annotated[tuple[_Link, ...], msgspec.Meta(max_length=MAX_LINKS)] = ()
    media_group: _Id | None = None
    decision: Literal["allow", "review", "throttle", "challenge", "deny", "paused"] | None = None


class _Completed(Completed, frozen=True, tag="completed", forbid_unknown_fields=True, gc=False):
    id: _Id
    at: _Time
    account: _Account
    upload_id: _Id | None = None
    bytes: _Size | None = None


class _Removed(Removed, frozen=True, tag="removed", forbid_unknown_fields=True, gc=False):
    id: _Id
    at: _Time
    account: _Account
    upload_id: _Id | None = None
    by: _Label | None = None
    reason: _Label | None = None


class _Reported(Reported, frozen=True, tag="reported", forbid_unknown_fields=True, gc=False):
    id: _Id
    at: _Time
    account: _Account
    upload_id: _Id | None = None
    reporter: None = None  # read field by field, as reports are rare
    reason: _Label | None = None
    reporter_created_at: None = None


class _Challenged(Challenged, frozen=True, tag="challenged", forbid_unknown_fields=True, gc=False):
    id: _Id
    at: _Time
    account: _Account
    upload_id: _Id | None = None
    outcome: Literal["passed", "failed"] | None = None


_exact = msgspec.json.Decoder(_Attempted | _Completed | _Removed | _Reported | _Challenged)
_encode = msgspec.json.Encoder().encode
ATTEMPTED = "attempted"
_TYPES: dict[type[Event], str] = {
    Attempted: ATTEMPTED,
    Completed: "completed",
    Removed: "removed",
    Reported: "reported",
    Challenged: "challenged",
    _Attempted: ATTEMPTED,
    _Completed: "completed",
    _Removed: "removed",
    _Reported: "reported",
    _Challenged: "challenged",
}
ATTEMPTS = frozenset(kind for kind, name in _TYPES.items() if name == ATTEMPTED)
"""The classes of attempts. To look a class up takes a third as long as `isinstance` with one of the structs."""
_KINDS: dict[str, type[Event]] = {name: kind for kind, name in reversed(_TYPES.items())}
_KNOWN_FIELDS = frozenset(("type", *(name for kind in _TYPES for name in kind.__struct_encode_fields__)))
_ENVELOPE = {"id": "id", "at": "time", "type": "type"}
"""Our fields, by the attribute of a CloudEvent with the same meaning."""


Dropping = Mapping[str, Dropped]
"""The optional fields that were dropped or changed, each with the reason."""
ReadEvent = tuple[Event, int, Dropping]
"""An event, the number of its unknown top-level fields, and the dropped fields."""


_NOTHING_DROPPED: Dropping = MappingProxyType({})


def malformed(dropped: Dropping) -> int:
    """How many fields broke their rule, in whole or in part."""
    return sum(reason.malformed for reason in dropped.values()) if dropped else 0


def decode(value: bytes | None, headers: Sequence[tuple[str, bytes]] = ()) -> Event:
    """The event in `value`, read by the table. Raises Unreadable."""
    return decode_thoroughly(value, headers)[0]


def decode_counting(value: bytes | None, headers: Sequence[tuple[str, bytes]] = ()) -> ReadEvent:
    """The event of `decode`, or an equal one of a subclass, with the dropped fields. Raises Unreadable.

    A binary CloudEvent is its data and `ce_` headers. The headers are read only for fields that the data lacks.
    """
    if value and len(value) <= MAX_EVENT_BYTES:
        try:
            event = _exact.decode(value)
        except UNDECODABLE:
            pass  # the table reads it, or explains why it cannot be read
        else:
            # nearly all events are attempts, and asking a subclass for its class takes longer than this
            if type(event) is _Attempted:
                is_plain = (event.media_group is None or is_plain_id(event.media_group)) and is_plain_upload(
                    event, event.id, value, event.at
                )
            else:
                is_plain = _is_plain_followup(event, event.at)
            if is_plain:
                return event, 0, _NOTHING_DROPPED
    return decode_thoroughly(value, headers)


def unknown_fields(value: bytes) -> int:
    """The number of unknown top-level fields of a readable event. The attributes of a CloudEvent do not count."""
    fields = parse(value)
    return 0 if "specversion" in fields else len(fields.keys() - _KNOWN_FIELDS)


def _is_plain_followup(event: Event, latest: datetime) -> bool:
    match event:
        case Removed():
            return is_plain_followup(event, (event.by, event.reason), latest)
        case Reported():
            return is_plain_followup(event, (event.reason,), latest)
        case _:
            return is_plain_followup(event, (), latest)


def decode_thoroughly(value: bytes | None, headers: Sequence[tuple[str, bytes]] = ()) -> ReadEvent:
    """The result of `decode_counting`, read by the table only. Raises Unreadable."""
    if not value:
        raise Unreadable(Fault.EMPTY, "the record has no value; send the event as JSON")
    if len(value) > MAX_EVENT_BYTES:
        raise Unreadable(Fault.TOO_LARGE, f"{len(value)} bytes; an event has at most {MAX_EVENT_BYTES}")
    whole = _object(value)
    is_envelope = "specversion" in whole
    data = _data(whole) if is_envelope else whole
    surplus = 0 if is_envelope else len(data.keys() - _KNOWN_FIELDS)
    told = [data, *([_attributes(whole)] if is_envelope else []), *([_of_headers(headers)] if headers else [])]
    subject = _subject([source.get("type") for source in told])
    merged = {**data, "id": _first("id", told), "at": _first("at", told)}
    try:
        kept, dropped = read_fields(merged, subject)
    except FieldRefused as refused:
        raise Unreadable(Fault(reason_of(refused)), f"{refused.field} {problem_with(refused)}") from None
    except OverflowError:
        raise Unreadable(
            Fault.CLOCK_ABSURD, "at is not a time that can be counted; correct the sender's clock"
        ) from None
    return msgspec.convert({**kept, "type": subject.value}, _KINDS[subject]), surplus, dropped


def _object(value: bytes) -> dict[str, Any]:
    try:
        found = parse(value)
    except NotJson as error:
        raise Unreadable(Fault.MALFORMED, f"not JSON: {error}") from None
    if not isinstance(found, dict):
        raise Unreadable(Fault.FIELD_INVALID, f"the event {NO_OBJECT}")
    return found


def _data(envelope: dict[str, Any]) -> dict[str, Any]:
    """The data of a structured CloudEvent: an object, JSON in a string, or JSON in base64."""
    data, packed = envelope.get("data"), envelope.get("data_base64")
    if data is None and isinstance(packed, str):
        try:
            data = a2b_base64(packed.encode())
        except (Base64Error, UnicodeError):
            raise Unreadable(Fault.MALFORMED, "data_base64 is not base64") from None
    if isinstance(data, str):
        data = data.encode(errors="replace")
    if isinstance(data, bytes):
        return _object(data)
    if data is None:
        raise Unreadable(Fault.FIELD_MISSING, "data is required")
    if not isinstance(data, dict):
        raise Unreadable(Fault.FIELD_INVALID, f"data {NO_OBJECT}")
    return data


def _attributes(envelope: Mapping[str, Any]) -> dict[str, Any]:
    return {ours: envelope.get(theirs) for ours, theirs in _ENVELOPE.items()}


def _of_headers(headers: Sequence[tuple[str, bytes]]) -> dict[str, Any]:
    given = {name.lower(): value for name, value in headers if value is not None}
    named = {ours: given.get(f"ce_{theirs}") for ours, theirs in _ENVELOPE.items()}
    return {ours: value.decode("utf-8", "replace") for ours, value in named.items() if value is not None}


def _first(name: str, told: Sequence[Mapping[str, Any]]) -> Any:
    return next((source[name] for source in told if source.get(name) not in (None, "")), told[0].get(name))


def _subject(types: Sequence[Any]) -> MessageType:
    """The first of `types` that names one of our types."""
    for given in types:
        if isinstance(given, str) and (subject := _named(given)) is not None:
            return subject
    if all(given is None for given in types):
        raise Unreadable(Fault.FIELD_MISSING, "type is required")
    if not any(isinstance(given, str) for given in types):
        raise Unreadable(Fault.FIELD_INVALID, "type must be a string")
    raise Unreadable(Fault.TYPE_UNKNOWN, f"type is none of {', '.join(sorted(EVENTS))}")


def _named(given: str) -> MessageType | None:
    """The type, plain or as the last part of a dotted one, such as org.example.uploads.attempted.v1."""
    try:
        parts = label(given[-MAX_LABEL_CHARS:]).split(".")
    except Unusable:
        return None
    if len(parts) > 1 and parts[-1][:1] == "v" and parts[-1][1:].isdigit():
        parts.pop()
    return next((subject for subject in EVENTS if subject == parts[-1]), None)


def encode(event: Event) -> bytes:
    """The event as plain JSON, which `decode` reads."""
    return _encode(event)


def check_record(event: Event, at_us: int, key: bytes | None, timestamp_ms: int) -> None:
    """Raises Unreadable if the record's key is not the account's id, or the event's time is implausible.

    `key` is the record's key, `timestamp_ms` the broker's append time (0 or less: unknown and not checked).
    """
    if key != event.account.id.encode():
        raise Unreadable(Fault.KEY_MISMATCH, "the record's key is not account.id; key every event by account.id")
    if at_us < 0:
        raise Unreadable(Fault.CLOCK_ABSURD, "at is before 1970; correct the sender's clock")
    if timestamp_ms > 0 and at_us > timestamp_ms * 1000 + MAX_AHEAD_US:
        raise Unreadable(
            Fault.CLOCK_FUTURE,
            "at is more than 5 minutes ahead of the broker; correct the sender's clock, or the broker's",
        )
    if at_us >= LATEST_US:
        raise Unreadable(Fault.CLOCK_ABSURD, "at is after the year 3000; correct the sender's clock")


def kind_of(event: Event) -> str:
    """The event's `type`."""
    return _TYPES[type(event)]


def time_us(event: Event) -> int:
    """The event's time in µs since 1970."""
    return since_epoch_us(event.at)
