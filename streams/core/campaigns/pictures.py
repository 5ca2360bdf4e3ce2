"""Groups pictures that look nearly the same: gives each perceptual hash the number of its group.

A group's number follows from the first hash of it that this worker met. A hash joins the group of the nearest hash that
is remembered. Hashes of 64 and of 256 bits are kept apart. A hash whose bits are nearly all equal is that of a blank
picture, which many people upload, so it belongs to no group.

Growth: `near` states the memory for near-duplicates, which is taken from the first hash of a length on. 65,536 further
hashes are kept to find exact copies (12 MB).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.core.campaigns.mixing import numbers_of
from streams.core.near import LONG_HASH, NOTHING, SHORT_HASH, Hashes, NearHashes

CAPACITY: Final = 1 << 20
MAX_EXACT: Final = 1 << 16
EMPTY_BITS: Final = 6
"""A hash with fewer bits than this set, or fewer not set, is of an empty picture."""
_CHUNK: Final = 128
_SHAPES: Final = {1: SHORT_HASH, 4: LONG_HASH}
_COLUMNS: Final = {16: 1, 64: 4}
"""64-bit columns by digits."""


class Pictures:
    """The perceptual hashes of recent uploads. Mutable, used by one thread."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._near: dict[int, NearHashes] = {}
        self._exact: dict[str, int] = {}

    def groups(self, hashes: Sequence[str]) -> list[int]:
        """The number of each hash's group; 0 for text that is not a hash, and for the hash of an empty picture. Both
        are remembered.
        """
        exact = self._exact
        unknown = dict.fromkeys(text for text in hashes if text and text not in exact)
        if unknown:
            if len(exact) + len(unknown) > MAX_EXACT:
                exact.clear()
            for digits, columns in _COLUMNS.items():
                texts = [text for text in unknown if len(text) == digits and _is_hex(text)]
                if texts:
                    exact.update(zip(texts, self._grouped(columns, _rows(texts, columns)), strict=True))
        return [exact.get(text, 0) for text in hashes]

    def learn(self, text: str, group: int) -> int:
        """The group of a hash that another worker has in `group`; it is remembered there if this worker has none."""
        known = self._exact.get(text)
        if known is not None:
            return known
        columns = _COLUMNS.get(len(text))
        if columns is None or not _is_hex(text):
            return 0
        rows = _rows([text], columns)
        near = self._of(columns)
        nearest = int(near.nearest(rows)[0])
        if nearest == NOTHING:
            near.remember(rows, np.array([group], np.int64))
            nearest = group
        return nearest

    def _grouped(self, columns: int, rows: Hashes) -> list[int]:
        near = self._of(columns)
        ones = np.bitwise_count(rows).sum(axis=1)
        filled = (ones >= EMPTY_BITS) & (ones <= 64 * columns - EMPTY_BITS)
        numbers = np.zeros(len(rows), np.int64)
        for start in range(0, len(rows), _CHUNK):
            places = start + np.flatnonzero(filled[start : start + _CHUNK])
            chunk = rows[places]
            groups = near.nearest(chunk)
            new = np.flatnonzero(groups == NOTHING)
            groups[new] = _among_themselves(chunk[new], _SHAPES[columns].distance)
            near.remember(chunk, groups)
            numbers[places] = groups
        found: list[int] = numbers.tolist()
        return found

    def _of(self, columns: int) -> NearHashes:
        near = self._near.get(columns)
        if near is None:
            near = self._near[columns] = NearHashes(_SHAPES[columns], self._capacity)
        return near


def _is_hex(text: str) -> bool:
    return not text.strip("0123456789abcdefABCDEF")  # strip leaves any other character


def _rows(texts: Sequence[str], columns: int) -> Hashes:
    """One row per hash, the first digits in the first column."""
    return np.frombuffer(bytes.fromhex("".join(texts)), ">u8").reshape(-1, columns).astype(np.uint64)


def _among_themselves(rows: Hashes, distance: int) -> NDArray[np.int64]:
    """The groups of hashes that are near no earlier one: each joins the first before it that is near."""
    groups = numbers_of(rows)
    if len(rows) > 1:
        apart = np.bitwise_count(rows[:, None, :] ^ rows[None, :, :]).sum(axis=2)
        near = np.tril(apart <= distance, -1)
        for later in np.flatnonzero(near.any(axis=1)).tolist():
            groups[later] = groups[int(near[later].argmax())]
    return groups
