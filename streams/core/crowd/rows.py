"""Rows of packed bytes by feature, within a budget. A row that is worth little makes room for new ones.

Rows are `bytes` in a plain dict of integers, which Python's garbage collector does not visit.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

MARKS = 1 << 16
"""Marks of rows by the lowest bits of their features, a byte each. Features are hashes, so their bits are even."""
ROW_BYTES = 160
"""Bytes of a row besides its content: its place in the dict, its key and the header of its bytes. Measured."""
CANDIDATES = 8
"""A full table drops the least valuable of so many rows, taken in turn, so that no call visits the whole table."""


class Rows:
    """A bounded table of rows. Mutable, in memory, used by one thread."""

    def __init__(self, max_bytes: int, worth: Callable[[bytes], int]) -> None:
        self.by_feature: dict[int, bytes] = {}
        self.used_bytes = 0
        self._max_bytes = max_bytes
        self._worth = worth
        self._turn: list[int] = []
        self._marks = bytearray(MARKS)

    def may_hold(self, features: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """False for a feature that has no row. Others may have one: the mark of a row that was dropped stays."""
        marks = np.frombuffer(self._marks, np.bool_)
        marked: NDArray[np.bool_] = marks[features & np.uint64(MARKS - 1)]
        return marked

    def put(self, feature: int, row: bytes, before: bytes | None) -> None:
        """Replace `before`, which is None for a new feature, by `row`. Drops other rows if the budget is exceeded."""
        self.by_feature[feature] = row
        self._marks[feature & MARKS - 1] = 1
        self.used_bytes += len(row) + ROW_BYTES if before is None else len(row) - len(before)
        while self.used_bytes > self._max_bytes:
            self._drop_one()

    def _drop_one(self) -> None:
        candidates = self._next_in_turn()
        least = min(candidates, key=lambda feature: self._worth(self.by_feature[feature]))
        self.used_bytes -= len(self.by_feature.pop(least)) + ROW_BYTES

    def _next_in_turn(self) -> list[int]:
        """The next rows to compare. At least one exists, as the table is not empty while its budget is exceeded."""
        taken: list[int] = []
        rows, turn = self.by_feature, self._turn
        while len(taken) < min(CANDIDATES, len(rows)):
            if not turn:
                turn.extend(reversed(rows))
            feature = turn.pop()
            if feature in rows:
                taken.append(feature)
        return taken
