"""Words errors of the Kafka client for people: what happened, and what to do, in place of the library's text."""

from __future__ import annotations

import ssl
from typing import Final

from aiokafka import errors as kafka

from gate.errors import AccessRefused, StoreUnavailable, UploadGateError

CHECK_IT: Final = (
    "check that it runs there and is not stopped, and that --kafka, UPLOAD_GATE_KAFKA or --state names the right system"
)

NO_ANSWER: Final = "no answer in time"
_REFUSALS: Final = (
    kafka.TopicAuthorizationFailedError,
    kafka.GroupAuthorizationFailedError,
    kafka.ClusterAuthorizationFailedError,
    kafka.TransactionalIdAuthorizationFailed,
)
_CAUSES: Final[tuple[tuple[tuple[type[BaseException], ...], str], ...]] = (
    ((ssl.SSLCertVerificationError,), "its certificate is not one that this side trusts"),
    ((ssl.SSLError,), "it does not speak TLS as the address says"),
    (
        (
            kafka.AuthenticationFailedError,
            kafka.SaslAuthenticationFailed,
            kafka.UnsupportedSaslMechanismError,
            kafka.AuthenticationMethodNotSupported,
            kafka.IllegalSaslStateError,
        ),
        "it refuses the login",
    ),
    (
        _REFUSALS,
        "its access lists do not permit this user to do that",
    ),
    ((kafka.UnknownTopicOrPartitionError, kafka.InvalidTopicError), "the topic does not exist"),
    ((kafka.InvalidTransactionTimeout,), "it permits only shorter transactions"),
    ((kafka.MessageSizeTooLargeError, kafka.RecordTooLargeError), "a record is larger than the broker takes"),
    ((kafka.NotEnoughReplicasError, kafka.NotEnoughReplicasAfterAppendError), "too few of its replicas answer"),
    ((TimeoutError, kafka.KafkaTimeoutError, kafka.RequestTimedOutError), NO_ANSWER),
    ((ConnectionRefusedError,), "connection refused"),
    (
        (
            kafka.KafkaConnectionError,
            kafka.NoBrokersAvailable,
            kafka.KafkaUnavailableError,
            kafka.NodeNotReadyError,
            kafka.BrokerNotAvailableError,
            kafka.MetadataEmptyBrokerList,
        ),
        "no connection, or a server there that does not answer as Kafka does",
    ),
    (
        (kafka.LeaderNotAvailableError, kafka.NotLeaderForPartitionError, kafka.GroupCoordinatorNotAvailableError),
        "it has no leader for this at the moment",
    ),
)


def kafka_trouble(error: BaseException) -> str:
    """What happened, in a few words. An error without words here is named by its class."""
    if isinstance(error, UploadGateError):
        return error.problem.rstrip(".")
    for one in (error.__cause__, error):
        for kinds, cause in _CAUSES:
            if isinstance(one, kinds):
                return cause
    if isinstance(error, KeyError):
        return f"there is no topic {error}"
    if isinstance(error, OSError):
        return error.strerror or "no connection"
    return f"the client reports {type(error).__name__}"


def kafka_unavailable(bootstrap: str, what: str, error: BaseException, remedy: str = CHECK_IT) -> StoreUnavailable:
    """The error of a call that failed: `Kafka at ADDRESS {what}: why`."""
    refused = isinstance(error, _REFUSALS) or isinstance(error.__cause__, _REFUSALS)
    kind = AccessRefused if refused else StoreUnavailable
    return kind(f"Kafka at {bootstrap} {what}: {kafka_trouble(error)}", remedy)
