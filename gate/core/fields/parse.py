"""JSON as careless programs write it: a string that was cut inside a character does not cost the rest.

What is JSON is read by msgspec. What is not is read once more with each half character replaced by U+FFFD, and only
what is no JSON even then is refused.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

import msgspec

LONGEST_INT = 40
"""Digits; a longer number is as good as infinite here."""
_decode = msgspec.json.Decoder().decode


class NotJson(Exception):
    """The bytes hold no JSON value; the message says where, and never what they hold."""


def parse(value: bytes) -> Any:
    """The JSON value. Raises NotJson, also for what is nested too deep to be read."""
    try:
        return _decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        first = error
    try:
        return _careless.decode(value.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        raise NotJson("nested too deep" if isinstance(first, RecursionError) else str(first)) from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _int(digits: str) -> int | float:
    return int(digits) if len(digits) <= LONGEST_INT else float(digits)


_careless = json.JSONDecoder(parse_constant=_no_constant, parse_int=_int)
