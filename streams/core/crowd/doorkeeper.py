"""Admission at the second account: a feature that one account showed takes sixteen bytes and no object.

A slot keeps the last feature that fell into it and its one member (see `members`). When another account shows the same
feature, both are admitted to the table of shared features, so that nobody is missing from the count. Another feature in
the same slot replaces the one that was there: with `n` slots, a lone account is forgotten with probability
1 - exp(-m / n) after `m` further lone features. Features are compared whole, so none is admitted by mistake.
"""

from __future__ import annotations

from array import array

FIRST_SLOTS = 1 << 10


class Doorkeeper:
    """The lone members of one kind. It begins small and doubles up to `max_slots`. Mutable, used by one thread.

    `slots` holds the feature of each slot and behind it the member, so that both lie in one line of the processor's
    cache. It stays the same object as it grows.
    """

    def __init__(self, max_slots: int) -> None:
        self.slots = array("Q", bytes(16 * FIRST_SLOTS))
        self.mask = FIRST_SLOTS - 1
        self._max_slots = max_slots
        self._replaced = 0

    def held(self, feature: int) -> int:
        """The lone member of the feature; 0 where none is known."""
        at = (feature & self.mask) << 1
        return self.slots[at + 1] if self.slots[at] == feature else 0

    def swapped(self, feature: int, member: int) -> int:
        """Keep the member in the feature's slot; the feature's member until now, 0 where none was known."""
        slots, at = self.slots, (feature & self.mask) << 1
        there, held = slots[at], slots[at + 1]
        if there == feature:
            slots[at + 1] = member
            return held
        if held and (there & self.mask) << 1 == at:
            self._replaced += 1
            if self._replaced * 4 > self.mask < self._max_slots - 1:
                self._double()
                at = (feature & self.mask) << 1
        slots[at], slots[at + 1] = feature, member
        return 0

    def put(self, feature: int, member: int) -> None:
        """Change the member of a feature that is held; 0 forgets it."""
        self.slots[((feature & self.mask) << 1) + 1] = member

    def _double(self) -> None:
        # each feature then stands in both slots that may be its own; in the wrong one nobody looks for it
        self.slots *= 2
        self.mask = len(self.slots) // 2 - 1
        self._replaced = 0
