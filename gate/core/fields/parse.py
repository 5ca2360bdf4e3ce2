"""Parses JSON tolerantly: a string that was cut inside a character does not make the document unreadable.

msgspec reads valid JSON. Other bytes are read once more with each half character replaced by U+FFFD; if they are still
not JSON, they are refused.
"""

from __future__ import annotations

import json
from typing import Any, Final, NoReturn

import msgspec

LONGEST_INT = 40
"""Longest whole number that is read exactly, in digits; a longer one becomes infinite."""
UNDECODABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""The errors that a decoder of msgspec raises for bytes that are not what it reads, or that are nested too deep."""
_decode = msgspec.json.Decoder().decode


class NotJson(Exception):
    """The bytes are not JSON. The message names the position and never quotes the content."""


def parse(value: bytes) -> Any:
    """The JSON value. Raises NotJson, also if it is nested too deep."""
    try:
        return _decode(value)
    except UNDECODABLE as error:
        first = error
    try:
        return _careless.decode(value.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        raise NotJson(_what(first, value)) from None


def _what(error: Exception, value: bytes) -> str:
    if isinstance(error, RecursionError):
        return "nested too deep"
    if not value.strip():
        return "it is empty"
    return plain_end(str(error).removeprefix("JSON is malformed: "))


def plain_end(complaint: str) -> str:
    """A decoder's complaint, without the decoder's own words for a document that lacks its end."""
    return "it ends too early" if complaint == "Input data was truncated" else complaint


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _int(digits: str) -> int | float:
    return int(digits) if len(digits) <= LONGEST_INT else float(digits)


_careless = json.JSONDecoder(parse_constant=_no_constant, parse_int=_int)
