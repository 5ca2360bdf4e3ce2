"""The wall clock, and the time since the machine's start, which nobody can set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class Clock(Protocol):
    """The wall clock. Only code at the edges reads it; all other code gets the time as an argument."""

    def now_us(self) -> int:
        """µs since 1970, UTC. It may step back, so no caller may rely on it growing."""
        ...


class Uptime(Protocol):
    """The time since the machine's start. `boot` names that start: times of one boot can be compared."""

    @property
    def boot(self) -> str:
        """The name of the machine's start; empty where it is unknown."""
        ...

    def elapsed_us(self) -> int:
        """µs since the machine's start, sleep included. It never steps."""
        ...


@dataclass(frozen=True, slots=True)
class ClockMark:
    """What was known of the store's clock at one moment: its time, how far the host's clock was ahead, and the uptime.

    `elsewhere_ahead_us` is how far the second channel's clock was ahead of the store's, None where it was not known.
    """

    store_us: int
    ahead_us: int
    boot: str
    elapsed_us: int
    elsewhere_ahead_us: int | None = None
