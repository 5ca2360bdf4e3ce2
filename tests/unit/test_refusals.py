"""What a worker says of calls that Kafka refuses: which right or setting is missing, and the command that gives it."""

from __future__ import annotations

import pytest
from aiokafka import errors as kafka

from gate.errors import StoreUnavailable
from streams.worker.producer import TransactionUnended
from streams.worker.refusals import refused

AT = "sasl_plaintext://worker@k:1,k:2?password_file=/p"
GRANT = "Type: kafka-acls.sh --bootstrap-server k:1,k:2 --command-config CLIENT.PROPERTIES --add --allow-principal User:worker"


@pytest.mark.parametrize(
    ("error", "operation", "remedy"),
    [
        (kafka.TopicAuthorizationFailedError("crowd.counts.v1"), "", "--operation Read --topic crowd.counts.v1"),
        (kafka.TopicAuthorizationFailedError({"b", "a"}), "Write", "--operation Write --topic a --topic b"),
        (kafka.GroupAuthorizationFailedError("g"), "Write", "--operation Read --group g"),
        (
            kafka.TransactionalIdAuthorizationFailed("g-events-3"),
            "",
            "--operation Write --operation Describe --resource-pattern-type prefixed --transactional-id g-events",
        ),
    ],
)
def test_a_missing_right_is_named_with_the_command_that_grants_it(
    error: Exception, operation: str, remedy: str
) -> None:
    found = refused(error, operation, AT)

    assert found is not None
    assert found.remedy == f"{GRANT} {remedy}"


def test_a_topic_that_may_not_be_created_needs_to_be_described() -> None:
    error = StoreUnavailable("Kafka refuses to create topic t")
    error.__cause__ = kafka.TopicAuthorizationFailedError("t")

    found = refused(error, bootstrap=AT)

    assert found is not None
    assert found.remedy == f"{GRANT} --operation Describe --topic t"


def test_a_topic_that_takes_too_small_records_is_named_with_the_command_that_lets_it_take_them() -> None:
    found = refused(kafka.MessageSizeTooLargeError("accounts.state.v1"), "Write", "k:1")

    assert found is not None
    assert found.text == "record size: a record is larger than the broker takes for accounts.state.v1"
    assert found.remedy == (
        "Type: kafka-configs.sh --bootstrap-server k:1 --alter --entity-type topics --entity-name accounts.state.v1 "
        "--add-config max.message.bytes=4194304"
    )


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (kafka.TopicAuthorizationFailedError(), "Grant this worker's user"),
        (kafka.ClusterAuthorizationFailedError(), "Grant this worker's user"),
        (TransactionUnended("a transaction of the group g does not end"), "A broker could not write its end"),
        (kafka.InvalidTransactionTimeout(), "Set transaction.max.timeout.ms of every broker to at least 15000"),
    ],
)
def test_a_refusal_that_names_nothing_has_a_remedy_all_the_same(error: Exception, remedy: str) -> None:
    found = refused(error, bootstrap=AT)

    assert found is not None
    assert found.remedy.startswith(remedy)


@pytest.mark.parametrize("error", [kafka.KafkaConnectionError("x"), OSError(), TimeoutError(), kafka.ProducerFenced()])
def test_what_waiting_cures_is_no_refusal(error: Exception) -> None:
    assert refused(error, bootstrap=AT) is None
