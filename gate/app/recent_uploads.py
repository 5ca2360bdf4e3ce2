"""Counts the uploads of the last 15 minutes by class, so that an operator sees beforehand what a pause would stop.

Counts are kept by the minute, in 15 pieces; the oldest is dropped as a new minute begins. They go out with each
acknowledgement, so the sum over all gates costs one read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Final

from gate.core.duration import MINUTE_US

MINUTES: Final = 15
MOST_CLASSES: Final = 64
"""Counts of more classes do not go out."""

Counted = tuple[str, bool, bool]
"""Class, whether the upload was let in, whether its account scores as harmless."""


class RecentUploads:
    """The counts of one gate. `now_us` is the gate's clock. If that is set back, the counts move back with it when they are
    next read; until then uploads count into the current minute.

    The caller adds to `current`, and first calls `turn` if the time has reached `next_us`.
    """

    def __init__(self) -> None:
        self._minute = 0
        self._began_us: int | None = None
        self.next_us = 0
        self.current: dict[Counted, int] = {}
        self._earlier: deque[tuple[int, dict[Counted, int]]] = deque(maxlen=MINUTES - 1)

    def turn(self, now_us: int) -> None:
        """Begin a new minute."""
        if self._began_us is None:
            self._began_us = now_us
        else:
            self._earlier.append((self._minute, self.current))
        self._minute, self.current = now_us // MINUTE_US, {}
        self.next_us = (self._minute + 1) * MINUTE_US

    def _follow(self, now_us: int) -> None:
        """Move all minutes back with a clock that was set back; else no new minute would begin until it has caught up."""
        by = self._minute - now_us // MINUTE_US
        if by <= 0 or self._began_us is None:
            return
        self._began_us -= by * MINUTE_US
        self._minute -= by
        self.next_us = (self._minute + 1) * MINUTE_US
        self._earlier = deque(((minute - by, piece) for minute, piece in self._earlier), maxlen=MINUTES - 1)

    def by_class(self, now_us: int) -> dict[str, tuple[int, int, int]]:
        """For each class: uploads, those let in, and of these the ones whose account scores as harmless."""
        self._follow(now_us)
        oldest = now_us // MINUTE_US - MINUTES
        kept = [piece for minute, piece in (*self._earlier, (self._minute, self.current)) if minute > oldest]
        found: dict[str, tuple[int, int, int]] = {}
        for piece in kept:
            for (class_, lets_in, harmless), count in piece.items():
                met, let_in, fine = found.get(class_, (0, 0, 0))
                found[class_] = met + count, let_in + count * lets_in, fine + count * (lets_in and harmless)
        return dict(sorted(found.items(), key=lambda pair: -pair[1][0])[:MOST_CLASSES])

    def seconds(self, now_us: int) -> int:
        """Over how many of the last 900 seconds this gate has counted."""
        self._follow(now_us)
        return 0 if self._began_us is None else max(0, min(MINUTES * 60, (now_us - self._began_us) // 1_000_000))


def summed(gates: list[Mapping[str, tuple[int, int, int]]]) -> dict[str, tuple[int, int, int]]:
    """The counts of several gates by class."""
    found: dict[str, tuple[int, int, int]] = {}
    for counts in gates:
        for class_, (met, let_in, fine) in counts.items():
            known = found.get(class_, (0, 0, 0))
            found[class_] = known[0] + met, known[1] + let_in, known[2] + fine
    return found
