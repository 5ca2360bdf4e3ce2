"""The record of a count on the topic: the feature's name as hex digits, and the value as versioned JSON.

A value is `[2, day, accounts, established]`: the version, the day that the count stands for (days since 1970), and two
lists of equal length, one number a day of the window, the oldest day first: how many distinct accounts of the key's
partition showed the feature on that day or later, and how many of those were established. Other records are refused.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from gate.core.fields.parse import UNDECODABLE
from streams.core.crowd.tails import Tails

VERSION = 2
"""The first version was a bare number."""
MAX_VALUE_BYTES = 1_024
MAX_DAY = 0xFFFF
NAME_DIGITS = 17
VALUE = (1 << 64) - 1

_decoder = msgspec.json.Decoder(tuple[int, int, list[int], list[int]])


@dataclass(frozen=True, slots=True)
class CrowdCount:
    """`count` distinct accounts of one partition share `feature`, a name of 17 hex digits.

    `established` of them were established; `record` is the published value.
    """

    feature: str
    count: int
    established: int = 0
    record: bytes = b""


def name(kind: int, value: int) -> str:
    """The name of a feature in keys: one digit of its kind, sixteen of its value."""
    return f"{kind:x}{value:016x}"


def parsed_name(feature: str) -> tuple[int, int] | None:
    """The kind and value of a feature's name; None for other text."""
    if len(feature) != NAME_DIGITS or not feature.isascii() or not feature.isalnum():
        return None
    try:
        number = int(feature, 16)
    except ValueError:
        return None
    return number >> 64, number & VALUE


def written(counts: Tails) -> bytes:
    """The record's value."""
    days = len(counts.numbers) // 2
    return msgspec.json.encode((VERSION, counts.day, list(counts.numbers[:days]), list(counts.numbers[days:])))


def parsed(value: bytes) -> tuple[int, list[int], list[int]] | None:
    """The day and the numbers of a record, unchecked; None if it is not a record of this version."""
    if len(value) > MAX_VALUE_BYTES:
        return None
    try:
        version, day, accounts, established = _decoder.decode(value)
    except UNDECODABLE:
        return None
    return (day, accounts, established) if version == VERSION and 0 <= day <= MAX_DAY else None
