"""Numbers of 63 bits that name groups: well mixed, never 0, and the same on every worker."""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

import numpy as np
from numpy.typing import NDArray

_LEAST_DIGITS: Final = 32
"""Digits from which text in hex is a hash, and needs no mixing."""
_MANY: Final = 16
LARGEST: Final = (1 << 63) - 1
_HEX: Final = re.compile("[0-9a-fA-F]{16}")
_MULTIPLIERS: Final = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_SHIFTS: Final = (np.uint64(30), np.uint64(27), np.uint64(31))


def number_of(text: str) -> int:
    """The number of a text."""
    return (
        int.from_bytes(blake2b(text.encode("utf-8", "replace"), digest_size=8, person=b"campaign").digest(), "big") >> 1
        or 1
    )


def number_of_hash(text: str) -> int:
    """The number of a hash of bytes, which is mixed already if it is in hex."""
    if len(text) < _LEAST_DIGITS or not _HEX.match(text):  # Python would read a sign, spaces and other scripts too
        return number_of(text)
    return int(text[:16], 16) >> 1 or 1


def numbers_of_hashes(texts: Sequence[str]) -> list[int]:
    """The number of each hash of bytes, as `number_of_hash` gives it."""
    heads = "".join([text[:16] for text in texts])
    if len(texts) >= _MANY and heads.isascii() and heads.isalnum() and min(map(len, texts)) >= _LEAST_DIGITS:
        try:
            words = np.frombuffer(bytes.fromhex(heads), ">u8")
        except ValueError:  # a letter beyond f
            pass
        else:
            numbers: list[int] = np.maximum(words >> np.uint64(1), np.uint64(1)).tolist()
            return numbers
    return list(map(number_of_hash, texts))


def numbers_of(rows: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The number of each row of 64-bit words."""
    mixed = np.zeros(len(rows), np.uint64)
    for column in range(rows.shape[1]):
        mixed = (mixed ^ rows[:, column]) + _MULTIPLIERS[0]
        mixed = (mixed ^ (mixed >> _SHIFTS[0])) * _MULTIPLIERS[1]
        mixed = (mixed ^ (mixed >> _SHIFTS[1])) * _MULTIPLIERS[2]
        mixed ^= mixed >> _SHIFTS[2]
    numbers: NDArray[np.int64] = np.maximum(mixed >> np.uint64(1), np.uint64(1)).astype(np.int64)
    return numbers
