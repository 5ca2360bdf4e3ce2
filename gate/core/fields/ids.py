"""Ids and hashes: opaque strings that are compared byte by byte. So ids with invisible characters are refused."""

from __future__ import annotations

import re
from collections.abc import Container
from hashlib import blake2b

from gate.core.fields.reasons import Dropped, Unusable
from gate.core.fields.sentinels import NO_HASHES, NO_IDS
from gate.core.fields.text import REPLACEMENT, is_hidden

MAX_ID_BYTES = 256
"""Longest id in UTF-8 bytes."""
SHORT_CHARS = MAX_ID_BYTES // 4
"""A string with at most this many characters is never longer than MAX_ID_BYTES in UTF-8."""
_HEX = re.compile(r"(?:0[xX])?([0-9a-fA-F]{16}|[0-9a-fA-F]{64})")
_SHA256 = re.compile(r"(?:sha-?256[:=-])?([0-9a-f]{64})", re.IGNORECASE)


def identity(value: str, none: Container[str]) -> str:
    """The trimmed id. Raises Unusable if it is in `none`, has an invisible character or is too long."""
    trimmed = value.strip()
    if trimmed in none:
        raise Unusable(Dropped.UNKNOWN)
    if len(trimmed) > MAX_ID_BYTES:
        raise Unusable(Dropped.TOO_LONG)
    if is_hidden(trimmed):
        raise Unusable(Dropped.INVISIBLE)
    if len(trimmed) > SHORT_CHARS and len(trimmed.encode()) > MAX_ID_BYTES:
        raise Unusable(Dropped.TOO_LONG)
    return trimmed


def key(value: str) -> str:
    """An id by which uploads, accounts and events are told apart. Raises Unusable as `identity` does, and if a character of
    it was lost: two ids would become one."""
    if REPLACEMENT in value:
        raise Unusable(Dropped.NOT_UTF8)
    return identity(value, NO_IDS)


def digest_of(value: str) -> str:
    """The hash that replaces an id that is too long. Two different ids get different hashes."""
    return f"blake2b:{blake2b(value.strip().encode(errors='replace'), digest_size=16).hexdigest()}"


def content_hash(value: str) -> str:
    """A hash of content: hexadecimal digits in lower case, anything else as an opaque id. Raises Unusable."""
    found = _SHA256.fullmatch(value.strip())
    return identity(found[1].lower() if found else value, NO_HASHES)


def perceptual_hash(value: str) -> str:
    """A perceptual hash: 16 or 64 hexadecimal digits in lower case, anything else as an opaque id. Raises Unusable."""
    found = _HEX.fullmatch(value.strip())
    return identity(found[1].lower() if found else value, NO_HASHES)
