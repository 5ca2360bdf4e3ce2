"""Counts the gates that share the limits, and looks for a second gate of the own name.

Each gate counts all gates, so that what they cost the store together would grow with the square of their number. Many gates
therefore count less often.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gate.app.check import Check
from gate.ports.boards import Acknowledgement, BoardStore

COUNTED_WITHIN_US: Final = 10_000_000
EVERY_POLLS: Final = 5
MANY_TO_COUNT: Final = 100
"""So many gates count each other every EVERY_POLLS polls, and twice as many half as often."""
MANY_TO_READ: Final = 50
"""So many gates read what all say every EVERY_POLLS polls, and twice as many a quarter as often: a reading costs ten times
a count."""


class CountGates:
    """Keeps `check.instances`, and tells of a gate for which `is_twin` is true. Call `polled` at each poll of the board."""

    def __init__(
        self,
        check: Check,
        store: BoardStore,
        is_twin: Callable[[Acknowledgement], bool],
        tell: Callable[[str, str], None],
    ) -> None:
        self._check = check
        self._store = store
        self._is_twin = is_twin
        self._tell = tell
        self._polls = 0

    async def polled(self) -> None:
        """Count or read the gates, if it is time to. Raises StoreUnavailable."""
        polls, known = self._polls, self._check.instances
        if polls % (EVERY_POLLS * max(1, known // MANY_TO_COUNT)) == 0:
            self._check.instances = max(1, await self._store.count_gates(COUNTED_WITHIN_US))
        # its twin acknowledges after the first poll of a gate that has just started
        if polls == EVERY_POLLS or polls % (EVERY_POLLS * max(1, known // MANY_TO_READ) ** 2) == 0:
            await self._read()
        self._polls += 1

    async def _read(self) -> None:
        gates = await self._store.gates(COUNTED_WITHIN_US)
        for other in filter(self._is_twin, gates.live(COUNTED_WITHIN_US)):
            self._tell(
                f"twin {other.boot}",
                f"another gate runs under the name {other.gate}, at {other.url}: give each UPLOAD_GATE_NAME of its own",
            )
        for problem in gates.unreadable:
            self._tell(str(problem), f"an acknowledgement of another gate is ignored: {problem}")
