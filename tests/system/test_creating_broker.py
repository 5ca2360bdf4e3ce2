"""A broker that creates a topic, with its own defaults, as soon as somebody names one that is missing."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from gate.errors import StoreUnavailable
from gate.local.free_port import free_port
from gate.local.jars import default_cache, fetch_jars
from gate.local.kafka import LocalKafka
from gate.ports.audit import AuditEntry, AuditOutcome
from gate.records.topics import Topics
from gate.stores.disk.audit_file import AuditFile
from gate.stores.kafka.audit import read_audit, send_unsent
from gate.stores.kafka.decisions import KafkaDecisionLog
from gate.stores.kafka.events import EventProducer
from gate.stores.kafka.topic_settings import unlike
from gate.stores.kafka.topics import declare, shapes
from tests.contract.test_decision_log import AT_US, DECISION, REQUEST, running
from tests.waiting import eventually
from tests.workers import worker_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

UPLOAD_GATE = str(Path(sys.executable).parent / "upload-gate")


class CreatingKafka(LocalKafka):
    """Creates missing topics, as brokers do where nobody switched that off."""

    def _settings(self) -> dict[str, str]:
        return super()._settings() | {"auto.create.topics.enable": "true"}


@pytest.fixture(scope="module")
def creating_kafka(kafka_jars: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = CreatingKafka(tmp_path_factory.mktemp("kafka"), free_port(), fetch_jars(default_cache(), print), print)
    try:
        server.start()
        yield server.bootstrap
    finally:
        server.stop()


async def topics_of(bootstrap: str) -> set[str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    names = set(await admin.list_topics())
    await admin.close()
    return names


async def test_the_first_worker_creates_every_topic_with_the_settings_that_it_needs(
    creating_kafka: str, tmp_path: Path
) -> None:
    with worker_of("first", creating_kafka, None, tmp_path) as worker:
        worker.start()
        await eventually(lambda: worker.said("this worker reads from offset") == 4, timeout_s=40.0)
        different = await unlike(creating_kafka, worker.topics)
        code = worker.end()

    assert different == []
    assert code == 0


@pytest.mark.parametrize(
    "words", ["campaigns list", "campaigns show link-05d1f3a29c04b718", "dlq list", "dlq resume", "rescore --yes"]
)
async def test_a_command_creates_no_topic_that_a_worker_has_not_created(
    words: str, creating_kafka: str, tmp_path: Path
) -> None:
    before = await topics_of(creating_kafka)
    command = [UPLOAD_GATE, *words.split(), "--kafka", creating_kafka]
    env = {**os.environ, "UPLOAD_GATE_TOPIC_PREFIX": "nobody.", "UPLOAD_GATE_STATE": str(tmp_path)}

    done = await asyncio.to_thread(subprocess.run, command, env=env, capture_output=True, text=True, timeout=60)

    assert await topics_of(creating_kafka) == before
    assert "nobody." in done.stderr or words == "dlq list"


async def test_decisions_wait_for_a_topic_that_has_its_partitions(
    creating_kafka: str, caplog: pytest.LogCaptureFixture
) -> None:
    topics = Topics("decided.")
    async with running(KafkaDecisionLog(creating_kafka, topics.decisions.name)) as log:
        log.record(REQUEST, DECISION, AT_US)
        await eventually(lambda: "has no topic decided.gate.decisions.v1" in caplog.text)
        before = await topics_of(creating_kafka)
        await declare(creating_kafka, topics)
        await eventually(lambda: log.stats.published == 1, timeout_s=30.0)

    _, known = await shapes(creating_kafka, [topics.decisions.name])
    assert topics.decisions.name not in before
    assert known[topics.decisions.name].partitions == topics.decisions.partitions
    assert (log.stats.dropped, log.stats.faults) == (0, 0)


async def test_events_are_sent_to_no_topic_that_a_broker_would_create(creating_kafka: str) -> None:
    topics = Topics("unborn.")

    with pytest.raises(StoreUnavailable, match=r"has no topic unborn\.uploads\.events\.v1\. Start a worker first"):
        await EventProducer(creating_kafka, topics).start()

    assert topics.events.name not in await topics_of(creating_kafka)


async def test_the_audit_log_waits_on_disk_for_a_topic_that_keeps_it_for_ever(
    creating_kafka: str, tmp_path: Path
) -> None:
    topics, log = Topics("audited."), AuditFile(tmp_path, "host-1", lambda: 1_800_000_000_000_000, print)
    log.record(AuditEntry("pause", "ann", AuditOutcome.DONE, "p-1"))

    with pytest.raises(StoreUnavailable, match=r"has no topic audited\.gate\.audit\.v1\. A worker creates it"):
        await send_unsent(log, creating_kafka, topics.audit.name)
    before = await topics_of(creating_kafka)
    await declare(creating_kafka, topics)
    sent = await send_unsent(log, creating_kafka, topics.audit.name)
    kept = await read_audit(creating_kafka, topics.audit.name)

    assert topics.audit.name not in before
    assert sent == 1
    assert [record.who for record in kept] == ["ann"]
