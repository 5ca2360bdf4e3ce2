"""The wall clock."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """The wall clock. Only code at the edges reads it; all other code gets the time as an argument."""

    def now_us(self) -> int:
        """µs since 1970, UTC. It may step back, so no caller may rely on it growing."""
        ...
