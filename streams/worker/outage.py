"""Logs that a server is away or refuses, with what to do, again while it stays away, and once that it is back.

Without it the Kafka client would log seventy lines a second.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gate.stores.kafka.trouble import kafka_trouble
from streams.worker.refusals import refused

log = logging.getLogger("upload_gate.worker")

SAY_AGAIN_S: Final = 30.0
"""How often the log says that a server is still away."""


FADES_AFTER_S: Final = 20.0
"""A refusal that was not repeated for so long is over: what is refused is tried again every few seconds."""


@dataclass(slots=True)
class _Refusal:
    """When a refusal was met first and last, and whether the log has it."""

    first: float
    last: float
    is_said: bool = False


class Outage:
    """The outages and refusals of one server, with a log line at each end and some between. `changed` gets each change, True
    for up.
    """

    def __init__(
        self,
        what: str,
        changed: Callable[[bool], None],
        clock: Callable[[], float] = time.monotonic,
        bootstrap: str = "",
    ) -> None:
        """Commands that the log names are typed to `bootstrap`."""
        self._what = what
        self._changed = changed
        self._clock = clock
        self._bootstrap = bootstrap
        self._refusals: dict[str, _Refusal] = {}
        self.since: float | None = None
        self._said_at = 0.0
        changed(True)

    @property
    def is_down(self) -> bool:
        return self.since is not None

    def down(self, why: str) -> None:
        """Record that the server does not answer."""
        now = self._clock()
        if self.since is None:
            self.since = self._said_at = now
            self._changed(False)
            log.warning("%s is away (%s); work goes on when it is back", self._what, why)
        elif now - self._said_at >= SAY_AGAIN_S:
            self._said_at = now
            log.warning(
                "%s is still away after %.0f s (%s); if it runs, compare its address with UPLOAD_GATE_%s",
                self._what, now - self.since, why, self._what.upper(),
            )  # fmt: skip

    def failed(self, error: BaseException, operation: str = "") -> None:
        """Record that a call raised `error`; `operation` is what it tried on a topic, see `refused`. Logs each refusal
        and its remedy once."""
        found = refused(error, operation, self._bootstrap)
        if found is None:
            self.down(kafka_trouble(error))
            return
        now = self._clock()
        refusal = self._refusals.setdefault(found.text, _Refusal(now, now))
        refusal.last = now
        if not refusal.is_said and now - refusal.first >= found.after_s:
            refusal.is_said = True
            self._changed(False)
            log.error("%s refuses (%s). %s", self._what, found.text, found.remedy)

    def up(self) -> None:
        """It answered. It may still refuse other calls."""
        if self.since is not None:
            log.warning("%s is back after %.1f s", self._what, self._clock() - self.since)
            self.since = None
            self._changed(not self._is_refusing)
        self.look()

    def look(self) -> None:
        """Notice refusals that have ended. Call it once in a while."""
        now = self._clock()
        for text, refusal in list(self._refusals.items()):
            if now - refusal.last < FADES_AFTER_S:
                continue
            del self._refusals[text]
            if refusal.is_said:
                log.warning("%s no longer refuses (%s)", self._what, text)
                if self.since is None:
                    self._changed(not self._is_refusing)

    @property
    def _is_refusing(self) -> bool:
        return any(refusal.is_said for refusal in self._refusals.values())


class ClientNoise(logging.Handler):
    """Handles the Kafka client's log: a first complaint starts the outage, or names the refusal of a login or a
    certificate; no other is printed."""

    def __init__(self, outage: Outage) -> None:
        super().__init__(logging.DEBUG)
        self._outage = outage

    def emit(self, record: logging.LogRecord) -> None:
        """Called by `logging`."""
        if record.levelno < logging.ERROR or not _is_about_connections(record.getMessage()):
            return
        why = _refused_connection(record)
        if why is None:
            self._outage.down("the client cannot connect")
        else:
            self._outage.failed(why)


def _refused_connection(record: logging.LogRecord) -> BaseException | None:
    """The error among what was logged, if waiting does not cure it."""
    told = record.args if isinstance(record.args, tuple) else ()
    return next((one for one in told if isinstance(one, BaseException) and refused(one) is not None), None)


def _is_about_connections(message: str) -> bool:
    text = message.lower()
    return "unable connect" in text or "unable to connect" in text or "connect call failed" in text
