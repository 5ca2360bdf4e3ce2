"""`python -m streams.worker`: one stream worker from the environment, until SIGTERM or SIGINT. Prints only log lines.

The only module of the worker with effects outside it. Ends with 0 after a signal, 1 after what no retry cures, 2 for
settings that cannot be used. Signals are heard before anything that takes time is even imported, until the very end.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Ending:
    """Whether a signal came, from `hear` on, and whom to tell. Any number of signals end the worker once."""

    def __init__(self) -> None:
        self.is_due = False
        self._tell: Callable[[], object] | None = None

    def hear(self) -> None:
        """Take signals instead of dying of them."""
        for number in SIGNALS:
            signal.signal(number, self._came)

    def tell(self, end: Callable[[], object] | None) -> None:
        """Call `end` for each signal from now on, and now if one came already; it must bear being called anywhere."""
        self._tell = end
        if self.is_due and end is not None:
            end()

    def _came(self, number: int, frame: FrameType | None) -> None:
        self.is_due = True
        if self._tell is not None:
            self._tell()


def main() -> int:
    """Run one worker; the exit code."""
    ending = Ending()
    ending.hear()
    try:
        from streams.worker.main import run

        return run(ending)
    finally:
        # the interpreter's own end takes a moment in which another signal must not look like a crash
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)


if __name__ == "__main__":
    sys.exit(main())
