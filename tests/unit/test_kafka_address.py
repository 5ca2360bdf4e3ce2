"""The address of a Kafka cluster: how it is read, and the complaint about one that cannot be used."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gate.errors import SettingInvalid
from gate.records.kafka_address import KafkaAddress, for_kafka_tools, parse_kafka_address
from gate.stores.kafka.connection import connection


def test_servers_alone_have_neither_tls_nor_a_login() -> None:
    address = parse_kafka_address("a:9092,[::1]:9093")

    assert address == KafkaAddress("a:9092,[::1]:9093")
    assert not address.has_tls
    assert not address.has_login


def test_an_address_names_user_mechanism_and_files() -> None:
    address = parse_kafka_address(
        "sasl_ssl://gate%40site@a:1,b:2?mechanism=SCRAM-SHA-256&password_file=/p&ca=/ca&cert=/c&key=/k"
    )

    assert address == KafkaAddress(
        "a:1,b:2", "sasl_ssl", "gate@site", "SCRAM-SHA-256", Path("/p"), Path("/ca"), Path("/c"), Path("/k")
    )


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("a:1,b:2", "--bootstrap-server a:1,b:2"),
        ("ssl://a:1?ca=/ca", "--bootstrap-server a:1 --command-config CLIENT.PROPERTIES"),
        ("sasl_ssl://u@a:1?password_file=/p", "--bootstrap-server a:1 --command-config CLIENT.PROPERTIES"),
    ],
)
def test_commands_of_kafka_reach_the_servers_with_a_login_of_their_own(text: str, options: str) -> None:
    assert for_kafka_tools(text) == options


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("localhost", "'localhost' is not host:port"),
        ("a:0", "the port of 'a:0' is not a number between 1 and 65535"),
        ("a:1,b:x", "the port of 'b:x'"),
        ("tls://a:1", "it begins with 'tls'; write one of plaintext, ssl, sasl_plaintext, sasl_ssl before ://"),
        ("sasl_ssl://u:secret@a:1?password_file=/p", "it holds a password; write user@ alone"),
        ("sasl_ssl://a:1?password_file=/p", "sasl_ssl needs a login"),
        ("sasl_ssl://u@a:1", "sasl_ssl needs a login"),
        ("ssl://u@a:1", "ssl has no login, and 'u' is given"),
        ("ssl://a:1?mechanism=PLAIN", "'mechanism' is not an option of ssl://; it has ca, cert, key"),
        ("sasl_plaintext://u@a:1?password_file=/p&ca=/c", "'ca' is not an option of sasl_plaintext://"),
        ("ssl://a:1?ca=", "the option ca is empty"),
        ("ssl://a:1?cert=/c", "cert and key go together, and one is missing"),
        ("sasl_ssl://u@a:1?password_file=/p&mechanism=GSSAPI", "the mechanism 'GSSAPI' is none of PLAIN"),
    ],
)
def test_an_unusable_address_says_what_to_write(text: str, said: str) -> None:
    with pytest.raises(SettingInvalid, match=re.escape(said)) as error:
        connection(text)

    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "cannot be read: No such file or directory"), (b"\n", "is empty"), (b"\xff", "is not text")],
)
def test_a_password_file_that_cannot_be_used_is_named(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "password"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(SettingInvalid, match="password_file") as error:
        connection(f"sasl_plaintext://u@a:1?password_file={path}")

    assert f"{path} {said}" in str(error.value)


def test_a_certificate_that_is_none_is_named(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_text("no certificate")

    with pytest.raises(SettingInvalid, match=str(path)):
        connection(f"ssl://a:1?ca={path}")
