"""What a DecisionLog promises, over the one that writes to Kafka: never waits, never raises, counts what it loses."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace

from gate.core.account import Account
from gate.core.decision import Decision, Stage, Verdict
from gate.core.media import Media
from gate.core.request import CheckRequest
from gate.local.free_port import free_port
from gate.records.decision import answer
from gate.records.topics import Topics
from gate.stores.kafka.decisions import KafkaDecisionLog
from gate.stores.kafka.topics import declare, end_offsets
from streams.worker.changelog import PartitionReader
from tests.waiting import eventually

AT_US = 1_790_000_000_000_000
REQUEST = CheckRequest("u-1", Account("a-1"), Media(kind="image", bytes=9), surface="post", text="secret words")
DECISION = Decision(
    "u-1", "a-1", "new", Verdict.THROTTLE, Stage.BUCKET, "uploads.minute", 1_500_000, None, "p", 4, 0.25, (), ("store",)
)


@asynccontextmanager
async def running(log: KafkaDecisionLog) -> AsyncIterator[KafkaDecisionLog]:
    await log.start()
    try:
        yield log
    finally:
        await log.stop()


async def test_decisions_reach_kafka_keyed_by_account(kafka_bootstrap: str, unique: Callable[[], str]) -> None:
    topics = Topics(f"{unique()}.")
    await declare(kafka_bootstrap, topics)

    async with running(KafkaDecisionLog(kafka_bootstrap, topics.decisions.name)) as log:
        for _ in range(100):
            log.record(REQUEST, DECISION, AT_US, {"device": "invisible"})
        await eventually(lambda: log.stats.published == 100, timeout_s=20.0)

    ends = await end_offsets(kafka_bootstrap, [topics.decisions.name])
    ((_, partition),) = [at for at, end in ends.items() if end]
    async with PartitionReader(kafka_bootstrap, topics.decisions.name, partition) as reader:
        records = [record async for found in reader.since(0) for record in found]
    body = json.loads(records[0].value)
    assert len(records) == 100
    assert body["ignored"] == ["device"]
    assert {record.key for record in records} == {b"a-1"}
    assert (body["decision"], body["stage"], body["reason"]) == ("throttle", "bucket", "uploads.minute")
    assert (body["retry_after"], body["risk"]) == (1.5, 0.25)
    assert (body["version"], body["degraded"], body["media"]) == (1, ["store"], {"kind": "image", "bytes": 9})
    assert body["appeal"] == answer(DECISION).appeal
    assert "secret words" not in records[0].value.decode()
    assert log.stats.dropped == 0


async def test_what_waits_at_the_end_is_still_published(kafka_bootstrap: str, unique: Callable[[], str]) -> None:
    topics = Topics(f"{unique()}.")
    await declare(kafka_bootstrap, topics)

    async with running(KafkaDecisionLog(kafka_bootstrap, topics.decisions.name)) as log:
        for _ in range(1_000):
            log.record(REQUEST, DECISION, AT_US)

    assert (log.stats.recorded, log.stats.published, log.stats.dropped) == (1_000, 1_000, 0)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
async def test_a_log_that_reaches_nobody_takes_what_fits_counts_the_rest_and_names_the_server(
    caplog: pytest.LogCaptureFixture,
) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    async with running(KafkaDecisionLog(nobody, "decisions", queue=100)) as log:
        began = time.monotonic()
        for _ in range(250):
            log.record(REQUEST, DECISION, AT_US)
        took = time.monotonic() - began

        assert took < 1.0
        assert log.stats.dropped == 150
        await eventually(lambda: "takes no decisions" in caplog.text)
    assert (log.stats.recorded, log.stats.published, log.stats.dropped) == (250, 0, 250)
    assert f"Kafka at {nobody} takes no decisions" in caplog.text
    assert "more than 100 waiting ones are dropped" in caplog.text


async def test_recording_after_the_end_is_counted_not_raised() -> None:
    log = KafkaDecisionLog("127.0.0.1:1", "decisions")
    await log.stop()

    log.record(REQUEST, DECISION, AT_US)

    assert (log.stats.recorded, log.stats.dropped) == (1, 1)


async def test_a_decision_that_cannot_be_encoded_is_counted_and_those_after_it_are_published(
    kafka_bootstrap: str, unique: Callable[[], str], caplog: pytest.LogCaptureFixture
) -> None:
    topics = Topics(f"{unique()}.")
    await declare(kafka_bootstrap, topics)
    faults: list[None] = []
    unencodable = replace(DECISION, account="\ud800")

    async with running(
        KafkaDecisionLog(kafka_bootstrap, topics.decisions.name, fault=lambda: faults.append(None))
    ) as log:
        log.record(REQUEST, unencodable, AT_US)
        await eventually(lambda: log.stats.faults == 1, timeout_s=20.0)
        for _ in range(10):
            log.record(REQUEST, DECISION, AT_US)
        await eventually(lambda: log.stats.published == 10, timeout_s=20.0)

    assert (log.stats.recorded, log.stats.published, log.stats.dropped, len(faults)) == (11, 10, 1, 1)
    assert sum("unexpected error" in record.message for record in caplog.records) == 1


async def test_what_waits_keeps_nothing_of_the_request_that_the_record_does_not_need() -> None:
    log = KafkaDecisionLog("127.0.0.1:1", "decisions")
    request = CheckRequest("u-1", Account("a-1"), Media(kind="image"), text="x" * 60_000)
    before = sys.getrefcount(request)

    log.record(request, DECISION, AT_US)

    assert sys.getrefcount(request) == before
    await log.stop()
