"""The options with which a client of aiokafka connects to an address. A process reads the files of one once."""

from __future__ import annotations

import ssl
from functools import cache
from pathlib import Path
from typing import Any

from aiokafka.helpers import create_ssl_context

from gate.errors import OTHER_KEY, SettingInvalid, redact, tls_files_problem
from gate.records.kafka_address import KafkaAddress, parse_kafka_address


def connection(bootstrap: str) -> dict[str, Any]:
    """The options for the address `bootstrap`, as `gate.records.kafka_address` describes it.

    Raises SettingInvalid for an address that is none, or one whose files cannot be read.
    """
    try:
        return dict(_options(bootstrap))
    except ValueError as error:
        raise SettingInvalid(f"the address of Kafka, {redact(bootstrap)}, cannot be used: {error}") from error


@cache
def _options(bootstrap: str) -> dict[str, Any]:
    address = parse_kafka_address(bootstrap)
    options: dict[str, Any] = {"bootstrap_servers": address.servers, "security_protocol": address.protocol.upper()}
    if address.has_tls:
        options["ssl_context"] = _tls(address)
    if address.password_file is not None:
        options["sasl_mechanism"] = address.mechanism
        options["sasl_plain_username"] = address.user
        options["sasl_plain_password"] = _password(address.password_file)
    return options


def _tls(address: KafkaAddress) -> ssl.SSLContext:
    for name, path in (("ca", address.ca), ("cert", address.cert), ("key", address.key)):
        if path is not None:
            _read(name, path)
    try:
        context: ssl.SSLContext = create_ssl_context(
            cafile=_text(address.ca), certfile=_text(address.cert), keyfile=_text(address.key)
        )
    except ssl.SSLError as error:
        named = ", ".join(str(path) for path in (address.ca, address.cert, address.key) if path is not None)
        why = tls_files_problem(error)
        if why == OTHER_KEY:
            raise ValueError(f"the key {address.key} {OTHER_KEY} {address.cert}") from error
        raise ValueError(f"the certificates in {named} cannot be used: {why}") from error
    return context


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _password(path: Path) -> str:
    password = _read("password_file", path).strip("\r\n")
    if not password:
        raise ValueError(f"the password_file {path} is empty")
    return password


def _read(name: str, path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        raise ValueError(f"the {name} {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"the {name} {path} is not text") from error
