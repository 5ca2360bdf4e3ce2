"""The contender: a bare loop over the Kafka client that counts the events of each account, with a changelog.

It fetches as our worker does, writes the account's count once a fetch, and commits the fetch once the changelog has it.
It has no transactions, no rebalances and no restart to care for, so it is the floor of what this client can do.
"""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import msgspec
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from streams.worker.intake import BATCH_RECORDS


class _Account(msgspec.Struct, gc=False):
    id: str


class CountedEvent(msgspec.Struct, gc=False):
    """Of an event, only whose it is."""

    account: _Account


_decode = msgspec.json.Decoder(CountedEvent).decode


async def run(bootstrap: str, topic: str, changelog: str, group: str, partitions: int) -> None:
    """Count until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    consumer: Any = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=1 << 20,
    )
    producer: Any = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", linger_ms=5)
    await consumer.start()
    await producer.start()
    consumer.assign([TopicPartition(topic, number) for number in range(partitions)])
    counts: dict[str, int] = {}
    try:
        while not stop.is_set():
            got = await consumer.getmany(timeout_ms=100, max_records=BATCH_RECORDS)
            for at, records in got.items():
                await _count(producer, changelog, at.partition, records, counts)
            if got:
                await producer.flush()
                await consumer.commit()
    finally:
        await producer.stop()
        await consumer.stop()


async def _count(producer: Any, changelog: str, partition: int, records: list[Any], counts: dict[str, int]) -> None:
    changed: set[str] = set()
    for record in records:
        account = _decode(record.value).account.id
        counts[account] = counts.get(account, 0) + 1
        changed.add(account)
    batch = producer.create_batch()
    for account in changed:
        key, value = account.encode(), str(counts[account]).encode()
        if batch.append(key=key, value=value, timestamp=None) is None:
            await producer.send_batch(batch, changelog, partition=partition)
            batch = producer.create_batch()
            batch.append(key=key, value=value, timestamp=None)
    await producer.send_batch(batch, changelog, partition=partition)


if __name__ == "__main__":
    uvloop.run(
        run(
            os.environ["BENCH_KAFKA"],
            os.environ["BENCH_TOPIC"],
            os.environ["BENCH_CHANGELOG"],
            os.environ["BENCH_GROUP"],
            int(os.environ["BENCH_PARTITIONS"]),
        )
    )
