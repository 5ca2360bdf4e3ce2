"""Admission at the second account: a feature that one account showed takes sixteen bytes and no object.

A slot keeps the last feature that fell into it and its one member (see `members`). When another account shows the same
feature, both accounts are admitted to the table of shared features, so that the count misses none. Another feature in
the same slot replaces the stored one: with `n` slots, a lone account is forgotten with probability
1 - exp(-m / n) after `m` further lone features, and with 6 % each time that the table grows. Features are compared
whole, so none is admitted by mistake.
"""

from __future__ import annotations

from array import array

import numpy as np
from numpy.typing import NDArray

FIRST_SLOTS = 1 << 14
GROWTH = 8
SPARSE = 16
"""The table grows after one stored feature per this many slots."""


class Doorkeeper:
    """The lone members of one kind. It begins small and grows up to `max_slots`. Mutable, used by one thread.

    `slots` holds the feature of each slot, followed by its member, so that both are in one line of the processor's
    cache. It stays the same object as it grows.
    """

    def __init__(self, max_slots: int) -> None:
        slots = min(FIRST_SLOTS, max_slots)
        self.slots = array("Q", bytes(16 * slots))
        self.mask = slots - 1
        self._max_slots = max_slots
        self._taken = 0

    def held(self, feature: int) -> int:
        """The lone member of the feature; 0 if none is known."""
        at = (feature & self.mask) << 1
        return self.slots[at + 1] if self.slots[at] == feature else 0

    def swapped(self, feature: int, member: int) -> int:
        """Keep the member in the feature's slot. Returns the feature's previous member, 0 if none was known."""
        slots, at = self.slots, (feature & self.mask) << 1
        if slots[at] == feature:
            held = slots[at + 1]
            slots[at + 1] = member
            return held
        self._taken += 1
        if self._taken * SPARSE > self.mask < self._max_slots - 1:
            self._grow()
            at = (feature & self.mask) << 1
        slots[at], slots[at + 1] = feature, member
        return 0

    def pairs(self) -> NDArray[np.uint64]:
        """The slots as rows of a feature and its member. While it is in use the table cannot grow."""
        return np.frombuffer(self.slots, np.uint64).reshape(-1, 2)

    def make_room(self, features: int) -> None:
        """Grow so that this many new features fit."""
        while (self._taken + features) * SPARSE > self.mask < self._max_slots - 1:
            self._grow()

    def took(self, features: int) -> None:
        """Note that this many new features were written into `pairs`."""
        self._taken += features

    def put(self, feature: int, member: int) -> None:
        """Change the member of a feature that is held."""
        self.slots[((feature & self.mask) << 1) + 1] = member

    def _grow(self) -> None:
        # each feature is then in every slot that may be its own; no look-up reads it in the others
        self.slots *= min(GROWTH, self._max_slots // (self.mask + 1))
        self.mask = len(self.slots) // 2 - 1
