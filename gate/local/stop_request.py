"""The request to stop, set by signal handlers and awaited by threads.

`threading.Event` does not serve here: a handler that runs while the main thread waits for the event takes a lock that the
interrupted code may hold, and two signals in a row, as Ctrl-C through `make` sends them, then wait for each other for ever.
"""

from __future__ import annotations

from queue import Empty, SimpleQueue


class StopRequest:
    """A flag that is set once, from anywhere, also from a signal handler that interrupts `set` or `wait`."""

    def __init__(self) -> None:
        self._is_set = False
        self._wake: SimpleQueue[None] = SimpleQueue()  # its `put` may be interrupted by itself

    def set(self) -> None:
        """Ask for the end."""
        self._is_set = True
        self._wake.put(None)

    def is_set(self) -> bool:
        """True from the first `set` on."""
        return self._is_set

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until it is set, at most `timeout_s` seconds (None: as long as it takes); whether it is set."""
        if not self._is_set:
            try:
                self._wake.get(timeout=timeout_s)
            except Empty:
                pass
            else:
                self._wake.put(None)  # for the next one who waits
        return self._is_set
