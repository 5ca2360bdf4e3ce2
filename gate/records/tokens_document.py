"""Codec for the file of service tokens, as JSON. It holds hashes only, so it is no secret."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from gate.core.service_token import MOST_OF_A_NAME, Access, ServiceToken, of_name
from gate.errors import StateUnreadable

VERSION: Final = 1
MAX_BYTES: Final = 1 << 20
NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
"""What the name of a token may be."""


class _Entry(msgspec.Struct, frozen=True):
    name: str
    access: Access
    sha256: str
    made_at_us: int


class _Document(msgspec.Struct, frozen=True):
    version: int
    tokens: list[_Entry]


_decode = msgspec.json.Decoder(_Document).decode


def encode_tokens(tokens: Sequence[ServiceToken]) -> bytes:
    """The document of all valid tokens."""
    entries = [_Entry(token.name, token.access, token.digest.hex(), token.made_at_us) for token in tokens]
    return msgspec.json.format(msgspec.json.encode(_Document(VERSION, entries)), indent=1) + b"\n"


def decode_tokens(data: bytes) -> tuple[ServiceToken, ...]:
    """The valid tokens. Raises StateUnreadable; no token of a file with a mistake is valid."""
    try:
        if len(data) > MAX_BYTES:
            raise ValueError(f"it has more than {MAX_BYTES} bytes")
        document = _decode(data)
        if document.version != VERSION:
            raise ValueError(f"it is of version {document.version}, this release reads {VERSION}")
        tokens = tuple(map(_token, document.tokens))
        for token in tokens:
            if len(of_name(tokens, token.name, token.access)) > MOST_OF_A_NAME:
                raise ValueError(f"{token.name} has more than {MOST_OF_A_NAME} tokens")
        if len({token.digest for token in tokens}) < len(tokens):
            raise ValueError("it holds the same token twice")
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise StateUnreadable(f"the tokens cannot be read: {error}") from None
    return tokens


def _token(entry: _Entry) -> ServiceToken:
    if NAME.fullmatch(entry.name) is None:
        raise ValueError("a name is not of small letters, digits and . _ -")
    if re.fullmatch("[0-9a-f]{64}", entry.sha256) is None:
        raise ValueError(f"the sha256 of {entry.name} is not 64 hex digits")
    return ServiceToken(entry.name, entry.access, bytes.fromhex(entry.sha256), entry.made_at_us)
