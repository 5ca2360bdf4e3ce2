"""Logs that a server is away or refuses, with what to do, again while it stays away, and once that it is back.

Without it the Kafka client would log seventy lines a second.
"""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from aiokafka import errors as kafka

from gate.stores.kafka.trouble import kafka_trouble

log = logging.getLogger("upload_gate.worker")

SAY_AGAIN_S: Final = 30.0
"""How often the log says that a server is still away."""


class KafkaRefusal(NamedTuple):
    """A kind of error that waiting does not cure, and its remedy. It is logged once it has lasted `after_s` seconds."""

    kind: str
    errors: tuple[type[BaseException], ...]
    after_s: float
    remedy: str


REFUSALS: Final = (
    KafkaRefusal(
        "authorization",
        (
            kafka.TopicAuthorizationFailedError,
            kafka.GroupAuthorizationFailedError,
            kafka.ClusterAuthorizationFailedError,
            kafka.TransactionalIdAuthorizationFailed,
        ),
        0.0,
        "Grant this worker's user to read and write its topics, to use its consumer group, and to use the "
        "transactional ids that begin with the group's name",
    ),
    KafkaRefusal(
        "login",
        (
            kafka.AuthenticationFailedError,
            kafka.SaslAuthenticationFailed,
            kafka.UnsupportedSaslMechanismError,
            kafka.IllegalSaslStateError,
        ),
        0.0,
        "Compare user, mechanism and password_file in UPLOAD_GATE_KAFKA with the broker's users, and start the worker again",
    ),
    KafkaRefusal(
        "certificate",
        (ssl.SSLCertVerificationError,),
        0.0,
        "Name the broker's authority as ca in UPLOAD_GATE_KAFKA, and a host that its certificate is for",
    ),
    KafkaRefusal(
        "missing topic",
        (kafka.UnknownTopicOrPartitionError, kafka.InvalidTopicError),
        5.0,  # a topic that was created just now is not known to every broker yet
        "Create the topic, or allow this worker to: it creates missing topics when it starts",
    ),
    KafkaRefusal(
        "corruption",
        (kafka.CorruptRecordException, kafka.InvalidMessageError, kafka.UnsupportedCodecError),
        0.0,
        "Check the broker's disk and the writers of the topic; restore the topic, or move the group's offset "
        "past the record",
    ),
)


def refusal(error: BaseException) -> KafkaRefusal | None:
    """The kind of refusal of `error` or its cause; None if the server is merely away."""
    for one in (error, error.__cause__):
        for found in REFUSALS:
            if isinstance(one, found.errors):
                return found
    return None


class Outage:
    """An outage or refusal of one server, with a log line at each end and some between. `changed` gets each change, True
    for up.
    """

    def __init__(self, what: str, changed: Callable[[bool], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._what = what
        self._changed = changed
        self._clock = clock
        self._refused_since: dict[str, float] = {}
        self._said: set[str] = set()
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

    def failed(self, error: BaseException) -> None:
        """Record that a call raised `error`. Logs each kind of refusal and its remedy once."""
        said = kafka_trouble(error)
        found = refusal(error)
        if found is None:
            self.down(said)
            return
        since = self._refused_since.setdefault(found.kind, self._clock())
        if found.kind not in self._said and self._clock() - since >= found.after_s:
            self._said.add(found.kind)
            self._changed(False)
            log.error("%s refuses (%s: %s). %s", self._what, found.kind, said, found.remedy)

    def up(self) -> None:
        """It answered."""
        self._refused_since.clear()
        if self._said:
            self._said.clear()
            self._changed(True)
        if self.since is not None:
            log.warning("%s is back after %.1f s", self._what, self._clock() - self.since)
            self.since = None
            self._changed(True)


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
    return next((one for one in told if isinstance(one, BaseException) and refusal(one) is not None), None)


def _is_about_connections(message: str) -> bool:
    text = message.lower()
    return "unable connect" in text or "unable to connect" in text or "connect call failed" in text
