"""Sends the audit log of a host to topic `gate.audit.v1`, and reads that topic.

The log on disk is the spool: what Kafka did not take is sent when it is back. A record may be sent twice, and readers
tell records apart by chain and number.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from gate.errors import StateUnreadable, StoreUnavailable
from gate.ports.audit import AuditSpool
from gate.records.audit import AuditRecord, decode_audit
from gate.stores.kafka.client import closed, connected, stopped
from gate.stores.kafka.connection import connection
from gate.stores.kafka.topics import existing
from gate.stores.kafka.trouble import kafka_unavailable

PARTITION: Final = 0
PIECE: Final = 100
LOOK_EVERY_S: Final = 1.0
TRY_AGAIN_S: Final = 5.0
DEADLINE_S: Final = 10.0
READ_DEADLINE_S: Final = 4.0
"""How long Kafka may take to return the next records to a person who waits for them."""
AWAY: Final = (KafkaError, OSError, TimeoutError)


async def send_audit(log: AuditSpool, bootstrap: str, topic: str, say: Callable[[str], None]) -> None:
    """Send what is not sent yet, and go on sending. Ends only by being cancelled."""
    told = False
    while True:
        try:
            await send_unsent(log, bootstrap, topic)
            told = False
        except (StoreUnavailable, OSError) as error:
            if not told:
                told = True
                say(f"the audit log stays on this host's disk for now: {error}")
            await asyncio.sleep(TRY_AGAIN_S)
        await asyncio.sleep(LOOK_EVERY_S)


async def send_unsent(log: AuditSpool, bootstrap: str, topic: str) -> int:
    """Send every record that was not sent yet, and return how many. Raises StoreUnavailable, OSError.

    The topic must exist already: sending to an unknown name may make the broker create it with its own settings, by which
    records are deleted after a week.
    """
    sent = 0
    lines, place = await asyncio.to_thread(log.unsent, PIECE)
    if not lines:
        return sent
    await existing(bootstrap, topic, "A worker creates it when it starts")
    producer: Any = AIOKafkaProducer(**connection(bootstrap), acks="all", enable_idempotence=True)
    try:
        with _kept_by(bootstrap):
            async with asyncio.timeout(DEADLINE_S):
                await connected(producer)
        while lines:
            with _kept_by(bootstrap):
                async with asyncio.timeout(DEADLINE_S):
                    kept = [
                        await producer.send(topic, value=line, key=_key(line), partition=PARTITION) for line in lines
                    ]
                    await asyncio.gather(*kept)
            await asyncio.to_thread(log.mark_sent, place)
            sent += len(lines)
            lines, place = await asyncio.to_thread(log.unsent, PIECE)
    finally:
        await stopped(producer)
    return sent


@contextmanager
def _kept_by(bootstrap: str) -> Iterator[None]:
    """Have errors of the client be Kafka's; those of the log are the disk's."""
    try:
        yield
    except AWAY as error:
        raise kafka_unavailable(bootstrap, "did not keep audit records", error) from error


async def read_audit(bootstrap: str, topic: str) -> list[AuditRecord]:
    """The records of all hosts in the order of the topic, each once. Raises StoreUnavailable."""
    consumer: Any = AIOKafkaConsumer(**connection(bootstrap), enable_auto_commit=False)
    found: dict[tuple[str, int, str], AuditRecord] = {}
    try:
        async with asyncio.timeout(READ_DEADLINE_S) as deadline:
            await connected(consumer)
            if topic not in await consumer.topics():
                return []
            at = TopicPartition(topic, PARTITION)
            consumer.assign([at])
            await consumer.seek_to_beginning(at)
            end = (await consumer.end_offsets([at]))[at]
            while await consumer.position(at) < end:
                for records in (await consumer.getmany(at, timeout_ms=500)).values():
                    deadline.reschedule(asyncio.get_running_loop().time() + READ_DEADLINE_S)
                    for record in records:
                        _keep(found, record.value or b"")
    except AWAY as error:
        raise kafka_unavailable(bootstrap, "does not return audit records", error) from error
    finally:
        await closed(consumer.stop())
    return list(found.values())


def _keep(found: dict[tuple[str, int, str], AuditRecord], line: bytes) -> None:
    try:
        record = decode_audit(line)
    except StateUnreadable:
        return
    found.setdefault((record.chain, record.seq, record.hash), record)


def _key(line: bytes) -> bytes:
    try:
        return decode_audit(line).chain.encode()
    except StateUnreadable:
        return b""
