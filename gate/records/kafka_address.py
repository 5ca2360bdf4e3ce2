"""The address of a Kafka cluster as one line of text: its servers, and how a client proves who it is.

`host:port,host:port` is enough for a cluster without TLS and without logins. Otherwise the address is a URL that begins
with Kafka's name of the protocol: `sasl_ssl://gate@host:9093?password_file=/run/secrets/kafka&ca=/etc/kafka/ca.pem`. It
names the file of the password and never the password, so that an address may be shown.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, unquote

from gate.errors import SettingInvalid

PROTOCOLS: Final = ("plaintext", "ssl", "sasl_plaintext", "sasl_ssl")
MECHANISMS: Final = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
_HOST: Final = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.%]+\]")
_OF_SASL: Final = ("mechanism", "password_file")
_OF_TLS: Final = ("ca", "cert", "key")


@dataclass(frozen=True, slots=True)
class KafkaAddress:
    """A parsed address. `servers` is `host:port,host:port`, `protocol` one of PROTOCOLS, `mechanism` one of MECHANISMS.

    `ca` holds the authorities that vouch for the servers, those of this machine if None; `cert` and `key` are this
    client's own. All are PEM files.
    """

    servers: str
    protocol: str = "plaintext"
    user: str = ""
    mechanism: str = "SCRAM-SHA-512"
    password_file: Path | None = None
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    @property
    def has_login(self) -> bool:
        """Whether the client logs in with a user and a password."""
        return self.protocol.startswith("sasl_")

    @property
    def has_tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.protocol.endswith("ssl")


def for_kafka_tools(text: str) -> str:
    """The options by which Kafka's own commands reach the address `text`, for a line to type. A file for the login of who
    types it stands as CLIENT.PROPERTIES. Raises ValueError."""
    address = parse_kafka_address(text)
    config = "" if address.protocol == "plaintext" else " --command-config CLIENT.PROPERTIES"
    return f"--bootstrap-server {address.servers}{config}"


WRITE: Final = "write host:port, or host:port,host:port, or with TLS and a login sasl_ssl://user@host:port?password_file=FILE&ca=FILE"


def read_kafka_address(text: str, source: str) -> KafkaAddress:
    """The address that a flag, a variable or a file gives. Raises SettingInvalid, which names that `source`."""
    try:
        return parse_kafka_address(text)
    except ValueError as error:
        raise SettingInvalid(f"{source} is unusable: {error}", WRITE) from None


def parse_kafka_address(text: str) -> KafkaAddress:
    """Parse `text`. Raises ValueError, which says what is wrong and what to write."""
    protocol, scheme, rest = text.rpartition("://")
    if not scheme:
        return KafkaAddress(_servers(text))
    if protocol not in PROTOCOLS:
        raise ValueError(
            f"it begins with {protocol[:40]!r}; write one of {', '.join(PROTOCOLS)} before ://, or host:port"
        )
    place, _, query = rest.partition("?")
    user, _, servers = place.rpartition("@")
    options = _options(query, protocol)
    paths = {name: Path(options[name]).expanduser() for name in (*_OF_TLS, "password_file") if name in options}
    found = KafkaAddress(
        _servers(servers), protocol, _user(user), options.get("mechanism", KafkaAddress("").mechanism), **paths
    )
    _require_whole(found)
    return found


def _servers(text: str) -> str:
    for server in text.split(","):
        host, colon, port = server.strip().rpartition(":")
        if not host or not colon:
            raise ValueError(f"{server[:80]!r} is not host:port")
        if "@" in host:  # the text before it may be a password, and is not repeated
            raise ValueError("a user stands before the host; a login needs sasl_ssl:// or sasl_plaintext://")
        if not _HOST.fullmatch(host):
            raise ValueError(f"{host[:80]!r} is not a name or address of a host")
        if not port.isascii() or not port.isdigit() or not 1 <= int(port) <= 65_535:
            raise ValueError(f"the port of {server[:80]!r} is not a number between 1 and 65535")
    return text


def _user(text: str) -> str:
    if ":" in text:
        raise ValueError(
            "it holds a password; write user@ alone, put the password in a file and name that as password_file"
        )
    return unquote(text)


def _options(query: str, protocol: str) -> dict[str, str]:
    known = (*(_OF_SASL if protocol.startswith("sasl_") else ()), *(_OF_TLS if protocol.endswith("ssl") else ()))
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name, value in options.items():
        if name not in known:
            raise ValueError(f"{name[:40]!r} is not an option of {protocol}://; it has {', '.join(known) or 'none'}")
        if not value:
            raise ValueError(f"the option {name} is empty")
    if options.get("mechanism", MECHANISMS[0]) not in MECHANISMS:
        raise ValueError(f"the mechanism {options['mechanism'][:40]!r} is none of {', '.join(MECHANISMS)}")
    return options


def _require_whole(address: KafkaAddress) -> None:
    if address.has_login and (not address.user or address.password_file is None):
        raise ValueError(
            f"{address.protocol} needs a login; write {address.protocol}://user@host:port?password_file=FILE"
        )
    if address.user and not address.has_login:
        raise ValueError(f"{address.protocol} has no login, and {address.user[:40]!r} is given; write sasl_ssl")
    if (address.cert is None) != (address.key is None):
        raise ValueError("cert and key go together, and one is missing")
