"""What Kafka refuses a worker for good, by the client's error: why, and what to type. Waiting cures none of it."""

from __future__ import annotations

import ssl
from typing import Final, NamedTuple

from aiokafka import errors as kafka

from gate.errors import StoreUnavailable
from gate.records.kafka_address import for_kafka_tools, parse_kafka_address
from gate.records.topics import MAX_MESSAGE_BYTES
from gate.stores.kafka.trouble import kafka_trouble
from streams.worker.producer import TRANSACTION_TIMEOUT_MS, TransactionUnended

_LISTS: Final = (
    "Grant this worker's user to read and write its topics, to use its consumer group, and to use the "
    "transactional ids that begin with the group's name"
)


class KafkaRefusal(NamedTuple):
    """A kind of error that waiting does not cure, and its remedy. It is logged once it has lasted `after_s` seconds."""

    kind: str
    errors: tuple[type[BaseException], ...]
    after_s: float
    remedy: str


class Refused(NamedTuple):
    """One refusal: the words for the log, and after how many seconds to say them."""

    kind: str
    said: str
    remedy: str
    after_s: float

    @property
    def text(self) -> str:
        return f"{self.kind}: {self.said}"


AUTHORIZATION: Final = KafkaRefusal(
    "authorization",
    (
        kafka.TopicAuthorizationFailedError,
        kafka.GroupAuthorizationFailedError,
        kafka.ClusterAuthorizationFailedError,
        kafka.TransactionalIdAuthorizationFailed,
    ),
    0.0,
    _LISTS,
)
RECORD_SIZE: Final = KafkaRefusal(
    "record size",
    (kafka.MessageSizeTooLargeError, kafka.RecordTooLargeError),
    0.0,
    f"Set max.message.bytes of the worker's topics to {MAX_MESSAGE_BYTES}",
)
REFUSALS: Final = (
    AUTHORIZATION,
    RECORD_SIZE,
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
    KafkaRefusal(
        "unended transaction",
        (TransactionUnended,),
        0.0,
        "A broker could not write its end to one of the worker's topics, which has no leader, or a max.message.bytes below "
        f"{MAX_MESSAGE_BYTES}: a worker names it when it starts. Correct that, then start the broker again that coordinates "
        "the transaction",
    ),
    KafkaRefusal(
        "transaction timeout",
        (kafka.InvalidTransactionTimeout,),
        0.0,
        f"Set transaction.max.timeout.ms of every broker to at least {TRANSACTION_TIMEOUT_MS}, and start it again",
    ),
)


def refused(error: BaseException, operation: str = "", bootstrap: str = "") -> Refused | None:
    """Whether `error` or its cause is a refusal; None if the server is merely away.

    `operation` was tried on the topic that the error names; without it that is reading, or administering for an error of
    ours. Commands for its remedy are typed to `bootstrap`.
    """
    for one in (error, error.__cause__):
        for found in REFUSALS:
            if isinstance(one, found.errors):
                operation = operation or ("Describe" if isinstance(error, StoreUnavailable) else "Read")
                return _refused(found, one, kafka_trouble(one), operation, bootstrap)
    return None


def _refused(found: KafkaRefusal, error: BaseException, said: str, operation: str, bootstrap: str) -> Refused:
    names = _names(error)
    command = ""
    if names and found is AUTHORIZATION:
        said = f"{said}: {_what(error, operation)} {', '.join(names)}"
        command = _grant(error, operation, names, bootstrap)
    elif names and found is RECORD_SIZE:
        said = f"{said} for {', '.join(names)}"
        command = (
            f"kafka-configs.sh {_tools(bootstrap)} --alter --entity-type topics "
            f"--entity-name {names[0]} --add-config max.message.bytes={MAX_MESSAGE_BYTES}"
        )
    return Refused(found.kind, said, f"Type: {command}" if command else found.remedy, found.after_s)


def _names(error: BaseException) -> list[str]:
    """The topics, the group or the transactional id that the error names. The ids of a worker differ in their end only."""
    given = error.args[0] if error.args else ()
    names = sorted(map(str, given)) if isinstance(given, set | frozenset) else [given] if isinstance(given, str) else []
    if isinstance(error, kafka.TransactionalIdAuthorizationFailed):
        return [name.rpartition("-")[0] for name in names]
    return names


def _what(error: BaseException, operation: str) -> str:
    if isinstance(error, kafka.GroupAuthorizationFailedError):
        return "Read on the group"
    if isinstance(error, kafka.TransactionalIdAuthorizationFailed):
        return "Write on transactional ids that begin with"
    return f"{operation} on"


def _grant(error: BaseException, operation: str, names: list[str], bootstrap: str) -> str:
    user = parse_kafka_address(bootstrap).user if bootstrap else ""
    head = f"kafka-acls.sh {_tools(bootstrap)} --add --allow-principal User:{user or 'NAME'}"
    if isinstance(error, kafka.GroupAuthorizationFailedError):
        return f"{head} --operation Read --group {names[0]}"
    if isinstance(error, kafka.TransactionalIdAuthorizationFailed):
        prefix = f"--resource-pattern-type prefixed --transactional-id {names[0]}"
        return f"{head} --operation Write --operation Describe {prefix}"
    return f"{head} --operation {operation} {' '.join(f'--topic {name}' for name in names)}"


def _tools(bootstrap: str) -> str:
    return for_kafka_tools(bootstrap) if bootstrap else "--bootstrap-server ADDRESS"
