"""Apache Kafka with a second listener that speaks TLS and wants a login, and with access lists for those who log in."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.admin import CreateAclsRequest

from gate.local.free_port import LOOPBACK, free_port
from gate.local.jars import default_cache, fetch_jars
from gate.local.kafka import LocalKafka

USER, PASSWORD = "gate", "only-for-this-test"
USERS = (USER, "keeper", "oncall", "worker", "uploads")
_LOGINS = "org.apache.kafka.common.security.plain.PlainLoginModule required " + " ".join(
    f'user_{user}="{PASSWORD}"' for user in USERS
)
ACLS = Path(__file__).parents[1] / "deploy" / "kafka" / "acls"
GROUP, REPLAY = "upload-gate", "upload-gate-dlq-replay"


class SecuredKafka(LocalKafka):
    """`secured_port` speaks TLS with the certificate `ours` of a folder, and knows the users. `port` has neither.

    Who comes by `port` may do everything. A user may do what its access lists say, and everything that no list names.
    """

    def __init__(self, home: Path, certificates: Path) -> None:
        super().__init__(home, free_port(), fetch_jars(default_cache(), print), print)
        self.secured_port = free_port()
        self._certificates = certificates

    def address(self, password_file: Path, ca: Path, user: str = USER) -> str:
        """The address of the secured listener."""
        return f"sasl_ssl://{user}@{LOOPBACK}:{self.secured_port}?mechanism=PLAIN&password_file={password_file}&ca={ca}"

    def _settings(self) -> dict[str, str]:
        lines = super()._settings()
        secured = f"SECURED://{LOOPBACK}:{self.secured_port}"
        key, chain = (self._certificates / name for name in ("ours.pkcs8", "ours.pem"))
        return lines | {
            "listeners": f"{lines['listeners']},{secured}",
            "advertised.listeners": f"{lines['advertised.listeners']},{secured}",
            "listener.security.protocol.map": f"{lines['listener.security.protocol.map']},SECURED:SASL_SSL",
            "listener.name.secured.sasl.enabled.mechanisms": "PLAIN",
            "listener.name.secured.plain.sasl.jaas.config": f"{_LOGINS};",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
            "allow.everyone.if.no.acl.found": "true",
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


async def grant(bootstrap: str, name: str, without: tuple[str, str] = ("", "")) -> None:
    """Give the users the access lists of the deployment, for the topics of prefix `NAME.` and the group `name`; to the
    worker `without` an operation on a topic, a group or ids.
    """
    admin: Any = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        for rule in ACLS.read_text().splitlines():
            for request in _requests(shlex.split(rule), name, without):
                answer = await admin._send_request(request)
                assert [code for code, *_ in answer.creation_responses] == [0], answer
    finally:
        await admin.close()


def _requests(words: list[str], name: str, without: tuple[str, str]) -> Iterator[CreateAclsRequest]:
    """What `kafka-acls --add` would send for the arguments."""
    values: dict[str, list[str]] = {}
    for flag, value in zip(words[::2], words[1::2], strict=True):
        values.setdefault(flag.removeprefix("--"), []).append(value)
    (principal,) = values["allow-principal"]
    (pattern,) = values.get("resource-pattern-type", ["literal"])
    resources = [
        *((_TOPIC, f"{name}.{topic}") for topic in values.get("topic", ())),
        *((_GROUP, group.replace(GROUP, name)) for group in values.get("group", ())),
        *((_TRANSACTIONAL_ID, _transactional(id_, name)) for id_ in values.get("transactional-id", ())),
    ]
    for kind, resource in resources:
        for operation in values["operation"]:
            if principal == "User:worker" and (operation, resource.removeprefix(f"{name}.")) == without:
                continue
            yield CreateAclsRequest(
                kind, resource, _PATTERNS[pattern], principal, "*", _OPERATIONS[operation],
                _ALLOW,
            )  # fmt: skip


# the protocol's numbers
_TOPIC, _GROUP, _TRANSACTIONAL_ID = 2, 3, 5
_PATTERNS = {"literal": 3, "prefixed": 4}
_OPERATIONS = {"Read": 3, "Write": 4, "Describe": 8, "DescribeConfigs": 10}
_ALLOW = 3


def _transactional(id_: str, name: str) -> str:
    return f"{name}.{id_}" if id_ == REPLAY else id_.replace(GROUP, name)
