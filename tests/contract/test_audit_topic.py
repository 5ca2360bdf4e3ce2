"""The audit log of a host on its way to a real Kafka: whose fault it is when a record is not sent, and what is sent again."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gate.ports.audit import AuditEntry, AuditOutcome
from gate.records.topics import Topics
from gate.stores.disk.audit_file import AuditFile
from gate.stores.kafka.audit import read_audit, send_unsent
from gate.stores.kafka.topics import declare, end_offsets


async def test_a_disk_that_keeps_no_place_is_not_taken_for_kafka_and_has_nothing_sent_again(
    kafka_bootstrap: str, unique: Callable[[], str], tmp_path: Path
) -> None:
    topics = Topics(f"{unique()}.", 1)
    await declare(kafka_bootstrap, topics)
    log = AuditFile(tmp_path, "host-1", lambda: 1_800_000_000_000_000, lambda _: None)
    for who in ("ann", "bob"):
        log.record(AuditEntry("pause", who, AuditOutcome.DONE, "p-1"))
    (tmp_path / f".audit.sent.{os.getpid()}.draft").mkdir()

    for _ in range(2):
        with pytest.raises(OSError, match="directory"):
            await send_unsent(log, kafka_bootstrap, topics.audit.name)
        log.record(AuditEntry("release", "cid", AuditOutcome.DONE, "p-1"))
    ends = await end_offsets(kafka_bootstrap, [topics.audit.name])

    assert ends == {(topics.audit.name, 0): 3}
    assert [record.who for record in await read_audit(kafka_bootstrap, topics.audit.name)] == ["ann", "bob", "cid"]
