"""The wall clock."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """The wall clock, read at the edge only."""

    def now_us(self) -> int:
        """µs since 1970, UTC. May step back; nobody may rely on it growing."""
        ...
