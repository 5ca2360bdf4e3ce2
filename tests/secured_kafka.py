"""Apache Kafka with a second listener that speaks TLS and wants a login."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gate.local.free_port import LOOPBACK, free_port
from gate.local.jars import default_cache, fetch_jars
from gate.local.kafka import LocalKafka

USER, PASSWORD = "gate", "only-for-this-test"
_LOGINS = f'org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'


class SecuredKafka(LocalKafka):
    """`secured_port` speaks TLS with the certificate `ours` of a folder, and knows one user. `port` has neither."""

    def __init__(self, home: Path, certificates: Path) -> None:
        super().__init__(home, free_port(), fetch_jars(default_cache(), print), print)
        self.secured_port = free_port()
        self._certificates = certificates

    def address(self, password_file: Path, ca: Path) -> str:
        """The address of the secured listener."""
        return f"sasl_ssl://{USER}@{LOOPBACK}:{self.secured_port}?mechanism=PLAIN&password_file={password_file}&ca={ca}"

    def _settings(self) -> dict[str, str]:
        lines = super()._settings()
        secured = f"SECURED://{LOOPBACK}:{self.secured_port}"
        key, chain = (self._certificates / name for name in ("ours.pkcs8", "ours.pem"))
        return lines | {
            "listeners": f"{lines['listeners']},{secured}",
            "advertised.listeners": f"{lines['advertised.listeners']},{secured}",
            "listener.security.protocol.map": f"{lines['listener.security.protocol.map']},SECURED:SASL_SSL",
            "listener.name.secured.sasl.enabled.mechanisms": "PLAIN",
            "listener.name.secured.plain.sasl.jaas.config": _LOGINS,
            "listener.name.secured.ssl.keystore.type": "PEM",
            "listener.name.secured.ssl.keystore.key": key.read_text().replace("\n", " "),
            "listener.name.secured.ssl.keystore.certificate.chain": chain.read_text().replace("\n", " "),
        }


@contextmanager
def running_secured_kafka(home: Path, certificates: Path) -> Iterator[SecuredKafka]:
    """The broker with its data in `home`, ended at the end."""
    server = SecuredKafka(home, certificates)
    try:
        server.start()
        yield server
    finally:
        server.stop()
