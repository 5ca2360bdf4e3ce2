"""Reads the wall clock of a running process. No other module of the gate does."""

from __future__ import annotations

import time


class SystemClock:
    """A Clock by the operating system."""

    def now_us(self) -> int:
        """µs since 1970, UTC."""
        return time.time_ns() // 1000
