"""Staff overrides as bytes: a JSON document, and a stored override in Redis.

    {"allow": false, "reason": "stolen account", "owner": "ada", "expires_at": "2026-11-24T10:00:00Z", "version": 1}

Times are RFC 3339 with µs. `limits_of` names the class whose limits the account has; it is absent where the override lets in
or refuses, and `allow` is false beside it, so that a reader that does not know it never opens the gate. Fields of a newer
version are kept in `Override.extra` and written again.

A stored override is a head, which the take script reads, followed by that document. The head is the expiry as a
little-endian double (µs since 1970), and one byte: 1 allows uploads, 0 denies them, 2 gives the limits of a class, whose
name follows (u8 length). The script obeys the head, so a decision must obey the same head. An override that cannot be read
denies.
"""

from __future__ import annotations

import struct
from datetime import datetime
from typing import Final

import msgspec

from gate.core.fields.parse import UNDECODABLE
from gate.core.override import Override
from gate.errors import StateUnreadable
from gate.records.times import time_of, us_of
from gate.records.unknown_fields import unknown_fields, with_unknown_fields

VERSION: Final = 1
MAX_BYTES: Final = 16 * 1024
"""Longest override that is read."""
UNREADABLE: Final = "unreadable"
"""The reason of an override whose own reason cannot be read."""
MAX_TIME_US: Final = 1 << 53
"""A double represents every whole number below this one exactly. A stored time at or above it is rejected."""

MAX_CLASS_BYTES: Final = 255

_HEAD = struct.Struct("<dB")
_LIMITS: Final = 2


class _Override(msgspec.Struct):
    allow: bool
    reason: str
    owner: str
    expires_at: datetime
    version: int = VERSION
    limits_of: str | msgspec.UnsetType = msgspec.UNSET


_KNOWN: Final = frozenset(_Override.__struct_fields__)
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Override).decode


def encode_override(override: Override) -> bytes:
    """`override` as one JSON object."""
    document = _Override(
        override.allow,
        override.reason,
        override.owner,
        time_of(override.expires_at_us),
        limits_of=msgspec.UNSET if override.limits is None else override.limits,
    )
    return with_unknown_fields(_encode(document), override.extra)


def decode_override(data: bytes) -> Override:
    """The override in `data`. Raises StateUnreadable."""
    if len(data) > MAX_BYTES:
        raise StateUnreadable(f"an override of {len(data)} bytes, more than {MAX_BYTES}")
    try:
        document = _decode(data)
        expires_at_us = us_of(document.expires_at)
        extra = unknown_fields(data, _KNOWN, VERSION, document.version)
    except (*UNDECODABLE, ValueError, StateUnreadable) as error:
        raise StateUnreadable(f"not an override: {error}") from error
    limits = None if document.limits_of is msgspec.UNSET else document.limits_of
    return Override(document.allow, document.reason, document.owner, expires_at_us, limits, extra)


def stored_override(override: Override) -> bytes:
    """An override as Redis stores it. Raises ValueError if it is longer than MAX_BYTES, which no reader accepts."""
    data = encode_override(override)
    if len(data) > MAX_BYTES:
        raise ValueError(f"an override of {len(data)} bytes, more than {MAX_BYTES}; shorten its reason")
    if override.limits is None:
        return _HEAD.pack(override.expires_at_us, override.allow) + data
    limits = override.limits.encode()
    if len(limits) > MAX_CLASS_BYTES:
        raise ValueError(f"the name of a class has at most {MAX_CLASS_BYTES} bytes")
    return _HEAD.pack(override.expires_at_us, _LIMITS) + bytes([len(limits)]) + limits + data


def decode_stored_override(value: bytes) -> Override:
    """The override that Redis stores as `value`. Raises StateUnreadable if any part of it cannot be read."""
    head = _head(value)
    override = decode_override(value[head.size :])
    if (override.allow, override.expires_at_us, override.limits) != (head.allow, head.expires_at_us, head.limits):
        raise StateUnreadable("a stored override whose head contradicts its document")
    return override


def obeyed_override(value: bytes) -> Override:
    """The override that a check obeys if `decode_stored_override` raises: the head's, or a denial without a sound head.

    The denial lasts until Redis deletes the expired value.
    """
    try:
        head = _head(value)
    except StateUnreadable:
        return Override(False, UNREADABLE, "", MAX_TIME_US)
    return Override(head.allow, UNREADABLE, "", head.expires_at_us, head.limits)


def read_stored_override(value: bytes) -> tuple[Override, bool]:
    """The override that a check obeys, and whether all of `value` can be read."""
    try:
        return decode_stored_override(value), True
    except StateUnreadable:
        return obeyed_override(value), False


class _Head(msgspec.Struct, frozen=True):
    expires_at_us: int
    allow: bool
    limits: str | None
    size: int


def _head(value: bytes) -> _Head:
    if len(value) < _HEAD.size:
        raise StateUnreadable("a stored override is cut short")
    expires_at_us, allow = _HEAD.unpack_from(value)
    if not 0.0 <= expires_at_us < MAX_TIME_US or allow > _LIMITS:
        raise StateUnreadable("a stored override without a valid expiry")
    if allow < _LIMITS:
        return _Head(int(expires_at_us), allow == 1, None, _HEAD.size)
    if len(value) < _HEAD.size + 1:
        raise StateUnreadable("a stored override is cut short")
    end = _HEAD.size + 1 + value[_HEAD.size]
    try:
        return _Head(int(expires_at_us), False, value[_HEAD.size + 1 : end].decode(), end)
    except UnicodeDecodeError as error:
        raise StateUnreadable("a stored override whose class cannot be read") from error
