"""The operating system's clocks. No other module of the gate reads them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class SystemClock:
    """A Clock that reads the operating system's clock."""

    def now_us(self) -> int:
        """µs since 1970, UTC."""
        return time.time_ns() // 1000


class SystemUptime:
    """An Uptime of this machine. Without a boot id its times of two processes are not comparable."""

    def __init__(self) -> None:
        try:
            self._boot = _BOOT_ID.read_text().strip()
        except OSError:
            self._boot = ""

    @property
    def boot(self) -> str:
        """See Uptime."""
        return self._boot

    def elapsed_us(self) -> int:
        """See Uptime."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000
