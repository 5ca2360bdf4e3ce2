"""Remembers when an item was first shown, in case it becomes a campaign later. A slot holds the last item hashed to it.

Growth: 2^18 slots of 12 bytes (3 MB). An item is forgotten when another one takes its slot.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from gate.core.duration import MINUTE_US

SLOTS: Final = 1 << 18


class FirstSight:
    """The minute of the first sight of recent items. Mutable, used by one thread."""

    def __init__(self, slots: int = SLOTS) -> None:
        self._items = np.zeros(slots, np.int64)
        self._minutes = np.zeros(slots, np.uint32)
        self._mask = slots - 1

    def see(self, items: Sequence[int], times_us: Sequence[int]) -> None:
        """Items (63 bits) were shown at these times."""
        # reversed: of two items in one slot the first is written last, and stays
        shown = np.array(items[::-1], np.int64)
        minutes = np.clip(np.array(times_us[::-1], np.int64) // MINUTE_US, 0, 0xFFFF_FFFF).astype(np.uint32)
        at = shown & self._mask
        new = self._items[at] != shown
        self._items[at[new]] = shown[new]
        self._minutes[at[new]] = minutes[new]

    def first_us(self, item: int) -> int | None:
        """When the item was shown first, to the minute; None if that is not known."""
        at = item & self._mask
        return int(self._minutes[at]) * MINUTE_US if self._items[at] == item else None
