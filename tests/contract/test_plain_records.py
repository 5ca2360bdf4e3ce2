"""The pipeline's records are those that the client reads from a topic of Kafka."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from streams.pipeline.step import Record
from streams.worker.plain_records import plain_records, without_copies


async def write(bootstrap: str, topic: str) -> None:
    """Records with and without key, value and headers, some of a transaction that was aborted."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 1, 1)])
    await admin.close()
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=topic)
    await producer.start()
    for number in range(6):
        await producer.begin_transaction()
        for key, value, headers in ((b"a", b"1", [("ce_id", b"e-1"), ("n", b"")]), (None, b"2", []), (b"c", None, [])):
            await producer.send_and_wait(topic, value, key, headers=headers)
        await (producer.abort_transaction() if number % 3 == 1 else producer.commit_transaction())
    await producer.stop()


async def read(bootstrap: str, topic: str, copies: bool) -> tuple[list[Any], int]:
    """All records, a few at a time, as the client copies them or as they are; and the position after them."""
    at = TopicPartition(topic, 0)
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, isolation_level="read_committed", enable_auto_commit=False)
    await consumer.start()
    if not copies:
        without_copies(consumer)
    try:
        consumer.assign([at])
        consumer.seek(at, 0)
        found: list[Any] = []
        end = (await consumer.end_offsets([at]))[at]
        while await consumer.position(at) < end:
            found += (await consumer.getmany(at, timeout_ms=200, max_records=2)).get(at, [])
        return found, await consumer.position(at)
    finally:
        await consumer.stop()


async def test_plain_records_are_the_fields_of_the_client_s_own(
    kafka_bootstrap: str, unique: Callable[[], str]
) -> None:
    topic = unique()
    await write(kafka_bootstrap, topic)

    own, end = await read(kafka_bootstrap, topic, copies=True)
    uncopied, same_end = await read(kafka_bootstrap, topic, copies=False)
    plain = plain_records(uncopied)

    assert [(*one[1:3], tuple(one.headers)) for one in plain] == 4 * [
        (b"a", b"1", (("ce_id", b"e-1"), ("n", b""))),
        (None, b"2", ()),
        (b"c", None, ()),
    ]
    assert [(*one[:3], tuple(one.headers), one.timestamp_ms) for one in plain] == [
        (one.offset, one.key, one.value, one.headers, one.timestamp) for one in own
    ]
    assert all(type(one) is ConsumerRecord for one in own)
    assert all(type(one) is not ConsumerRecord for one in uncopied)
    assert all(type(one) is Record and one.timestamp_ms > 0 for one in plain)
    assert same_end == end > plain[-1].offset
