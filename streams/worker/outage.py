"""Says once that a server is away and since when, and once that it is back, instead of seventy lines a second."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

log = logging.getLogger("upload_gate.worker")


class Outage:
    """One server's being away, as one log line at each end. `seen` is told of each change: True is up."""

    def __init__(self, what: str, seen: Callable[[bool], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._what = what
        self._seen = seen
        self._clock = clock
        self.since: float | None = None
        seen(True)

    @property
    def is_down(self) -> bool:
        return self.since is not None

    def down(self, why: str) -> None:
        """It does not answer."""
        if self.since is None:
            self.since = self._clock()
            self._seen(False)
            log.warning("%s is away since now (%s); work goes on when it is back", self._what, why)

    def up(self) -> None:
        """It answered."""
        if self.since is not None:
            log.warning("%s is back after %.1f s", self._what, self._clock() - self.since)
            self.since = None
            self._seen(True)


class ClientNoise(logging.Handler):
    """Takes the Kafka client's log: a first complaint opens the outage, all others are counted, not printed."""

    def __init__(self, outage: Outage) -> None:
        super().__init__(logging.DEBUG)
        self._outage = outage
        self.swallowed = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Called by `logging`."""
        self.swallowed += 1
        if record.levelno >= logging.ERROR and _is_about_connections(record.getMessage()):
            self._outage.down("the client cannot connect")


def _is_about_connections(message: str) -> bool:
    text = message.lower()
    return "unable connect" in text or "unable to connect" in text or "connect call failed" in text
