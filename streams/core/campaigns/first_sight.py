"""When something was shown first, for what turns out to be a campaign later. One slot holds what fell into it last.

Growth: 2^18 slots of 12 bytes (3 MB). A lone item is forgotten when another one takes its slot.
"""

from __future__ import annotations

from array import array
from typing import Final

from gate.core.duration import MINUTE_US

SLOTS: Final = 1 << 18


class FirstSight:
    """The minute of the first sight of recent items. Mutable, used by one thread."""

    def __init__(self, slots: int = SLOTS) -> None:
        self._items = array("Q", bytes(8 * slots))
        self._minutes = array("I", bytes(4 * slots))
        self._mask = slots - 1

    def see(self, item: int, at_us: int) -> None:
        """The item was shown at this time."""
        at, minute = item & self._mask, max(0, min(at_us // MINUTE_US, 0xFFFF_FFFF))
        if self._items[at] != item:
            self._items[at], self._minutes[at] = item, minute
        elif minute < self._minutes[at]:
            self._minutes[at] = minute

    def first_us(self, item: int) -> int | None:
        """When the item was shown first, to the minute; None if that is not known."""
        at = item & self._mask
        return self._minutes[at] * MINUTE_US if self._items[at] == item else None
