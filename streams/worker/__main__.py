"""`python -m streams.worker`: runs one stream worker from the environment until SIGTERM or SIGINT. Prints only logs.

The exit code is 0 after a signal, 1 after an error that no retry cures, and 2 for unusable settings. The signal
handlers are installed before slow imports and stay until the end of the process.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Ending:
    """Records signals from `hear` on, and calls back. Any number of signals end the worker once."""

    def __init__(self) -> None:
        self.is_due = False
        self._tell: Callable[[], object] | None = None

    def hear(self) -> None:
        """Install the signal handlers, so that a signal no longer kills the process."""
        for number in SIGNALS:
            signal.signal(number, self._came)

    def tell(self, end: Callable[[], object] | None) -> None:
        """Call `end` at each signal from now on, and now if one came already. It must be safe in a signal handler."""
        self._tell = end
        if self.is_due and end is not None:
            end()

    def _came(self, number: int, frame: FrameType | None) -> None:
        self.is_due = True
        if self._tell is not None:
            self._tell()


def main() -> int:
    """Run one worker and return the exit code."""
    ending = Ending()
    ending.hear()
    try:
        from streams.worker.main import run

        return run(ending)
    finally:
        # the interpreter takes a moment to exit, and another signal in it must not look like a crash
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)


if __name__ == "__main__":
    sys.exit(main())
