"""The operating system's wall clock. No other module of the gate reads it."""

from __future__ import annotations

import time


class SystemClock:
    """A Clock that reads the operating system's clock."""

    def now_us(self) -> int:
        """µs since 1970, UTC."""
        return time.time_ns() // 1000
