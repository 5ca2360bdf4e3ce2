"""Groups pictures that look nearly the same: gives each perceptual hash the number of its group.

A group's number follows from the first hash of it that this worker met. A hash joins the group of the nearest hash that
is remembered. Hashes of 64 and of 256 bits are kept apart. A hash with nearly all bits equal is of an empty picture,
which everybody has, so it belongs to no group.

Growth: `near` states what the near-duplicates take; it begins with the first hash of a length. 65,536 hashes are known
exactly besides (12 MB).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.core.campaigns.mixing import numbers_of
from streams.core.near import LONG_HASH, NOTHING, SHORT_HASH, Hashes, NearHashes, parse_hash

CAPACITY: Final = 1 << 20
MAX_EXACT: Final = 1 << 16
EMPTY_BITS: Final = 6
"""A hash with fewer bits than this set, or fewer not set, is of an empty picture."""
_CHUNK: Final = 128
_SHAPES: Final = {1: SHORT_HASH, 4: LONG_HASH}


class Pictures:
    """The perceptual hashes of recent uploads. Mutable, used by one thread."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._near: dict[int, NearHashes] = {}
        self._exact: dict[str, int] = {}

    def groups(self, hashes: Sequence[str]) -> list[int]:
        """The number of each hash's group, 0 for what is no hash or that of an empty picture. All are remembered."""
        exact = self._exact
        unknown: dict[int, dict[str, tuple[int, ...]]] = {}
        for text in hashes:
            if text not in exact:
                parsed = parse_hash(text)
                if parsed is not None and not _is_empty(parsed):
                    unknown.setdefault(len(parsed), {})[text] = parsed
        if len(exact) + sum(map(len, unknown.values())) > MAX_EXACT:
            exact.clear()
        found: dict[str, int] = {}
        for columns, texts in unknown.items():
            rows = np.array(list(texts.values()), np.uint64)
            found.update(zip(texts, self._grouped(columns, rows), strict=True))
        exact.update(found)
        return [exact.get(text, 0) for text in hashes]

    def learn(self, text: str, group: int) -> int:
        """The group of a hash that another worker has in `group`; it is remembered there if this worker has none."""
        known = self._exact.get(text)
        if known is not None:
            return known
        parsed = parse_hash(text)
        if parsed is None:
            return 0
        rows = np.array([parsed], np.uint64)
        near = self._of(len(parsed))
        nearest = int(near.nearest(rows)[0])
        if nearest == NOTHING:
            near.remember(rows, np.array([group], np.int64))
            nearest = group
        return nearest

    def _grouped(self, columns: int, rows: Hashes) -> list[int]:
        near = self._of(columns)
        numbers: list[int] = []
        for start in range(0, len(rows), _CHUNK):
            chunk = rows[start : start + _CHUNK]
            groups = near.nearest(chunk)
            new = np.flatnonzero(groups == NOTHING)
            groups[new] = _among_themselves(chunk[new], _SHAPES[columns].distance)
            near.remember(chunk, groups)
            numbers += groups.tolist()
        return numbers

    def _of(self, columns: int) -> NearHashes:
        near = self._near.get(columns)
        if near is None:
            near = self._near[columns] = NearHashes(_SHAPES[columns], self._capacity)
        return near


def _is_empty(parsed: tuple[int, ...]) -> bool:
    ones = sum(word.bit_count() for word in parsed)
    return not EMPTY_BITS <= ones <= 64 * len(parsed) - EMPTY_BITS


def _among_themselves(rows: Hashes, distance: int) -> NDArray[np.int64]:
    """The groups of hashes that are near no earlier one: each joins the first before it that is near."""
    groups = numbers_of(rows)
    if len(rows) > 1:
        apart = np.bitwise_count(rows[:, None, :] ^ rows[None, :, :]).sum(axis=2)
        near = np.tril(apart <= distance, -1)
        for later in np.flatnonzero(near.any(axis=1)).tolist():
            groups[later] = groups[int(near[later].argmax())]
    return groups
