"""How errors of Kafka are worded: one wording for an unusable address, and words in place of the client's errors."""

from __future__ import annotations

import asyncio
import socket
import ssl

import pytest
from aiokafka import errors as kafka

from gate.cli.addresses import resolve_addresses
from gate.errors import SettingInvalid, StoreUnavailable
from gate.local.free_port import free_port
from gate.settings import read_settings
from gate.stores.kafka.audit import read_audit
from gate.stores.kafka.trouble import kafka_trouble, kafka_unavailable
from streams.worker.settings import read_worker_settings


@pytest.mark.parametrize(
    "address", ["foo", "kafka://h:1", "h:99999", "u@h:1", "u:s3cret@h:1", "h/x:1", "ssl://h:1?x=1", "h:1,"]
)
def test_a_bad_address_is_told_in_the_same_words_by_whatever_reads_it(address: str) -> None:
    environ = {"UPLOAD_GATE_KAFKA": address}
    said = set()
    for read in (
        lambda: read_settings(environ), lambda: read_worker_settings(environ), lambda: resolve_addresses(environ=environ),
    ):  # fmt: skip
        with pytest.raises(SettingInvalid) as error:
            read()
        said.add(str(error.value))

    (told,) = said
    assert told.startswith("UPLOAD_GATE_KAFKA is unusable: ")
    assert "Write host:port" in told
    assert "s3cret" not in told
    with pytest.raises(SettingInvalid, match="--kafka is unusable: "):
        resolve_addresses(kafka=address, environ={})


def test_what_the_client_raises_is_told_in_words() -> None:
    told = {
        kafka_trouble(kafka.KafkaConnectionError("Unable to bootstrap from [('h', 1, <AddressFamily.AF_INET: 2>)]")),
        kafka_trouble(TimeoutError()),
        kafka_trouble(kafka.RequestTimedOutError()),
        kafka_trouble(kafka.TopicAuthorizationFailedError("t")),
        kafka_trouble(kafka.SaslAuthenticationFailed("KafkaConnectionError at h:1")),
        kafka_trouble(ssl.SSLCertVerificationError("[SSL: CERTIFICATE_VERIFY_FAILED] (_ssl.c:1006)")),
        kafka_trouble(KeyError("uploads")),
        kafka_trouble(kafka.UnknownTopicOrPartitionError()),
        kafka_trouble(ConnectionRefusedError(111, "Connection refused")),
        kafka_trouble(StoreUnavailable("Kafka at h:1 has no topic t", "create it")),
    }

    assert told == {
        "no connection, or a server there that does not answer as Kafka does", "no answer in time", "it refuses the login",
        "its access lists do not permit this user to do that", "its certificate is not one that this side trusts",
        "there is no topic 'uploads'", "the topic does not exist", "connection refused", "Kafka at h:1 has no topic t",
    }  # fmt: skip


ERRORS = [kind for kind in vars(kafka).values() if isinstance(kind, type) and issubclass(kind, kafka.KafkaError)]


@pytest.mark.parametrize("kind", ERRORS)
def test_no_error_of_the_client_brings_its_own_prose(kind: type[kafka.KafkaError]) -> None:
    error = kind.__new__(kind)
    error.args = ("Unable to bootstrap from [('h', 1, <AddressFamily.AF_INET: 2>)]",)

    said = str(kafka_unavailable("h:1", "does not answer", error))

    assert said.startswith("Kafka at h:1 does not answer: ")
    assert "bootstrap" not in said
    assert "[" not in said


def test_a_cluster_that_is_not_there_is_named_with_what_to_do() -> None:
    address = f"127.0.0.1:{free_port()}"

    with pytest.raises(StoreUnavailable) as error:
        asyncio.run(read_audit(address, "gate.audit.v1"))

    assert str(error.value) == (
        f"Kafka at {address} does not return audit records: no connection, or a server "
        "there that does not answer as Kafka does. "
        "Check that it runs there and is not stopped, and that --kafka, UPLOAD_GATE_KAFKA or --state names the right system"
    )


def test_a_frozen_cluster_holds_up_no_reader_of_the_audit_log_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gate.stores.kafka.audit.READ_DEADLINE_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as frozen:
        address = f"127.0.0.1:{frozen.getsockname()[1]}"

        async def read() -> None:
            async with asyncio.timeout(8.0):  # sending waits for ten
                await read_audit(address, "gate.audit.v1")

        with pytest.raises(StoreUnavailable, match="does not return audit records"):
            asyncio.run(read())
